"""State-space duality (Mamba-2): a scan with one decay per head, evaluated as matrix products over chunks.

Source of the algorithm: Dao & Gu 2024, "Transformers are SSMs" (arXiv 2405.21060), section 6, and its page-long
``ssd_minimal`` in ``state-spaces/mamba``. Shapes follow that repository's ``mamba_chunk_scan_combined``.
"""

import functools
import math
from collections.abc import Callable

import torch

from .errors import StyleMambaError

_KERNEL_CHUNKS = (64, 128, 256)  # the last is what mamba-ssm's own layers take; rows of a picture are shorter than that


def ssd_ref(
    x: torch.Tensor, dt: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor, D: torch.Tensor | None = None
) -> torch.Tensor:
    """The definition, step by step: ``h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t`` and ``y_t = C_t h_t + D x_t``.

    Slow; `ssd_scan` computes the same and is tested against this. Shapes as there.
    """
    heads = x.shape[2]
    B, C = (m.repeat_interleave(heads // m.shape[2], dim=2) for m in (B, C))
    state, out = x.new_zeros(x.shape[0], heads, B.shape[3], x.shape[3]), []
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1)):
        decay = torch.exp(dt_t * A)[..., None, None]
        state = decay * state + (dt_t[..., None] * B_t)[..., :, None] * x_t[..., None, :]
        out.append((C_t[..., None, :] @ state).squeeze(-2))
    y = torch.stack(out, 1)
    return y if D is None else y + D[:, None] * x


def ssd_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """Mamba-2's scan in plain PyTorch, linear in the length, for any device.

    Args:
        x: (batch, length, heads, head_dim), the sequence.
        dt: (batch, length, heads), the step size, already positive (after softplus).
        A: (heads,), negative: the decay rate of each head.
        B, C: (batch, length, groups, d_state), input and output maps; ``groups`` divides ``heads``.
        D: (heads,) or None, the skip connection.
        chunk_size: steps that are evaluated as one matrix product. It changes the speed, not the result; by default what is fastest
            on the device.

    Returns:
        (batch, length, heads, head_dim), of ``x``'s dtype. It is computed in the widest dtype of the arguments, in float32 at least.

    Raises:
        StyleMambaError: when the shapes do not fit each other, an argument is not real floating point, or ``chunk_size`` is below 1.

    On CUDA, mamba-ssm's Triton kernel does the work where it is installed and can; it takes B and C in ``x``'s dtype.
    """
    fits = (
        x.dim() == B.dim() == 4
        and 0 not in x.shape + B.shape
        and B.shape == C.shape
        and B.shape[:2] == x.shape[:2]
        and dt.shape == x.shape[:3]
        and A.shape == x.shape[2:3]
        and x.shape[2] % B.shape[2] == 0
        and (D is None or D.shape == A.shape)
    )
    if not fits:
        raise StyleMambaError(
            f"ssd_scan: the shapes x {tuple(x.shape)}, dt {tuple(dt.shape)}, A {tuple(A.shape)}, B {tuple(B.shape)}, C {tuple(C.shape)} "
            f"and D {None if D is None else tuple(D.shape)} do not fit (batch, length, heads, head_dim), (batch, length, heads), (heads,), "
            "twice (batch, length, groups, d_state), and (heads,)."
        )
    if chunk_size is not None and chunk_size < 1:
        raise StyleMambaError(f"ssd_scan: chunk_size is {chunk_size}; use at least 1, or None for the fastest.")
    given = {"x": x, "dt": dt, "A": A, "B": B, "C": C, **({} if D is None else {"D": D})}
    for name, tensor in given.items():
        if not tensor.is_floating_point():
            raise StyleMambaError(f"ssd_scan: {name} is {tensor.dtype}, but must be real floating point.")
    dtype = x.dtype
    compute = functools.reduce(torch.promote_types, (tensor.dtype for tensor in given.values()), torch.float32)
    kernel = _cuda_kernel() if x.is_cuda else None
    # The kernel has no fp64, and its matrix products want at least 16 of everything.
    if kernel and compute != torch.float64 and min(x.shape[3], B.shape[3]) >= 16:
        return _call_kernel(kernel, x, dt, A, B, C, D)
    # On a CPU a power of two would put a matrix's rows on one another's cache lines in the backward; short sequences take one product.
    chunk_size = chunk_size or (28 if x.device.type == "cpu" and x.shape[1] > 48 else 64)
    x, dt, A, B, C = (t.to(compute) for t in (x, dt, A, B, C))
    with torch.autocast(x.device.type, enabled=False):
        chunks = -(-x.shape[1] // chunk_size)
        y = _chunked(x, dt, A, B, C, -(-x.shape[1] // chunks))
    if D is not None:
        y = torch.addcmul(y, D.to(compute)[:, None], x)
    return y.to(dtype)


def _chunked(x, dt, A, B, C, chunk):
    batch, length, heads, head_dim = x.shape
    groups, d_state = B.shape[2:]
    chunks = -(-length // chunk)
    if pad := chunks * chunk - length:  # zero steps at the end: they neither decay nor add
        x, dt, B, C = (torch.nn.functional.pad(t, (0, 0) * (t.dim() - 2) + (0, pad)) for t in (x, dt, B, C))

    # Everything below is (batch, chunks, groups, heads per group, ...), so that B and C broadcast over their group's heads.
    # Contiguous, or each product below would copy them.
    def split(t):
        return t.view(batch, chunks, chunk, groups, heads // groups, -1).permute(0, 1, 3, 4, 2, 5).contiguous()

    xdt = split(x * dt[..., None])
    B = B.view(batch, chunks, chunk, groups, d_state).permute(0, 1, 3, 2, 4)[:, :, :, None]
    C = C.view(batch, chunks, chunk, groups, d_state).permute(0, 1, 3, 2, 4)[:, :, :, None]
    # To base 2: on a CPU torch's exp2 takes a sixth of exp's time where some exponents are -inf.
    log_decay = dt * (A * math.log2(math.e))
    # Of a decay that is 0 as a number anyway; a sum over it would lose the digits of the weak ones after it.
    log_decay = log_decay.clamp_min(2 * math.log2(torch.finfo(log_decay.dtype).tiny))
    log_decay = split(log_decay[..., None])[..., 0].cumsum(-1)  # (batch, chunks, groups, heads, chunk), falling

    # Inside a chunk: an attention-like product whose mask is the decay from step j to step i.
    future = torch.full((chunk, chunk), -torch.inf, dtype=log_decay.dtype, device=log_decay.device).triu_(1)
    mask = (log_decay[..., :, None] - log_decay[..., None, :]).add_(future).exp2_()
    y = ((C @ B.transpose(-1, -2)) * mask) @ xdt

    if chunks > 1:
        # What each chunk leaves behind, and the state that arrives at each chunk's first step.
        left = (B * torch.exp2(log_decay[..., -1:] - log_decay)[..., None]).transpose(-1, -2) @ xdt
        total = torch.exp2(log_decay[..., -1])[..., None, None].unbind(1)
        state, arriving = torch.zeros_like(left[:, 0]), []
        for added, decay in zip(left.unbind(1), total):
            arriving.append(state)
            state = torch.addcmul(added, decay, state)
        arriving = torch.stack(arriving, 1)
        from_before = C * torch.exp2(log_decay)[..., None]
        y = torch.baddbmm(*(t.flatten(0, 3) for t in (y, from_before, arriving))).view_as(y)

    return y.permute(0, 1, 4, 2, 3, 5).reshape(batch, chunks * chunk, heads, head_dim)[:, :length]


@functools.cache
def _cuda_kernel() -> Callable | None:
    """mamba-ssm's `mamba_chunk_scan_combined`, or None: the package is optional, and its import fails where Triton does."""
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except Exception:  # an extension built for another torch raises more than ImportError
        return None
    return mamba_chunk_scan_combined


def _call_kernel(kernel, x, dt, A, B, C, D):
    """The kernel wants dt, A and D in fp32, and one dtype for everything else."""
    D = None if D is None else D.float()
    chunk = next((size for size in _KERNEL_CHUNKS if size >= x.shape[1]), _KERNEL_CHUNKS[-1])
    return kernel(x, dt.float(), A.float(), B.to(x.dtype), C.to(x.dtype), chunk_size=chunk, D=D)
