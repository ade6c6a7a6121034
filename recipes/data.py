"""Pictures for training: a folder of photos and a folder of labelled art, held in memory as uint8."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image


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
        """The picture as uint8 (3, H, W)."""
        return torch.from_numpy(np.array(Image.open(self.path).convert("RGB"))).permute(2, 0, 1).contiguous()


def read_folder(folder: str | Path, *, train: bool = True) -> list[Picture]:
    """The pictures of a folder, sorted by name; ``train`` leaves out the held-out tenth, otherwise only that tenth is returned."""
    folder = Path(folder)
    index = folder / "index.csv"
    if index.exists():
        with index.open(encoding="utf-8", newline="") as file:
            pictures = [
                Picture(folder / row["file"], row.get("style", ""), row.get("artist", ""), row.get("caption", ""))
                for row in csv.DictReader(file)
            ]
    else:
        pictures = [Picture(path) for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}]
    return sorted((p for p in pictures if held_out(p.path.name) != train), key=lambda p: p.path.name)


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
