"""What lets a training that was stopped go on from its checkpoint."""

from pathlib import Path

import torch

from stylemamba import checkpoint


class Together:
    """Optimizers as one for `checkpoint`, so that one file has a training's whole state: of several, a kill leaves some ahead of others."""

    def __init__(self, *optimizers: torch.optim.Optimizer):
        self.optimizers = optimizers

    def state_dict(self) -> dict:
        state, first = {}, 0
        for optimizer in self.optimizers:
            own = optimizer.state_dict()
            state |= {first + index: values for index, values in own["state"].items()}
            first += sum(len(group["params"]) for group in own["param_groups"])
        return {"state": state, "param_groups": []}

    def load_state_dict(self, saved: dict) -> None:
        first = 0
        for optimizer in self.optimizers:
            groups = optimizer.state_dict()["param_groups"]
            last = first + sum(len(group["params"]) for group in groups)
            own = {index - first: values for index, values in saved["state"].items() if first <= index < last}
            optimizer.load_state_dict({"state": own, "param_groups": groups})
            first = last


def beginning(path: Path, **options) -> dict:
    """For the info of a training's checkpoint: the options that count only where it begins. A checkpoint without them is taken as it is.

    Raises:
        SystemExit: when there is a checkpoint that began with others: these would count for nothing.
    """
    options = {name: value for name, value in options.items() if value}
    kept = checkpoint.info_of(path).get("began", options) if path.exists() else options
    if kept != options:
        said = [" ".join(f"--{name} {value}" for name, value in each.items()) or "none of these options" for each in (kept, options)]
        raise SystemExit(f"{path} began with {said[0]}, and this training has {said[1]}; name another folder with --out.")
    return {"began": options}


def whole(path: str | Path | None) -> str:
    """A path as `beginning` compares it, however it was written; nothing of nothing."""
    return str(Path(path).resolve()) if path else ""
