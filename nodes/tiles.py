"""Whole photos where memory allows it, overlapping tiles where it does not; the picture is the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def at_once_or_in_tiles(pixels: int, at_once: Callable[[], torch.Tensor], in_tiles: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """The result of ``at_once`` for a photo of so many pixels that the pipeline, too, takes it at once, or else of ``in_tiles``.

    When memory runs out, smaller and smaller tiles are tried: ``in_tiles`` is called with the side of a tile, in pixels.

    Raises:
        StyleMambaError: when even the smallest tiles are too large.
    """
    from comfy import model_management

    from stylemamba import StyleMambaError
    from stylemamba.tiling import TILE

    for side in ([] if is_large(pixels) else [None]) + [TILE, TILE // 2, TILE // 4]:
        try:
            return at_once() if side is None else in_tiles(side)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Only here, outside the handler, do the error and the tensors that its traceback keeps alive no longer exist.
        model_management.soft_empty_cache()
        logging.warning("StyleMamba: out of memory %s; trying smaller tiles.", f"in tiles of {side} px" if side else "with the whole photo")
    raise StyleMambaError("There is not enough memory, even in small tiles; close other programs, or scale the photo down.")


def is_large(pixels: int) -> bool:
    from stylemamba.pipeline import LARGEST_WHOLE

    return pixels > LARGEST_WHOLE


def pixels_at_a_time(pixels: int) -> int:
    """How many pixels of a photo of so many are computed together."""
    from stylemamba.tiling import TILE

    return TILE**2 if is_large(pixels) else pixels


def is_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in str(error) or "allocate memory" in str(error))
    )
