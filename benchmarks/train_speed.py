"""Training on a style against CLIPstyler's method: how many iterations and seconds until the baseline's final score, at which content loss.

    PYTHONPATH=recipes python benchmarks/train_speed.py --coco FOLDER --art FOLDER --squeezenet FILE --results FILE.json
        [--photos 10] [--sentences 10] [--seeds 3] [--cells N] [--jobs 1] [--size 160] [--steps 100] [--threads 1] [--model FOLDER]
        [--sheet FILE.png] [--again] [--table]

A cell is one photo (a COCO photo's middle square), one sentence, one seed. In every cell both methods get the same photo, sentence, style
encoder and templates, and are looked at on their way. Each finished cell is written to the results, so a run that was killed goes on with
the same command; with more seeds it goes on too; --cells ends it after so many, and --jobs runs so many cells at a time, each in a process
of its own. The table is printed at the end, or at once with --table.

The style score is the judge's log-probability of the asked style. The judge (`stylemamba/judge.py`: EfficientNet-lite0 and a linear probe,
taught by real artworks of ten styles, a tenth of them held out to examine it) is optimised by neither method, and so are SSIM and its
content loss. It knows ten art styles and no others: for free sentences there is no independent judge without a downloaded CLIP, which
`stylemamba evaluate --clip` takes. The cosine of the style encoder, which both methods optimise, is stated beside it as such.

With one thread seconds are CPU time, which other programs disturb less; with more they are time on the clock. Looking is not counted.
"""

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from clipstyler import SCALE, STEPS, clipstyler, relative
from perceptual import SqueezeNetFeatures
from PIL import Image
from sheet import contact_sheet, spread, square

from stylemamba import StyleEncoder, StyleMambaPipeline
from stylemamba.datasets import read_pictures
from stylemamba.evaluation import TaughtJudge
from stylemamba.image_files import find_images, replacing
from stylemamba.judge import Judge
from stylemamba.metrics import efficientnet_content, load_vgg19, ssim, to_tensor
from stylemamba.style_file import base_hash

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
OURS_LOOKS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
BASELINE_LOOKS = (25, 50, 75, 100, 125, 150, 175)
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


class Measures:
    """What is asked of a picture: the judge's score, SSIM, content loss, and the style encoder's cosine."""

    def __init__(self, art: str, encoder: StyleEncoder):
        labelled = [p for p in read_pictures(art) if p.style in SENTENCES.values()]
        self.judge, self.content, self.encoder = TaughtJudge(Judge, labelled), efficientnet_content(), encoder

    @torch.no_grad()
    def of(self, picture: Image.Image, photo: Image.Image, sentence: str) -> dict[str, float]:
        shown, original = to_tensor([picture]), to_tensor([photo])
        return {
            "score": self.judge.log_probability(picture, SENTENCES[sentence]),
            "ssim": ssim(shown, original).item(),
            "content": self.content.loss(self.content.maps(shown), self.content.maps(original)).item(),
            "optimised": (self.encoder.encode_image(shown) @ self.encoder.encode_text([sentence]).T).item(),
        }


class Clock:
    """Seconds of a method's own work: what happens between `pause` and `resume` is not counted."""

    def __init__(self):
        self._now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        self.seconds, self._started = 0.0, self._now()

    def pause(self) -> float:
        self.seconds += self._now() - self._started
        return self.seconds

    def resume(self) -> None:
        self._started = self._now()


def train_ours(pipe, photo: Image.Image, other: Image.Image, sentence: str, seed: int, args, measures=None, **options):
    """`train_on_style` on one photo, with its defaults but for size and steps (and ``options``); what was seen on its way, and the picture.

    ``other`` is the further photo.
    """
    pipe.unload_style()
    curve = [] if measures is None else [{"step": 0, "seconds": 0.0, **measures.of(pipe(photo, sentence).images[0], photo, sentence)}]
    clock = Clock()

    def look(step: int, info: dict) -> None:
        seconds = clock.pause()
        if measures is not None and step in OURS_LOOKS:
            curve.append({"step": step, "seconds": seconds, **measures.of(info["preview"](), photo, sentence)})
        clock.resume()

    history = pipe.train_on_style(sentence, [photo], num_train_steps=args.steps, seed=seed, callback=look, size=args.size, **options)
    seconds = clock.pause()
    found = {"curve": curve, "steps": len(history), "seconds": seconds}
    if measures is not None:
        found["strengths"] = [{"strength": s, **measures.of(pipe(photo, strength=s).images[0], photo, sentence)} for s in STRENGTHS]
        times = []
        for _ in range(3):
            clock = Clock()
            pipe(other)
            times.append(clock.pause())
        found["further photo"] = min(times)
    picture = pipe(photo).images[0]
    pipe.unload_style()
    return found, picture


def to_picture(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((pixels[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy())


def train_baseline(pipe, photo: Image.Image, sentence: str, seed: int, args, measures=None, steps: int = STEPS):
    """`clipstyler` for one photo and sentence; what was seen on its way, and the picture."""
    encoder = StyleEncoder(pipe.style_encoder, pipe.tokenizer)
    with torch.no_grad():
        target, source = encoder.encode_text([sentence, "a photo"])
    pixels, curve = to_tensor([photo]), []
    clock = Clock()
    if args.vgg:
        network = load_vgg19(args.vgg)
    else:
        network = relative(SqueezeNetFeatures(args.squeezenet, (9, 12)), pixels, args.content_scale)

    def look(step: int, picture: torch.Tensor) -> None:
        seconds = clock.pause()
        if measures is not None and step - 1 in BASELINE_LOOKS:
            curve.append({"step": step - 1, "seconds": seconds, **measures.of(to_picture(picture), photo, sentence)})
        clock.resume()

    made = clipstyler(encoder.encode_image, target, source, network, pixels, seed=seed, steps=steps, callback=look)
    seconds = clock.pause()
    picture = to_picture(made)
    if measures is not None:
        curve.append({"step": steps, "seconds": seconds, **measures.of(picture, photo, sentence)})
    return {"curve": curve, "steps": steps, "seconds": seconds}, picture


def peak_memory(args, method: str) -> None:
    """Prints this process's peak resident memory, MB: with the model loaded, and after three steps of the method."""
    pipe, photos = load(args)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    loaded, args.steps = peak(), 3
    sentence = next(iter(SENTENCES))
    if method == "ours":
        train_ours(pipe, photos[0], photos[-1], sentence, 0, args)
    else:
        train_baseline(pipe, photos[0], sentence, 0, args, steps=3)
    print(json.dumps({"loaded": loaded, "peak": peak()}))


def first_reaching(curve: list[dict], score: float) -> dict | None:
    return next((look for look in curve if look["score"] >= score), None)


def at_content(cell: dict, content: float) -> float:
    """Our style score at a content loss: between the strengths on either side of it, the photo being strength 0."""
    points = sorted((p["content"], p["score"]) for p in [cell["photo"], *cell["ours"]["strengths"]])
    return float(np.interp(content, *zip(*points)))


def table(results: dict) -> str:
    cells = [cell for cell in results["cells"].values() if "ours" in cell and "baseline" in cell]
    finals = [(cell["ours"]["curve"][-1], cell["baseline"]["curve"][-1]) for cell in cells]
    reached = [first_reaching(cell["ours"]["curve"], base["score"]) for cell, (_, base) in zip(cells, finals)]
    own = [first_reaching(cell["baseline"]["curve"], base["score"]) for cell, (_, base) in zip(cells, finals)]
    median = lambda values: float(np.median([np.inf if v is None else v for v in values]))  # noqa: E731
    at = lambda looks, key: median([look and look[key] for look in looks])  # noqa: E731
    ours, base = zip(*finals)
    equal = [at_content(cell, look["content"]) for cell, look in zip(cells, base)]
    step = lambda method: median([cell[method]["seconds"] / cell[method]["steps"] for cell in cells])  # noqa: E731
    seconds = lambda method: median([cell[method]["seconds"] for cell in cells])  # noqa: E731
    rows = [
        ("iterations to the baseline's final score", at(reached, "step"), at(own, "step")),
        ("seconds to it", at(reached, "seconds"), at(own, "seconds")),
        ("iterations in all", median([c["ours"]["steps"] for c in cells]), STEPS),
        ("seconds in all", seconds("ours"), seconds("baseline")),
        ("seconds an iteration", step("ours"), step("baseline")),
        ("seconds for a further photo", median([cell["ours"]["further photo"] for cell in cells]), seconds("baseline")),
        ("style score, photo itself", *[median([cell["photo"]["score"] for cell in cells])] * 2),
        ("style score where the baseline's is reached", at(reached, "score"), at(base, "score")),
        ("content loss there", at(reached, "content"), at(base, "content")),
        ("SSIM there", at(reached, "ssim"), at(base, "ssim")),
        ("style score at the baseline's content loss", median(equal), at(base, "score")),
        ("style score, end of training", at(ours, "score"), at(base, "score")),
        ("content loss, end of training", at(ours, "content"), at(base, "content")),
        ("SSIM, end of training", at(ours, "ssim"), at(base, "ssim")),
        ("cosine of the encoder that is optimised", at(ours, "optimised"), at(base, "optimised")),
    ]
    rows += [(f"peak memory, {key}, MB", *(results["memory"][m][key] for m in ("ours", "baseline"))) for key in ("loaded", "peak")]
    lines = [f"medians over {len(cells)} cells (photos x sentences x seeds)", f"{'':45}{'ours':>12}{'CLIPstyler':>12}{'ratio':>9}"]
    for name, mine, theirs in rows:
        ratio = f"{theirs / mine:9.2f}" if mine > 0 and theirs > 0 else f"{'':9}"
        lines.append(f"{name:45}{mine:12.4g}{theirs:12.4g}{ratio}")
    share = lambda flags: f"{np.mean(flags):.0%}"  # noqa: E731
    lines += [
        "shares of cells:",
        f"  the baseline's final score is above the photo's: {share([b['score'] > c['photo']['score'] for b, c in zip(base, cells)])}",
        f"  we reach it: {share([look is not None for look in reached])}",
        f"  we reach it before any training: {share([look is not None and look['step'] == 0 for look in reached])}",
        f"  at its content loss our style score is higher: {share([e > b['score'] for e, b in zip(equal, base)])}",
    ]
    return "\n".join(lines)


def load(args) -> tuple[StyleMambaPipeline, list[Image.Image]]:
    pipe = StyleMambaPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.vae, pipe.style_encoder):
        part.requires_grad_(False)
    return pipe, [square(path, args.size) for path in spread(find_images([args.coco]), args.photos)]


def order_of_cells(args) -> Iterator[tuple[int, int, str]]:
    """(seed, photo, sentence), in an order in which a run that is cut off has seen all photos and sentences alike, and few seeds."""
    sentences = list(SENTENCES)[: args.sentences]
    for seed, shift, index in itertools.product(range(args.seeds), range(len(sentences)), range(args.photos)):
        yield seed, index, sentences[(index + shift) % len(sentences)]


def start_worker(args) -> None:
    """What every cell of a process needs, loaded once."""
    global pipe, photos, measures
    torch.set_num_threads(args.threads)
    pipe, photos = load(args)
    measures = Measures(args.art, StyleEncoder(pipe.style_encoder, pipe.tokenizer))


def run_cell(args, where: tuple[int, int, str], cell: dict) -> tuple[str, dict, dict, list[Image.Image]]:
    """The cell's name, the cell with what it lacked, the judge's settings, and the photo with the pictures made."""
    seed, index, sentence = where
    photo = photos[index]
    cell, row = cell or {"photo": measures.of(photo, photo, sentence)}, [photo]
    if "ours" not in cell:
        cell["ours"], picture = train_ours(pipe, photo, photos[(index + 1) % len(photos)], sentence, seed, args, measures)
        row.append(picture)
    if "baseline" not in cell:
        cell["baseline"], picture = train_baseline(pipe, photo, sentence, seed, args, measures)
        row.append(picture)
    return name_of(where), cell, measures.judge.settings, row


def name_of(where: tuple[int, int, str]) -> str:
    seed, index, sentence = where
    return f"{index} | {sentence} | {seed}"


def save(path: Path, results: dict) -> None:
    with replacing(str(path)) as partial:
        partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", required=True, help="folder of COCO photos")
    parser.add_argument("--art", required=True, help="folder of labelled art, for the judge")
    parser.add_argument("--squeezenet", help="SqueezeNet 1.0's weights, safetensors: the baseline's content network")
    parser.add_argument("--vgg", help="VGG19's weights instead")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--content-scale", type=float, default=SCALE, help="size of SqueezeNet's content loss; see clipstyler.relative")
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=int, help="stop after so many; the first cover all photos and sentences")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, each in its own process with --threads threads")
    parser.add_argument("--size", type=int, default=160, help="side of the pictures, px; a multiple of 8")
    parser.add_argument("--steps", type=int, default=100, help="of ours, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", help="default: the bundled model")
    parser.add_argument("--sheet", type=Path, help="writes photo, ours and the baseline's picture of the cells made in this run")
    parser.add_argument("--again", action="store_true", help="measures ours anew, after a change of it, and keeps what the baseline gave")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    parser.add_argument("--memory", choices=("ours", "baseline"), help=argparse.SUPPRESS)  # how the script asks itself in a fresh process
    args = parser.parse_args()
    if not (args.squeezenet or args.vgg):
        parser.error("name the baseline's content network with --squeezenet or --vgg")
    torch.set_num_threads(args.threads)
    if args.memory:
        return peak_memory(args, args.memory)

    results = json.loads(args.results.read_text()) if args.results.exists() else {"cells": {}}
    if args.again:
        for cell in results["cells"].values():
            cell.pop("ours", None)
        results.pop("memory", None)
    if not args.table:
        settings = {"photos": args.photos, "size": args.size, "threads": args.threads, "model": args.model, "vgg": args.vgg}
        settings["content scale"] = None if args.vgg else args.content_scale
        model = StyleMambaPipeline.from_pretrained(args.model)
        settings |= {part: base_hash(dict(getattr(model, part).named_parameters())) for part in ("style_encoder", "fusion")}
        if args.again:
            results["settings"]["fusion"] = settings["fusion"]
        if results.setdefault("settings", settings) != settings:
            raise SystemExit(f"{args.results} holds results of other settings ({results['settings']}); name another file.")
        if "memory" not in results:
            ask = [sys.executable, *sys.argv, "--memory"]
            results["memory"] = {m: json.loads(subprocess.check_output([*ask, m])) for m in ("ours", "baseline")}
        known, rows = results["cells"], {}
        lacking = lambda where: not {"ours", "baseline"} <= known.get(name_of(where), {}).keys()  # noqa: E731
        todo = filter(lacking, itertools.islice(order_of_cells(args), args.cells))
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(args.jobs, context, start_worker, (args,)) as pool:
            runs = [pool.submit(run_cell, args, where, known.get(name_of(where), {})) for where in todo]
            for run in concurrent.futures.as_completed(runs):
                name, cell, results["judge"], row = run.result()
                known[name], rows[name] = cell, row
                save(args.results, results)
                lasts = [cell[method]["curve"][-1] for method in ("ours", "baseline")]
                print(name, *(f"score {last['score']:.2f}, content loss {last['content']:.1f}" for last in lasts), sep=" | ", flush=True)
                if args.sheet:
                    contact_sheet(rows).save(args.sheet)
    print(table(results))


if __name__ == "__main__":
    main()
