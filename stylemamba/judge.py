"""A judge that no style was optimised for: a linear probe on the statistics of EfficientNet-lite0, taught by labelled pictures."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .efficientnet import SIDE, EfficientNetLite0
from .errors import StyleMambaError


class Judge:
    """Says which of ``styles`` a picture shows. Train it with `fit` before asking for `scores`."""

    def __init__(self, styles: Sequence[str]):
        try:
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        except ImportError as error:
            raise StyleMambaError("The style judge needs scikit-learn; it comes with the extra stylemamba[evaluate].") from error
        self.styles, self.network = list(styles), EfficientNetLite0()
        # Few pictures and many statistics: a strong penalty, chosen on artworks alone.
        self.probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, class_weight="balanced", max_iter=300))

    def to(self, device: str | torch.device) -> "Judge":
        """Moves the network; the probe stays on the CPU, where scikit-learn computes."""
        self.network.to(device)
        return self

    @torch.no_grad()
    def features(self, pictures: Sequence[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        """Statistics (N, 992) and unit content features (N, 1280) of pictures, each squeezed to 224 x 224 px (as WikiArt's copies are)."""
        statistics, content = [], []
        for start in range(0, len(pictures), 16):
            batch = [np.asarray(p.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32) / 255 for p in pictures[start : start + 16]]
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(self.network._fc.weight.device)
            stats, deep = self.network(pixels)
            statistics.append(stats.cpu().numpy())
            content.append(F.normalize(deep, dim=1).cpu().numpy())
        return np.concatenate(statistics), np.concatenate(content)

    def fit(self, statistics: np.ndarray, styles: Sequence[str]) -> None:
        self.probe.fit(statistics, [self.styles.index(style) for style in styles])

    def scores(self, statistics: np.ndarray) -> np.ndarray:
        """Probabilities (N, styles), 0 of a style that `fit` had no picture of."""
        scores = np.zeros((len(statistics), len(self.styles)))
        scores[:, self.probe.classes_] = self.probe.predict_proba(statistics)
        return scores
