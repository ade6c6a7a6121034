"""A critic that learns to tell the targets from what the fusion makes, place by place: what a loss on statistics cannot say of strokes."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

HIDDEN = 64


class Judgement(nn.Module):
    """Of one layer's features: are they a target's, the photo and the style being these?"""

    def __init__(self, channels: int, style_dim: int, scale: float):
        super().__init__()
        self.scale = scale
        self.first = spectral_norm(nn.Conv2d(2 * channels + 4, HIDDEN, 1))
        self.second = spectral_norm(nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1))
        self.verdict = spectral_norm(nn.Conv2d(HIDDEN, 1, 1))
        self.style = spectral_norm(nn.Linear(style_dim, HIDDEN, bias=False))

    def forward(self, pictures: torch.Tensor, photos: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) twice and (B, E) -> logits (B, 1, h, w)."""
        size = photos.abs().mean()
        seen = [pictures / size, photos / size, within_tokens(pictures, self.scale)]
        hidden = F.leaky_relu(self.first(torch.cat(seen, 1)), 0.2)
        hidden = F.leaky_relu(self.second(hidden), 0.2)
        return self.verdict(hidden) + (self.style(style)[:, :, None, None] * hidden).sum(1, keepdim=True)


def within_tokens(features: torch.Tensor, scale: float) -> torch.Tensor:
    """(B, 4, h, w): where each place of features (B, C, h, w) lies in its token of ``scale`` places a side, as cosine and sine of row and
    column."""
    angles = [torch.arange(n, device=features.device) * (2 * math.pi / scale) for n in features.shape[2:]]
    rows, columns = torch.meshgrid(*angles, indexing="ij")
    return torch.stack([rows.cos(), rows.sin(), columns.cos(), columns.sin()]).to(features).expand(len(features), -1, -1, -1)


class Critic(nn.Module):
    """Judgements on several layers of a fixed network (Projected GANs, arXiv 2111.01007), the style by projection (arXiv 1802.05637).

    It sees the photo beside the picture (pix2pix, arXiv 1611.07004), so it knows where a target is flat, and where in its token a place
    lies, so it knows stairs along the tokens' borders. Features are lists of (B, C, h, w), a layer each; ``style`` are unit embeddings
    (B, E).

    Args:
        channels: C of each layer.
        style_dim: E.
        scales: side of a token in places of each layer.
    """

    def __init__(self, channels: list[int], style_dim: int, scales: list[float]):
        super().__init__()
        self.judgements = nn.ModuleList(Judgement(c, style_dim, s) for c, s in zip(channels, scales))

    def forward(self, pictures: list[torch.Tensor], photos: list[torch.Tensor], style: torch.Tensor) -> list[torch.Tensor]:
        # Unit embeddings have components of size E ** -0.5; the linear layers are initialised for size 1.
        style = style * style.shape[-1] ** 0.5
        return [judge(a, b, style).float() for judge, a, b in zip(self.judgements, pictures, photos)]

    def complaint(self, made: list[torch.Tensor], photos: list[torch.Tensor], style: torch.Tensor) -> torch.Tensor:
        """What it has against pictures, a number that falls as they pass for targets."""
        return -sum(logits.mean() for logits in self(made, photos, style)) / len(made)

    def own_loss(
        self, made: list[torch.Tensor], targets: list[torch.Tensor], photos: list[torch.Tensor], style: torch.Tensor
    ) -> torch.Tensor:
        """How often it errs (hinge loss): 2 where it knows nothing, 0 where it is sure."""
        pictures = [torch.cat(both) for both in zip(made, targets)]
        logits = [x.chunk(2) for x in self(pictures, [p.repeat(2, 1, 1, 1) for p in photos], style.repeat(2, 1))]
        return sum(F.relu(1 + false).mean() + F.relu(1 - true).mean() for false, true in logits) / len(logits)


def gradient_ratio(a: torch.Tensor, b: torch.Tensor, x: torch.Tensor) -> float:
    """How many times as large as ``b``'s the gradient of ``a`` by ``x`` is, both being numbers; their graphs stay."""
    a, b = (torch.autograd.grad(loss, x, retain_graph=True)[0].norm().item() for loss in (a, b))
    return a / max(b, 1e-12)
