"""The photo behind a latent, which gives the decoder its size, its transparency and the detail that the VAE loses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Whether rows and columns change places, whether the rows then run upwards, and the columns to the left. As they are comes first.
TURNS = tuple(product((False, True), repeat=3))
# Correlation: two styles of one photo have about 0.4 and more, unrelated photos 0.1.
LEAST_LIKENESS = 0.25
# Of the latents' deviation: how far a whole style moves them, and what is no move at all but rounding.
WHOLE_STYLE, ROUNDING = 0.5, 0.01


@dataclass(frozen=True, eq=False)
class Photo:
    """The photos of a batch, and what has become of them. It lies in the LATENT under `KEY`, where other nodes leave it alone."""

    samples: torch.Tensor  # (B, c, h, w), the latents that it was last seen with
    pixels: torch.Tensor  # (B, H, W, C), the IMAGE itself
    latents: torch.Tensor  # (B, c, h, w), as encoded
    padding: tuple[int, int, int, int]  # what was added for encoding, as torch's pad takes it: left, right, top, bottom
    kept: torch.Tensor | float = 1.0  # share of the photo that no style has replaced; a number or (B, 1, H, W)
    region: torch.Tensor | float = 0.0  # 1 where a style was applied at all, whatever its strength; likewise
    # The colours that pictures gave, first to last: a palette, and how much of it, a number or (B, 1, H, W).
    colours: tuple[tuple[torch.Tensor, torch.Tensor | float], ...] = ()

    KEY = "stylemamba_photo"

    @classmethod
    def of(cls, latent: dict) -> Photo | None:
        """The photo of a latent, turned and picked from its batch as other nodes have turned and picked the samples.

        None where there is none, or the samples are no longer of it. What blends and samplers make of a latent is still like it, and most
        like it the right way round. So is another photo of the same scene in a batch, and it is decoded by itself where it differs.
        """
        photo, samples = latent.get(cls.KEY), latent["samples"]
        if photo is None or photo.samples is samples:
            return photo
        best, found = LEAST_LIKENESS, None
        for turn in TURNS:
            known = turned(photo.samples, turn).to(samples)
            if known.shape[1:] == samples.shape[1:]:
                likeness, indices = (_patterns(samples) @ _patterns(known).T).max(1)
                if likeness.min() > best:
                    best, found = likeness.min(), (indices, turn)
        return found and photo._moved(samples, *found)

    def _moved(self, samples: torch.Tensor, indices: torch.Tensor, turn: tuple[bool, bool, bool]) -> Photo:
        def moved(x):
            return turned(x[indices.to(x.device)], turn) if hasattr(x, "device") else x

        swap, upwards, leftwards = turn
        left, right, top, bottom = self.padding[2:] + self.padding[:2] if swap else self.padding
        photo = replace(
            self,
            samples=samples,
            pixels=moved(self.pixels.movedim(-1, 1)).movedim(1, -1),
            latents=moved(self.latents),
            padding=((right, left) if leftwards else (left, right)) + ((bottom, top) if upwards else (top, bottom)),
            kept=moved(self.kept),
            region=moved(self.region),
            colours=tuple((palette, moved(amount)) for palette, amount in self.colours),
        )
        return photo._changed_from(moved(self.samples).to(samples))

    def _changed_from(self, known: torch.Tensor) -> Photo:
        """Where another node gave the samples other values than those ``known``, as one does that puts two latents together: a style was
        applied there as well, and the less is left of the photo, and of a style picture's colours, the further they are from these."""
        import torch.nn.functional as F

        change = (self.samples - known).square().mean(1, keepdim=True).sqrt() / known.std((1, 2, 3), keepdim=True)
        if not (change > ROUNDING).any():
            return self
        height, width = self.pixels.shape[1:3]
        left, right, top, bottom = self.padding
        padded = height + top + bottom, width + left + right

        def at_photo_size(x, **how):
            return F.interpolate(x.float(), padded, **how)[:, :, top : top + height, left : left + width]

        def times(own, share):
            return own * share.to(own.device) if hasattr(own, "device") else own * share

        # One more around them, as far as the decoder spreads a change.
        changed = at_photo_size(F.max_pool2d((change > ROUNDING).float(), 3, 1, 1), mode="nearest")
        left_over = 1 - at_photo_size((change / WHOLE_STYLE).clamp(max=1), mode="bilinear")
        return replace(
            self,
            kept=times(self.kept, left_over),
            region=1 - times(1 - self.region, 1 - changed),
            colours=tuple((palette, times(amount, left_over)) for palette, amount in self.colours),
        )


def turned(x: torch.Tensor, turn: tuple[bool, bool, bool]) -> torch.Tensor:
    """(..., h, w) in one of the eight positions of a sheet of paper."""
    swap, upwards, leftwards = turn
    x = x.transpose(-1, -2) if swap else x
    return x.flip([-2] * upwards + [-1] * leftwards)


def _patterns(latents: torch.Tensor) -> torch.Tensor:
    """(B, c, h, w) -> (B, chw), whose products are correlations; the mean of a channel is mostly the style's."""
    import torch.nn.functional as F

    return F.normalize((latents - latents.mean((2, 3), keepdim=True)).flatten(1).float())
