"""The selective scan of Mamba-1, in pure PyTorch.

For every channel d and state n (equation 2 of "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752):

    h[t] = exp(delta[t] * A) * h[t-1] + delta[t] * B[t] * u[t],    h[-1] = 0
    y[t] = sum over n of C[t] * h[t] + D * u[t]
    out[t] = y[t] * silu(z[t])

`selective_scan_ref` says just that, `selective_scan` computes the same fast. Both take what mamba-ssm's `selective_scan_fn` takes.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .errors import StyleMambaError

# States in a chunk, unless that is too short: 1 MiB in fp32 stays in a CPU cache, and more steps to a chunk spread its overhead thinner.
_CHUNK_ELEMENTS = 2**18


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Selective scan: time and memory linear in the length L, differentiable once with respect to every tensor.

    Args:
        u: input, (B, D, L), any floating dtype.
        delta: step sizes, (B, D, L).
        A: decay rates, (D, N), real; negative for a stable system.
        B: input weights: (D, N) when constant in time, else (B, N, L), or (B, G, N, L) with D a multiple of G.
        C: output weights, shaped like any of the forms of B.
        D: skip weights, (D,).
        z: gate, (B, D, L).
        delta_bias: added to delta, (D,).
        delta_softplus: pass delta (with its bias) through softplus.
        return_last_state: also return the state after the last step.

    Returns:
        (B, D, L) in the dtype of u; with `return_last_state` also the state (B, D, N) in the dtype of the computation, which is
        fp32, or fp64 where an input is fp64.

    Raises:
        StyleMambaError: a tensor has the wrong shape or is not real floating point.

    On CUDA, mamba-ssm's kernel does the work where it is installed and can.
    """
    _check(u, delta, A, B, C, D, z, delta_bias)
    dtype = _compute_dtype(u, delta, A, B, C, D, z, delta_bias)
    kernel = _cuda_kernel() if u.is_cuda else None
    # The kernel has no fp64, passes no gradient through the last state, and wants B and C alike.
    if kernel and dtype == torch.float32 and B.shape == C.shape and not (return_last_state and torch.is_grad_enabled()):
        return _call_kernel(kernel, u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)

    groups = max((w.shape[1] for w in (B, C) if w.dim() == 4), default=1)
    A, B, C = _state_major(A, groups, dtype), _state_major(B, groups, dtype), _state_major(C, groups, dtype)
    D, delta_bias = (None if v is None else v.to(dtype) for v in (D, delta_bias))
    out, last_state = _SelectiveScan.apply(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    if return_last_state:
        return out, last_state.transpose(2, 3).flatten(1, 2)
    return out


def selective_scan_ref(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The definition of `selective_scan`, one step at a time; slow, and it keeps every state when gradients are on."""
    _check(u, delta, A, B, C, D, z, delta_bias)
    dtype = _compute_dtype(u, delta, A, B, C, D, z, delta_bias)
    channels, length = u.shape[1:]

    def steps(weight: Tensor) -> tuple[Tensor, ...]:
        """A weight in any of its three forms as L tensors that broadcast with (B, D, N)."""
        weight = weight.to(dtype)
        if weight.dim() == 2:
            return (weight[None],) * length
        if weight.dim() == 3:
            weight = weight[:, None]
        return weight.repeat_interleave(channels // weight.shape[1], dim=1).unbind(-1)

    delta = delta.to(dtype) if delta_bias is None else delta.to(dtype) + delta_bias.to(dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    A = A.to(dtype)
    h = u.new_zeros(*u.shape[:2], A.shape[1], dtype=dtype)
    ys = []
    for u_t, delta_t, B_t, C_t in zip(u.to(dtype).unbind(-1), delta.unbind(-1), steps(B), steps(C)):
        h = torch.exp(delta_t[..., None] * A) * h + delta_t[..., None] * B_t * u_t[..., None]
        ys.append((C_t * h).sum(-1))
    y = torch.stack(ys, dim=-1)
    if D is not None:
        y = y + D.to(dtype)[:, None] * u
    if z is not None:
        y = y * F.silu(z.to(dtype))
    out = y.to(u.dtype)
    return (out, h) if return_last_state else out


class _SelectiveScan(torch.autograd.Function):
    """The scan in chunks of time; the backward recomputes a chunk's states from the state at the chunk's start.

    Within a chunk everything but the recurrence is a few wide operations over (T, B, G, N, E): time first, so that a step is one
    block of memory; the G groups of channels that share B and C; then the N states; and the E = D / G channels of a group last, so
    that what is constant in time or equal for all states broadcasts along contiguous memory. The recurrence is one in-place
    multiply-add a step. Nothing is ever divided by a decay, so decays may underflow to zero.

    A is (G, N, E); B and C are (G, N, E) when constant in time, else (B, G or 1, N, L).
    """

    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, delta_bias, delta_softplus):
        spans = _spans(u, A)
        out = torch.empty_like(u)
        starts = A.new_empty(len(spans), u.shape[0], *A.shape)  # the state before each chunk
        a, h = (_Buffer(spans, starts) for _ in range(2))
        state = torch.zeros_like(starts[0])
        for start, span in zip(starts, spans):
            start.copy_(state)
            x = _Chunk(span, u, delta, A, B, C, D, z, delta_bias, delta_softplus)
            states = h.all[: x.length]
            x.run(start, a, h)
            y = x.output(states)
            _store(y if z is None else y * F.silu(x.z), out, span)
            state = states[-1]
        ctx.save_for_backward(u, delta, A, B, C, D, z, delta_bias, starts)
        ctx.delta_softplus = delta_softplus
        return out, state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out, grad_state):
        u, delta, A, B, C, D, z, delta_bias, starts = ctx.saved_tensors
        spans = _spans(u, A)
        grad_u, grad_delta, grad_B, grad_C = (torch.zeros_like(t) for t in (u, delta, B, C))
        grad_A = torch.zeros_like(A)
        grad_D, grad_z, grad_bias = (None if t is None else torch.zeros_like(t) for t in (D, z, delta_bias))
        a, h, g, product = (_Buffer(spans, starts) for _ in range(4))
        for start, span in zip(reversed(starts.unbind(0)), reversed(spans)):
            x = _Chunk(span, u, delta, A, B, C, D, z, delta_bias, ctx.delta_softplus)
            decays, states, grad_states, scratch = (buffer.all[: x.length] for buffer in (a, h, g, product))
            x.run(start, a, h)

            grad_y = x.load(grad_out)
            if z is not None:
                sigmoid = torch.sigmoid(x.z)
                _store(grad_y * x.output(states) * sigmoid * (1 + x.z * (1 - sigmoid)), grad_z, span)
                grad_y = grad_y * x.z * sigmoid
            _add_weight_grad(torch.mul(states, grad_y, out=scratch), grad_C, span)

            # The recurrence runs back in time; grad_state arrives from the chunk after this one.
            torch.mul(grad_y, x.C, out=grad_states)
            grad_states[-1] += grad_state
            for t in range(x.length - 1, 0, -1):
                g.steps[t - 1].addcmul_(a.steps[t], g.steps[t])
            _add_weight_grad(torch.mul(grad_states, x.scaled_u, out=scratch), grad_B, span)
            grad_scaled_u = _sum_over_states(x.B, grad_states)

            # With respect to the exponents delta * A: grad_states * decay * the state before.
            grad_exponents = decays.mul_(grad_states)
            grad_state = grad_exponents[0].clone()
            grad_exponents[1:] *= states[:-1]
            grad_exponents[0] *= start
            grad_A += torch.mul(grad_exponents, x.delta, out=scratch).sum((0, 1))
            grad_step = torch.mul(grad_exponents, A, out=scratch).sum(3, keepdim=True)

            grad_step += grad_scaled_u * x.u
            if ctx.delta_softplus:
                grad_step *= torch.sigmoid(x.raw_delta)
            _store(grad_step, grad_delta, span)
            if grad_bias is not None:
                grad_bias += grad_step.sum((0, 1)).flatten()
            grad_x = grad_scaled_u.mul_(x.delta)
            if D is not None:
                grad_D += (grad_y * x.u).sum((0, 1)).flatten()
                grad_x += grad_y * x.D
            _store(grad_x, grad_u, span)
        return grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, None


class _Chunk:
    """The inputs of a span of T steps, in the layout and dtype of the computation: u, delta and z are (T, B, G, 1, E)."""

    def __init__(self, span, u, delta, A, B, C, D, z, delta_bias, delta_softplus):
        self.span, self.A = span, A
        self.length = span.stop - span.start
        self.u, self.raw_delta, self.z = self.load(u), self.load(delta), None if z is None else self.load(z)
        if delta_bias is not None:
            self.raw_delta = self.raw_delta + self.per_channel(delta_bias)
        self.delta = F.softplus(self.raw_delta) if delta_softplus else self.raw_delta
        self.scaled_u = self.delta * self.u
        self.B, self.C = self.load_weight(B), self.load_weight(C)
        self.D = None if D is None else self.per_channel(D)

    def load(self, rows: Tensor) -> Tensor:
        """(B, D, L) -> (T, B, G, 1, E)."""
        groups, _, channels = self.A.shape
        rows = rows[..., self.span].to(self.A.dtype)
        if rows.stride(1) == 1:  # a transposed view of (B, L, D)
            rows = rows.permute(2, 0, 1).contiguous()
        else:  # first a plain copy, then a transposition of two dimensions: both are fast, the two in one are not
            rows = rows.contiguous().view(-1, self.length).t().contiguous()
        return rows.view(self.length, -1, groups, 1, channels)

    def load_weight(self, weight: Tensor) -> Tensor:
        """(G, N, E), constant in time, as it is; (B, G or 1, N, L) -> (T, B, G or 1, N, 1)."""
        if weight.dim() == 3:
            return weight
        return weight[..., self.span].permute(3, 0, 1, 2).to(self.A.dtype).contiguous()[..., None]

    def per_channel(self, values: Tensor) -> Tensor:
        """(D,) -> (G, 1, E)."""
        return values.view(self.A.shape[0], 1, -1)

    def run(self, start: Tensor, decays: "_Buffer", states: "_Buffer") -> None:
        """Fill the buffers with the decays and the states of every step, beginning from the state `start`."""
        # exp2 is several times faster than exp on a CPU.
        torch.mul(self.delta, self.A * math.log2(math.e), out=decays.all[: self.length]).exp2_()
        torch.mul(self.scaled_u, self.B, out=states.all[: self.length])
        for decay, state in zip(decays.steps, states.steps[: self.length]):
            start = state.addcmul_(decay, start)

    def output(self, states: Tensor) -> Tensor:
        """y before the gate, (T, B, G, 1, E)."""
        y = _sum_over_states(self.C, states)
        return y if self.D is None else y.addcmul_(self.D, self.u)


def _sum_over_states(weight: Tensor, states: Tensor) -> Tensor:
    """Sum over n of weight * states, for a weight of `_Chunk.load_weight`: (T, B, G, 1, E)."""
    if weight.dim() == 3:
        return (weight * states).sum(3, keepdim=True)
    with torch.autocast(states.device.type, enabled=False):
        return weight.transpose(3, 4) @ states


def _add_weight_grad(product: Tensor, grad: Tensor, span: slice) -> None:
    """Sum a gradient of the broadcast (T, B, G, N, E) to the shape of B or C, and put it in its place."""
    if grad.dim() == 3:
        grad += product.sum((0, 1))
    else:
        product = product.sum(4)
        if grad.shape[1] == 1:
            product = product.sum(2, keepdim=True)
        grad[..., span] = product.permute(1, 2, 3, 0)


def _store(chunk: Tensor, rows: Tensor, span: slice) -> None:
    """(T, B, G, 1, E) into its steps of (B, D, L)."""
    rows[..., span] = chunk.flatten(2).permute(1, 2, 0)


def _spans(u: Tensor, A: Tensor) -> list[slice]:
    """The chunks: short enough for the cache, long enough that the states kept at their starts are no more than u.

    Short sequences get shorter chunks, as the backward's four buffers of a chunk would else outweigh the inputs.
    """
    length = u.shape[2]
    steps = max(min(_CHUNK_ELEMENTS // (u.shape[0] * A.numel()), length // 32), A.shape[1], 16)
    return [slice(first, min(first + steps, length)) for first in range(0, length, steps)]


class _Buffer:
    """Room for a number of the longest chunk's steps, (T, B, G, N, E), and a view of each."""

    def __init__(self, spans: list[slice], starts: Tensor):
        self.all = starts.new_empty(spans[0].stop, *starts.shape[1:])
        self.steps = self.all.unbind(0)


def _state_major(A: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """(D, N) -> (G, N, D / G); (B, N, L) -> (B, 1, N, L); (B, G, N, L) as it is."""
    if A.dim() == 2:
        return A.to(dtype).unflatten(0, (groups, -1)).transpose(1, 2).contiguous()
    return A[:, None] if A.dim() == 3 else A


def _compute_dtype(*tensors: Tensor | None) -> torch.dtype:
    return functools.reduce(torch.promote_types, (t.dtype for t in tensors if t is not None), torch.float32)


def _check(u, delta, A, B, C, D, z, delta_bias) -> None:
    """Raise StyleMambaError unless the arguments of a scan fit each other."""
    named = {"u": u, "delta": delta, "A": A, "B": B, "C": C, "D": D, "z": z, "delta_bias": delta_bias}
    for name, tensor in named.items():
        if tensor is not None and not tensor.is_floating_point():
            raise StyleMambaError(f"selective_scan: {name} is {tensor.dtype}, but must be real floating point.")
    if u.dim() != 3 or 0 in u.shape:
        raise StyleMambaError(f"selective_scan: u must be (batch, channels, length), none of them 0, but is {tuple(u.shape)}.")
    if A.dim() != 2 or A.shape[0] != u.shape[1] or A.shape[1] == 0:
        raise StyleMambaError(f"selective_scan: A must be (channels, states) with {u.shape[1]} channels as in u, but is {tuple(A.shape)}.")
    batch, channels, length = u.shape
    states = A.shape[1]
    expected = {"delta": u.shape, "z": u.shape, "D": (channels,), "delta_bias": (channels,)}
    for name, shape in expected.items():
        if named[name] is not None and named[name].shape != shape:
            raise StyleMambaError(f"selective_scan: {name} must be {tuple(shape)}, but is {tuple(named[name].shape)}.")
    for name in "BC":
        shape = named[name].shape
        grouped = len(shape) == 4 and shape[1] > 0 and channels % shape[1] == 0 and (batch, states, length) == (shape[0], *shape[2:])
        if not grouped and shape not in ((channels, states), (batch, states, length)):
            raise StyleMambaError(
                f"selective_scan: {name} must be {(channels, states)}, {(batch, states, length)} or ({batch}, groups, {states}, {length}) "
                f"where groups divides {channels}, but is {tuple(shape)}."
            )
    if B.dim() == C.dim() == 4 and B.shape[1] != C.shape[1] and 1 not in (B.shape[1], C.shape[1]):
        raise StyleMambaError(f"selective_scan: B has {B.shape[1]} groups and C {C.shape[1]}; give both the same number.")


@functools.cache
def _cuda_kernel() -> Callable | None:
    """mamba-ssm's `selective_scan_fn`, or None: the package is optional, and its import fails where its extensions were not built."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except Exception:  # an extension built for another torch raises more than ImportError
        return None
    return selective_scan_fn


def _call_kernel(kernel, u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state):
    """The kernel wants A, D, the bias and constant weights in fp32, and one dtype for everything else."""
    dtype = functools.reduce(torch.promote_types, (t.dtype for t in (u, delta, B, C, z) if t is not None))
    D, delta_bias = (None if t is None else t.float() for t in (D, delta_bias))
    B, C = (w.float() if w.dim() == 2 else w.to(dtype) for w in (B, C))
    z = None if z is None else z.to(dtype)
    result = kernel(u.to(dtype), delta.to(dtype), A.float(), B, C, D, z, delta_bias, delta_softplus, return_last_state)
    return (result[0].to(u.dtype), result[1]) if return_last_state else result.to(u.dtype)
