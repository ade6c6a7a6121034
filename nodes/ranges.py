"""Numbers within their ranges: ComfyUI looks at those that are typed into a node, and not at those that come through a link."""

from __future__ import annotations

from numbers import Real


def in_range(name: str, value: float, limits: dict[str, float]) -> None:
    """Refuses what is not a number from ``limits["min"]`` to ``limits["max"]``, which the node's schema has as well.

    Raises:
        StyleMambaError: which calls the number by ``name``.
    """
    from stylemamba import StyleMambaError

    low, high = limits["min"], limits["max"]
    if not (isinstance(value, Real) and low <= value <= high):
        value, low, high = (f"{number:g}" if isinstance(number, float) else number for number in (value, low, high))
        raise StyleMambaError(f"The {name.replace('_', ' ')} is {value}; use {low} to {high}.")
