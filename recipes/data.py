"""Pictures for training: a folder of photos and a folder of labelled art, held in memory as uint8."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stylemamba.images import load_image

LARGEST = 288  # px, the short side of pictures as they are held: crops of 128 to 256 px shall show more than a fragment
READABLE = {".jpg", ".jpeg", ".png", ".webp"}


def held_out(name: str) -> bool:
    """True for the tenth of files that is set aside for evaluation: the first byte of the name's SHA-1, modulo 10, is 0."""
    return hashlib.sha1(Path(name).name.encode()).digest()[0] % 10 == 0


@dataclass
class Picture:
    """One picture and what its folder's ``index.csv`` says of it (empty strings where there is no index)."""

    path: Path
    style: str = ""
    artist: str = ""
    caption: str = ""

    def load(self) -> torch.Tensor:
        """The picture as uint8 (3, H, W), upright, scaled down where its short side is above `LARGEST`."""
        picture = load_image(self.path)
        scale = LARGEST / min(picture.size)
        if scale < 1:
            picture = picture.resize([round(n * scale) for n in picture.size], Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def read_folder(folder: str | Path, *, train: bool = True) -> list[Picture]:
    """The pictures of a folder, sorted by name; ``train`` leaves out the held-out tenth, otherwise only that tenth is returned.

    Raises:
        SystemExit: when there is no such folder, none of its pictures is left to train on, or its index cannot be read.
    """
    folder = Path(folder)
    index = folder / "index.csv"
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not a folder; name a folder of pictures.")
    if index.exists():
        try:
            with index.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin UTF-8 with a byte order mark
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SystemExit(f"{index} cannot be read ({error}); save it as CSV in UTF-8.") from error
        if not all(row.get("file") for row in rows):
            raise SystemExit(f"{index} has no column named file, or a row without one; separate its columns by commas.")
        pictures = [Picture(folder / row["file"], *(row.get(key) or "" for key in ("style", "artist", "caption"))) for row in rows]
    else:
        pictures = [Picture(path) for path in folder.iterdir() if path.suffix.lower() in READABLE]
    chosen = sorted((p for p in pictures if held_out(p.path.name) != train), key=lambda p: p.path.name)
    if train and not chosen:
        raise SystemExit(f"{folder} holds no pictures to train on ({', '.join(sorted(READABLE))}, or what index.csv names); add some.")
    return chosen


def spread(items: list, count: int) -> list:
    """At most ``count`` of the items, evenly spread over all of them."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def random_crop(image: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
    """A random ``size`` x ``size`` crop of a uint8 (3, H, W) picture, mirrored half of the time; small pictures are enlarged first."""
    short = min(image.shape[1:])
    if short < size:
        scale = size / short
        shape = [max(size, round(n * scale)) for n in image.shape[1:]]
        image = torch.nn.functional.interpolate(image[None].float(), shape, mode="bilinear", antialias=True)[0].round().byte()
    top = int(rng.integers(image.shape[1] - size + 1))
    left = int(rng.integers(image.shape[2] - size + 1))
    crop = image[:, top : top + size, left : left + size]
    return crop.flip(2) if rng.random() < 0.5 else crop
