"""Numbers within their ranges: ComfyUI looks at those that are typed into a node, and not at those that come through a link."""

from __future__ import annotations

from numbers import Integral, Real


def in_range(name: str, value: float, limits: dict[str, float]) -> None:
    """Refuses what is not a number from ``limits["min"]`` to ``limits["max"]``, which the node's schema has as well; whole where these are.

    Raises:
        StyleMambaError: which calls the number by ``name``.
    """
    from stylemamba import StyleMambaError

    low, high = limits["min"], limits["max"]
    kind = Integral if isinstance(low, int) else Real
    if not (isinstance(value, kind) and low <= value <= high):
        use = f"{low:g} to {high:g}" if kind is Real else f"{low} to {high}"
        if not isinstance(value, kind):
            use = f"a {'whole ' * (kind is Integral)}number from {use}"
        value = f"{value:g}" if kind is Real and isinstance(value, float) else repr(value)
        raise StyleMambaError(f"The {name.replace('_', ' ')} is {value}; use {use}.")
