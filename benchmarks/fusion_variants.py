"""Scan orders and forms of the state space layer, attention and convolutions at equal size: what each learns, at what cost.

    PYTHONPATH=recipes python benchmarks/fusion_variants.py --targets runs/targets

Trains a small fusion on the targets of `recipes/make_targets.py` with plain L1 on latents, and prints, a row a variant, the error on photos
that were not trained on, the seconds a step, and the forward time at 512 x 512 px, both also relative to the first row.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from make_targets import slug
from mixers import MIXERS, OTHERS, make_fusion

from stylemamba import StyleMambaPipeline

STYLES = ("charcoal", "van gogh", "ukiyo-e", "stained glass", "night", "halftone")
VARIANTS = (*((mixer, "ssd") for mixer in MIXERS), ("cross", "selective"))


@torch.no_grad()
def load(targets: Path, pipe: StyleMambaPipeline, count: int):
    """Latents of the photos and of their pictures in each style, (styles, photos, C, h, w) each, which of these photos are held out
    (styles, photos), and the styles' embeddings."""
    photos = np.load(targets / "photos.npy", mmap_mode="r")
    to_latents = lambda images: torch.cat(
        [pipe.encode_images(torch.from_numpy(np.array(i)).permute(2, 0, 1)[None].float() / 255) for i in images]
    )
    sources, pictures, aside = [], [], []
    for name in STYLES:
        with np.load(targets / f"{slug(name)}.npz") as file:
            index, made = file["index"][:count], file["pictures"][:count]
        sources.append(to_latents(photos[np.sort(index)][np.argsort(np.argsort(index))]))
        pictures.append(to_latents(made))
        aside.append(torch.from_numpy(index % 4 == 0))  # by photo: styles share some
    return torch.stack(sources), torch.stack(pictures), torch.stack(aside), pipe.encode_prompt(list(STYLES))


def run(order: str, ssm: str, data, steps: int, seed: int) -> tuple[float, float, float]:
    sources, pictures, aside, styles = data
    learned = (~aside).nonzero()
    fusion = make_fusion(order, seed, latent_channels=sources.shape[2], style_dim=styles.shape[1], hidden_size=128, depth=3, ssm=ssm)
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=2e-3)
    rng, crop, started = np.random.default_rng(seed), 32, time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        which, photo = learned[torch.from_numpy(rng.integers(len(learned), size=8))].unbind(1)
        top, left = 16 * rng.integers((sources.shape[-1] - crop) // 16 + 1, size=2)
        window = np.s_[..., top : top + crop, left : left + crop]
        loss = (fusion(sources[which, photo][window], styles[which]) - pictures[which, photo][window]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = (time.perf_counter() - started) / steps
    with torch.no_grad():
        error = np.mean([(fusion(s[a], e) - p[a]).abs().mean().item() for s, p, a, e in zip(sources, pictures, aside, styles)])
        large = torch.randn(1, sources.shape[2], 128, 128)
        times = []
        for _ in range(5):
            then = time.perf_counter()
            fusion(large, styles[:1])
            times.append(time.perf_counter() - then)
    return error, seconds, min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--photos", type=int, default=40, help="a style; about a quarter, every fourth photo, is held out of all styles")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()

    data = load(args.targets, StyleMambaPipeline.from_pretrained(args.model), args.photos)
    print(f"{'order':<15}{'form':<11}{'error':>8}{'':>8}{'s/step':>9}{'':>8}{'512 px, s':>11}{'':>8}", flush=True)
    first = None
    for order, ssm in VARIANTS:
        row = np.mean([run(order, ssm, data, args.steps, seed) for seed in range(args.seeds)], 0)
        first = row if first is None else first
        cells = "".join(f"{v:>{w}.4f}{f'x{v / f:.2f}':>8}" for v, f, w in zip(row, first, (8, 9, 11)))
        print(f"{order:<15}{'' if order in OTHERS else ssm:<11}{cells}", flush=True)


if __name__ == "__main__":
    main()
