"""How much each style's texture repeats over a flat area, like wallpaper.

    python benchmarks/repeats.py [--model FOLDER] [--size 384] [STYLE ...]

An even grey is stylised. Printed are how much the picture varies (standard deviation, in 1/255) and its correlation with itself one tile of
the fusion further down and further to the right (the mean of both): 1 is wallpaper, 0 does not repeat. Without names, all styles that the
bundled model was taught.
"""

import argparse
import json
from importlib.resources import files

import numpy as np
from PIL import Image

from stylemamba import StyleMambaPipeline
from stylemamba.fusion import PHASE_PERIOD

GREY, BORDER = (200, 210, 220), 32  # px at the borders, which the convolutions' padding changes
SEEN = 2.0  # 1/255, below which a texture is hardly seen


def repeats(picture: np.ndarray, shift: int) -> tuple[float, float]:
    """(H, W, 3) in 0..255 -> standard deviation, and the correlation with itself ``shift`` px away."""
    inside = picture[BORDER:-BORDER, BORDER:-BORDER].astype(float)
    inside -= inside.mean((0, 1))
    alike = (np.mean(inside[shift:] * inside[:-shift]) + np.mean(inside[:, shift:] * inside[:, :-shift])) / 2
    return float(inside.std()), float(alike / max(np.mean(inside**2), 1e-9))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("styles", nargs="*")
    parser.add_argument("--model")
    parser.add_argument("--size", type=int, default=384, help="px")
    args = parser.parse_args()
    pipe = StyleMambaPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    grey = Image.new("RGB", (args.size, args.size), GREY)
    tile = pipe.vae_scale_factor * pipe.fusion.config.patch_size * PHASE_PERIOD
    found = []
    known = json.loads(files("stylemamba").joinpath("styles.json").read_text(encoding="utf-8"))
    for style in args.styles or [style["name"] for style in known]:
        varies, alike = repeats(np.asarray(pipe(grey, style).images[0]), tile)
        found.append((varies, alike))
        print(f"{style:28} varies {varies:5.1f}   repeats {alike:5.2f}", flush=True)
    seen = np.array([alike for varies, alike in found if varies > SEEN])
    print(f"of {len(seen)} styles that vary by more than {SEEN:g} {(seen > 0.5).sum()} repeat by more than 0.5; mean {seen.mean():.2f}")


if __name__ == "__main__":
    main()
