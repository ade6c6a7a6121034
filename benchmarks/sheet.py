"""A contact sheet: one row a photo, one column a sentence.

    python benchmarks/sheet.py --photos FOLDER [--count 6] [--model FOLDER] [-o sheet.jpg] [SENTENCE ...]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from stylemamba import StyleMambaPipeline
from stylemamba.image_files import find_images

SENTENCES = (
    "a Monet painting", "a hazy mosaic", "charcoal", "watercolor", "ukiyo-e", "pointillism", "night", "fire",
    "a Van Gogh painting", "stained glass window", "pop art", "pencil sketch", "a cubist painting", "snow", "comic book", "a Dementor filter",
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", nargs="*", default=SENTENCES)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--model")
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--side", type=int, default=256, help="longer side the photos are stylised at, px")
    parser.add_argument("-o", "--output", default="sheet.jpg", type=Path)
    args = parser.parse_args()

    pipe = StyleMambaPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    paths = find_images([args.photos])
    paths = paths[:: max(1, len(paths) // args.count)][: args.count]
    side, label = args.side, 16
    sheet = Image.new("RGB", ((len(args.sentences) + 1) * (side + 4), len(paths) * (side + 4) + label), "white")
    draw = ImageDraw.Draw(sheet)
    for column, sentence in enumerate(("photo", *args.sentences)):
        draw.text((column * (side + 4) + 2, 2), sentence, fill="black")
    for row, path in enumerate(paths):
        photo = Image.open(path).convert("RGB")
        photo = photo.resize([round(n * side / max(photo.size)) for n in photo.size], Image.Resampling.LANCZOS)
        for column, picture in enumerate([photo, *pipe(photo, list(args.sentences), strength=args.strength).images]):
            sheet.paste(picture, (column * (side + 4), row * (side + 4) + label))
    sheet.save(args.output)
    print(args.output)


if __name__ == "__main__":
    main()
