"""The command line: ``stylemamba stylize | train | evaluate | info | styles``.

Results go to stdout (paths, JSON, or the picture itself), everything else to stderr. A user's mistake is one sentence and exit code 2,
Ctrl-C is exit code 130. Heavy imports happen inside the commands, so that help and mistakes answer at once.
"""

import codecs
import contextlib
import gc
import io
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from . import __version__
from .errors import StyleMambaError

app = typer.Typer(
    name="stylemamba",
    help="Gives any photo the style that a sentence describes.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MISTAKE, INTERRUPTED = 2, 130


def _named(parameter: typer.CallbackParam, value: Any) -> Any:
    """Refuses an empty name, such as an unset variable of the shell gives: as a path it would be the current folder."""
    if value == "" or (isinstance(value, list) and "" in value):
        what = "The input" if parameter.param_type_name == "argument" else parameter.opts[-1]
        raise StyleMambaError(f"{what} is an empty name; name a file or a folder.")
    return value


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FOLDER",
        callback=_named,
        help="A folder made by save_pretrained, or a hub id; by default the bundled model.",
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1, mps ...; by default the fastest there is.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Draws a slightly different picture, the same for the same seed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class _Stopped(Exception):
    """Ctrl-C, with a sentence that says what was kept."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line (``sys.argv`` by default) and returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path is printed as it is, if it is no UTF-8 as well; to a console that lacks its signs, by their numbers.
        sys.stdout.reconfigure(errors="surrogateescape" if _takes_unicode() else "backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' deprecations are for developers
            result = app(args=arguments, prog_name="stylemamba", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except StyleMambaError as error:
        return _complain(str(error), MISTAKE)
    except _Stopped as stop:
        return _complain(str(stop), INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("Interrupted.", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has left: nobody is there to be told
        _discard_stdout()
        return 1
    except OSError as error:
        try:
            print(flush=True)
        except OSError:  # once more: it was stdout's
            _discard_stdout()
            return _complain(f"stdout could not be written ({error.strerror}); check the free space where it goes.", MISTAKE)
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's usage errors have it; their classes moved between versions
            raise
        message = error.format_message().rstrip(".")  # empty where help was printed instead
        context = getattr(error, "ctx", None)
        command = "stylemamba" if context is None else context.command_path
        return _complain(f"{message}; see `{command} --help`.", MISTAKE) if message else MISTAKE


def _takes_unicode() -> bool:
    return codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"


def _discard_stdout() -> None:
    """What could not be written is not tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)] = False,
) -> None:
    pass


@app.command()
def stylize(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", callback=_named, help="Photos, folders of photos, or - for stdin.")],
    style: Annotated[
        list[str] | None, typer.Option("--style", "-s", metavar="TEXT", help='The style in words: "a Monet painting".')
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            callback=_named,
            help="A file, a folder for several photos, or - for stdout; by default NAME-STYLE.png in the current folder.",
        ),
    ] = None,
    strength: Annotated[float, typer.Option(min=0, max=3, help="0 is the photo, 1 the style, more exaggerates.")] = 1.0,
    model: Model = None,
    style_file: Annotated[
        str | None, typer.Option(metavar="FILE", callback=_named, help="In place of --style: a style trained with `stylemamba train`.")
    ] = None,
    style_image: Annotated[str | None, typer.Option(metavar="FILE", callback=_named, help="A picture whose style is taken.")] = None,
    style_image_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Beside --style, the picture's share: 0 is the words alone, 1 the picture alone, by default 0.5."),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(min=32, metavar="PIXELS", help="The shorter side at which the style is made: larger strokes, less time."),
    ] = None,
    seed: Seed = None,
    device: Device = None,
    as_json: AsJson = False,
) -> int:
    """Stylises photos.

    Prints the paths of the pictures it writes. It never replaces an input, turns photos upright, keeps transparency (PNG, WebP, TIFF) and
    carries no metadata over.
    """
    from . import image_files
    from .images import load_image

    prompt = _one_style(style, style_file, style_image)
    if style_image_weight is None:
        style_image_weight = 0.5
    elif prompt is None or style_image is None:
        raise StyleMambaError("--style-image-weight is between --style and --style-image; give both, or leave it out.")
    shown = None if style_image is None else load_image(style_image)
    images = image_files.find_images(inputs)
    names = [prompt, *(path and os.path.splitext(os.path.basename(path))[0] for path in (style_file, style_image))]
    label = "-".join(image_files.slug(name) for name in names if name)
    outputs = image_files.name_outputs(images, output, label, many=len(images) > 1 or any(os.path.isdir(item) for item in inputs))
    if style_image is not None:
        for path in outputs:
            image_files.check_not_input(path, [style_image])
    to_stdout = outputs == [image_files.STREAM]
    if to_stdout and as_json:
        raise StyleMambaError("--json and the picture cannot both go to stdout; name a file with -o.")
    if to_stdout and sys.stdout is None:
        raise StyleMambaError("stdout is closed; name a file with -o.")
    if to_stdout and sys.stdout.isatty():
        raise StyleMambaError("The picture would go to the terminal; name a file with -o or redirect stdout.")

    done, failed = [], []
    with _interruptible(lambda: f"{len(done)} of {len(images)} pictures were finished."):
        photos = _load_in_turn(images)
        if len(images) == 1:
            photos = iter([next(photos)])  # a mistake in the only photo shows before the model is loaded
        pipe = _load_pipeline(model, device, style_file)
        with _progress("Stylising", len(images)) as show:
            for count, (image, out, photo) in enumerate(zip(images, outputs, photos), start=1):
                started = time.perf_counter()
                try:
                    if isinstance(photo, StyleMambaError):
                        raise photo
                    picture, alpha = photo
                    image_files.check_size(picture.size, out)
                    with _memory_errors(image):
                        result = pipe(
                            picture,
                            prompt,
                            strength,
                            style_image=shown,
                            style_image_weight=style_image_weight,
                            resolution=resolution,
                            generator=_generator(seed),
                        ).images[0]
                    image_files.write_image(result, alpha, out)
                except StyleMambaError as error:
                    if len(images) == 1:
                        raise
                    failed.append({"input": image, "error": str(error)})
                    _complain(str(error), MISTAKE)  # the other photos go on
                else:
                    seconds = round(time.perf_counter() - started, 3)
                    done.append({"input": image, "output": out, "width": result.width, "height": result.height, "seconds": seconds})
                    if not to_stdout and not as_json:
                        print(out, flush=True)
                show(count, image)
    if as_json:
        used = {"style": prompt or style_image or pipe.style["prompt"], "strength": strength, "resolution": resolution}
        used |= {"seed": seed, "device": str(pipe.device)}
        sources = {"style_file": style_file, "style_image": style_image}
        sources |= {"style_image_weight": style_image_weight if prompt and style_image else None}
        used |= {key: value for key, value in sources.items() if value is not None}
        _print_json({**used, "images": done, "failed": failed})
    return MISTAKE if failed else 0


@app.command()
def train(
    text: Annotated[str, typer.Argument(metavar="TEXT", help='The style in words: "a Monet painting".')],
    images: Annotated[str, typer.Option("--images", metavar="DIR", callback=_named, help="A folder of photos to train on, or one photo.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="STYLE.safetensors", callback=_named, help="The style file to write.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps at most; it ends when the style score has settled.")] = 100,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help=(
                "Go on from the state that an earlier run left beside the style file; "
                "with another --steps, the learning rate follows the new number's schedule."
            ),
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Makes a run repeatable.")] = 0,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
) -> int:
    """Trains a style on photos of your own and writes it to a style file for `stylize --style-file`.

    Ctrl-C writes the style as it is by then. The state for --resume is kept beside it as STYLE.state.safetensors; a run without --resume
    starts anew.
    """
    from . import image_files

    text = text.strip()
    if not text:
        raise StyleMambaError('The style is empty; describe it in words, for example "a Monet painting".')
    if not output.endswith(".safetensors"):
        raise StyleMambaError(f"{output}: style files are safetensors; end the name in .safetensors.")
    photos = image_files.find_images([images])
    state = output.removesuffix(".safetensors") + ".state.safetensors"
    for path in (output, state):
        image_files.check_writable(path)
    if resume and not os.path.exists(state):
        raise StyleMambaError(f"There is no state to go on from at {state}; train once without --resume.")

    pipe = None

    def saved() -> str | None:
        """What was written of a training that has begun."""
        if pipe is None or not (pipe.style and pipe.style["steps"]):
            return None
        pipe.save_style(output)
        return f"the style after {pipe.style['steps']} steps is in {output}"

    def kept() -> str:
        what = saved()
        return f"{what}; go on with --resume." if what else "nothing was written."

    started, new = time.perf_counter(), 0
    with _interruptible(kept):
        pipe = _load_pipeline(model, device)
        try:
            with _progress("Training", steps) as show, _memory_errors(images):

                def shown(step: int, info: dict) -> None:
                    nonlocal new
                    new += 1
                    show(step, f"loss {info['losses']['total']:.4f}")

                history = pipe.train_on_style(
                    text,
                    photos,
                    name=os.path.basename(output).removesuffix(".safetensors"),
                    num_train_steps=steps,
                    seed=seed,
                    callback=shown,
                    checkpoint_path=state,
                    resume=resume,
                )
        except StyleMambaError as error:  # a full disk, for which the state is too large, may have room for the style
            what = saved()
            raise StyleMambaError(f"{str(error).rstrip('.')}; {what} all the same." if what else str(error)) from error
        pipe.save_style(output)
    if not new:
        done = len(history)
        why = "give more than that with --steps" if done >= steps else "its style score has settled, and more would change little"
        print(f"stylemamba: {output} has {done} steps already; {why}.", file=sys.stderr)
    if as_json:
        seconds = round(time.perf_counter() - started, 3)
        facts = {key: value for key, value in pipe.style.items() if key != "preview"}
        _print_json({**facts, "output": output, "state": state, "seconds": seconds, "history": history})
    else:
        print(output)
    return 0


@app.command()
def evaluate(
    images: Annotated[
        str,
        typer.Option(
            "--images", metavar="DIR", callback=_named, help="A folder of photos, in COCO's or WikiArt's layout or with an index.csv."
        ),
    ],
    styles: Annotated[
        str,
        typer.Option(
            "--styles",
            metavar="FILE",
            callback=_named,
            help="A text file: a sentence or a style file a line, then perhaps | and its label.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="REPORT", callback=_named, help="The folder for report.json, report.csv, report.html."),
    ],
    count: Annotated[int, typer.Option(min=0, help="So many photos, evenly spread over the folder; 0 takes all.")] = 0,
    size: Annotated[int, typer.Option(min=32, help="Photos with a longer side are scaled down to it, px.")] = 512,
    strength: Annotated[float, typer.Option(min=0, max=3, help="0 is the photo, 1 the style, more exaggerates.")] = 1.0,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            callback=_named,
            help="The CLIP or SigLIP folder or hub id of the CLIP score; 'own' is the encoder that styles are optimised with.",
        ),
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A text for the CLIP score with {} for the sentence; may be repeated.")
    ] = None,
    vgg: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            callback=_named,
            help="VGG19's weights for the content loss: a file, torchvision or timm; else EfficientNet-lite0.",
        ),
    ] = None,
    art: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", callback=_named, help="Labelled artworks in WikiArt's layout: a judge learns them and names the styles."
        ),
    ] = None,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
) -> int:
    """Measures the model on photos and styles, and writes a report with every setting.

    CLIP score, SSIM, content loss, and how often a judge names the style. Prints the paths of the report's files.
    """
    from . import datasets, image_files

    if template and clip is None:
        raise StyleMambaError("--template is for the CLIP score; name a checkpoint with --clip, or leave it out.")
    chosen, photos = datasets.read_styles(styles), datasets.read_pictures(images)
    artworks = datasets.read_pictures(art) if art is not None else None
    if os.path.isfile(output):
        raise StyleMambaError(f"{output} is a file; name a folder for the report's three files.")
    image_files.check_writable(os.path.join(output, "report.json") if os.path.isdir(output) else output)
    if count and count < len(photos):
        photos = [photos[index * len(photos) // count] for index in range(count)]

    from . import evaluation, metrics, report
    from .judge import Judge

    done = 0
    with _interruptible(lambda: f"{done} of {len(photos) * len(chosen)} pictures were measured, no report was written."):
        pipe = _load_pipeline(model, device)
        content = metrics.vgg19_content(vgg, pipe.device) if vgg is not None else metrics.efficientnet_content(pipe.device)
        clip_score = metrics.ClipScore(clip, pipe, template or ["{}"]) if clip is not None else None
        judge = evaluation.TaughtJudge(Judge, artworks) if artworks is not None else None  # last, as it learns for minutes
        with _progress("Evaluating", len(photos) * len(chosen)) as show, _memory_errors("A photo"):

            def count_up(finished: int, text: str) -> None:
                nonlocal done
                done = finished
                show(finished, text)

            found = evaluation.evaluate(
                pipe, photos, chosen, content, clip=clip_score, judge=judge, size=size, strength=strength, progress=count_up
            )
        paths = report.write_report(found, output)
    for reason in found.skipped.values():
        _complain(f"left out: {reason}", MISTAKE)
    if as_json:
        _print_json({**report.as_dict(found), "files": [str(path) for path in paths]})
    else:
        print(*paths, sep="\n")
    return 0


@app.command()
def info(model: Model = None, device: Device = None, as_json: AsJson = False) -> int:
    """Shows versions, the device, and the model's parts."""
    import importlib.util
    import platform

    import diffusers
    import torch
    import transformers

    pipe = _load_pipeline(model, device)
    parts = {}
    for name, part in pipe.components.items():
        parts[name] = {"class": type(part).__name__}
        if isinstance(part, torch.nn.Module):
            parts[name] |= {"parameters": sum(p.numel() for p in part.parameters()), "dtype": str(part.dtype).removeprefix("torch.")}
    report = {
        "stylemamba": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "device": str(pipe.device),
        "mamba-ssm": importlib.util.find_spec("mamba_ssm") is not None,
        "model": model or "bundled",
        "parts": parts,
        "parameters": sum(part.get("parameters", 0) for part in parts.values()),
        "fusion": {key: value for key, value in pipe.fusion.config.items() if not key.startswith("_")},
        "code licence": "Apache-2.0",
    }
    if as_json:
        _print_json(report)
        return 0
    for key, value in report.items():
        if key == "parts":
            for name, part in value.items():
                count = f"{part['parameters']:>12,} parameters, {part['dtype']}" if "parameters" in part else ""
                print(f"  {name:<13} {part['class']:<22}{count}".rstrip())
        elif key == "fusion":
            print("fusion         " + ", ".join(f"{name}={setting}" for name, setting in value.items()))
        else:
            shown = {True: "installed", False: "not installed (optional)"}[value] if isinstance(value, bool) else value
            print(f"{key:<14} {shown:,}" if isinstance(shown, int) else f"{key:<14} {shown}")
    return 0


@app.command()
def styles(as_json: AsJson = False) -> int:
    """Lists the styles that the bundled model was taught; any other wording works by its meaning."""
    from importlib.resources import files

    vocabulary = json.loads(files(__package__).joinpath("styles.json").read_text(encoding="utf-8"))
    if as_json:
        _print_json(vocabulary)
        return 0
    groups: dict[str, list[str]] = {}
    for entry in vocabulary:
        groups.setdefault(entry["group"], []).append(entry["name"])
    for group, names in groups.items():
        print(f"{group}: {', '.join(names)}")
    return 0


def _one_style(style: list[str] | None, style_file: str | None, style_image: str | None) -> str | None:
    if style and len(style) > 1:
        raise StyleMambaError("--style was given more than once; describe the style in one sentence, or run once for each.")
    if style and not style[0].strip():
        raise StyleMambaError('--style is empty; describe the style in words, for example --style "a Monet painting".')
    if not style and style_file is None and style_image is None:
        raise StyleMambaError('No style was given; add --style "a Monet painting", --style-image PICTURE or --style-file FILE.')
    if style_file is not None and (style or style_image is not None):
        other = "--style" if style else "--style-image"
        raise StyleMambaError(f"--style-file is a style of its own and takes no {other} beside it; leave one of them out.")
    if style_file is not None and not os.path.isfile(style_file):
        raise StyleMambaError(f"{style_file}: no such style file; check the path, or train one with `stylemamba train`.")
    return style[0].strip() if style else None


def _load_in_turn(images: list[str]) -> Iterator[tuple | StyleMambaError]:
    """Each photo with its transparency, read when its turn comes; in place of an unreadable one among many, the error."""
    from .images import load_image_and_alpha

    for image in images:
        try:
            yield load_image_and_alpha(_read_stdin(), "stdin") if image == "-" else load_image_and_alpha(image)
        except StyleMambaError as error:
            if len(images) == 1:
                raise
            yield error


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise StyleMambaError("stdin is closed; send a picture to it, or name a file.")
    return sys.stdin.buffer.read()


def _load_pipeline(model: str | None, device: str | None, style_file: str | None = None):
    # Read by torch when it allocates for the first time: large pages spare most of the page faults that large photos cost on Linux.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with _without_collection():
        import torch
        from diffusers.utils import logging as diffusers_logging
        from safetensors import SafetensorError
        from transformers.utils import logging as transformers_logging

        from .pipeline import StyleMambaPipeline

    for chatter in (diffusers_logging, transformers_logging):
        chatter.disable_progress_bar()
        chatter.set_verbosity_error()
    if device is None:
        device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise StyleMambaError(f"The device {device} is not usable here; choose another with --device, for example --device cpu.") from error
    try:
        with _memory_errors("The model"):
            pipe = StyleMambaPipeline.from_pretrained(model)
    except StyleMambaError:
        raise
    # What the hub's client and the model loaders raise for missing, private, foreign or damaged files.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        where = "" if model is None or os.path.isdir(model) else "is no folder here and "
        raise StyleMambaError(
            f"The model {model or '(bundled)'} {where}could not be loaded ({reason}); name a folder made by save_pretrained."
        ) from error
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    if style_file is not None:
        pipe.load_style(style_file)
    return pipe


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage collection while modules are imported: they leave hardly any, and looking for it takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what the modules hold stays until the end; later collections need not look at it
        gc.enable()


def _generator(seed: int | None):
    """A fresh generator for each photo, on the CPU: the same seed gives the same picture on every device and in any company."""
    if seed is None:
        return None
    import torch

    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def _memory_errors(name: str) -> Iterator[None]:
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or re.search("allocate memory|out of memory", str(error)):
            raise StyleMambaError(f"{name} needs more memory than there is; choose a smaller one or another --device.") from error
        raise


def _is_terminal(stream: io.TextIOBase | None) -> bool:
    return stream is not None and stream.isatty()  # none where it was closed before the start


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on stderr when that is a terminal; gives a function that shows how much is done and a word on it."""
    if not _is_terminal(sys.stderr):
        yield lambda completed, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=_is_terminal(sys.stdout)) as bar:
        task = bar.add_task("", total=total)
        yield lambda completed, text: bar.update(task, completed=completed, description=text)


@contextlib.contextmanager
def _interruptible(kept: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise _Stopped(f"Interrupted: {kept()}") from None


def _complain(sentence: str, code: int) -> int:
    print(f"stylemamba: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    return code


def _print_json(value: Any) -> None:
    # A file's name may be no UTF-8, or have signs that the console lacks: as JSON escapes them.
    print(json.dumps(value, ensure_ascii=not _takes_unicode(), indent=2).encode(errors="backslashreplace").decode())
