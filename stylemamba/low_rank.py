"""Low-rank deltas: training that moves a matrix by a product of two thin ones, and the form in which style files hold such a change."""

import torch
from torch import nn
from torch.nn.utils import parametrize

RANK = 3
SMALL = 16384  # values; a parameter of no more is moved as a whole
UP, DOWN = ".up", ".down"  # what a file calls the factors of a delta


class _Added(nn.Module):
    """weight -> weight + up @ down; nothing is added at first."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.up, self.down = nn.Parameter(torch.zeros(rows, RANK)), nn.Parameter(torch.randn(RANK, columns) / RANK)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def add_factors(module: nn.Module, seed: int) -> list[nn.Parameter]:
    """Gives every large matrix of a module's linear layers two trainable factors, and returns these; call it on a copy."""
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and layer.weight.numel() > SMALL:
                added = _Added(*layer.weight.shape).to(layer.weight)
                found += [added.up, added.down]
                parametrize.register_parametrization(layer, "weight", added)
    return found


@torch.no_grad()
def deltas_from(base: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """What was added to a module's parameters, by the names that they had before `add_factors`.

    Of a matrix with factors it is their product: the rounding of what it was added to has full rank.
    """
    deltas = {name: value.detach() - base[name] for name, value in module.named_parameters() if "parametrizations" not in name}
    for prefix, part in module.named_modules():
        for name in part.parametrizations if parametrize.is_parametrized(part) else ():
            (added,) = part.parametrizations[name]
            deltas[f"{prefix}.{name}".lstrip(".")] = added.up @ added.down
    return deltas


def factorise(deltas: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replaces each matrix by two factors where they are smaller and their product is the matrix, up to the rounding of fp32."""
    found = {}
    for name, delta in deltas.items():
        if delta.dim() == 2 and delta.numel() > SMALL:
            u, s, v = torch.linalg.svd(delta.float(), full_matrices=False)
            rank = int((s > s[0] * 1e-5).sum())
            if 2 * rank * sum(delta.shape) < delta.numel():
                found[name + UP], found[name + DOWN] = (u * s)[:, :rank], v[:rank]
                continue
        found[name] = delta
    return found


def expand(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `factorise` was given."""
    found = {name: value for name, value in tensors.items() if not name.endswith((UP, DOWN))}
    for name in tensors:
        if name.endswith(UP):
            found[name.removesuffix(UP)] = tensors[name] @ tensors[name.removesuffix(UP) + DOWN]
    return found
