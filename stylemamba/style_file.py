"""Style files: the deltas that training on a style adds to the fusion's parameters, as safetensors with readable metadata."""

import base64
import contextlib
import hashlib
import io
import json
import os
import stat

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .errors import StyleMambaError
from .image_files import replacing
from .images import status
from .low_rank import expand, factorise

FORMAT = "stylemamba-style-1"
PREVIEW_SIDE = 128  # px
EMBEDDING = "embedding"  # the tensor that is no delta: the style embedding (E,), or a blend (K, E), that the deltas were trained with
PALETTE = "palette"  # neither, and only where a picture shows the style: its colours (4, 4), see `stylemamba.colours`


def base_hash(parameters: dict[str, torch.Tensor], rounded_to: torch.dtype = torch.float16) -> str:
    """16 hex digits that tell one base fusion from another: SHA-256 over names, shapes and a sample of each parameter in fp16.

    Args:
        rounded_to: the dtype that the parameters count as having, before fp16.
    """
    digest = hashlib.sha256()
    for name, value in sorted(parameters.items()):
        flat = value.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)].to("cpu", rounded_to).to(torch.float16)
        digest.update(f"{name}{tuple(value.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
BASE = ("base", "base in bfloat16")  # what a style's info says of the base fusion that it is for


def belongs_to(fusion: torch.nn.Module) -> dict[str, str]:
    """The `BASE` of a style for that base fusion: its hash, and the hash that it has in bfloat16."""
    parameters = dict(fusion.named_parameters())
    return dict(zip(BASE, (base_hash(parameters), base_hash(parameters, torch.bfloat16))))


def fits(info: dict, fusion: torch.nn.Module) -> bool:
    """Whether a style of this info is for that base fusion, in whatever dtype either was: fp16 keeps a hash and bfloat16 changes it."""
    known, own = ({of.get(key) for key in BASE} - {None} for of in (info, belongs_to(fusion)))
    return bool(known & own)


def encode_preview(picture: Image.Image) -> str:
    """A small JPEG of an RGB picture as a data URI, which JSON can hold and a web page can show."""
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def write_style(path: str | os.PathLike, tensors: dict[str, torch.Tensor], info: dict) -> None:
    """Writes a style file, its matrices of low rank as factors; what stood at ``path`` stays whole until the new file is complete.

    Raises:
        StyleMambaError: when the folder is missing or the disk refuses.
    """
    on_cpu = {name: value.detach().cpu() for name, value in tensors.items()}
    on_cpu = {name: value.contiguous() for name, value in factorise(on_cpu).items()}
    # A name may come from a file whose name is no UTF-8; JSON escapes what that cannot hold.
    text = json.dumps(info, ensure_ascii=False).encode(errors="backslashreplace").decode()
    try:
        with replacing(os.fspath(path)) as partial:
            save_file(on_cpu, partial, metadata={"format": FORMAT, "info": text})
    except (OSError, SafetensorError) as error:
        raise StyleMambaError(f"The style could not be written to {path}: {error}; choose a folder that exists and has room.") from error


def read_style(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors (deltas of the fusion's parameters, and the style embedding) and the info of a style file.

    Raises:
        StyleMambaError: when the file is missing, not safetensors (a pickle, for example), truncated, or not a style.
    """
    entry = status(path, f"{path} cannot be read")
    if entry is None or not stat.S_ISREG(entry.st_mode):
        raise StyleMambaError(f"There is no style file at {path}; check the path, or train one with `stylemamba train`.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copies: a style that is in use would keep the file mapped, and Windows lets no mapped file be replaced.
            tensors = expand({name: file.get_tensor(name).clone() for name in file.keys()})
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise StyleMambaError(
            f"{path} is not a readable safetensors file ({error}); style files are made by `stylemamba train`."
        ) from error
    info = None
    with contextlib.suppress(KeyError, ValueError):
        info = json.loads(metadata["info"])
    if metadata.get("format") != FORMAT or not _is_style(tensors, info):
        raise StyleMambaError(f"{path} is a safetensors file but not a StyleMamba style; style files are made by `stylemamba train`.")
    return tensors, info


def _is_style(tensors: dict[str, torch.Tensor], info: object) -> bool:
    style, palette = (tensors.get(key, torch.empty(0)) for key in (EMBEDDING, PALETTE))
    described = isinstance(info, dict) and all(isinstance(info.get(key, ""), str) for key in BASE) and {"prompt", "base"} <= {*info}
    finite = all(tensor.dtype in DTYPES and bool(tensor.isfinite().all()) for tensor in tensors.values())
    if not (described and isinstance(info["prompt"], str) and finite and style.dim() in (1, 2) and palette.shape in ((0,), (4, 4))):
        return False
    return 1e-6 < style.float().norm(dim=-1).sum() < 1e6  # 1, unless it was trained with another; the fusion divides by it
