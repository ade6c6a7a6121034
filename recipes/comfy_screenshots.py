"""Renders the pictures of the nodes' help pages: ``COMFYUI_PATH=/path/to/ComfyUI python recipes/comfy_screenshots.py [NODE_ID ...]``.

The shipped workflows are run in a real ComfyUI and shown by its own page in a headless Chromium; see tests/comfy_server.py and
tests/comfy_browser.py for what both need. Names of nodes after the command render only theirs.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "web" / "docs" / "images"
WIDEST = 1100  # px
SIZE = 512  # px, of the photos
ENCODE, FUSION, DECODE = "StyleMambaVAEEncode", "StyleMambaFusion", "StyleMambaDecode"
EMBEDDING, MODEL, STYLIZE = "StyleMambaStyleEmbedding", "StyleMambaLoadModel", "StyleMambaStylize"
# Node id -> the workflow that shows it, and the nodes in the picture.
SHOWN = {
    "StyleMambaStylize": ("stylize_in_one_node", ["LoadImage", STYLIZE, "SaveImage"]),
    "StyleMambaLoadFolder": ("batch_of_photos", ["StyleMambaLoadFolder", STYLIZE, "SaveImage"]),
    "StyleMambaLoadModel": ("five_steps", [MODEL, "LoadImage", ENCODE]),
    "StyleMambaVAEEncode": ("five_steps", ["LoadImage", ENCODE]),
    "StyleMambaStyleEmbedding": ("style_from_a_picture", [EMBEDDING, "LoadImage"]),
    "StyleMambaFusion": ("five_steps", [ENCODE, EMBEDDING, FUSION, DECODE]),
    "StyleMambaDecode": ("five_steps", [FUSION, DECODE, "SaveImage"]),
    "StyleMambaBlendStyles": ("blend_two_styles", [EMBEDDING, "StyleMambaBlendStyles"]),
    "StyleMambaTrain": ("train_a_style_and_save_it", ["LoadImage", "StyleMambaTrain"]),
    "StyleMambaSaveStyle": ("train_a_style_and_save_it", ["StyleMambaTrain", "StyleMambaSaveStyle"]),
    "StyleMambaLoadStyle": ("apply_a_saved_style", ["StyleMambaLoadStyle", "LoadImage", STYLIZE, "SaveImage"]),
    "StyleMambaLoadParts": ("train_on_full_size_parts", ["StyleMambaLoadParts", "LoadImage", "StyleMambaTrain"]),
}
NOT_RUN = ("train_on_full_size_parts",)  # the parts here are stand-ins


def main(wanted: list[str]) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from comfy_browser import Browser
    from comfy_pictures import full_size_stand_ins, photo_for, style_picture
    from comfy_server import ComfyServer
    from synthetic import synthetic_photo

    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    names = [*dict.fromkeys(name for node_id, (name, _) in SHOWN.items() if node_id in wanted or not wanted)]
    if "apply_a_saved_style" in names and "train_a_style_and_save_it" not in names:
        names.append("train_a_style_and_save_it")
    names.sort(key=lambda name: name != "train_a_style_and_save_it")  # it makes the style that another one loads
    with tempfile.TemporaryDirectory() as base:
        server = ComfyServer(Path(os.environ["COMFYUI_PATH"]), Path(base, "comfyui"), python)
        full_size_stand_ins(server.base / "models" / "stylemamba")
        (server.base / "models" / "stylemamba" / "copper_engraving.safetensors").touch()  # for the list of styles that the page loads
        with server, Browser(server) as browser:
            (server.base / "models" / "stylemamba" / "copper_engraving.safetensors").unlink()
            style_picture().save(server.base / "input" / "painting.png")
            for name in names:
                for seed in range(3 if name == "batch_of_photos" else 0):
                    synthetic_photo(SIZE, SIZE, seed=seed).save(server.base / "input" / f"photo {seed + 1}.png")
                photo_for(name).save(server.base / "input" / "example.png")
                browser.load(json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8")))
                if name == "style_from_a_picture":
                    browser.run("app.graph._nodes.find(node => node.title.includes('picture')).widgets[0].value = 'painting.png'")
                if name not in NOT_RUN:
                    browser.queue()
                for node_id, (workflow, shown) in SHOWN.items():
                    if workflow == name and (node_id in wanted or not wanted):
                        picture = browser.picture_of(shown)
                        picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
                        picture.save(IMAGES / f"{node_id}.jpg", quality=88)
                        print(node_id, picture.size)


if __name__ == "__main__":
    main(sys.argv[1:])
