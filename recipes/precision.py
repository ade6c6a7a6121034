"""In which precision the networks compute while they are trained."""

import torch


def mixed(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU and on a CPU with AVX-512, fp32 elsewhere: one with AVX2 alone takes 35 times as long for products in bfloat16."""
    fast = device.type != "cpu" or "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)
