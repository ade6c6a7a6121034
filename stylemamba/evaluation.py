"""Evaluation: photos x styles, stylised and measured, with every setting that the figures depend on."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from . import __version__
from .datasets import Picture, Style
from .errors import StyleMambaError
from .images import load_image
from .metrics import SMALLEST, ClipScore, ContentFeatures, ssim, to_tensor
from .style_file import base_hash, read_style

if TYPE_CHECKING:
    from .judge import Judge
    from .pipeline import StyleMambaPipeline

MEASURES = ("clip_score", "clip_score_photo", "ssim", "content_loss", "judge_top1", "judge_top3", "seconds")
LEAST_ARTWORKS = 20  # of a style, for the judge to learn it and to be examined on it
MOST_ARTWORKS = 100


@dataclass
class Evaluation:
    """What `evaluate` found.

    Attributes:
        settings: everything that the figures depend on, nested dicts of plain values.
        rows: one dict a picture: ``photo``, ``style``, and a number for each of `MEASURES` (None where it was not measured).
        skipped: photos that could not be read or are too small to be measured, each with the reason.
        shown: ``(photo's name, photo, pictures in the order of the styles)`` of the first photos.
    """

    settings: dict
    rows: list[dict] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    shown: list[tuple[str, Image.Image, list[Image.Image]]] = field(default_factory=list)

    def summary(self) -> list[dict]:
        """One dict a style, the last one over all: ``style``, ``pictures``, and ``mean`` and ``deviation`` of each measure."""
        names = [*dict.fromkeys(row["style"] for row in self.rows)]
        found = [_summarise(name, [row for row in self.rows if row["style"] == name]) for name in names]
        return [*found, _summarise("all", self.rows)]


def _summarise(name: str, rows: list[dict]) -> dict:
    summary = {"style": name, "pictures": len(rows)}
    for measure in MEASURES:
        values = [row[measure] for row in rows if row[measure] is not None]
        summary[measure] = (
            {"mean": statistics.fmean(values), "deviation": statistics.pstdev(values), "pictures": len(values)} if values else None
        )
    return summary


class TaughtJudge:
    """A judge that has learned the styles of a folder of labelled artworks, and was examined on those that it did not see.

    Args:
        judge: makes a judge of the given style names.
        pictures: labelled pictures; styles with less than twenty are left out, of others at most a hundred are learned from.

    Raises:
        StyleMambaError: when there are not two such styles.
    """

    def __init__(self, judge: "Callable[[list[str]], Judge]", pictures: Sequence[Picture]):
        by_style: dict[str, list[Picture]] = {}
        for picture in pictures:
            by_style.setdefault(picture.style, []).append(picture)
        by_style = {style: own for style, own in sorted(by_style.items()) if style and len(own) >= LEAST_ARTWORKS}
        by_style = {style: own for style, own in by_style.items() if 0 < sum(p.held_out for p in own) < len(own)}
        if len(by_style) < 2:
            raise StyleMambaError(f"The judge needs two styles or more with {LEAST_ARTWORKS} pictures each; name a larger folder of art.")
        self.styles = list(by_style)
        self._judge = judge(self.styles)
        taught = [(p, style) for style, own in by_style.items() for p in _spread([p for p in own if not p.held_out])]
        asked = [(p, style) for style, own in by_style.items() for p in _spread([p for p in own if p.held_out])]
        self._judge.fit(self._features([p for p, _ in taught]), [style for _, style in taught])
        places = self._places(self._features([p for p, _ in asked]), [style for _, style in asked])
        self.settings = {
            "judge": "logistic regression on channel means and deviations of EfficientNet-lite0's stages, pictures squeezed to 224 x 224",
            "styles": self.styles,
            "learned from": len(taught),
            "held-out artworks (SHA-1 of the file name, first byte, modulo 10, is 0)": len(asked),
            "right on held-out artworks, first": float(np.mean(places < 1)),
            "right on held-out artworks, among the first three": float(np.mean(places < 3)),
        }

    def to(self, device: str | torch.device) -> "TaughtJudge":
        self._judge.to(device)
        return self

    def _features(self, pictures: list[Picture]) -> np.ndarray:
        found = [
            self._judge.features([load_image(p.path) for p in pictures[start : start + 16]])[0] for start in range(0, len(pictures), 16)
        ]
        return np.concatenate(found)

    def _places(self, features: np.ndarray, asked: list[str]) -> np.ndarray:
        """0 where the asked style is the judge's first guess, 1 where it is the second ..."""
        order = np.argsort(-self._judge.scores(features), axis=1)
        return np.array([list(row).index(self.styles.index(style)) for row, style in zip(order, asked)])

    def log_probability(self, picture: Image.Image, style: str) -> float:
        """Of a style among those that the judge learned: not above 0, the higher the more the picture shows it."""
        probabilities = self._judge.scores(self._judge.features([picture])[0])[0]
        return float(np.log(max(probabilities[self.styles.index(style)], 1e-12)))

    def place(self, picture: Image.Image, style: str) -> int:
        return int(self._places(self._judge.features([picture])[0], [style])[0])


def _spread(pictures: list[Picture]) -> list[Picture]:
    count = min(len(pictures), MOST_ARTWORKS)
    return [pictures[index * len(pictures) // count] for index in range(count)]


def evaluate(
    pipe: "StyleMambaPipeline",
    photos: Sequence[Picture],
    styles: Sequence[Style],
    content: ContentFeatures,
    *,
    clip: ClipScore | None = None,
    judge: TaughtJudge | None = None,
    size: int = 512,
    strength: float = 1.0,
    shown: int = 12,
    progress: Callable[[int, str], None] = lambda done, text: None,
) -> Evaluation:
    """Stylises every photo in every style and measures the pictures.

    Args:
        photos: what to stylise.
        styles: sentences, or style files trained on this pipeline's model.
        content: the network of the content loss.
        clip: of the CLIP score; not measured without one.
        judge: of the style's recognition; measured for styles that it learned: by `Style.label`, or a text that is one of its styles.
        size: photos with a longer side are scaled down to this many pixels first.
        strength: of the style.
        shown: photos to keep for the report, with their pictures.
        progress: called after each picture with how many are done.

    Raises:
        StyleMambaError: a label that the judge did not learn, a style file of another model, or no photo that can be measured.
    """
    pipe.unload_style()
    labels = [_label(style, judge) for style in styles]
    loaded = [None if style.file is None else read_style(style.file) for style in styles]
    names = [style.text if state is None else f"{state[1].get('prompt', '')} ({style.text})" for style, state in zip(styles, loaded)]
    sentences = [style.text if state is None else state[1].get("prompt", "") for style, state in zip(styles, loaded)]
    if len(set(names)) < len(names):
        raise StyleMambaError(f"The style {next(name for name in names if names.count(name) > 1)!r} is listed twice; name each once.")
    result = Evaluation(_settings(pipe, photos, names, labels, content, clip, judge, size, strength))
    done = 0
    for picture in photos:
        try:
            photo = load_image(picture.path)
            photo.thumbnail((size, size), Image.Resampling.LANCZOS)
            if min(photo.size) < SMALLEST:
                raise StyleMambaError(
                    f"{picture.path} has {photo.width} x {photo.height} pixels at most {size} a side; "
                    f"what can be measured has {SMALLEST} or more on both."
                )
        except StyleMambaError as error:
            result.skipped[_readable(picture.path)] = _readable(error)
            done += len(styles)
            continue
        original = to_tensor([photo]).to(pipe.device)
        photo_maps, photo_embedding = content.maps(original), None if clip is None else clip.image([photo])
        made = []
        for name, sentence, label, state in zip(names, sentences, labels, loaded):
            if state is None:
                pipe.unload_style()
            else:
                pipe.set_style(*state)
            started = time.perf_counter()
            stylised = pipe(photo, sentence if state is None else None, strength=strength).images[0]
            seconds = time.perf_counter() - started
            pixels = to_tensor([stylised]).to(pipe.device)
            place = None if judge is None or not label else judge.place(stylised, label)
            scores = (None, None) if clip is None else clip.scores(torch.cat([clip.image([stylised]), photo_embedding]), sentence)
            result.rows.append(
                {
                    "photo": _readable(picture.path),
                    "style": name,
                    "clip_score": scores[0],
                    "clip_score_photo": scores[1],
                    "ssim": ssim(pixels, original).item(),
                    "content_loss": content.loss(content.maps(pixels), photo_maps).item(),
                    "judge_top1": None if place is None else float(place < 1),
                    "judge_top3": None if place is None else float(place < 3),
                    "seconds": seconds,
                }
            )
            made.append(stylised)
            done += 1
            progress(done, name)
        if len(result.shown) < shown:
            result.shown.append((_readable(picture.path.name), photo, made))
    pipe.unload_style()
    if not result.rows:
        raise StyleMambaError(f"None of the {len(photos)} photos could be measured: {next(iter(result.skipped.values()))}")
    return result


def _readable(text: object) -> str:
    """As UTF-8 can hold it: a file's name may be any bytes."""
    return str(text).encode(errors="backslashreplace").decode()


def _label(style: Style, judge: TaughtJudge | None) -> str:
    if judge is None:
        return ""
    if style.label and style.label not in judge.styles:
        raise StyleMambaError(f"The judge learned no style {style.label!r}; it knows {', '.join(judge.styles)}.")
    return style.label or (style.text.lower() if style.text.lower() in judge.styles else "")


def _settings(pipe, photos, names, labels, content, clip, judge, size, strength) -> dict:
    import diffusers
    import torchmetrics
    import transformers

    return {
        "photos": len(photos),
        "styles": names,
        "longest side of a photo, px": size,
        "strength": strength,
        "model": Path(str(pipe.config.get("_name_or_path") or "in memory")).name,
        "fusion's hash": base_hash(dict(pipe.fusion.named_parameters())),
        "fusion": {key: value for key, value in pipe.fusion.config.items() if not key.startswith("_")},
        "SSIM": "torchmetrics, data range 1, Gaussian window (sigma 1.5), on RGB, with its border, picture against the photo stylised",
        "CLIP score": "not measured: no checkpoint was named (--clip)" if clip is None else clip.settings,
        "content loss": content.settings,
        "style judge": "not measured: no labelled art was named (--art)"
        if judge is None
        else {**judge.settings, "asked for": {name: label or "not judged: no label" for name, label in zip(names, labels)}},
        "seconds": "one picture, batch 1, wall clock, without measuring",
        "device": str(pipe.device),
        "threads": torch.get_num_threads(),
        "versions": {
            "stylemamba": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "torchmetrics": torchmetrics.__version__,
            **({} if judge is None else {"scikit-learn": version("scikit-learn")}),
        },
    }
