"""A contact sheet: one row a sentence, one column a photo, each photo cropped to a square.

python benchmarks/sheet.py --photos FOLDER [--count 6] [--model FOLDER] [-o sheet.png] [SENTENCE ...]
"""

import argparse
import hashlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from stylemamba import StyleMambaPipeline
from stylemamba.image_files import find_images

SENTENCES = (
    "a Monet painting", "a hazy mosaic", "charcoal", "watercolor", "ukiyo-e", "pointillism", "night", "fire",
    "a Van Gogh painting", "stained glass window", "pop art", "pencil sketch", "a cubist painting", "snow", "comic book",
    "a Dementor filter",
)  # fmt: skip
GAP = 4  # px


def spread(paths: list, count: int) -> list:
    """``count`` of the paths (all if there are fewer), evenly spread."""
    count = min(count, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def square(path: str | Path, side: int) -> Image.Image:
    """The middle of a photo as a square of ``side`` px."""
    return ImageOps.fit(Image.open(path).convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def digest_of(*folders: str | Path) -> str:
    """8 hex digits that tell folders of pictures from others, by the names in them."""
    names = ["\0".join(sorted(Path(path).name for path in find_images([str(folder)]))) for folder in folders]
    return hashlib.sha1("\0\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def contact_sheet(rows: dict[str, list[Image.Image]], blocks: int = 2) -> Image.Image:
    """Rows of equally large pictures, each under its label; ``blocks`` columns of rows, side by side."""
    width, height = next(iter(rows.values()))[0].size
    label = max(14, height // 11)
    font = ImageFont.load_default(label * 0.8)
    per_block = -(-len(rows) // blocks)
    across = (width + GAP) * max(map(len, rows.values())) + 4 * GAP
    sheet = Image.new("RGB", (across * blocks - 5 * GAP, (height + label + GAP) * per_block), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, pictures) in enumerate(rows.items()):
        left, top = index // per_block * across, index % per_block * (height + label + GAP)
        draw.text((left + 2, top + label // 2), name, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (left + column * (width + GAP), top + label))
    return sheet


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", nargs="*", default=SENTENCES)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--model")
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--side", type=int, default=256, help="side of the squares, px")
    parser.add_argument("-o", "--output", default="sheet.png", type=Path)
    args = parser.parse_args()

    pipe = StyleMambaPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    photos = [square(path, args.side) for path in spread(find_images([args.photos]), args.count)]
    rows = {"photo": photos}
    for sentence in args.sentences:
        rows[sentence] = pipe(photos, sentence, strength=args.strength).images
    contact_sheet(rows).save(args.output)
    print(args.output)


if __name__ == "__main__":
    main()
