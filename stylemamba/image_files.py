"""Which files the command line reads and writes: folders to pictures, names for results, and writing that never leaves half a file."""

import contextlib
import logging
import os
import re
import secrets
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image, features

from .errors import StyleMambaError
from .images import on_white, status

logger = logging.getLogger(__name__)

STREAM = "-"  # stdin as an input, stdout as an output
READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", *([".avif"] if "avif" in features.get_supported() else []))
UNREADABLE = {".heic", ".heif", ".jxl", ".avif"} - {*READABLE}  # photos all the same
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
OPAQUE = ("JPEG", "BMP")
LARGEST = {"JPEG": 65500, "WEBP": 16383}  # pixels a side
SAVE_OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}
LONGEST_NAME, LONGEST_SLUG = 240, 72  # bytes; file systems take names of 255, of which a number and the ending need some


def find_images(inputs: Sequence[str]) -> list[str]:
    """The image files among ``inputs``; a folder stands for the pictures directly in it, by name. A warning tells of photos in it of kinds
    that cannot be read.

    Raises:
        StyleMambaError: an input does not exist, or a folder has no pictures.
    """
    found = []
    for item in inputs:
        if item == STREAM:
            found.append(item)
            continue
        entry = status(item, f"{item} cannot be read")
        if entry is None:
            raise StyleMambaError(f"{item}: no such file or folder; check the path.")
        if not stat.S_ISDIR(entry.st_mode):
            found.append(item)
            continue
        listed = [path for path in _listed(Path(item)) if not path.name.startswith(".")]
        pictures = sorted(str(path) for path in listed if path.suffix.lower() in READABLE)
        if alien := sorted(path.name for path in listed if path.suffix.lower() in UNREADABLE):
            some = ", ".join(alien[:3] + ["..."] * (len(alien) > 3))
            logger.warning("In %s, what cannot be read is left out: %s; save it as JPEG.", item, some)
        if not pictures:
            raise StyleMambaError(f"The folder {item} holds no pictures ({', '.join(READABLE)}); name another folder or a file.")
        found += pictures
    if found.count(STREAM) > 1:
        raise StyleMambaError("The input - (stdin) was given more than once; it holds one picture.")
    unique: dict[str, str] = {}
    for item in found:
        unique.setdefault(item if item == STREAM else os.path.realpath(item), item)  # by its first name
    return list(unique.values())


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
    elif many or len(images) > 1 or output.endswith(("/", os.sep)) or os.path.isdir(output):
        folder = Path(output)
        entry = status(folder, f"{output} cannot be written")
        if entry is not None and not stat.S_ISDIR(entry.st_mode):
            raise StyleMambaError(f"{output} is a file, but several pictures need a folder; name one with -o FOLDER/.")
        if entry is None and not output.endswith(("/", os.sep)) and folder.suffix.lower() in WRITABLE:
            raise StyleMambaError(f"{output} names one picture, but the inputs may give several; name a folder, with a / at its end.")
        if entry is None:
            _check_folder(folder.absolute().parent)
    else:
        check_writable(output)
        if Path(output).suffix.lower() not in WRITABLE:
            raise StyleMambaError(f"{output}: the file type is not known; end the name in one of {', '.join(WRITABLE)}.")
        folder = None
    if folder is None:
        outputs = [output]
    else:
        if os.path.isdir(folder):
            _check_folder(folder)
        room = LONGEST_NAME - _size(f"-{label}")
        outputs = _unique(folder / f"{_cut('stdin' if image == STREAM else Path(image).stem, room)}-{label}" for image in images)
    for out in outputs:
        check_not_input(out, images)
    return outputs


def slug(text: str) -> str:
    """A sentence as a part of a file name: "A Monet painting!" -> "a-monet-painting"; of signs alone, their numbers."""
    words = re.sub(r"[\W_]+", "-", text.lower()).strip("-") or "-".join(f"{ord(sign):x}" for sign in text)
    return _cut(words[:48], LONGEST_SLUG).rstrip("-")


def check_writable(output: str) -> None:
    """Refuses an output whose folder is missing or not writable, and what is no regular file, such as a device."""
    entry = status(output, f"{output} cannot be written")
    if entry is not None and stat.S_ISDIR(entry.st_mode):
        raise StyleMambaError(f"{output} is a folder; name a file.")
    if entry is not None and not stat.S_ISREG(entry.st_mode):
        raise StyleMambaError(f"{output} is not a regular file; name another one, or - for stdout.")
    _check_folder(Path(os.path.realpath(output)).parent)  # through a link, which may lead to a folder that there is not


def check_not_input(output: str, inputs: Sequence[str]) -> None:
    """Refuses an output that is one of the inputs, by whatever name or link."""
    for item in inputs:
        if item != STREAM and os.path.exists(output) and os.path.samefile(output, item):
            raise StyleMambaError(f"The result would replace the input {item}; choose another name with -o.")


def check_size(size: tuple[int, int], output: str) -> None:
    """Refuses a file type that cannot hold a picture of that size."""
    kind = _kind(output)
    if max(size) > LARGEST.get(kind, max(size)):
        raise StyleMambaError(
            f"{output} cannot hold {size[0]} x {size[1]} pixels, as {kind} has at most {LARGEST[kind]} a side; write a PNG or TIFF."
        )


def write_image(picture: Image.Image, alpha: Image.Image | None, output: str, stdout: BinaryIO | None = None) -> None:
    """Writes a picture, with its transparency where the file type has any; what stood there stays whole until the new file is complete.

    Args:
        picture: RGB.
        alpha: 8-bit greyscale of the same size, or None.
        output: a path, or ``-`` for a PNG on ``stdout``.

    Raises:
        StyleMambaError: the file cannot be written.
    """
    kind = _kind(output)
    if kind in OPAQUE:
        picture = on_white(picture, alpha)
    elif alpha is not None:
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
    path = Path(os.path.realpath(output))  # through links: a link stays a link
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")  # a name of its own, as the file's may be as long as a name can be
    try:
        partial.touch()
        mode = stat.S_IMODE((path if path.exists() else partial).stat().st_mode)
        yield partial
        os.chmod(partial, mode)  # that of the file that it replaces; of a new one, some writers let only its owner read it
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise StyleMambaError(f"The folder {folder} cannot be read ({error.strerror}); check its permissions.") from error


def _check_folder(folder: Path) -> None:
    entry = status(folder, f"The output folder {folder} cannot be written")
    if entry is None or not stat.S_ISDIR(entry.st_mode):
        raise StyleMambaError(f"The output folder {folder} does not exist; make it first or choose another.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StyleMambaError(f"The output folder {folder} is not writable; choose another or change its permissions.")


def _kind(output: str) -> str:
    return "PNG" if output == STREAM else WRITABLE[Path(output).suffix.lower()]


def _size(name: str) -> int:
    """Of a name on the disk, in bytes at most."""
    return len(name.encode(errors="surrogatepass"))


def _cut(name: str, size: int) -> str:
    """The beginning of a name that has at most so many bytes."""
    while _size(name) > size:
        name = name[:-1]
    return name


def _unique(stems: Iterable[Path]) -> list[str]:
    """PNG names; one that is already taken (photo.jpg beside photo.png, or Photo.jpg) gets a number."""
    names: dict[str, str] = {}
    # macOS and Windows take two names for one that differ in case only, or in how an accent is written.
    same = lambda name: unicodedata.normalize("NFC", name).casefold()
    for stem in stems:
        name, number = f"{stem}.png", 1
        while same(name) in names:
            number += 1
            name = f"{stem}-{number}.png"
        names[same(name)] = name
    return list(names.values())
