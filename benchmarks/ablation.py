"""What each part of training on a style is worth: each loss off, the second-order weight constant, scan orders, attention, convolutions.

    PYTHONPATH=recipes python benchmarks/ablation.py --coco FOLDER --art FOLDER --results FILE.json
        [--photos 10] [--sentences 10] [--seeds 1] [--cells 20] [--size 128] [--steps 60] [--only losses|mixers] [--jobs 1] [--device cuda]

Losses: `train_on_style` with its defaults on the bundled model, but for what a variant leaves out. Mixers: a small fresh fusion (3 blocks
of width 128) trained in whole on the photo, with Mamba in each scan order, with attention or with convolutions of about the same size; what
they learn from many photos and targets is what `fusion_variants.py` compares. Judge, photos, sentences, cells and
resuming are `train_speed.py`'s.

The target of a cell is the final style score of the first variant of its group; "reached" counts the cells that get there, and the
iterations are medians over all cells, infinite where the target is not reached. "Cosine" is that of the style encoder, which is optimised.
"""

import argparse
import functools
import itertools
from unittest import mock

import numpy as np
from cells import Bench, Cell, add_arguments, order_of_cells, read_results, run, save, teach_judge
from mixers import MIXERS, make_fusion
from sheet import digest_of
from train_speed import first_reaching, looks_of, train_ours

from stylemamba import StyleMambaPipeline, training
from stylemamba.losses import SecondOrderDirectionalLoss
from stylemamba.style_file import base_hash
from stylemamba.training import LossWeights

LOSSES = {
    "all losses": {},
    "no global direction": {"global_direction": 0.0},
    "no masked direction": {"masked_direction": 0.0},
    "no second order": {"second_order": 0.0},
    "second order, constant weight": {},
    "no content": {"content": 0.0},
    "no total variation": {"total_variation": 0.0},
    "no token grid": {"token_grid": 0.0},
}
SMALL = {"hidden_size": 128, "depth": 3}


def group_of(variant: str) -> str:
    return "losses" if variant in LOSSES else "mixers"


def train(bench: Bench, variant: str, cell: Cell) -> dict:
    args, pipe, photos, measures = bench
    photo, other = photos[cell.photo], photos[(cell.photo + 1) % len(photos)]
    ours = functools.partial(
        train_ours, photo=photo, other=other, sentence=cell.sentence, seed=cell.seed, args=args, measures=measures, early_stop=False
    )
    if variant in LOSSES:
        constant = functools.partial(SecondOrderDirectionalLoss, weight=1.0)
        with mock.patch.object(training, "SecondOrderDirectionalLoss", constant if "constant" in variant else SecondOrderDirectionalLoss):
            return ours(pipe, weights=LossWeights(**LOSSES[variant]))[0]
    sizes = {"latent_channels": pipe.fusion.config.latent_channels, "style_dim": pipe.fusion.config.style_dim}
    small = StyleMambaPipeline(pipe.vae, make_fusion(variant, cell.seed, **sizes, **SMALL), pipe.style_encoder, pipe.tokenizer)
    small.to(args.device).set_progress_bar_config(disable=True)
    return {**ours(small, parameters="all")[0], "parameters": sum(p.numel() for p in small.fusion.parameters())}


def table(results: dict, variants: list[str]) -> str:
    lines = []
    for group in ("losses", "mixers"):
        own = [variant for variant in variants if group_of(variant) == group and results["cells"].get(variant)]
        if not own:
            continue
        shared = sorted(set.intersection(*(set(results["cells"][variant]) for variant in own)))
        lines.append(f"{group}, medians over {len(shared)} cells")
        head = ("iterations", "reached", "style", "cosine", "content", "SSIM", "s / step", "parameters")
        lines.append(f"{'':32}" + "".join(f"{name:>12}" for name in head))
        for variant in own:
            cells = [results["cells"][variant][name] for name in shared]
            targets = [looks_of(results["cells"][own[0]][name])[-1]["score"] for name in shared]
            looks = [first_reaching(looks_of(cell), target) for cell, target in zip(cells, targets)]
            steps = [np.inf if look is None else look["step"] for look in looks]
            last = {key: np.median([looks_of(cell)[-1][key] for cell in cells]) for key in ("score", "optimised", "content", "ssim")}
            pace = np.median([cell["seconds"] / cell["steps"] for cell in cells])
            share = np.mean([look is not None for look in looks])
            lines.append(
                f"{variant:32}{np.median(steps):12.0f}{share:12.0%}{last['score']:12.2f}{last['optimised']:12.3f}{last['content']:12.1f}{last['ssim']:12.3f}"
                f"{pace:12.3f}{cells[0].get('parameters', ''):>12}"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, size=128, steps=60, seeds=1, cells=20)
    parser.add_argument("--only", choices=("losses", "mixers"))
    args = parser.parse_args()
    variants = [variant for variant in (*LOSSES, *MIXERS) if args.only in (None, group_of(variant))]
    fusion = StyleMambaPipeline.from_pretrained(args.model).fusion
    settings = {key: getattr(args, key) for key in ("photos", "size", "steps", "model", "threads", "device", "jobs")}
    settings["pictures"] = digest_of(args.coco, args.art)
    results = read_results(args.results, settings | {"fusion": base_hash(dict(fusion.named_parameters()))})
    judge = teach_judge(args.art)
    asked = [(variant, cell) for cell in itertools.islice(order_of_cells(args), args.cells) for variant in variants]
    todo = [(variant, cell) for variant, cell in asked if cell.name not in results["cells"].get(variant, {})]
    for (variant, cell), found in run(args, judge, train, todo):
        results["cells"].setdefault(variant, {})[cell.name] = found
        save(args.results, results)
        print(f"{cell.name} | {variant}: score {looks_of(found)[-1]['score']:.2f}", flush=True)
    print(table(results, variants))


if __name__ == "__main__":
    main()
