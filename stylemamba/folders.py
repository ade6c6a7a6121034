"""Folders and what is in them, through links."""

from __future__ import annotations

import os
from collections.abc import Iterator


def walk(folder: str | os.PathLike, above: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk` from the top, through links, but not through one that leads back up to a folder that it is in."""
    real = os.path.realpath(folder)
    if real in above:
        return
    found = next(os.walk(folder), (os.fspath(folder), [], []))
    yield found
    for name in found[1]:
        yield from walk(os.path.join(folder, name), above | {real})
