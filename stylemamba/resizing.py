"""Resizing that is the same on every device."""

import torch
import torch.nn.functional as F

KEYS = -0.75  # the sharpness of torch's bicubic interpolation (Keys, 1981)


def resized(pictures: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Pictures (B, C, H, W) at another size, bicubic and antialiased; differentiable.

    Apple's MPS lacks the gradient, and in older versions of torch the function as well. There it is a product with a matrix for each axis.
    """
    if not _needs_matrices(pictures.device):
        return F.interpolate(pictures, size, mode="bicubic", antialias=True, align_corners=False)
    rows, columns = (_matrix(*lengths).to(pictures) for lengths in zip(pictures.shape[2:], size))
    return rows @ pictures @ columns.T


def _needs_matrices(device: torch.device) -> bool:
    return device.type == "mps"


def _matrix(length: int, wanted: int) -> torch.Tensor:
    """(wanted, length): the antialiased bicubic interpolation along one axis."""
    return F.interpolate(torch.eye(length)[None, None], (wanted, length), mode="bicubic", antialias=True, align_corners=False)[0, 0]


def enlarged_rows(pictures: torch.Tensor, rows: slice, height: int, mode: str) -> torch.Tensor:
    """Some rows (B, C, n, W) of pictures (B, C, h, W) enlarged to a height, as `F.interpolate` makes all of them.

    The rows that it takes and gives are all that it needs memory for. ``mode``: bicubic or bilinear.
    """
    length = pictures.shape[2]
    place = (torch.arange(*rows.indices(height), dtype=torch.float64) + 0.5) * length / height - 0.5
    if mode == "bilinear":
        place = place.clamp(min=0)
    before = place.floor()
    along = place - before
    if mode == "bilinear":
        offsets, weights = (0, 1), [1 - along, along]
    else:
        offsets, weights = (-1, 0, 1, 2), [_far(along + 1), _near(along), _near(1 - along), _far(2 - along)]
    taken = (before[:, None] + torch.tensor(offsets)).long().clamp(0, length - 1)
    first, last = int(taken.min()), int(taken.max())
    matrix = torch.zeros(len(place), last - first + 1, dtype=torch.float64).scatter_add_(1, taken - first, torch.stack(weights, 1))
    return matrix.to(pictures.dtype).to(pictures.device) @ pictures[:, :, first : last + 1]


def _near(x: torch.Tensor) -> torch.Tensor:
    """Keys' kernel within 1."""
    return ((KEYS + 2) * x - (KEYS + 3)) * x * x + 1


def _far(x: torch.Tensor) -> torch.Tensor:
    """Keys' kernel from 1 to 2."""
    return ((KEYS * x - 5 * KEYS) * x + 8 * KEYS) * x - 4 * KEYS
