"""What an evaluation reads: folders of pictures in the layouts of COCO and WikiArt, and files of styles."""

import csv
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import StyleMambaError
from .folders import walk
from .image_files import READABLE
from .images import status

COCO_FOLDERS = re.compile(r"(train|val|test|unlabeled)\d*|images", re.IGNORECASE)  # folders that say nothing of a picture's style


@dataclass(frozen=True)
class Picture:
    """A picture's path and the style it shows, in lower case; empty where its folder does not say."""

    path: Path
    style: str = ""

    @property
    def held_out(self) -> bool:
        """True for the tenth of all pictures that nothing may learn from: the first byte of the file name's SHA-1, modulo 10, is 0."""
        return hashlib.sha1(os.fsencode(self.path.name)).digest()[0] % 10 == 0


@dataclass(frozen=True)
class Style:
    """A style to evaluate: its sentence, or the style file that was trained for it, and the judge's name for it (lower case, or empty)."""

    text: str
    label: str = ""
    file: Path | None = None


def read_pictures(folder: str | Path) -> list[Picture]:
    """The pictures of a folder and its subfolders, by name, without hidden ones.

    - An ``index.csv`` with a column ``file`` (and perhaps ``style``) in the folder decides alone.
    - WikiArt's layout: one subfolder a style (``Pop_Art/a.jpg`` shows "pop art").
    - COCO's layout: pictures directly in the folder or in ``train2017``, ``val2017``, ``images`` ...; they have no style.

    Raises:
        StyleMambaError: when the folder does not exist or holds no pictures.
    """
    folder = Path(folder)
    entry = status(folder, f"{folder} cannot be read")
    if entry is None or not stat.S_ISDIR(entry.st_mode):
        raise StyleMambaError(f"{folder} is not a folder; name a folder of pictures.")
    index = folder / "index.csv"
    if status(index, f"{folder} cannot be read") is not None:
        try:
            with index.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin UTF-8 with a byte order mark
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StyleMambaError(f"{index} cannot be read ({error}); save it as CSV in UTF-8.") from error
        if not rows or not all(row.get("file") for row in rows):
            raise StyleMambaError(f"{index} has no column named file, or a row without one; it must name a picture in each row.")
        pictures = [Picture(folder / row["file"], (row.get("style") or "").strip().lower()) for row in rows]
    else:
        pictures = []
        for inner, subfolders, names in walk(folder):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]  # .ipynb_checkpoints, for one, holds copies
            paths = (Path(inner, name) for name in names if not name.startswith("."))
            pictures += [Picture(path, _style_of(path.parent, folder)) for path in paths if path.suffix.lower() in READABLE]
    if not pictures:
        raise StyleMambaError(f"The folder {folder} holds no pictures ({', '.join(READABLE)}); name another one.")
    return sorted(pictures, key=lambda picture: str(picture.path))


def _style_of(parent: Path, folder: Path) -> str:
    if parent == folder or COCO_FOLDERS.fullmatch(parent.name):
        return ""
    return parent.name.replace("_", " ").strip().lower()


def read_styles(file: str | Path) -> list[Style]:
    """The styles of a text file, one a line: a sentence or the path of a style file, then perhaps ``|`` and the judge's name for it.

    Empty lines and lines that start with # are left out; paths are relative to the file. ``a painting by Juan Gris | cubism``

    Raises:
        StyleMambaError: when the file is missing, no text, or names no style, or a line a label alone or a style file that is missing.
    """
    file = Path(file)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # editors on Windows begin it with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise StyleMambaError(
            f"{file} cannot be read as a list of styles ({error}); give a UTF-8 text file with one style a line."
        ) from error
    styles = []
    for number, line in enumerate(lines, start=1):
        text, bar, label = (part.strip() for part in line.partition("|"))
        if bar and not text:
            raise StyleMambaError(f"Line {number} of {file} has no style before its | ({line.strip()}); write a sentence there.")
        if text and not text.startswith("#"):
            trained = file.parent / text if text.endswith(".safetensors") else None
            if trained is not None and status(trained, f"Line {number} of {file}: {trained} cannot be read") is None:
                raise StyleMambaError(f"Line {number} of {file} names the style file {trained}, which does not exist; check the path.")
            styles.append(Style(text, label.lower(), trained))
    if not styles:
        raise StyleMambaError(f"{file} names no style; write one sentence a line.")
    return styles
