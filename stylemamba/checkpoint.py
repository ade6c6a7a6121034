"""Checkpoints that a stopped training continues from: safetensors for every tensor, JSON for the rest, replaced atomically."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .errors import StyleMambaError
from .image_files import check_writable, replacing
from .images import status


def prepare(path: str | os.PathLike) -> None:
    """Makes the folder that the file is to be in.

    Raises:
        StyleMambaError: when nothing can be written there: better said before a training than after it.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StyleMambaError(f"The training state cannot be written to {path}: {error}; choose another folder.") from error
    check_writable(os.fspath(path))


def save(
    path: str | os.PathLike, step: int, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer, info: dict | None = None
) -> None:
    """Writes the modules' and the optimizer's state after ``step`` steps, and ``info`` (JSON); an old file stays until it is whole."""
    # The file takes no channels-last tensors, and none that share memory.
    copy = lambda value: value.detach().clone(memory_format=torch.contiguous_format)
    tensors = {f"{name}/{key}": copy(value) for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer/{index}/{key}": copy(value) for key, value in state.items()})
    prepare(path)
    try:
        with replacing(os.fspath(path)) as partial:
            save_file(tensors, partial, metadata={"step": json.dumps(step), "info": json.dumps(info or {})})
    except (OSError, SafetensorError) as error:
        raise StyleMambaError(
            f"The training state could not be written to {path}: {error}; choose a folder that exists and has room."
        ) from error


def info_of(path: str | os.PathLike) -> dict:
    """The info of what `save` wrote, without its tensors.

    Raises:
        StyleMambaError: when the file is not a checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            info = json.loads((file.metadata() or {})["info"])
            if not isinstance(info, dict):
                raise ValueError("its info is no dict")
            return info
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise StyleMambaError(f"{path} is not a training state ({str(error).splitlines()[0]}); delete it to start again.") from error


def load(path: str | os.PathLike, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer | None = None) -> tuple[int, dict]:
    """Restores what `save` wrote and returns its step and info; ``(0, {})`` where there is no file.

    Raises:
        StyleMambaError: when the file is not a checkpoint of these modules.
    """
    if status(path, f"The training state {path} cannot be read") is None:
        return 0, {}
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copies: the optimizer would keep the file mapped, and Windows lets no mapped file be replaced.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}
        for name, module in modules.items():
            prefix = f"{name}/"
            module.load_state_dict({key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)})
        if optimizer is not None:
            state: dict[int, dict] = {}
            for key, value in tensors.items():
                if key.startswith("optimizer/"):
                    _, index, field = key.split("/")
                    state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return json.loads(metadata["step"]), json.loads(metadata.get("info", "{}"))
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise StyleMambaError(f"{path} is not a training state that fits this model ({reason}); delete it to start again.") from error
