"""Which art style do a picture's SqueezeNet statistics show? A linear probe for choosing and judging training pictures.

It must not be the judge of ``benchmarks/quality.py``, and isn't: another network, and no artwork that is set aside.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from data import read_folder, spread
from perceptual import SqueezeNetFeatures
from torch import nn

from stylemamba.image_files import replacing

PHOTO = "photo"
SIDE = 224  # px
TAPS = (0, 3, 5, 7, 9, 12)
FEWEST = 60  # artworks, for a style to be told


class StyleProbe(nn.Module):
    """RGB (B, 3, H, W) in 0..1 -> logits (B, classes); differentiable, and all its weights fixed."""

    def __init__(self, squeezenet: str | Path, classes: Sequence[str], width: int):
        super().__init__()
        self.classes = list(classes)
        self.features = SqueezeNetFeatures(squeezenet, TAPS)
        self.linear = nn.Linear(width, len(self.classes)).requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(statistics(self.features, images))

    def save(self, path: Path) -> None:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, classes=self.classes, weight=self.linear.weight.numpy(), bias=self.linear.bias.numpy())

    @classmethod
    def load(cls, path: Path, squeezenet: str | Path) -> "StyleProbe":
        with np.load(path) as saved:
            probe = cls(squeezenet, saved["classes"].tolist(), saved["weight"].shape[1])
            probe.linear.weight.copy_(torch.from_numpy(saved["weight"]))
            probe.linear.bias.copy_(torch.from_numpy(saved["bias"]))
        return probe


def statistics(features: SqueezeNetFeatures, images: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """Mean and deviation of every channel (B, S), of the pictures squeezed to a square."""
    images = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return torch.cat([torch.cat([x.mean((2, 3)), x.std((2, 3))], 1) for x in features(images)], 1)


def rows_of(model) -> tuple[np.ndarray, np.ndarray]:
    """The weights (classes, W) and biases (classes,) of sklearn's logistic regression, which of two classes keeps the second's alone."""
    if len(model.classes_) > 2:
        return model.coef_, model.intercept_
    return tuple(np.concatenate([-own, own]) / 2 for own in (model.coef_, model.intercept_))


@torch.no_grad()
def fit_probe(squeezenet: str | Path, photos: str | Path, art: str | Path, per_class: int = 220) -> StyleProbe:
    """Learns photos and every art style with enough artworks; prints how often it is right on artworks that are set aside."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = SqueezeNetFeatures(squeezenet, TAPS)
    works = {PHOTO: read_folder(photos)}
    for picture in read_folder(art):
        works.setdefault(picture.style.lower(), []).append(picture)
    works = {name: spread(own, per_class) for name, own in works.items() if name == PHOTO or len(own) >= FEWEST}
    if len(works) < 2:
        raise SystemExit(f"{art} has no style with {FEWEST} artworks, the fewest that a probe learns from; add some.")

    def measure(pictures):
        return torch.cat([statistics(features, p.load()[None].float() / 255) for p in pictures]).numpy()

    rows = np.concatenate([measure(own) for own in works.values()])
    labels = np.concatenate([[i] * len(own) for i, own in enumerate(works.values())])
    scaler = StandardScaler().fit(rows)
    model = LogisticRegression(C=0.003, class_weight="balanced", max_iter=1000).fit(scaler.transform(rows), labels)
    # The scaling is folded into the linear layer.
    probe, (weights, biases) = StyleProbe(squeezenet, works, rows.shape[1]), rows_of(model)
    probe.linear.weight.copy_(torch.from_numpy(weights / scaler.scale_))
    probe.linear.bias.copy_(torch.from_numpy(biases - weights @ (scaler.mean_ / scaler.scale_)))
    aside = [p for p in read_folder(art, train=False) if p.style.lower() in works]
    right = [probe.classes[probe(p.load()[None].float() / 255).argmax()] == p.style.lower() for p in aside]
    print(f"{len(works)} classes; {np.mean(right):.2f} of {len(aside)} held-out artworks named right", flush=True)
    return probe
