"""SqueezeNet 1.0 features (ImageNet): what two pictures have in common beyond their pixels."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

# (index in torchvision's squeezenet1_0().features, squeeze, expand); the other indices are the first convolution and pools.
FIRES = {3: (16, 64), 4: (16, 64), 5: (32, 128), 7: (32, 128), 8: (48, 192), 9: (48, 192), 10: (64, 256), 12: (64, 256)}
POOLS = (2, 6, 11)
SAME_PHOTO = 0.8  # cosine of deep features, above which two photos pass for one: two crops of it, or one scene twice


class Fire(nn.Module):
    def __init__(self, channels: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNetFeatures(nn.Module):
    """RGB in 0..1 (B, 3, H, W) -> the features after the layers in ``taps``, each (B, C, h, w); ``channels`` lists their C, ``strides``
    how many pixels lie between two places."""

    def __init__(self, weights: str | Path, taps: tuple[int, ...] = (0, 4, 7, 9)):
        super().__init__()
        self.taps, self.channels = taps, [2 * FIRES[tap][1] if tap else 96 for tap in taps]
        self.strides = [2 ** (1 + sum(pool < tap for pool in POOLS)) for tap in taps]
        layers, channels = {"0": nn.Conv2d(3, 96, 7, stride=2)}, 96
        for index, (squeeze, expand) in FIRES.items():
            layers[str(index)] = Fire(channels, squeeze, expand)
            channels = 2 * expand
        self.features = nn.ModuleDict(layers)
        self.load_state_dict({k: v.float() for k, v in load_file(weights).items() if k.startswith("features.")})
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x, out = (x - self.mean) / self.std, []
        for index in range(max(self.taps) + 1):
            if index in POOLS:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            elif index == 0:
                x = F.relu(self.features["0"](x))
            elif index != 1:
                x = self.features[str(index)](x)
            if index in self.taps:
                out.append(x)
        return out


def content_distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    """(B,): mean absolute difference of the features, each layer scaled by the mean size of ``b``'s."""
    return sum((x - y).abs().mean((1, 2, 3)) / (y.abs().mean() + 1e-6) for x, y in zip(a, b)) / len(a)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """Features (B, C, h, w) -> (B, h * w, C); no copy where the layout is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).float()


def gram_distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    """(B,): relative difference of the features' Gram matrices (Gatys et al. 2016), those of all layers weighing alike."""
    total = 0.0
    for x, y in zip(a, b):
        x, y = (t.transpose(1, 2) @ t / t[0].numel() for t in (_rows(x), _rows(y)))
        total = total + ((x - y).square().sum((1, 2)) / (y.square().sum((1, 2)) + 1e-6)).clamp(min=1e-8).sqrt()
    return total / len(a)


def statistics_distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    """(B,): relative difference of the mean and deviation of every channel, small channels counting as much as large ones.

    It is what a linear probe on such statistics sees, where Gram matrices see the channels that respond most.
    """
    total = 0.0
    for x, y in zip(a, b):
        x, y = _rows(x), _rows(y)
        (mean, deviation), (wanted_mean, wanted_deviation) = ((t.mean(1), t.var(1).clamp(min=1e-12).sqrt()) for t in (x, y))
        difference = (mean - wanted_mean).abs() + (deviation - wanted_deviation).abs()
        total = total + (difference / (wanted_mean.abs() + wanted_deviation + 0.05 * y.abs().mean())).mean(1)
    return total / len(a)


def own_photo_loss(
    made: torch.Tensor, photos: torch.Tensor, places: int = 4, others: torch.Tensor | None = None, temperature: float = 0.1
) -> torch.Tensor:
    """(B,): how poorly a picture's deep features (B, C, h, w) are told to be its own photo's among all photos of the batch.

    InfoNCE (arXiv 1807.03748) on a map of the features, ``places`` a side. It asks that the content can still be told, not that it look
    the same. ``others`` (N, C * places ** 2) are such maps of further photos, among which the batch's own may be.
    """
    made, photos = (F.adaptive_avg_pool2d(x.float(), places).flatten(1) for x in (made, photos))
    mean = (photos if others is None else others).mean(0)
    made, photos = (F.normalize(x - mean, dim=1) for x in (made, photos))
    logits = made @ photos.T
    if others is not None:
        others = F.normalize(others - mean, dim=1)
        itself = photos @ others.T > SAME_PHOTO
        logits = torch.cat([logits, (made @ others.T).masked_fill(itself, -torch.inf)], 1)
    return F.cross_entropy(logits / temperature, torch.arange(len(made), device=made.device), reduction="none")


def likeness(made: torch.Tensor, photos: torch.Tensor, window: int = 7) -> torch.Tensor:
    """(B,): how alike the grey values of two pictures (B, 3, H, W) in 0..1 rise and fall, window by window; 1 for the same picture.

    The contrast and structure of SSIM (Wang et al. 2004) without its luminance: a picture may be lighter or darker than its photo.
    torchmetrics' contrast sensitivity, with a Gaussian window at every pixel, gives nearly the same and takes 47 times as long on a CPU.
    """
    pool = lambda x: F.avg_pool2d(x, window, 2)  # noqa: E731
    a, b = made.mean(1, keepdim=True), photos.mean(1, keepdim=True)
    mean_a, mean_b = pool(a), pool(b)
    both = pool(a * b) - mean_a * mean_b
    each = pool(a * a) - mean_a**2 + pool(b * b) - mean_b**2
    return ((2 * both + 0.03**2) / (each + 0.03**2)).mean((1, 2, 3))
