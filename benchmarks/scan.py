"""The scans against what else a user could take: time as a multiple of selective_scan's, forward and forward with backward.

    python benchmarks/scan.py [--quick] [--threads 1] [--channels 256] [--states 16] [--device cuda]

Batch 1, fp32. With one thread it is CPU time, which other programs disturb less; with more it is time on the clock. mambapy and
transformers take part where they are installed; methods that grow too slow are left out where they do. On a GPU it is time on its own
clock; mamba-ssm's kernels, where installed, take part under their names, and the scans show what they are without them.
--quick stops at length 1024 and fails unless the scans keep loose bounds.
"""

import argparse
import time
from collections.abc import Callable

import torch

from stylemamba import scan, ssd
from stylemamba.scan import selective_scan, selective_scan_ref
from stylemamba.ssd import ssd_scan

HEAD_DIM = 32  # of ssd_scan


def pscan_or_none() -> Callable | None:
    """mambapy's parallel scan, wrapped as its own Mamba block does."""
    try:
        from mambapy.pscan import pscan
    except ImportError:
        return None

    def scan(u, delta, A, B, C):
        u, delta, B, C = (t.transpose(1, 2) for t in (u, delta, B, C))
        states = pscan(torch.exp(delta[..., None] * A), (delta[..., None] * B[:, :, None]) * u[..., None])
        return (states @ C[..., None])[..., 0]

    return scan


def transformers_or_none() -> Callable | None:
    """The plain path of transformers' Mamba, which it takes without CUDA kernels."""
    try:
        from transformers.models.mamba.modeling_mamba import mamba_selective_scan
    except ImportError:
        return None
    return mamba_selective_scan


def take_kernels() -> dict[str, tuple[Callable, int, int]]:
    """mamba-ssm's kernels as methods of their own; from then on the scans do without them."""
    found = {}
    if kernel := ssd._cuda_kernel():
        found["mamba-ssm, Triton (ssd)"] = (lambda *inputs, call=kernel: ssd._call_kernel(call, *inputs, None), UNLIMITED, UNLIMITED)
    if kernel := scan._cuda_kernel():
        rest = (None, None, None, False, False)  # D, z, delta_bias, delta_softplus, return_last_state
        found["mamba-ssm, CUDA (selective)"] = (lambda *inputs, call=kernel: scan._call_kernel(call, *inputs, *rest), UNLIMITED, UNLIMITED)
    ssd._cuda_kernel = scan._cuda_kernel = lambda: None
    if found:  # transformers would hand its work to mamba-ssm, and its row would be no plain path
        found["transformers, plain path"] = (None, 0, 0)
    return found


# Name -> function, and the greatest lengths for a forward and for a forward with backward.
UNLIMITED = 2**31
METHODS = {
    "selective_scan": (selective_scan, UNLIMITED, UNLIMITED),
    "ssd_scan": (ssd_scan, UNLIMITED, UNLIMITED),
    "selective_scan_ref": (selective_scan_ref, 1024, 1024),
    "mambapy pscan": (pscan_or_none(), UNLIMITED, UNLIMITED),
    "transformers, plain path": (transformers_or_none(), 4096, 1024),
}


def make_inputs(name: str, channels: int, states: int, length: int) -> list[torch.Tensor]:
    if "ssd" in name:
        heads = channels // HEAD_DIM
        x, dt, A = torch.randn(1, length, heads, HEAD_DIM), 0.1 * torch.rand(1, length, heads), -4 * torch.rand(heads)
        return [x, dt, A, torch.randn(1, length, 1, states), torch.randn(1, length, 1, states)]
    u, delta, A = torch.randn(1, channels, length), 0.1 * torch.rand(1, channels, length), -4 * torch.rand(channels, states)
    return [u, delta, A, torch.randn(1, states, length), torch.randn(1, states, length)]


def seconds(function: Callable, inputs: list[torch.Tensor], backward: bool) -> float:
    inputs = [t.detach().requires_grad_(backward) for t in inputs]
    if inputs[0].is_cuda:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        out = function(*inputs)
        if backward:
            out.sum().backward()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    out = function(*inputs)
    if backward:
        out.sum().backward()
    return clock() - started


def measure(length: int, backward: bool, channels: int, states: int, device: str) -> dict[str, float]:
    """The best of up to six rounds, in seconds; the methods take turns, so that a busy moment of the machine hits them all."""
    contenders = {
        name: (function, [t.to(device) for t in make_inputs(name, channels, states, length)])
        for name, (function, *limits) in METHODS.items()
        if function and length <= limits[backward]
    }
    runs = {name: [] for name in contenders}
    for _ in range(6):
        for name, (function, inputs) in contenders.items():
            if sum(runs[name]) < 3:
                runs[name].append(seconds(function, inputs, backward))
    return {name: min(times) for name, times in runs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels", type=int, default=256, help=f"a multiple of {HEAD_DIM}")
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    if args.device == "cuda":
        METHODS.update(take_kernels())
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    lengths = (256, 1024) if args.quick else (256, 1024, 4096, 16384)

    for backward in (False, True):
        table = {length: measure(length, backward, args.channels, args.states, args.device) for length in lengths}
        title = "forward + backward" if backward else "forward"
        print(f"\n{title}: time as a multiple of selective_scan's")
        print(f"{'length':<34}" + "".join(f"{length:>12}" for length in lengths))
        for name in METHODS:
            cells = (f"{table[length][name] / table[length]['selective_scan']:.3g}" if name in table[length] else "-" for length in lengths)
            print(f"{name:<34}" + "".join(f"{cell:>12}" for cell in cells))
        per_step = {length: table[length]["selective_scan"] / length for length in lengths}
        print(f"{'selective_scan, time per step':<34}" + "".join(f"{per_step[length] / per_step[1024]:>12.2f}" for length in lengths))
        print(f"{'selective_scan, ms':<34}" + "".join(f"{table[length]['selective_scan'] * 1e3:>12.2f}" for length in lengths))

    if args.quick:
        times = table[1024]
        if times["selective_scan_ref"] < 2 * times["selective_scan"] or times["ssd_scan"] > 2 * times["selective_scan"]:
            raise SystemExit("\nToo slow at length 1024: selective_scan must beat its definition by 2x, ssd_scan stay within 2x of it.")


if __name__ == "__main__":
    main()
