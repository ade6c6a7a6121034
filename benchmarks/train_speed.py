"""Training on a style against CLIPstyler's method: how many iterations and seconds until the baseline's final score, at which content loss.

    PYTHONPATH=recipes python benchmarks/train_speed.py --coco FOLDER --art FOLDER --squeezenet FILE --results FILE.json
        [--photos 10] [--sentences 10] [--seeds 3] [--cells N] [--size 160] [--steps 100] [--jobs 1] [--threads 1] [--device cuda]
        [--model FOLDER] [--sheet FILE.png] [--again] [--table]

A cell is one photo (a COCO photo's middle square), one sentence, one seed. In every cell both methods get the same photo, sentence, style
encoder and templates, and are looked at on their way. Each finished cell is written to the results, so a run that was killed goes on with
the same command; with more seeds it goes on too; --cells ends it after so many, and --jobs runs so many cells at a time, each in a process
of its own. The table is printed at the end, or at once with --table.

The style score is the judge's log-probability of the asked style. The judge (`stylemamba/judge.py`: EfficientNet-lite0 and a linear probe,
taught by real artworks of ten styles, a tenth of them held out to examine it) is optimised by neither method, and so are SSIM and its
content loss. It knows ten art styles and no others: for free sentences there is no independent judge without a downloaded CLIP, which
`stylemamba evaluate --clip` takes. The cosine of the style encoder, which both methods optimise, is stated beside it as such.

With one thread seconds are CPU time, which other programs disturb less; with more, or on a GPU, they are time on the clock. Looking is not
counted. Jobs beside each other slow each other down, both methods alike.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from cells import SENTENCES, Bench, Cell, Clock, add_arguments, load, order_of_cells, read_results, run, save, teach_judge
from clipstyler import SCALE, STEPS, clipstyler, relative
from perceptual import SqueezeNetFeatures
from PIL import Image
from sheet import contact_sheet, digest_of

from stylemamba import StyleEncoder, StyleMambaPipeline
from stylemamba.metrics import load_vgg19, to_tensor
from stylemamba.style_file import base_hash

OURS_LOOKS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
BASELINE_LOOKS = (25, 50, 75, 100, 125, 150, 175)
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


def train_ours(pipe, photo: Image.Image, other: Image.Image, sentence: str, seed: int, args, measures=None, **options):
    """`train_on_style` on one photo, with its defaults but for size and steps (and ``options``); what was seen on its way, and the picture.

    ``other`` is the further photo.
    """
    pipe.unload_style()
    curve = [] if measures is None else [{"step": 0, "seconds": 0.0, **measures.of(pipe(photo, sentence).images[0], photo, sentence)}]
    clock = Clock(args.device)

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
            clock = Clock(args.device)
            pipe(other)
            times.append(clock.pause())
        found["further photo"] = min(times)
    picture = pipe(photo).images[0]
    pipe.unload_style()
    return found, picture


def to_picture(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((pixels[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().cpu().numpy())


def train_baseline(pipe, photo: Image.Image, sentence: str, seed: int, args, measures=None, steps: int = STEPS):
    """`clipstyler` for one photo and sentence; what was seen on its way, and the picture."""
    encoder = StyleEncoder(pipe.style_encoder, pipe.tokenizer)
    with torch.no_grad():
        target, source = encoder.encode_text([sentence, "a photo"])
    pixels, curve = to_tensor([photo]).to(args.device), []
    clock = Clock(args.device)
    if args.vgg:
        network = load_vgg19(args.vgg).to(args.device)
    else:
        network = relative(SqueezeNetFeatures(args.squeezenet, (9, 12)).to(args.device), pixels, args.content_scale)

    before = 0.0  # seconds when the step before ended: a step is called back with the picture that it began with

    def look(step: int, picture: torch.Tensor) -> None:
        nonlocal before
        seconds = clock.pause()
        if measures is not None and step - 1 in BASELINE_LOOKS:
            curve.append({"step": step - 1, "seconds": before, **measures.of(to_picture(picture), photo, sentence)})
        before = seconds
        clock.resume()

    made = clipstyler(encoder.encode_image, target, source, network, pixels, seed=seed, steps=steps, callback=look)
    seconds = clock.pause()
    picture = to_picture(made)
    if measures is not None:
        curve.append({"step": steps, "seconds": seconds, **measures.of(picture, photo, sentence)})
    return {"curve": curve, "steps": steps, "seconds": seconds}, picture


def peak_memory(args, method: str) -> None:
    """Prints this process's peak memory, MB, resident or the GPU's: with the model loaded, and after three steps of the method."""
    pipe, photos = load(args)
    resident = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    peak = resident if args.device == "cpu" else lambda: torch.cuda.max_memory_allocated() / 2**20
    loaded, args.steps = peak(), 3
    sentence = next(iter(SENTENCES))
    if method == "ours":
        train_ours(pipe, photos[0], photos[-1], sentence, 0, args)
    else:
        train_baseline(pipe, photos[0], sentence, 0, args, steps=3)
    print(json.dumps({"loaded": loaded, "peak": peak()}))


def looks_of(ours: dict) -> list[dict]:
    """What was seen on the way of `train_ours`, and of its end, which an early stop may have put between two looks."""
    curve = ours["curve"]
    if curve[-1]["step"] == ours["steps"]:
        return curve
    end = next(look for look in ours["strengths"] if look["strength"] == 1)
    return [*curve, {**end, "step": ours["steps"], "seconds": ours["seconds"]}]


def first_reaching(curve: list[dict], score: float) -> dict | None:
    return next((look for look in curve if look["score"] >= score), None)


def at_content(cell: dict, content: float) -> float:
    """Our style score at a content loss: between the strengths on either side of it, the photo being strength 0."""
    points = sorted((p["content"], p["score"]) for p in [cell["photo"], *cell["ours"]["strengths"]])
    return float(np.interp(content, *zip(*points)))


def table(results: dict) -> str:
    cells = [cell for cell in results["cells"].values() if "ours" in cell and "baseline" in cell]
    if not cells:
        return "no cell is finished yet"
    finals = [(looks_of(cell["ours"])[-1], cell["baseline"]["curve"][-1]) for cell in cells]
    reached = [first_reaching(looks_of(cell["ours"]), base["score"]) for cell, (_, base) in zip(cells, finals)]
    own = [first_reaching(cell["baseline"]["curve"], base["score"]) for cell, (_, base) in zip(cells, finals)]
    median = lambda values: float(np.median([np.inf if v is None else v for v in values]))  # noqa: E731
    at = lambda looks, key: median([look and look[key] for look in looks])  # noqa: E731
    ours, base = zip(*finals)
    # How good a picture is where the score is reached can be said of cells that reach it only; how long it takes, of all.
    reaching = [(look, end, other) for look, (end, other) in zip(reached, finals) if look]
    there, their_ends, others = zip(*reaching) if reaching else ((), (), ())
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
        ("where the baseline's is reached: style score", at(there, "score"), at(others, "score")),
        ("  content loss", at(there, "content"), at(others, "content")),
        ("  SSIM", at(there, "ssim"), at(others, "ssim")),
        ("  style score of these, end of training", at(their_ends, "score"), at(others, "score")),
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


def measure(bench: Bench, cell: Cell, known: dict) -> tuple[dict, list[Image.Image]]:
    """What is ``known`` of a cell with what it lacked; the photo with the pictures made."""
    args, pipe, photos, measures = bench
    photo, other = photos[cell.photo], photos[(cell.photo + 1) % len(photos)]
    found, row = known or {"photo": measures.of(photo, photo, cell.sentence)}, [photo]
    if "ours" not in found:
        found["ours"], picture = train_ours(pipe, photo, other, cell.sentence, cell.seed, args, measures)
        row.append(picture)
    if "baseline" not in found:
        found["baseline"], picture = train_baseline(pipe, photo, cell.sentence, cell.seed, args, measures)
        row.append(picture)
    return found, row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, size=160, steps=100, seeds=3, cells=None)
    parser.add_argument("--squeezenet", help="SqueezeNet 1.0's weights, safetensors: the baseline's content network")
    parser.add_argument("--vgg", help="VGG19's weights instead")
    parser.add_argument("--content-scale", type=float, default=SCALE, help="size of SqueezeNet's content loss; see clipstyler.relative")
    parser.add_argument("--sheet", type=Path, help="writes photo, ours and the baseline's picture of the cells made in this run")
    parser.add_argument("--again", action="store_true", help="measures ours anew, after a change of it, and keeps what the baseline gave")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    parser.add_argument("--memory", choices=("ours", "baseline"), help=argparse.SUPPRESS)  # how the script asks itself in a fresh process
    args = parser.parse_args()
    if args.table:
        return print(table(json.loads(args.results.read_text())))
    if not (args.squeezenet or args.vgg):
        parser.error("name the baseline's content network with --squeezenet or --vgg")
    if args.memory:
        return peak_memory(args, args.memory)

    settings = {"photos": args.photos, "size": args.size, "threads": args.threads, "model": args.model, "vgg": args.vgg}
    settings |= {"steps": args.steps, "pictures": digest_of(args.coco, args.art)}
    settings |= {"device": args.device, "jobs": args.jobs, "content scale": None if args.vgg else args.content_scale}
    model = StyleMambaPipeline.from_pretrained(args.model)
    settings |= {part: base_hash(dict(getattr(model, part).named_parameters())) for part in ("style_encoder", "fusion")}
    results = read_results(args.results, settings, anew=("fusion",) if args.again else ())
    if args.again:  # the baseline's half is the same for every fusion
        for cell in results["cells"].values():
            cell.pop("ours", None)
        results.pop("memory", None)
    if "memory" not in results:
        ask = [sys.executable, *sys.argv, "--memory"]
        results["memory"] = {m: json.loads(subprocess.check_output([*ask, m])) for m in ("ours", "baseline")}
    known, rows, judge = results["cells"], {}, teach_judge(args.art)
    results["judge"] = judge.settings
    asked = [(cell, known.get(cell.name, {})) for cell in itertools.islice(order_of_cells(args), args.cells)]
    for (cell, _), (found, row) in run(args, judge, measure, [task for task in asked if not {"ours", "baseline"} <= task[1].keys()]):
        known[cell.name], rows[cell.name] = found, row
        save(args.results, results)
        lasts = [looks_of(found["ours"])[-1], found["baseline"]["curve"][-1]]
        print(cell.name, *(f"score {last['score']:.2f}, content loss {last['content']:.1f}" for last in lasts), sep=" | ", flush=True)
        if args.sheet:
            contact_sheet(rows).save(args.sheet)
    print(table(results))


if __name__ == "__main__":
    main()
