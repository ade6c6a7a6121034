"""Contact sheet of the procedural effects: one row per style, one column per photo.

python effects_sheet.py PHOTOS OUT.png [--styles charcoal mosaic] [--size 256] [--columns 6]
"""

import argparse
import time
from pathlib import Path

import effects_craft  # noqa: F401 - registers its effects
import effects_light  # noqa: F401
import effects_masters  # noqa: F401
import effects_paint  # noqa: F401
import numpy as np
from effects import EFFECTS
from PIL import Image, ImageDraw, ImageOps


def sheet(photos: list[np.ndarray], styles: list[str], scale: float = 1.0) -> Image.Image:
    """The photos themselves in the top row, below it each style's name, time per photo and renderings."""
    side = round(photos[0].shape[0] * scale)
    out = Image.new("RGB", (len(photos) * side, (len(styles) + 1) * (side + 14)), "white")
    pen = ImageDraw.Draw(out)
    for row, name in enumerate(["photo", *styles]):
        start = time.perf_counter()
        pictures = [EFFECTS[name](photo) for photo in photos] if row else photos
        pen.text((4, row * (side + 14) + 1), f"{name}   {(time.perf_counter() - start) / len(photos):.2f} s", "black")
        for column, picture in enumerate(pictures):
            tile = Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).resize((side, side), Image.LANCZOS)
            out.paste(tile, (column * side, row * (side + 14) + 14))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--styles", nargs="*", choices=list(EFFECTS), default=list(EFFECTS), metavar="STYLE")
    parser.add_argument("--size", type=int, default=256, help="side of the centre crop in px")
    parser.add_argument("--columns", type=int, default=6, help="how many photos")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the shown pictures relative to the crop")
    args = parser.parse_args()
    files = sorted(p for p in args.photos.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})[: args.columns]
    photos = [np.asarray(ImageOps.fit(Image.open(p).convert("RGB"), (args.size,) * 2), np.float32) / 255 for p in files]
    sheet(photos, args.styles, args.scale).save(args.out)


if __name__ == "__main__":
    main()
