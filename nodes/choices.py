"""Files and folders that a user chooses by name.

Where another node will say the name, ComfyUI gives None before it runs; where none can be chosen, it gives nothing, and says so itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def path_of(name: str, listed: dict[str, Path], complaint: str) -> Path:
    """Raises StyleMambaError with the complaint where the name is not listed."""
    from stylemamba import StyleMambaError

    if name not in listed:
        raise StyleMambaError(complaint)
    return listed[name]


def mistake(find: Callable[[str], Path], name: str | None) -> bool | str:
    """What ``validate_inputs`` gives: the complaint of ``find``, or True, as long as the name is not known as well."""
    from stylemamba import StyleMambaError

    try:
        if name is not None:
            find(name)
    except StyleMambaError as error:
        return str(error)
    return True
