"""What the fusion does below a token: convolutions over latent pixels, and the textures of the styles that it knows by heart."""

import torch
import torch.nn.functional as F
from torch import nn

from .noise import NoiseField


class StyleBank(nn.Module):
    """Styles that the fusion knows by heart, found by attention, as global style tokens (arXiv 1803.09017) are.

    A sentence is answered by the known styles that it is nearest to: their vectors are added to its condition and their textures are
    blended, so that an unseen wording falls back to the nearest meaning. The attention is sharp: a style that is nearer by a cosine of
    0.1 counts seven times as much.

    A style is drawn on a lattice, as halftone dots and tesserae are, or loosely, as a painter's strokes are (``looseness``, 0 to 1, set by
    whoever trains the bank): from noise, and with no texture that would repeat.

    Args:
        style_dim: E, width of the style embedding.
        condition_size: width of the condition.
        count: number of styles.
        texture_channels, period: channels and side (latent pixels) of a texture, which repeats over the picture.
    """

    def __init__(self, style_dim: int, condition_size: int, count: int, texture_channels: int, period: int):
        super().__init__()
        self.keys = nn.Parameter(F.normalize(torch.randn(count, style_dim), dim=-1))
        self.sharpness = nn.Parameter(torch.full((1,), 20.0))
        self.values = nn.Parameter(torch.zeros(count, condition_size))
        self.textures = nn.Parameter(torch.zeros(count, texture_channels, period, period))
        self.register_buffer("looseness", torch.zeros(count))

    def forward(self, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Unit embeddings (B, E) -> what is added to the condition (B, condition_size), the texture (B, texture_channels, period,
        period), and the looseness (B, 1)."""
        # In float32: in bfloat16 a logit of 20 is known to an eighth only.
        logits = self.sharpness.float() * style.float() @ self.keys.float().T
        attention = logits.softmax(-1).to(self.values.dtype)
        looseness = self.looseness.to(attention)
        texture = ((1 - looseness) * attention) @ self.textures.flatten(1)
        return attention @ self.values, texture.unflatten(1, self.textures.shape[1:]), attention @ looseness[:, None]


class Film(nn.Module):
    """Scales and shifts features by the style's condition everywhere, and by its texture from place to place (FiLM, arXiv 1709.07871)."""

    def __init__(self, hidden_size: int, condition_size: int, texture_channels: int):
        super().__init__()
        self.modulation = nn.Linear(condition_size, 2 * hidden_size)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.texture = nn.Conv2d(texture_channels, 2 * hidden_size, 3, padding=1, padding_mode="circular", bias=False)

    def forward(self, features: torch.Tensor, condition: torch.Tensor, texture: torch.Tensor) -> torch.Tensor:
        film = self.modulation(condition)[:, :, None, None] + self.texture(texture)
        shift, scale = tiled(film, *features.shape[2:]).chunk(2, 1)
        return torch.addcmul(shift, features, 1 + scale)


class RefinementBlock(nn.Module):
    """A residual block of two convolutions, the first modulated by the style; it changes nothing at initialisation."""

    def __init__(self, hidden_size: int, condition_size: int, texture_channels: int):
        super().__init__()
        self.first = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.film = Film(hidden_size, condition_size, texture_channels)
        self.second = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, hidden: torch.Tensor, condition: torch.Tensor, texture: torch.Tensor) -> torch.Tensor:
        return hidden + self.second(F.silu(self.film(self.first(F.silu(hidden)), condition, texture)))


class Refinement(nn.Module):
    """Convolutions over latent pixels, modulated by the style: strokes finer than a token, and no seam between two tokens.

    ``grain`` lays the style's texture over the latents as it is. It and the last convolution are zero at initialisation.
    """

    def __init__(self, latent_channels: int, hidden_size: int, depth: int, condition_size: int, texture_channels: int):
        super().__init__()
        self.first = nn.Conv2d(2 * latent_channels, hidden_size, 3, padding=1)
        self.noise = nn.Conv2d(NoiseField.channels, hidden_size, 3, padding=1, bias=False)
        self.film = Film(hidden_size, condition_size, texture_channels)
        self.second = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.blocks = nn.ModuleList(RefinementBlock(hidden_size, condition_size, texture_channels) for _ in range(depth))
        self.last = nn.Conv2d(hidden_size, latent_channels, 3, padding=1)
        self.grain = nn.Conv2d(texture_channels, latent_channels, 1, bias=False)
        for parameter in (self.last.weight, self.last.bias, self.grain.weight):
            nn.init.zeros_(parameter)

    def forward(
        self, latents: torch.Tensor, added: torch.Tensor, noise: torch.Tensor, condition: torch.Tensor, texture: torch.Tensor
    ) -> torch.Tensor:
        """What is to be added to the latents, from what the blocks would add (both (B, C, h, w)), and noise (B, `NoiseField.channels`,
        h, w)."""
        hidden = self.first(torch.cat([latents, latents + added], 1)) + self.noise(noise)
        hidden = self.second(F.silu(self.film(hidden, condition, texture)))
        for block in self.blocks:
            hidden = block(hidden, condition, texture)
        return added + self.last(F.silu(hidden)) + tiled(self.grain(texture), *latents.shape[2:])


def tiled(tile: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, C, period, period) repeated from the top left corner to (B, C, height, width)."""
    return tile.repeat(1, 1, -(-height // tile.shape[2]), -(-width // tile.shape[3]))[:, :, :height, :width]
