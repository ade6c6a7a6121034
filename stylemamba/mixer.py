"""The Mamba layer of the fusion: a selective state space model over a 2D grid of tokens."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .errors import StyleMambaError
from .orders import directions_of, permute, scan_order
from .scan import selective_scan
from .ssd import ssd_scan

REACH = 6  # tokens within which a state falls to 1/e, or below it


class Mamba2D(nn.Module):
    """(B, H, W, D) -> (B, H, W, D): project, convolve 3 x 3, scan in every direction of the order, gate, project back.

    The layer is Mamba's (arXiv 2312.00752) with its causal 1D convolution replaced by a 3 x 3 one, as in VMamba. Every direction
    of ``scan_order`` scans its own share of the channels with its own B and C (as in GroupMamba, arXiv 2407.13772), so that four
    directions cost what one does.

    Forgetting has a floor, ``exp(dt A) <= exp(-1 / REACH)``, which Mamba's has not. Without it, states pass over areas without detail for
    hundreds of tokens: stripes along rows and columns, and a picture made in tiles that differs from one made at once.

    Args:
        hidden_size: D, the tokens' width.
        d_state: N, the size of the state of each channel.
        expand: the scan runs on ``expand * hidden_size`` channels.
        head_dim: channels that share one decay in the ``ssd`` form.
        scan_order: raster, bidirectional, zigzag or cross (see `scan_order`).
        ssm: ``ssd`` (Mamba-2's state-space dual) or ``selective`` (Mamba-1's selective scan).
    """

    def __init__(
        self, hidden_size: int, d_state: int = 16, expand: int = 1, head_dim: int = 32, scan_order: str = "cross", ssm: str = "ssd"
    ):
        super().__init__()
        if ssm not in ("ssd", "selective"):
            raise StyleMambaError(f"The state space form {ssm!r} is not known; use 'ssd' or 'selective'.")
        self.order, self.ssm, self.d_state, self.head_dim = scan_order, ssm, d_state, head_dim
        self.directions = directions_of(scan_order)
        self.inner = expand * hidden_size
        if self.inner % (head_dim * self.directions):
            raise StyleMambaError(
                f"expand * hidden_size = {self.inner} must be a multiple of head_dim * directions = {head_dim * self.directions}."
            )
        self.heads = self.inner // head_dim
        # The step size: one number a head in the dual form; in Mamba-1 one a channel, through a low-rank projection.
        self.dt_size = self.heads if ssm == "ssd" else math.ceil(hidden_size / 16)
        mixed = self.inner + 2 * self.directions * d_state
        self.in_proj = nn.Linear(hidden_size, self.inner + mixed + self.dt_size, bias=False)
        self.conv = nn.Conv2d(mixed, mixed, 3, padding=1, groups=mixed)
        rates = self.heads if ssm == "ssd" else self.inner
        dt = torch.exp(torch.empty(rates).uniform_(math.log(1e-2), math.log(0.3)))
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) = dt
        self.D = nn.Parameter(torch.ones(rates))
        if ssm == "ssd":
            self.A_log = nn.Parameter(torch.log(torch.empty(rates).uniform_(1, 8)))
        else:
            self.dt_proj = nn.Linear(self.dt_size, self.inner, bias=False)
            self.A_log = nn.Parameter(torch.log(torch.arange(1, d_state + 1.0)).repeat(rates, 1))
        self.norm = nn.RMSNorm(self.inner, eps=1e-5)
        self.out_proj = nn.Linear(self.inner, hidden_size, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        height, width = tokens.shape[1:3]
        z, mixed, dt = self.in_proj(tokens).split([self.inner, self.conv.in_channels, self.dt_size], -1)
        mixed = F.silu(self.conv(mixed.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        x, B, C = mixed.flatten(1, 2).split([self.inner, self.directions * self.d_state, self.directions * self.d_state], -1)
        dt = dt.flatten(1, 2)
        if self.ssm == "selective":
            dt = self.dt_proj(dt)
        precise = torch.promote_types(dt.dtype, torch.float32)
        step = F.softplus(dt.to(precise) + self.dt_bias.to(precise))
        A = -torch.exp(self.A_log.to(precise))
        dt = step - 1 / (REACH * (A if self.ssm == "ssd" else A.amax(-1)))  # A is negative: dt A is -1 / REACH at most
        share = step / dt  # the floor is for what is forgotten, not for what is written into the state
        u = x * self._per_channel(share, x.dtype)
        orders = scan_order(self.order, height, width, tokens.device)
        parts = zip(orders, *(t.chunk(len(orders), -1) for t in (u, dt, B, C)), A.chunk(len(orders)))
        y = torch.cat([self._scan(*part) for part in parts], -1)
        y = torch.addcmul(y, x, self._per_channel(self.D, x.dtype)).unflatten(1, (height, width))
        y = F.rms_norm(y * F.silu(z), (self.inner,), self.norm.weight.to(z.dtype), self.norm.eps)
        return self.out_proj(y)

    def _per_channel(self, values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return values.repeat_interleave(self.inner // values.shape[-1], -1).to(dtype)

    def _scan(self, order: tuple[torch.Tensor, torch.Tensor], u, dt, B, C, A) -> torch.Tensor:
        """Scans the share of the channels that belongs to some directions: all (batch, height * width, ...), also what is returned."""
        order, inverse = order
        directions, sequences, length = order.shape
        u, dt, B, C = (permute(t, order.flatten(1), inverse).reshape(-1, length, t.shape[-1]) for t in (u, dt, B, C))
        B, C = (t.unflatten(-1, (directions, self.d_state)) for t in (B, C))
        if self.ssm == "ssd":
            y = ssd_scan(u.unflatten(-1, (-1, self.head_dim)), dt, A, B, C).flatten(2)
        else:
            B, C = (t.permute(0, 2, 3, 1) for t in (B, C))
            y = selective_scan(u.transpose(1, 2), dt.transpose(1, 2), A, B, C).transpose(1, 2)
        return permute(y.reshape(-1, sequences * length, y.shape[-1]), inverse, order.flatten(1))
