"""The orders in which a 2D latent is read as a sequence."""

import contextlib
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from .errors import StyleMambaError

# Directions of each order; every direction scans its own share of the channels, so that all orders cost the same.
DIRECTIONS = {"raster": 1, "bidirectional": 2, "zigzag": 2, "cross": 4}


_holders: list[list] = []


@contextlib.contextmanager
def held() -> Iterator[list]:
    """A list that holds every order used meanwhile: `scan_order` forgets some, and a CUDA graph reads them where they lay."""
    orders = []
    _holders.append(orders)
    try:
        yield orders
    finally:
        _holders[:] = [other for other in _holders if other is not orders]  # two empty lists are equal


def directions_of(name: str) -> int:
    """How many directions an order has.

    Raises:
        StyleMambaError: for an unknown name.
    """
    if name not in DIRECTIONS:
        raise StyleMambaError(f"The scan order {name!r} is not known; use one of {', '.join(DIRECTIONS)}.")
    return DIRECTIONS[name]


def scan_order(name: str, height: int, width: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], ...]:
    """The directions of an order over a ``height`` x ``width`` grid, in pairs where it has several.

    - ``raster``: row by row, forwards.
    - ``bidirectional``: row by row, forwards and backwards (Vim, arXiv 2401.09417).
    - ``zigzag``: row by row with every second row reversed, forwards and backwards: no jump at a row's end (ZigMa, arXiv 2403.13802).
    - ``cross``: rows and columns, each forwards and backwards (VMamba, arXiv 2401.10166). Here every row and column is a sequence of its
      own: in VMamba's one long sequence a row begins with what the row before ended with, at the picture's other side.

    Returns:
        For each pair, whose sequences are equally long, two tensors: the order (directions, sequences, length), so that
        ``tokens[:, order[d]]`` are the sequences of its direction d, and its inverse (directions, height * width), so that
        ``sequences.flatten(1, 2)[:, inverse[d]]`` are the tokens again.

    Raises:
        StyleMambaError: for an unknown name.
    """
    directions_of(name)
    order = _made(name, height, width, device)
    for orders in _holders:
        orders.append(order)
    return order


@lru_cache(maxsize=32)
def _made(name: str, height: int, width: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], ...]:
    # Kept for later calls, which may train: tensors made under inference mode could not be used there.
    with torch.inference_mode(False):
        grid = torch.arange(height * width, device=device).view(height, width)
        if name == "cross":
            forwards = [grid, grid.T]
        elif name == "zigzag":
            snake = grid.clone()
            snake[1::2] = snake[1::2].flip(1)
            forwards = [snake.view(1, -1)]
        else:
            forwards = [grid.view(1, -1)]
        orders = [order[None] if name == "raster" else torch.stack([order, order.flip(1)]) for order in forwards]
        return tuple((order, torch.argsort(order.flatten(1), 1)) for order in orders)


def permute(tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """(B, L, C) in another order, (directions, L), for each direction's share of the channels; ``inverse`` is what undoes it."""
    return _Permute.apply(tokens, order, inverse)


class _Permute(torch.autograd.Function):
    """The backward is a permutation as well; index_select's would add into zeros, as it does not know that indices are there once."""

    @staticmethod
    def forward(ctx, tokens, order, inverse):
        ctx.save_for_backward(order, inverse)
        return torch.cat([part.index_select(1, o) for part, o in zip(tokens.chunk(len(order), -1), order)], -1)

    @staticmethod
    def backward(ctx, grad):
        order, inverse = ctx.saved_tensors
        return permute(grad, inverse, order), None, None
