"""Which files the command line reads and writes: folders to pictures, names for results, and writing that never leaves half a file."""

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .errors import StyleMambaError

STREAM = "-"  # stdin as an input, stdout as an output
READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
OPAQUE = ("JPEG", "BMP")
SAVE_OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


def find_images(inputs: Sequence[str]) -> list[str]:
    """The image files among ``inputs``; a folder stands for the pictures directly in it, by name.

    Raises:
        StyleMambaError: an input does not exist, or a folder has no pictures.
    """
    found = []
    for item in inputs:
        path = Path(item)
        if item == STREAM:
            found.append(item)
        elif path.is_dir():
            pictures = sorted(str(p) for p in _listed(path) if p.suffix.lower() in READABLE and not p.name.startswith("."))
            if not pictures:
                raise StyleMambaError(f"The folder {item} holds no pictures ({', '.join(READABLE)}); name another folder or a file.")
            found += pictures
        elif not path.exists():
            raise StyleMambaError(f"{item}: no such file or folder; check the path.")
        else:
            found.append(item)
    if found.count(STREAM) > 1:
        raise StyleMambaError("The input - (stdin) was given more than once; it holds one picture.")
    return list(dict.fromkeys(found))


def name_outputs(images: Sequence[str], output: str | None, label: str, many: bool) -> list[str]:
    """Where each result goes.

    One picture goes to ``output``; with several (``many``), or when ``output`` is a folder or ends in a slash, each goes into that folder
    as ``<name>-<label>.png``. Without ``output`` that name is in the current folder, except that stdin's picture goes to stdout.

    Raises:
        StyleMambaError: the folder is missing or not writable, the file type is unknown, or a result would replace an input.
    """
    if output == STREAM or (output is None and list(images) == [STREAM]):
        if many or len(images) > 1:
            raise StyleMambaError("Several pictures cannot go to stdout; name a folder with -o FOLDER/.")
        return [STREAM]
    if output is None:
        folder = Path()
    elif many or len(images) > 1 or output.endswith(("/", os.sep)) or Path(output).is_dir():
        folder = Path(output)
        if folder.exists() and not folder.is_dir():
            raise StyleMambaError(f"{output} is a file, but several pictures need a folder; name one with -o FOLDER/.")
        if not folder.exists():
            _check_folder(folder.absolute().parent)
    else:
        check_writable(output)
        if Path(output).suffix.lower() not in WRITABLE:
            raise StyleMambaError(f"{output}: the file type is not known; end the name in one of {', '.join(WRITABLE)}.")
        folder = None
    if folder is None:
        outputs = [output]
    else:
        if folder.exists():
            _check_folder(folder)
        outputs = _unique(folder / f"{'stdin' if image == STREAM else Path(image).stem}-{label}" for image in images)
    for out in outputs:
        check_not_input(out, images)
    return outputs


def slug(text: str) -> str:
    """A sentence as a part of a file name: "A Monet painting!" -> "a-monet-painting"."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")[:48].rstrip("-") or "style"


def check_writable(output: str) -> None:
    """Refuses an output whose folder is missing or not writable, and what is no regular file, such as a device."""
    path = Path(output)
    if path.is_dir():
        raise StyleMambaError(f"{output} is a folder; name a file.")
    if path.exists() and not path.is_file():
        raise StyleMambaError(f"{output} is not a regular file; name another one, or - for stdout.")
    _check_folder(path.absolute().parent)


def check_not_input(output: str, inputs: Sequence[str]) -> None:
    """Refuses an output that is one of the inputs, by whatever name or link."""
    for item in inputs:
        if item != STREAM and Path(output).exists() and os.path.samefile(output, item):
            raise StyleMambaError(f"The result would replace the input {item}; choose another name with -o.")


def write_image(picture: Image.Image, alpha: Image.Image | None, output: str, stdout: BinaryIO | None = None) -> None:
    """Writes a picture, with its transparency where the file type has any; what stood there stays whole until the new file is complete.

    Args:
        picture: RGB.
        alpha: 8-bit greyscale of the same size, or None.
        output: a path, or ``-`` for a PNG on ``stdout``.

    Raises:
        StyleMambaError: the file cannot be written.
    """
    kind = "PNG" if output == STREAM else WRITABLE[Path(output).suffix.lower()]
    if alpha is not None and kind not in OPAQUE:
        picture = picture.copy()
        picture.putalpha(alpha)
    try:
        if output == STREAM:
            picture.save(stdout or sys.stdout.buffer, kind)
            (stdout or sys.stdout.buffer).flush()
        else:
            with replacing(output) as partial:
                picture.save(partial, kind, **SAVE_OPTIONS.get(kind, {}))
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a picture larger than the file type can hold
        target = "stdout" if output == STREAM else output
        reason = getattr(error, "strerror", None) or error
        raise StyleMambaError(
            f"{target} could not be written ({reason}); check the free space and the permissions of its folder."
        ) from error


@contextlib.contextmanager
def replacing(output: str) -> Iterator[Path]:
    """Gives a temporary file in the folder of ``output`` that takes its place when the block ends well."""
    path = Path(output).resolve()  # through links: a link stays a link
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        os.chmod(partial, mode)  # some writers make files that only their owner may read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise StyleMambaError(f"The folder {folder} cannot be read ({error.strerror}); check its permissions.") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise StyleMambaError(f"The output folder {folder} does not exist; make it first or choose another.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StyleMambaError(f"The output folder {folder} is not writable; choose another or change its permissions.")


def _unique(stems: Iterable[Path]) -> list[str]:
    """PNG names; one that is already taken (photo.jpg beside photo.png) gets a number."""
    names: dict[str, None] = {}
    for stem in stems:
        name, number = f"{stem}.png", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}.png"
        names[name] = None
    return list(names)
