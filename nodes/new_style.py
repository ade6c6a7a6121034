"""Where a new style goes."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

from .model_folder import PART, PIPELINE, home, roots

LONGEST = 200  # bytes of a name; file systems take 255, of which a number and the ending need some
NOT_ON_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


def place_for(name: str) -> Path:
    """A path in `home`, in a folder that is there, at which nothing stands yet in any of the `roots`.

    Raises:
        StyleMambaError: when no file can have that name, or Load Style would not list it.
    """
    from stylemamba import StyleMambaError

    parts = PurePosixPath(name.strip().replace("\\", "/").removesuffix(".safetensors")).parts
    if not parts or not all(map(_is_name, parts)):
        raise StyleMambaError(
            f"The name {name!r} cannot be used for a style file; use letters, digits, spaces, '-' and '_', such as 'my_style'."
        )
    if max(len(part.encode()) for part in parts) > LONGEST:
        raise StyleMambaError(f"The name {name!r} is too long; use at most {LONGEST} letters, or {LONGEST // 3} Chinese characters.")
    folder = PurePosixPath(*parts[:-1])
    try:
        for above in (folder, *folder.parents):
            if any((home() / above / file).exists() for file in (PIPELINE, PART)):
                raise StyleMambaError(f"The folder '{above}' holds a model, and Load Style looks for none in it; choose another name.")
        (home() / folder).mkdir(parents=True, exist_ok=True)
        file, number = f"{parts[-1]}.safetensors", 2
        while any((root / folder / file).exists() for root in roots()):
            file, number = f"{parts[-1]}_{number}.safetensors", number + 1
    except OSError as error:
        raise StyleMambaError(f"The folder of the style {name!r} cannot be made ({error.strerror}); choose another name.") from error
    return home() / folder / file


def _is_name(part: str) -> bool:
    """Whether files can be called so, on any system."""
    return not (
        part.startswith(".")
        or part.endswith((".", " "))
        or set(part) & set('<>:"|?*/')
        or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in part)  # control characters, halves of surrogate pairs
        or part.partition(".")[0].rstrip().upper() in NOT_ON_WINDOWS
    )
