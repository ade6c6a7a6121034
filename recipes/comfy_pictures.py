"""Renders the thumbnails of the ComfyUI workflows with the bundled model: ``python recipes/comfy_pictures.py``.

Every workflow is run as it is shipped, on the tests' synthetic photo, with the tests' stand-ins for ComfyUI. A thumbnail shows the photo on
the left and the result on the right.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

ROOT = Path(__file__).parents[1]
SIZE = 512  # px
PHOTO_SHARE = 0.36  # of a thumbnail's width
PAINTING = "ukiyo-e"  # the style of the picture that style_from_a_picture starts from


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import comfy_stubs
    from synthetic import synthetic_photo

    from stylemamba import StyleMambaPipeline

    names = sorted((path.stem for path in (ROOT / "workflows").glob("*.json")), key=lambda name: name != "train_a_style_and_save_it")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as models:
        nodes = comfy_stubs.node_classes(comfy_stubs.install(patch, Path(models)))
        pipe = StyleMambaPipeline.from_pretrained()
        bundle = pipe.config["_name_or_path"]
        # Stand-ins for the full-size parts, which the project does not ship: the bundled ones, without their fusion.
        siglip = Path(models, "stylemamba", "siglip-base-patch16-224")
        shutil.copytree(Path(bundle, "vae"), Path(models, "stylemamba", "sd-vae-ft-mse"))
        for part in ("style_encoder", "tokenizer"):
            shutil.copytree(Path(bundle, part), siglip, dirs_exist_ok=True)
        for name in names:
            graph = json.loads((ROOT / "tests" / "comfy" / "api" / f"{name}.json").read_text(encoding="utf-8"))
            photo, painting = photo_for(name), None
            if name == "style_from_a_picture":
                painting = pipe(synthetic_photo(SIZE, SIZE, seed=5), PAINTING).images[0]
                style = next(node for node in graph.values() if node["class_type"] == "StyleMambaStyleEmbedding")
                graph[style["inputs"]["style_image"][0]]["inputs"]["image"] = "painting.png"
            (result,) = comfy_stubs.run_graph(nodes, graph, {"example.png": photo, "painting.png": painting}).values()
            picture = Image.fromarray((result[0] * 255).round().byte().numpy())
            thumbnail(photo.convert("RGB"), picture, painting).save(ROOT / "workflows" / f"{name}.jpg", quality=88)
            print(name)


def photo_for(name: str) -> Image.Image:
    from synthetic import synthetic_photo

    photo = synthetic_photo(SIZE, SIZE)
    if name == "style_only_the_masked_region":  # painted in ComfyUI's mask editor: transparent
        keep = Image.new("L", photo.size, 0)
        ImageDraw.Draw(keep).ellipse([SIZE * 0.15, SIZE * 0.35, SIZE * 0.75, SIZE * 1.02], fill=255)
        photo.putalpha(keep.filter(ImageFilter.GaussianBlur(SIZE / 60)))
    return photo


def thumbnail(photo: Image.Image, picture: Image.Image, painting: Image.Image | None) -> Image.Image:
    """The picture with the photo over its left part, and with the painting, if there is one, in a corner."""
    edge = round(SIZE * PHOTO_SHARE)
    picture = picture.copy()
    picture.paste(photo.crop((0, 0, edge, SIZE)), (0, 0))
    ImageDraw.Draw(picture).line([(edge, 0), (edge, SIZE)], fill="white", width=4)
    if painting is not None:
        inset = ImageOps.expand(painting.resize((SIZE // 3, SIZE // 3)), 4, "white")
        picture.paste(inset, (SIZE - inset.width - 8, 8))
    return picture


if __name__ == "__main__":
    main()
