"""The style fusion module: adaptive layer norm and Mamba, from a latent and a style embedding to a stylised latent."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import nn

from .errors import StyleMambaError
from .mixer import Mamba2D
from .noise import NoiseField
from .refinement import Refinement, StyleBank
from .scatter import ScatterField

PHASE_PERIOD = 8  # tokens


class FusionBlock(nn.Module):
    """AdaLN -> Mamba -> AdaLN -> MLP with residual gates, as in DiT (arXiv 2212.09748); the gates are zero at initialisation."""

    def __init__(self, hidden_size: int, condition_size: int, mlp_ratio: float, **mixer):
        super().__init__()
        self.modulation = nn.Linear(condition_size, 6 * hidden_size)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.mixer = Mamba2D(hidden_size, **mixer)
        inner = int(hidden_size * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(hidden_size, inner), nn.GELU(), nn.Linear(inner, hidden_size))

    def forward(self, tokens: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None, None].chunk(6, -1)
        tokens = torch.addcmul(tokens, gate1, self.mixer(adaln(tokens, shift1, scale1)))
        return torch.addcmul(tokens, gate2, self.mlp(adaln(tokens, shift2, scale2)))


def adaln(tokens: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Layer norm over the last dimension without weights of its own; shift and scale come from the style."""
    return torch.addcmul(shift, F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6), 1 + scale)


class LoadedStyle(NamedTuple):
    """A style over the base fusion; `stylemamba.StyleMambaPipeline.set_style` loads it."""

    info: dict
    tensors: dict[str, torch.Tensor]
    untouched: dict[str, torch.Tensor]  # the base fusion's values of the parameters that it changed


class StyleMambaFusion(ModelMixin, ConfigMixin):
    """Adds a style to a latent: ``fusion(latents, style) = (1 - cover) * latents + what the blocks add``; the style says what it covers.

    Method: StyleMamba (arXiv 2405.05027), "style fusion module". The paper does not state block count, widths or scan order: those
    are this project's. An untrained fusion returns its input exactly.

    Args:
        latent_channels: channels of the VAE's latents.
        style_dim: E, width of the style embedding (SigLIP's).
        patch_size: latent pixels a side that make one token.
        hidden_size: width of the tokens.
        depth: number of blocks.
        d_state, expand, head_dim, scan_order, ssm: the state space layer's, see `Mamba2D`.
        mlp_ratio: width of the MLP over ``hidden_size``.
        refine_size, refine_depth: width and residual blocks of the convolutions over latent pixels that follow.
        known_styles: number of styles that the fusion can know by heart, see `StyleBank`.
        texture_channels: channels of their textures.
        scattered_styles: which of them are scattered, by their rows in the bank.

    Raises:
        StyleMambaError: when a size is below 1 (a depth: below 0), or the state space layer has no such order or form.
    """

    loaded_style: LoadedStyle | None = None  # here, as pipelines may share the fusion and so the weights that it changes
    _no_split_modules = ["FusionBlock"]
    _skip_layerwise_casting_patterns = ("grain",)  # whose weight is read without a call, which would cast it

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 4,
        style_dim: int = 768,
        patch_size: int = 2,
        hidden_size: int = 256,
        depth: int = 6,
        d_state: int = 16,
        expand: int = 1,
        head_dim: int = 32,
        mlp_ratio: float = 2.0,
        refine_size: int = 64,
        refine_depth: int = 2,
        known_styles: int = 160,
        texture_channels: int = 6,
        scattered_styles: Sequence[int] = (),
        scan_order: str = "cross",
        ssm: str = "ssd",
    ):
        super().__init__()
        sizes = {"latent_channels": latent_channels, "style_dim": style_dim, "patch_size": patch_size, "hidden_size": hidden_size}
        sizes |= {"depth": depth, "d_state": d_state, "expand": expand, "head_dim": head_dim}
        sizes |= {"width of the MLP": int(hidden_size * mlp_ratio), "refine_size": refine_size, "refine_depth": refine_depth}
        sizes |= {"known_styles": known_styles, "texture_channels": texture_channels}
        for name, size in sizes.items():
            if size < (least := 0 if name.endswith("depth") else 1):
                raise StyleMambaError(f"A fusion's {name} cannot be {size}; give {least} or more.")
        self.embed = nn.Linear(latent_channels * patch_size**2, hidden_size)
        # Where a token lies within a fixed tile, so that screens, tesserae and paper grain can be drawn; free of the picture's size.
        self.phase = nn.Parameter(torch.zeros(PHASE_PERIOD, PHASE_PERIOD, hidden_size))
        self.scatter = ScatterField(PHASE_PERIOD)
        # What a loosely drawn style has instead of it.
        self.noise = NoiseField()
        self.embed_noise = nn.Linear(NoiseField.channels * patch_size**2, hidden_size, bias=False)
        condition = min(style_dim, hidden_size)
        self.condition = nn.Sequential(nn.Linear(style_dim, condition), nn.SiLU(), nn.Linear(condition, condition), nn.SiLU())
        self.bank = StyleBank(style_dim, condition, known_styles, texture_channels, PHASE_PERIOD * patch_size, scattered_styles)
        self.blocks = nn.ModuleList(
            FusionBlock(
                hidden_size, condition, mlp_ratio, d_state=d_state, expand=expand, head_dim=head_dim, scan_order=scan_order, ssm=ssm
            )
            for _ in range(depth)
        )
        self.out_modulation = nn.Linear(condition, 2 * hidden_size)
        self.out = nn.Linear(hidden_size, latent_channels * patch_size**2)
        # How much of each channel of the latents a style covers: flat squares are hard to draw as what they differ by from a photo.
        self.cover_modulation = nn.Linear(condition, latent_channels)
        for layer in (self.out_modulation, self.out, self.cover_modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.refine = Refinement(latent_channels, hidden_size, patch_size, refine_size, refine_depth, condition, texture_channels)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, output_loading_info: bool = False, **kwargs):
        """As for every model of diffusers, but nothing is left to chance: what a file lacks would be random.

        Raises:
            StyleMambaError: when parameters, their shapes or options are not those of this version.
        """
        where = f"The fusion in {pretrained_model_name_or_path}"
        advice = "so another version of StyleMamba saved it; use that version, or train the model again."
        try:
            fusion, found = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        except (ValueError, RuntimeError) as error:
            if (mismatch := re.search(r"(?:because|mismatch for) ([\w.]+)(?:: | expected shape)", str(error))) is None:
                raise
            raise StyleMambaError(f"{where} has another shape of {mismatch[1]!r}, {advice}") from error
        known = {*inspect.signature(cls.__init__).parameters, "quantization_config"}
        options = [name for name in fusion.config if name[0] != "_" and name not in known]
        for has, names in (("lacks", found["missing_keys"]), ("has", [*found["unexpected_keys"], *options])):
            if names:
                raise StyleMambaError(f"{where} {has} {sorted(names)[0]!r} and {len(names) - 1} more parameters, {advice}")
        return (fusion, found) if output_loading_info else fusion

    def save_pretrained(self, *args, **kwargs) -> None:
        """As for every model of diffusers: the base fusion, so a loaded style is refused with a StyleMambaError."""
        self.refuse_style()
        super().save_pretrained(*args, **kwargs)

    def refuse_style(self) -> None:
        """Raises a StyleMambaError where a style is loaded."""
        if self.loaded_style is not None:
            raise StyleMambaError("A style is loaded; save it with save_style and call unload_style before save_pretrained.")

    def forward(self, latents: torch.Tensor, style: torch.Tensor, origin: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """
        Args:
            latents: (B, C, h, w), scaled as the VAE's ``scaling_factor`` says; any h and w.
            style: (B, E) unit embeddings, one style a latent, or (E,) or (1, E) for all. Or (B, K, E) or (1, K, E): K styles by weight,
                the weights being the rows' lengths, which sum to 1 (see `stylemamba.pipeline.blend_styles`).
            origin: row and column, in latent pixels, at which the latents lie in the picture; multiples of ``patch_size * PHASE_PERIOD``.

        Returns:
            (B, C, h, w): the stylised latents.

        Raises:
            StyleMambaError: when channels or embedding width are not those of the config, or there is not a style for each latent.
        """
        if latents.dim() != 4 or latents.shape[1] != self.config.latent_channels or not latents.numel():
            raise StyleMambaError(
                f"The fusion takes latents (B, {self.config.latent_channels}, h, w) but got {tuple(latents.shape)}; "
                "give some, of the VAE it was trained with."
            )
        if style.shape[-1] != self.config.style_dim:
            raise StyleMambaError(
                f"The fusion takes style embeddings of width {self.config.style_dim} but got {style.shape[-1]}; "
                "use the SigLIP it was trained with."
            )
        if style.dim() > 1 and len(style) not in (1, len(latents)):
            raise StyleMambaError(f"The fusion got {len(style)} styles for {len(latents)} latents; give one, or as many as latents.")
        height, width = latents.shape[2:]
        p = self.config.patch_size
        padded = F.pad(latents, (0, -width % p, 0, -height % p), mode="replicate") if height % p or width % p else latents
        patches = "b c (h p) (w q) -> b h w (p q c)"
        tokens = self.embed(rearrange(padded, patches, p=p, q=p))
        condition, textures, ways = (x.expand(latents.shape[0], *x.shape[1:]) for x in self.look(style.to(tokens.dtype)))
        lattice, scattered, looseness = ways[:, :, None, None, None].unbind(1)
        rows, columns = (torch.arange(n, device=tokens.device) % PHASE_PERIOD for n in tokens.shape[1:3])
        moved = self.scatter(*tokens.shape[1:3], tuple(n // p for n in origin))
        noise = looseness * self.noise(*padded.shape[2:], origin).to(tokens.dtype)  # loaded in another dtype, what is not saved stays fp32
        tokens = tokens + lattice * self.phase[rows][:, columns] + scattered * self.phase[moved[0], moved[1]]
        tokens = tokens + self.embed_noise(rearrange(noise, patches, p=p, q=p))
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.out_modulation(condition)[:, None, None].chunk(2, -1)
        tokens = adaln(tokens, shift, scale)
        added = rearrange(self.out(tokens), "b h w (p q c) -> b c (h p) (w q)", p=p, q=p)
        added, noise = (x[:, :, :height, :width] for x in (added, noise))
        places = self.scatter.pixels(moved, p)[:height, :width]
        covered = self.cover_modulation(condition)[:, :, None, None] * latents
        return latents - covered + self.refine(latents, added, tokens, noise, condition, textures, places)

    def look(self, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Styles as `forward` takes them -> the condition (B, condition_size), and textures and shares as `StyleBank` gives them.

        Styles by weight are blended here, as conditional instance normalisation does (arXiv 1610.07629): an embedding between theirs
        would be taken for the nearest known style, and the weights for a switch.
        """
        if style.dim() == 3:
            weights = style.to(torch.promote_types(style.dtype, torch.float32)).norm(dim=-1, keepdim=True)
            units = (style / weights.clamp(min=1e-6)).to(style.dtype)
            shares = (weights / weights.sum(1, keepdim=True).clamp(min=1e-6)).to(style.dtype)
            looks = (x.unflatten(0, style.shape[:2]) for x in self.look(units.flatten(0, 1)))
            return tuple((shares.view(*shares.shape[:2], *[1] * (x.dim() - 2)) * x).sum(1) for x in looks)
        style = style.reshape(-1, self.config.style_dim)
        known, textures, ways = self.bank(style)
        # Unit embeddings have components of size E ** -0.5; the linear layers are initialised for size 1.
        return self.condition(style * self.config.style_dim**0.5) + known, textures, ways
