"""Is a large photo in tiles the same picture as at once?

    python benchmarks/tiles.py [--photos FILE ...] [--size 1700 1400] [--styles "a Monet painting" ...] [--model FOLDER]

Prints the PSNR (dB, 8-bit pixels) between the picture made in tiles and the one made at once, of each photo in each style; the goal is 45.
Photos are enlarged to --size: large areas without detail are the hard case. By default scikit-image's portrait, cat and coffee cup.
"""

import argparse

import numpy as np
from PIL import Image

from stylemamba import StyleMambaPipeline

STYLES = ("a Monet painting", "Van Gogh", "a cubist painting", "a watercolor", "a mosaic", "charcoal")


def psnr(one: Image.Image, other: Image.Image) -> float:
    return -10 * np.log10(np.square(np.asarray(one, float) - np.asarray(other, float)).mean() / 255**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs="+")
    parser.add_argument("--size", type=int, nargs=2, default=(1700, 1400), help="width and height, px")
    parser.add_argument("--styles", nargs="+", default=STYLES)
    parser.add_argument("--model", help="a folder made by save_pretrained; by default the bundled model")
    arguments = parser.parse_args()
    if arguments.photos:
        photos = {path: Image.open(path).convert("RGB") for path in arguments.photos}
    else:
        from skimage import data

        photos = {name: Image.fromarray(getattr(data, name)()) for name in ("astronaut", "cat", "coffee")}
    pipe = StyleMambaPipeline.from_pretrained(arguments.model)
    pipe.set_progress_bar_config(disable=True)
    for name, photo in photos.items():
        photo = photo.resize(arguments.size)
        for style in arguments.styles:
            pipe.disable_tiling()
            whole = pipe(photo, style).images[0]
            pipe.enable_tiling()
            print(f"{name:12} {style:24} {psnr(whole, pipe(photo, style).images[0]):6.1f} dB", flush=True)


if __name__ == "__main__":
    main()
