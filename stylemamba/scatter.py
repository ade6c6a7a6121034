"""What keeps a texture that repeats from looking like wallpaper: patches of it, each moved by another amount."""

import numpy as np
import torch
from torch import nn

FIELD_PERIOD = 64  # tokens, after which the patches repeat
PATCH = 8  # tokens, the mean distance of two patches' middles


class ScatterField(nn.Module):
    """Which place of its tile each token of a picture draws where a style is scattered: patches of irregular outline, in each of which the
    tile begins elsewhere (after chaos mosaics, Microsoft Research technical report MSR-TR-2000-32).

    It is the same in every call, so that a picture made in tiles is the one made at once, and a video does not flicker.

    Args:
        period: side of the tile, in tokens; divides ``FIELD_PERIOD``.
    """

    def __init__(self, period: int):
        super().__init__()
        self.period = period
        # NumPy promises that this generator's stream never changes, so the field need not be saved.
        rng, count = np.random.RandomState(0), FIELD_PERIOD // PATCH
        middles = (np.indices((count, count)) + 0.5 + 0.9 * (rng.rand(2, count, count) - 0.5)) * PATCH
        moves = rng.randint(0, period, (2, count, count))
        away = np.abs(np.indices((FIELD_PERIOD, FIELD_PERIOD))[..., None] + 0.5 - middles.reshape(2, 1, 1, -1))
        away = np.minimum(away, FIELD_PERIOD - away)  # the field's borders meet
        nearest = np.square(away).sum(0).argmin(-1)
        self.register_buffer("moves", torch.from_numpy(moves.reshape(2, -1)[:, nearest]), persistent=False)

    def forward(self, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """(2, height, width): row and column in the tile of each token from that one on; ``origin`` is a multiple of the period."""
        rows, columns = (torch.arange(length, device=self.moves.device) + start for length, start in zip((height, width), origin))
        moves = self.moves[:, rows % FIELD_PERIOD][:, :, columns % FIELD_PERIOD]
        return (torch.stack(torch.meshgrid(rows, columns, indexing="ij")) + moves) % self.period

    def pixels(self, places: torch.Tensor, patch_size: int) -> torch.Tensor:
        """(height * patch_size, width * patch_size): the places of the tokens' pixels, the tile's pixels being numbered row by row."""
        rows, columns = patch_size * places.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)
        within = [torch.arange(length, device=places.device) % patch_size for length in rows.shape]
        return (rows + within[0][:, None]) * self.period * patch_size + columns + within[1]
