"""Cells of a measurement: photo x sentence x seed, worked on by several processes, each result kept when it is there.

What `train_speed.py` and `ablation.py` have in common: photos, sentences, what is asked of a picture, the clock and the processes.
"""

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from sheet import spread, square

from stylemamba import StyleEncoder, StyleMambaPipeline
from stylemamba.datasets import read_pictures
from stylemamba.evaluation import TaughtJudge
from stylemamba.image_files import find_images, replacing
from stylemamba.judge import Judge
from stylemamba.metrics import efficientnet_content, ssim, to_tensor

# Sentence -> the judge's name for its style.
SENTENCES = {
    "an impressionist painting": "impressionism",
    "a cubist painting": "cubism",
    "a fauvist painting": "fauvism",
    "a ukiyo-e woodblock print": "ukiyo-e",
    "a pointillist painting": "pointillism",
    "pop art": "pop art",
    "a naive art painting": "naive art",
    "an abstract expressionist painting": "abstract expressionism",
    "a rococo painting": "rococo",
    "a Chinese ink painting": "chinese ink painting",
}


class Cell(NamedTuple):
    seed: int
    photo: int  # its number
    sentence: str

    @property
    def name(self) -> str:
        return f"{self.photo} | {self.sentence} | {self.seed}"


def order_of_cells(args) -> Iterator[Cell]:
    """In an order in which a run that is cut off has seen all photos and sentences alike, and few seeds."""
    sentences = list(SENTENCES)[: args.sentences]
    for seed, shift, index in itertools.product(range(args.seeds), range(len(sentences)), range(args.photos)):
        yield Cell(seed, index, sentences[(index + shift) % len(sentences)])


def add_arguments(parser: argparse.ArgumentParser, size: int, steps: int, seeds: int, cells: int | None) -> None:
    parser.add_argument("--coco", required=True, help="folder of COCO photos")
    parser.add_argument("--art", required=True, help="folder of labelled art, for the judge")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--cells", type=int, default=cells, help="at most so many; the first cover all photos and sentences")
    parser.add_argument("--size", type=int, default=size, help="side of the pictures, px; a multiple of 8")
    parser.add_argument("--steps", type=int, default=steps, help="of a training, at most")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, each in its own process with --threads threads")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", help="default: the bundled model")


class Measures:
    """What is asked of a picture: the judge's score, SSIM, content loss, and the style encoder's cosine."""

    def __init__(self, judge: TaughtJudge, encoder: StyleEncoder):
        self.device = encoder.model.device
        self.judge, self.content, self.encoder = judge.to(self.device), efficientnet_content(self.device), encoder

    @torch.no_grad()
    def of(self, picture: Image.Image, photo: Image.Image, sentence: str) -> dict[str, float]:
        shown, original = (to_tensor([image]).to(self.device) for image in (picture, photo))
        features = self.encoder.encode_image(shown)
        return {
            "score": self.judge.log_probability(picture, SENTENCES[sentence]),
            "ssim": ssim(shown, original).item(),
            "content": self.content.loss(self.content.maps(shown), self.content.maps(original)).item(),
            "optimised": (features @ self.encoder.encode_text([sentence]).T).item(),
        }


class Clock:
    """Seconds of a method's own work: what happens between `pause` and `resume` is not counted.

    CPU time with one thread, which other programs disturb less; time on the clock with more threads or on a GPU.
    """

    def __init__(self, device: str):
        self._wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        self._now = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        self.seconds = 0.0
        self.resume()

    def pause(self) -> float:
        self._wait()
        self.seconds += self._now() - self._started
        return self.seconds

    def resume(self) -> None:
        self._wait()
        self._started = self._now()


def teach_judge(art: str) -> TaughtJudge:
    return TaughtJudge(Judge, [p for p in read_pictures(art) if p.style in SENTENCES.values()])


def load(args) -> tuple[StyleMambaPipeline, list[Image.Image]]:
    torch.set_num_threads(args.threads)
    if args.device == "cuda":
        torch.set_float32_matmul_precision("high")  # tf32 for the baseline, which computes in fp32 where ours takes bfloat16
    pipe = StyleMambaPipeline.from_pretrained(args.model).to(args.device)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.vae, pipe.style_encoder):
        part.requires_grad_(False)
    return pipe, [square(path, args.size) for path in spread(find_images([args.coco]), args.photos)]


class Bench(NamedTuple):
    """What every cell of a process needs, loaded once."""

    args: argparse.Namespace
    pipe: StyleMambaPipeline
    photos: list[Image.Image]
    measures: Measures


def _start(args, judge: TaughtJudge) -> None:
    global _bench
    pipe, photos = load(args)
    _bench = Bench(args, pipe, photos, Measures(judge, StyleEncoder(pipe.style_encoder, pipe.tokenizer)))


def _work(function: Callable, task: tuple) -> tuple[tuple, object]:
    return task, function(_bench, *task)


def run(args, judge: TaughtJudge, function: Callable, tasks: Iterable[tuple]) -> Iterator[tuple[tuple, object]]:
    """``(task, function(bench, *task))`` of every task, as they get done, --jobs at a time."""
    with concurrent.futures.ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn"), _start, (args, judge)) as pool:
        for done in concurrent.futures.as_completed([pool.submit(_work, function, task) for task in tasks]):
            yield done.result()


def read_results(path: Path, settings: dict, anew: tuple[str, ...] = ()) -> dict:
    """What an earlier run of the same settings left, or nothing yet; the settings ``anew`` may be others than they were."""
    results = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    if results.setdefault("settings", settings) | {key: settings[key] for key in anew} != settings:
        raise SystemExit(f"{path} holds results of other settings ({results['settings']}); name another file.")
    return {**results, "settings": settings}


def save(path: Path, results: dict) -> None:
    with replacing(str(path)) as partial:
        partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
