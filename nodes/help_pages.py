"""Help pages for a pack whose folder has a space, or the like, in its name."""

import re
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(__file__).absolute().parents[1]  # not resolved: ComfyUI goes by the name in custom_nodes, which may be a link


def serve_where_comfyui_does_not() -> None:
    """ComfyUI serves a pack's web folder under the quoted name of the pack's folder, but a request's path is compared unquoted."""
    if quote(FOLDER.name) == FOLDER.name or set(FOLDER.name) & set("{}"):
        return
    from aiohttp import web
    from server import PromptServer

    pages = (FOLDER / "web").resolve()

    @PromptServer.instance.routes.get(f"/extensions/{{pack:{re.escape(FOLDER.name)}}}/{{path:.+}}")
    async def page(request):
        path = (pages / request.match_info["path"]).resolve()
        if pages not in path.parents or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)
