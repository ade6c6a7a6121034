"""In which precision the networks are trained: bfloat16 on a GPU and on a CPU with AVX-512, fp32 elsewhere.

A CPU with AVX2 alone takes 35 times as long for products of matrices in bfloat16 as in fp32.
"""

import torch
from torch.optim import _muon


def fast_in_bfloat16(device: torch.device) -> bool:
    return device.type != "cpu" or "AVX512" in torch.backends.cpu.get_cpu_capability()


def mixed(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_in_bfloat16(device))


def muon(groups: list, device: torch.device, weight_decay: float) -> torch.optim.Muon:
    """torch's Muon, with steps as large as AdamW's. Those are made orthogonal in bfloat16, for which it has no option."""
    if not fast_in_bfloat16(device):
        _muon._zeropower_via_newtonschulz = orthogonal
    return torch.optim.Muon(groups, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")


def orthogonal(gradient: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> torch.Tensor:
    """(M, N) with singular values near 1, by Newton-Schulz iteration in fp32 (Jordan et al. 2024, github.com/KellerJordan/Muon)."""
    a, b, c = coefficients
    tall = len(gradient) > gradient.shape[1]
    x = gradient.float().T if tall else gradient.float()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
