"""Renders the thumbnails of the ComfyUI workflows with the bundled model: ``python recipes/comfy_pictures.py [NAME ...]``.

Every workflow is run as it is shipped, on the tests' synthetic photo, with the tests' stand-ins for ComfyUI. A thumbnail shows the photo on
the left and the result on the right; of a batch it shows the results.
Two workflows train, which takes most of the time; names after the command render only theirs (apply_a_saved_style needs
train_a_style_and_save_it).
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


def main(wanted: list[str]) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import comfy_stubs
    from synthetic import synthetic_photo

    names = sorted((path.stem for path in (ROOT / "workflows").glob("*.json")), key=lambda name: name != "train_a_style_and_save_it")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        models, photos = Path(folder, "models"), Path(folder, "input")
        nodes = comfy_stubs.node_classes(comfy_stubs.install(patch, models))
        full_size_stand_ins(models / "stylemamba")
        photos.mkdir()
        for seed in range(4):
            synthetic_photo(SIZE, SIZE, seed=seed).save(photos / f"{seed}.png")
        for name in names:
            if wanted and name not in wanted:
                continue
            graph = json.loads((ROOT / "tests" / "comfy" / "api" / f"{name}.json").read_text(encoding="utf-8"))
            photo, painting = photo_for(name), None
            if name == "style_from_a_picture":
                painting = style_picture()
                style = next(node for node in graph.values() if node["class_type"] == "StyleMambaStyleEmbedding")
                graph[style["inputs"]["style_image"][0]]["inputs"]["image"] = "painting.png"
            (results,) = comfy_stubs.run_graph(nodes, graph, {"example.png": photo, "painting.png": painting}).values()
            pictures = [Image.fromarray((result[0] * 255).round().byte().numpy()) for result in results]
            thumbnail(photo.convert("RGB"), pictures, painting).save(ROOT / "workflows" / f"{name}.jpg", quality=88)
            print(name)


def full_size_stand_ins(models: Path) -> None:
    """Puts what train_on_full_size_parts names into ``models/stylemamba``: the bundled parts; the project does not ship the real ones."""
    from importlib.resources import files

    bundle = Path(str(files("stylemamba").joinpath("bundled")))
    shutil.copytree(bundle / "vae", models / "sd-vae-ft-mse")
    for part in ("style_encoder", "tokenizer"):
        shutil.copytree(bundle / part, models / "siglip-base-patch16-224", dirs_exist_ok=True)


def style_picture() -> Image.Image:
    """What style_from_a_picture takes its style from."""
    from synthetic import synthetic_photo

    from stylemamba import StyleMambaPipeline

    return StyleMambaPipeline.from_pretrained()(synthetic_photo(SIZE, SIZE, seed=5), PAINTING).images[0]


def photo_for(name: str) -> Image.Image:
    from synthetic import synthetic_photo

    photo = synthetic_photo(SIZE, SIZE)
    if name == "style_only_the_masked_region":  # painted in ComfyUI's mask editor: transparent
        keep = Image.new("L", photo.size, 0)
        ImageDraw.Draw(keep).ellipse([SIZE * 0.15, SIZE * 0.35, SIZE * 0.75, SIZE * 1.02], fill=255)
        photo.putalpha(keep.filter(ImageFilter.GaussianBlur(SIZE / 60)))
    return photo


def thumbnail(photo: Image.Image, pictures: list[Image.Image], painting: Image.Image | None) -> Image.Image:
    """The picture with the photo over its left part, and with the painting, if there is one, in a corner; several pictures as tiles."""
    if len(pictures) > 1:
        sheet = Image.new("RGB", (SIZE, SIZE), "white")
        side = SIZE // 2 - 2
        for index, picture in enumerate(pictures[:4]):
            sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (index % 2 * (side + 4), index // 2 * (side + 4)))
        return sheet
    edge, picture = round(SIZE * PHOTO_SHARE), pictures[0].copy()
    picture.paste(photo.crop((0, 0, edge, SIZE)), (0, 0))
    ImageDraw.Draw(picture).line([(edge, 0), (edge, SIZE)], fill="white", width=4)
    if painting is not None:
        inset = ImageOps.expand(painting.resize((SIZE // 3, SIZE // 3)), 4, "white")
        picture.paste(inset, (SIZE - inset.width - 8, 8))
    return picture


if __name__ == "__main__":
    main(sys.argv[1:])
