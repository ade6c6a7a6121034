"""Renders the README's picture, a sheet of all styles and the pack's icon with the bundled model: ``python recipes/readme_pictures.py``.

The photo is the tests' synthetic one, so that the repository ships no one's picture.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from stylemamba import StyleMambaPipeline

ROOT = Path(__file__).parents[1]
STYLES = ("a Monet painting", "a hazy mosaic", "a charcoal drawing", "ukiyo-e", "a watercolor painting", "pointillism", "fire")
GAP = 12  # px


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from synthetic import synthetic_photo

    photo = synthetic_photo(384, 288)
    pipe = StyleMambaPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    pictures = [photo, *(pipe(photo, style).images[0] for style in STYLES)]
    folder = ROOT / ".github"
    folder.mkdir(exist_ok=True)
    sheet(pictures, ("the photo", *STYLES), columns=4).save(folder / "styles.jpg", quality=92)
    names = [style["name"] for style in json.loads((ROOT / "stylemamba" / "styles.json").read_text(encoding="utf-8"))]
    pictures = [pipe(photo, name).images[0].resize((160, 120), Image.Resampling.LANCZOS) for name in names]
    sheet(pictures, names, columns=10).save(folder / "vocabulary.jpg", quality=80)
    pipe(synthetic_photo(400, 400), "a Monet painting").images[0].resize((256, 256)).save(folder / "icon.png")


def sheet(pictures: list[Image.Image], captions: Sequence[str], columns: int) -> Image.Image:
    """Pictures of one size in rows, a caption under each."""
    (width, height), rows = pictures[0].size, -(-len(pictures) // columns)
    size = max(13, width // 21)  # of the letters
    canvas = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + size + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size)
    for index, (picture, caption) in enumerate(zip(pictures, captions)):
        left, top = GAP + index % columns * (width + GAP), GAP + index // columns * (height + size + GAP)
        canvas.paste(picture, (left, top))
        draw.text((left + width / 2, top + height + size * 0.6), caption, "black", font, anchor="mm")
    return canvas


if __name__ == "__main__":
    main()
