"""Help pages and templates of a pack whose folder has a space, or the like, in its name."""

import re
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(__file__).absolute().parents[1]  # not resolved: ComfyUI goes by the name in custom_nodes, which may be a link


def serve_where_comfyui_does_not() -> None:
    """ComfyUI serves a pack's folders under the quoted name of the pack's folder, but compares it with a request's path unquoted."""
    if quote(FOLDER.name) != FOLDER.name and not set(FOLDER.name) & set("{}"):
        _serve("/extensions", FOLDER / "web")
        _serve("/workflow_templates", FOLDER / "workflows")


def _serve(address: str, folder: Path) -> None:
    from aiohttp import web
    from server import PromptServer

    root = folder.resolve()

    @PromptServer.instance.routes.get(f"{address}/{{pack:{re.escape(FOLDER.name)}}}/{{path:.+}}")
    async def file(request):
        path = (root / request.match_info["path"]).resolve()
        if root not in path.parents or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)
