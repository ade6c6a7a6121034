"""What the fusion does below a token: convolutions over latent pixels, and the textures of the styles that it knows by heart."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .errors import StyleMambaError
from .noise import NoiseField

# What a cosine weighs between a picture and a style's sentence: the most that `recipes/train_image.py` lets it learn with.
PICTURE_SHARPNESS = 60.0


class StyleBank(nn.Module):
    """Styles that the fusion knows by heart, found by attention, as global style tokens (arXiv 1803.09017) are.

    A sentence is answered by the known styles that it is nearest to: their vectors are added to its condition and their textures are
    blended, so that an unseen wording falls back to the nearest meaning. The attention is sharp: a style that is nearer by a cosine of
    0.1 counts seven times as much.

    A style is drawn on a lattice, as halftone dots are; or scattered, as snowflakes are, its texture repeating in patches only (see
    `ScatterField`); or loosely, as a painter's strokes are (``looseness``, 0 to 1, set by whoever trains the bank): from noise, and with
    no texture at all.

    Args:
        style_dim: E, width of the style embedding.
        condition_size: width of the condition.
        count: number of styles.
        texture_channels, period: channels and side (latent pixels) of a texture, which repeats over the picture.
        scattered: the styles that are scattered, by their rows.

    Raises:
        StyleMambaError: when a scattered style's row is not in the bank.
    """

    def __init__(self, style_dim: int, condition_size: int, count: int, texture_channels: int, period: int, scattered: Sequence[int] = ()):
        super().__init__()
        if beyond := [row for row in scattered if not 0 <= row < count]:
            raise StyleMambaError(f"scattered_styles names row {beyond[0]}, but the bank has {count} styles; rows are 0 to {count - 1}.")
        self.keys = nn.Parameter(F.normalize(torch.randn(count, style_dim), dim=-1))
        self.sharpness = nn.Parameter(torch.full((1,), 20.0))
        self.values = nn.Parameter(torch.zeros(count, condition_size))
        self.textures = nn.Parameter(torch.zeros(count, texture_channels, period, period))
        self.register_buffer("looseness", torch.zeros(count))
        self.register_buffer("scatter", torch.zeros(count).index_fill(0, torch.tensor([*scattered], dtype=torch.long), 1), persistent=False)

    def forward(self, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Unit embeddings (B, E) -> what is added to the condition (B, condition_size); two textures (B, 2, texture_channels, period,
        period), on the lattice and scattered; and the shares (B, 3) that are on the lattice, scattered and loose."""
        # In float32 at least: in bfloat16 a logit of 20 is known to an eighth only.
        precise = torch.promote_types(style.dtype, torch.float32)
        logits = self.sharpness.to(precise) * style.to(precise) @ self.keys.to(precise).T
        attention = logits.softmax(-1).to(self.values.dtype)
        looseness, scatter = self.looseness.to(attention), self.scatter.to(attention)
        ways = torch.stack([(1 - looseness) * (1 - scatter), (1 - looseness) * scatter, looseness], -1)
        textures = torch.einsum("bk,kw,kt->bwt", attention, ways[:, :2], self.textures.flatten(1))
        return attention @ self.values, textures.unflatten(2, self.textures.shape[1:]), attention @ ways

    def recognise(self, shown: torch.Tensor) -> torch.Tensor:
        """Unit embeddings (B, E) of pictures -> unit embeddings of what they show: the mean of the known styles' sentences, each as likely
        as the picture is near to it. A bank that knows no style yet gives them back.

        A picture's embedding lies apart from all sentences' (the modality gap of contrastive encoders, arXiv 2203.02053), where the fusion,
        which learned from sentences alone, makes a little of every style.
        """
        keys = self.keys.float()[self.values.any(1)]
        if not len(keys):
            return shown
        likely = (PICTURE_SHARPNESS * shown.float() @ keys.T).softmax(-1)
        return F.normalize(likely @ keys, dim=-1).to(shown.dtype)


class Film(nn.Module):
    """Scales and shifts features by the style's condition everywhere, and by its texture from place to place (FiLM, arXiv 1709.07871)."""

    def __init__(self, hidden_size: int, condition_size: int, texture_channels: int):
        super().__init__()
        self.modulation = nn.Linear(condition_size, 2 * hidden_size)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.texture = nn.Conv2d(texture_channels, 2 * hidden_size, 3, padding=1, padding_mode="circular", bias=False)

    def forward(self, features: torch.Tensor, condition: torch.Tensor, textures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        lattice, scattered = self.texture(textures.flatten(0, 1)).unflatten(0, textures.shape[:2]).unbind(1)
        # The modulation is the same everywhere; added to a small tile, it costs no pass over the features.
        lattice = lattice + self.modulation(condition)[:, :, None, None]
        shift, scale = laid(torch.stack([lattice, scattered], 1), *features.shape[2:], places).chunk(2, 1)
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

    def forward(self, hidden: torch.Tensor, condition: torch.Tensor, textures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return hidden + self.second(F.silu(self.film(self.first(F.silu(hidden)), condition, textures, places)))


class Refinement(nn.Module):
    """Convolutions over latent pixels, modulated by the style: strokes finer than a token, and no seam between two tokens.

    What the tokens know comes in twice: as what they would add, which ends at their borders, and enlarged without steps, so that a shape
    can end between two of them. ``grain`` lays the style's texture over the latents as it is. It, the last convolution and ``tokens``
    are zero at initialisation.
    """

    def __init__(
        self,
        latent_channels: int,
        token_size: int,
        patch_size: int,
        hidden_size: int,
        depth: int,
        condition_size: int,
        texture_channels: int,
    ):
        super().__init__()
        self.patch_size = patch_size
        self.first = nn.Conv2d(2 * latent_channels, hidden_size, 3, padding=1)
        self.tokens = nn.Linear(token_size, hidden_size, bias=False)
        self.noise = nn.Conv2d(NoiseField.channels, hidden_size, 3, padding=1, bias=False)
        self.film = Film(hidden_size, condition_size, texture_channels)
        self.second = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.blocks = nn.ModuleList(RefinementBlock(hidden_size, condition_size, texture_channels) for _ in range(depth))
        self.last = nn.Conv2d(hidden_size, latent_channels, 3, padding=1)
        self.grain = nn.Conv2d(texture_channels, latent_channels, 1, bias=False)
        for parameter in (self.tokens.weight, self.last.weight, self.last.bias, self.grain.weight):
            nn.init.zeros_(parameter)

    def forward(
        self,
        latents: torch.Tensor,
        added: torch.Tensor,
        tokens: torch.Tensor,
        noise: torch.Tensor,
        condition: torch.Tensor,
        textures: torch.Tensor,
        places: torch.Tensor,
    ) -> torch.Tensor:
        """What is to be added to the latents (B, C, h, w).

        Args:
            latents, added: (B, C, h, w), the latents and what the blocks would add.
            tokens: (B, rows, columns, token_size) that this was read from.
            noise: (B, `NoiseField.channels`, h, w).
            condition, textures: as `StyleBank` gives them.
            places: (h, w), see `laid`.
        """
        height, width = latents.shape[2:]
        between = F.interpolate(self.tokens(tokens).permute(0, 3, 1, 2), scale_factor=self.patch_size, mode="bilinear")
        hidden = self.first(torch.cat([latents, latents + added], 1)) + self.noise(noise) + between[:, :, :height, :width]
        hidden = self.second(F.silu(self.film(hidden, condition, textures, places)))
        for block in self.blocks:
            hidden = block(hidden, condition, textures, places)
        grain = torch.einsum("bwtij,ct->bwcij", textures, self.grain.weight[:, :, 0, 0])
        return added + self.last(F.silu(hidden)) + laid(grain, *latents.shape[2:], places)


def laid(tiles: torch.Tensor, height: int, width: int, places: torch.Tensor) -> torch.Tensor:
    """(B, 2, C, period, period) laid over (B, C, height, width): the first tile repeats from the top left corner, the second is read where
    ``places`` (height, width) says, which numbers its pixels row by row; both are added."""
    lattice, scattered = tiles.unbind(1)
    lattice = lattice.repeat(1, 1, -(-height // tiles.shape[3]), -(-width // tiles.shape[4]))[:, :, :height, :width]
    return lattice + scattered.flatten(2)[:, :, places]
