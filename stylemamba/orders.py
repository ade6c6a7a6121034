"""The orders in which a 2D latent is read as a sequence."""

from functools import lru_cache

import torch

from .errors import StyleMambaError

# Directions of each order; every direction scans its own share of the channels, so that all orders cost the same.
DIRECTIONS = {"raster": 1, "bidirectional": 2, "zigzag": 2, "cross": 4}


@lru_cache(maxsize=32)
def scan_order(name: str, height: int, width: int, device: torch.device) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], ...]:
    """The directions of an order over a ``height`` x ``width`` grid.

    - ``raster``: row by row, forwards.
    - ``bidirectional``: row by row, forwards and backwards (Vim, arXiv 2401.09417).
    - ``zigzag``: row by row with every second row reversed, forwards and backwards: no jump at a row's end (ZigMa, arXiv 2403.13802).
    - ``cross``: rows and columns, each forwards and backwards (VMamba, arXiv 2401.10166). Here every row and column is a sequence of its
      own: in VMamba's one long sequence a row begins with what the row before ended with, at the picture's other side.

    Returns:
        For each direction three tensors (height * width,): ``tokens[:, order]`` is the sequence, ``sequence[:, inverse]`` brings it back,
        and the bools of the third say at which tokens of the grid a new sequence begins.

    Raises:
        StyleMambaError: for an unknown name.
    """
    if name not in DIRECTIONS:
        raise StyleMambaError(f"The scan order {name!r} is not known; use one of {', '.join(DIRECTIONS)}.")
    # Kept for later calls, which may train: tensors made under inference mode could not be used there.
    with torch.inference_mode(False):
        grid = torch.arange(height * width, device=device).view(height, width)
        begins = torch.zeros_like(grid, dtype=torch.bool)
        if name == "raster":
            orders = [(grid, begins)]
        elif name == "bidirectional":
            orders = [(grid, begins), (grid.flip(0, 1), begins)]
        elif name == "zigzag":
            snake = grid.clone()
            snake[1::2] = snake[1::2].flip(1)
            orders = [(snake, begins), (snake.flip(0, 1), begins)]
        else:
            left, right, top, bottom = (begins.clone() for _ in range(4))
            left[:, 0] = right[:, -1] = top[0] = bottom[-1] = True
            orders = [(grid, left), (grid.flip(0, 1), right), (grid.T, top), (grid.T.flip(0, 1), bottom)]
        return tuple((order.reshape(-1), torch.argsort(order.reshape(-1)), first.reshape(-1)) for order, first in orders)
