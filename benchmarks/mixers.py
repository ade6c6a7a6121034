"""What could stand in Mamba's place in the fusion at the same size: attention over all tokens, and large-kernel convolutions."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from stylemamba import StyleMambaFusion
from stylemamba.orders import DIRECTIONS

HEAD_DIM = 32


class Attention2D(nn.Module):
    """(B, H, W, D) -> (B, H, W, D): softmax attention of every token to all, 4 D^2 parameters."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.heads = hidden_size // HEAD_DIM
        self.into, self.out = nn.Linear(hidden_size, 3 * hidden_size, bias=False), nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        height, width = tokens.shape[1:3]
        q, k, v = rearrange(self.into(tokens), "b h w (three n d) -> three b n (h w) d", three=3, n=self.heads)
        return self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b n (h w) d -> b h w (n d)", h=height, w=width))


class Convolution2D(nn.Module):
    """(B, H, W, D) -> (B, H, W, D): a gated depthwise 7 x 7 convolution between two projections, about 3 D^2 parameters."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.into, self.out = nn.Linear(hidden_size, 2 * hidden_size, bias=False), nn.Linear(hidden_size, hidden_size, bias=False)
        self.conv = nn.Conv2d(hidden_size, hidden_size, 7, padding=3, groups=hidden_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x, gate = self.into(tokens).chunk(2, -1)
        return self.out(F.silu(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1) * F.silu(gate))


OTHERS = {"attention": Attention2D, "convolution": Convolution2D}
MIXERS = ("cross", *(order for order in DIRECTIONS if order != "cross"), *OTHERS)


def make_fusion(mixer: str, seed: int, **config) -> StyleMambaFusion:
    """A fresh fusion with a scan order's Mamba layer, or with one of `OTHERS` in its place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if mixer in DIRECTIONS:
            return StyleMambaFusion(scan_order=mixer, **config)
        fusion = StyleMambaFusion(**config)
        for block in fusion.blocks:
            block.mixer = OTHERS[mixer](fusion.config.hidden_size)
        return fusion
