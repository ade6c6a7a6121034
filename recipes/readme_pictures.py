"""Renders the README's picture and the pack's icon with the bundled model: ``python recipes/readme_pictures.py``.

The photo is the tests' synthetic one, so that the repository ships no one's picture.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from stylemamba import StyleMambaPipeline

ROOT = Path(__file__).parents[1]
STYLES = ("a Monet painting", "a hazy mosaic", "a charcoal drawing", "ukiyo-e", "a watercolor painting", "pointillism", "fire")
COLUMNS, TILE, GAP, CAPTION = 4, (384, 288), 12, 34  # px


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from synthetic import synthetic_photo

    photo = synthetic_photo(*TILE)
    pipe = StyleMambaPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    pictures = [photo, *(pipe(photo, style).images[0] for style in STYLES)]
    folder = ROOT / ".github"
    folder.mkdir(exist_ok=True)
    sheet(pictures, ("the photo", *STYLES)).save(folder / "styles.jpg", quality=92)
    pipe(synthetic_photo(400, 400), "a Monet painting").images[0].resize((256, 256)).save(folder / "icon.png")


def sheet(pictures: list[Image.Image], captions: tuple[str, ...]) -> Image.Image:
    """The pictures in rows, a caption under each."""
    (width, height), rows = TILE, -(-len(pictures) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, rows * (height + CAPTION) + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(18)
    for index, (picture, caption) in enumerate(zip(pictures, captions)):
        left, top = GAP + index % COLUMNS * (width + GAP), GAP + index // COLUMNS * (height + CAPTION)
        canvas.paste(picture, (left, top))
        draw.text((left + width / 2, top + height + CAPTION / 2 - GAP / 4), caption, "black", font, anchor="mm")
    return canvas


if __name__ == "__main__":
    main()
