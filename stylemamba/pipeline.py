"""The pipeline: a photo and a sentence -> the photo in the style that the sentence describes."""

import contextlib
import hashlib
import math
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from numbers import Real
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import BaseOutput
from huggingface_hub import snapshot_download
from PIL import Image
from safetensors import SafetensorError, safe_open
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .colours import palette_of, recoloured
from .detail import as_floats, restore_detail, restore_lost, scaled_down
from .errors import StyleMambaError
from .fusion import LoadedStyle, StyleMambaFusion
from .graphs import GraphedCalls
from .images import load_images
from .style_encoder import StyleEncoder
from .style_file import EMBEDDING, PALETTE, base_hash, fits, read_style, write_style
from .tiling import TILE, stylise_in_tiles

ANCHOR = "a photo"
HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download")
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)  # a repository's, perhaps after its owner's; other names are paths
SMALLEST = 32  # px; at less there is nothing that a style could be seen in
LARGEST_WHOLE = 1536 * 1536  # pixels; larger photos are stylised in tiles, as one at once takes half a gigabyte a megapixel


@dataclass
class StyleMambaPipelineOutput(BaseOutput):
    """``images``: a list of PIL images, an array (B, H, W, 3) in 0..1, a tensor (B, 3, H, W) in 0..1, or latents (B, C, h, w)."""

    images: list[Image.Image] | np.ndarray | torch.Tensor


class StyleMambaPipeline(DiffusionPipeline):
    """Text-driven style transfer with StyleMamba (arXiv 2405.05027).

    Args:
        vae: encodes the photo and decodes the stylised latents.
        fusion: adds the style to the latents.
        style_encoder: a `SiglipModel` (or `Siglip2Model`).
        tokenizer: its tokenizer.
    """

    model_cpu_offload_seq = "style_encoder->vae->fusion"

    def __init__(
        self,
        vae: AutoencoderKL | AutoencoderTiny,
        fusion: StyleMambaFusion,
        style_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
    ):
        super().__init__()
        self.register_modules(vae=vae, fusion=fusion, style_encoder=style_encoder, tokenizer=tokenizer)
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.image_processor = VaeImageProcessor(do_resize=False, do_normalize=False)
        self._prompts: dict = {}
        self._pictures: dict = {}
        self._tiling: bool | None = None
        self._graphs: tuple[tuple, tuple] | None = None  # where the weights lie that they read, and the graphs

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | None = None, **kwargs) -> "StyleMambaPipeline":
        """Loads a pipeline from a folder or a hub id; without one, the model bundled with the package.

        Args:
            pretrained_model_name_or_path: a folder made by `save_pretrained`, or the id of a hub repository that holds one.
            **kwargs: as for `diffusers.DiffusionPipeline.from_pretrained`: ``dtype``, ``revision``, ``cache_dir``, ``token``, ...

        Raises:
            StyleMambaError: when there is no such folder, or it is not a saved pipeline, or one of another version, or its tokenizer lacks
                packages.
        """
        path = pretrained_model_name_or_path
        if path is None:
            path = str(files(__package__).joinpath("bundled"))
            if not Path(path).is_dir():
                raise StyleMambaError("This installation lacks the bundled model; install StyleMamba again, or name a model folder.")
        if not Path(path).is_dir():
            if Path(path).exists():
                raise StyleMambaError(f"{path} is a file; name the folder that its model was saved to.")
            if not HUB_ID.fullmatch(str(path)):
                raise StyleMambaError(f"{path}: no such folder; check the path.")
            # diffusers' own download refuses a pipeline with a part of another library's; its folder it loads.
            asked = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
            path = snapshot_download(str(path), allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"], **asked)
        if not (Path(path) / "model_index.json").is_file():
            raise StyleMambaError(
                f"{path} holds no model_index.json, so it is not a saved StyleMambaPipeline; name a folder made by save_pretrained."
            )
        saved = {name: _names_in(Path(path, name)) for name in ("vae", "fusion", "style_encoder") if name not in kwargs}
        # ComfyUI runs nodes in inference mode; weights made there could never be trained.
        with torch.inference_mode(False):
            # safetensors only: a pickle could run code.
            with _named_packages(path):
                pipe = super().from_pretrained(path, **{"use_safetensors": True, **kwargs})
            for name, names in saved.items():
                if names:
                    _check_complete(Path(path, name), getattr(pipe, name), names)
            # The files may be smaller than what a CPU computes fast; and diffusers before 0.40 does not know `dtype`.
            dtype = kwargs.get("dtype") or kwargs.get("torch_dtype") or torch.float32
            for part in pipe.components.values():
                if isinstance(part, torch.nn.Module) and dtype == torch.float32:
                    part.float()
                elif isinstance(part, torch.nn.Module) and isinstance(dtype, torch.dtype) and part.dtype != dtype:
                    part.to(dtype)
        return pipe

    @classmethod
    @torch.inference_mode(False)  # as for `from_pretrained`
    def from_components(
        cls,
        vae: str | Path | AutoencoderKL | AutoencoderTiny = "stabilityai/sd-vae-ft-mse",
        siglip: str | Path | PreTrainedModel = "google/siglip-base-patch16-224",
        tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
        seed: int = 0,
        **fusion_config,
    ) -> "StyleMambaPipeline":
        """The paper's own parts with a fresh, untrained fusion of the right size.

        Args:
            vae: hub id, folder or object.
            siglip: hub id, folder or object; any SigLIP or SigLIP 2 checkpoint.
            tokenizer: hub id, folder or object; by default the one beside ``siglip``.
            seed: of the fusion's random weights; a style trained on a fresh fusion loads on one of the same seed.
            **fusion_config: config values of `StyleMambaFusion`, over its defaults.
        """
        if tokenizer is None:
            if isinstance(siglip, PreTrainedModel) and not siglip.name_or_path:
                raise StyleMambaError("from_components got a SigLIP object without its tokenizer; pass tokenizer= as well.")
            tokenizer = siglip.name_or_path if isinstance(siglip, PreTrainedModel) else siglip
        if isinstance(tokenizer, (str, Path)):
            with _named_packages(tokenizer):
                tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        if isinstance(vae, (str, Path)):
            config = AutoencoderKL.load_config(vae)
            vae_class = AutoencoderTiny if config["_class_name"] == "AutoencoderTiny" else AutoencoderKL
            vae = vae_class.from_pretrained(vae, use_safetensors=True)
        if isinstance(siglip, (str, Path)):
            siglip = AutoModel.from_pretrained(siglip, use_safetensors=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fusion = StyleMambaFusion(
                latent_channels=vae.config.latent_channels, style_dim=siglip.config.vision_config.hidden_size, **fusion_config
            )
        return cls(vae=vae, fusion=fusion, style_encoder=siglip, tokenizer=tokenizer)

    # The four steps. `__call__`, the nodes and the trainer are made of them.

    @property
    def size_multiple(self) -> int:
        """Height and width given to `encode_images` must be multiples of this."""
        return self.vae_scale_factor

    @property
    def vae_device(self) -> torch.device:
        """Where the VAE computes: an offloaded one is not there yet, and diffusers brings only the VAE itself."""
        return torch.device(getattr(getattr(self.vae, "_hf_hook", None), "execution_device", None) or self.vae.device)

    def encode_images(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """RGB images (B, 3, H, W) in 0..1 -> latents (B, C, H / f, W / f), scaled by the VAE's ``scaling_factor``.

        With a ``generator`` the VAE's posterior is sampled; without one its mode is taken.
        """
        encoded = self.vae.encode(_channels_last((2 * images - 1).to(self.vae_device, self.vae.dtype)))
        if hasattr(encoded, "latents"):  # of an AutoencoderTiny
            latents = encoded.latents
        else:
            latents = encoded.latent_dist.sample(generator) if generator is not None else encoded.latent_dist.mode()
        return (latents - (self.vae.config.get("shift_factor") or 0.0)) * self.vae.config.scaling_factor

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents (B, C, h, w) -> RGB images (B, 3, H, W), float32; values may leave 0..1 a little."""
        latents = latents / self.vae.config.scaling_factor + (self.vae.config.get("shift_factor") or 0.0)
        return self.vae.decode(_channels_last(latents.to(self.vae.dtype))).sample.float() / 2 + 0.5

    def encode_prompt(self, prompt: str | list[str], source_prompt: str = ANCHOR) -> torch.Tensor:
        """The style embeddings (B, E), unit length, of one or more prompts.

        The style is the direction from ``source_prompt`` to ``prompt`` (paper, section "directional loss"), starting from "a photo":
        with the default source it is the prompt's own embedding. Embeddings are kept, so that a prompt is encoded once.

        Raises:
            StyleMambaError: when there is no prompt, or one that is empty, no text, or not known to the tokenizer.
        """
        if not isinstance(prompt, str | Sequence):
            raise StyleMambaError(f"The prompt is a {type(prompt).__name__}; give a sentence, or a list of them.")
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        if not prompts:
            raise StyleMambaError("The list of prompts is empty; give at least one sentence, such as 'a watercolor painting'.")
        if odd := [type(each).__name__ for each in prompts if not isinstance(each, str)]:
            raise StyleMambaError(f"A prompt of the list is a {odd[0]}; give sentences, and one dict alone to blend its sentences.")
        if not isinstance(source_prompt, str) or not source_prompt.strip():
            raise StyleMambaError(f"source_prompt is {source_prompt!r}; say in words what the photo is, such as {ANCHOR!r}.")

        def embed() -> torch.Tensor:
            encode = StyleEncoder(self.style_encoder, self.tokenizer).encode_text
            style = encode(list(prompts))
            if source_prompt == ANCHOR:
                return style
            source, anchor = encode([source_prompt, ANCHOR])
            return F.normalize(style - source + anchor, dim=-1)

        style = _recalled(self._prompts, (prompts, source_prompt, *self._encoder_key("text_model")), embed)
        with torch.inference_mode(False):
            return style.clone()  # what the caller does to it is not to be remembered

    def _encoder_key(self, part: str) -> tuple:
        """What an embedding by that part of the style encoder depends on, but for what is encoded."""
        encoder = self.style_encoder
        # Grows when a parameter is changed in place; those made in inference mode do not count it.
        changes = sum(p._version for p in getattr(encoder, part).parameters() if not p.is_inference())
        # Weak, so that an encoder that was replaced is freed, and no other one taken for it that lies where it lay.
        return weakref.ref(encoder), self.tokenizer, encoder.dtype, encoder.device, changes

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_prompts": {}, "_pictures": {}}  # their keys cannot be pickled

    def encode_style_image(self, images: torch.Tensor) -> torch.Tensor:
        """The style embeddings (B, E), unit length, of pictures (B, 3, H, W) in 0..1 that show a style, as sentences of the styles that the
        fusion knows (`StyleBank.recognise`); what the style encoder itself makes of them is `StyleEncoder.encode_image`."""
        with torch.inference_mode(False), torch.no_grad():
            shown = StyleEncoder(self.style_encoder, self.tokenizer).encode_image(
                images.to(self.style_encoder.device, torch.float32, copy=True)
            )
            return self._recognised(shown)

    @torch.no_grad()
    def _recognised(self, shown: torch.Tensor) -> torch.Tensor:
        return self.fusion.bank.recognise(shown.to(self.fusion.device)).to(shown.device)

    def _seen(self, picture: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """What the style encoder makes (1, E) of a picture, and its palette (4, 4); kept, as one picture serves a folder of photos."""
        encoder = self.style_encoder
        key = (hashlib.blake2b(picture.tobytes()).digest(), picture.size, *self._encoder_key("vision_model"))

        def look() -> tuple[torch.Tensor, torch.Tensor]:
            pixels = _to_tensor(picture)
            return StyleEncoder(encoder, self.tokenizer).encode_image(pixels.to(encoder.device)), palette_of(pixels)

        return _recalled(self._pictures, key, look)

    def fuse(self, latents: torch.Tensor, style: torch.Tensor, strength: float = 1.0, origin: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """Stylises latents: ``latents + strength * (fusion(latents, style) - latents)``; a strength over 1 exaggerates.

        ``origin``: where in the picture the latents lie, as for `StyleMambaFusion.forward`.
        """
        styled = self.fusion(latents.to(self.fusion.dtype), style.to(self.fusion.device, self.fusion.dtype), origin)
        return _at_strength(latents, styled, strength)

    @torch.no_grad()
    def __call__(
        self,
        image: Image.Image | str | Path | np.ndarray | torch.Tensor | list,
        prompt: str | list[str] | dict[str, float] | None = None,
        strength: float = 1.0,
        source_prompt: str = ANCHOR,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        style_image: Image.Image | str | Path | np.ndarray | torch.Tensor | list | None = None,
        style_image_weight: float = 0.5,
        resolution: int | None = None,
    ) -> StyleMambaPipelineOutput | tuple:
        """Stylises one or more photos.

        Args:
            image: a PIL image, path, array (H, W, 3) or tensor (3, H, W), or a list of them (sizes may differ), or an array or tensor with
                a batch dimension.
            prompt: a sentence for all images or a list with one for each; one image with several prompts gives one picture a prompt. A dict
                ``{sentence: weight}`` blends its sentences to one style. ``None`` takes the style of ``style_image``, or else the
                loaded style.
            strength: 0 returns the photo, 1 the style as trained; up to 3 exaggerates.
            source_prompt: what the photo is, in words.
            generator: samples the VAE's posterior; ``None`` takes its mode, so that a call is repeatable.
            output_type: ``"pil"``, ``"np"``, ``"pt"`` or ``"latent"``. The pictures have the photos' sizes; arrays and tensors need
                photos of one size.
            return_dict: a `StyleMambaPipelineOutput`, or a tuple.
            style_image: a picture whose style is taken, or a list with one for each image; a list of pairs ``(picture, weight)`` is
                blended to one style. Its colours are taken over half of the way (`stylemamba.colours`), but for latents.
            style_image_weight: with a prompt as well, the share of the picture's style, from 0 (the prompt alone) to 1 (the picture alone).
            resolution: the shorter side, in pixels, at which the style is made; a larger photo is scaled down for it, and the picture gets
                the photo's size and detail back. Smaller means larger strokes and less time. ``None`` works at the photo's own size.
                Latents have the scaled-down photo's size.

        Raises:
            StyleMambaError: for an unreadable image, an empty prompt, counts that do not match, or values out of range.
        """
        if output_type not in ("pil", "np", "pt", "latent"):
            raise StyleMambaError(f"output_type {output_type!r} is not known; use 'pil', 'np', 'pt' or 'latent'.")
        if not _is_within(strength, 0, 3):
            raise StyleMambaError(
                f"strength {strength!r} is out of range; use a number from 0 (the photo) over 1 (the style) to 3 (exaggerated)."
            )
        strength = float(strength)  # a fraction cannot be multiplied with
        if resolution is not None and not _is_within(resolution, SMALLEST, math.inf):
            raise StyleMambaError(
                f"resolution {resolution!r} is out of range; use at least {SMALLEST} pixels, or None for the photo's own size."
            )
        if not isinstance(generator, torch.Generator | None):
            raise StyleMambaError(f"generator {generator!r} is not one; give torch.Generator().manual_seed({generator!r}), or None.")
        # As bytes: Pillow takes four a pixel, and a large photo is to be kept in memory as few times as can be.
        images = [_to_bytes(photo) for photo in load_images(image)]
        styles, palettes = self._styles_of(prompt, source_prompt, style_image, style_image_weight)
        if len(images) != len(styles) and 1 not in (len(images), len(styles)):
            raise StyleMambaError(
                f"{len(images)} images and {len(styles)} prompts cannot be paired; give one of either, or as many of both."
            )
        count = max(len(images), len(styles))
        images = images * (count if len(images) == 1 else 1)
        styles = styles.expand(count, *styles.shape[1:])
        palettes = [None] * count if palettes is None else palettes.expand(count, -1, -1)

        results, own = [], {}
        for photo, style, palette in self.progress_bar(list(zip(images, styles, palettes))):
            if own.get("photo") is not photo:
                own = {"photo": photo}
            made = self._stylise(photo, style[None], strength, generator, output_type, resolution, own)
            if palette is not None and output_type != "latent":
                made = recoloured(made, palette, min(strength, 1))
            results.append(made)
        if output_type == "pil":
            results = [_to_pil(result) for result in results]
        else:
            if len({r.shape for r in results}) > 1:
                raise StyleMambaError(f"output_type {output_type!r} needs photos of one size; use 'pil' for photos of different sizes.")
            results = torch.cat(results)
            if output_type == "np":
                results = results.permute(0, 2, 3, 1).cpu().numpy()
        self.maybe_free_model_hooks()
        return StyleMambaPipelineOutput(images=results) if return_dict else (results,)

    def _styles_of(self, prompt, source_prompt, style_image, style_image_weight) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The styles as the fusion takes them, and the palettes (N, 4, 4) of those that a picture shows."""
        if prompt is None and style_image is None:
            if (loaded := self.fusion.loaded_style) is None:
                raise StyleMambaError(
                    "No prompt was given and no style is loaded; pass a prompt such as 'a watercolor painting', or load_style first."
                )
            palette = loaded.tensors.get(PALETTE)
            return loaded.tensors[EMBEDDING][None].to(self._execution_device), None if palette is None else palette[None]
        if isinstance(prompt, str | Sequence | dict) and not prompt:
            raise StyleMambaError("The prompt is empty; describe a style in a few words, for example 'a watercolor painting'.")
        if not _is_within(style_image_weight, 0, 1):
            raise StyleMambaError(
                f"style_image_weight {style_image_weight!r} is out of range; use a number from 0 (the prompt) to 1 (the picture)."
            )
        style_image_weight = float(style_image_weight)
        said = None if prompt is None else self.encode_prompt(list(prompt) if isinstance(prompt, dict) else prompt, source_prompt)
        if isinstance(prompt, dict):
            said = blend_styles(said, list(prompt.values()))[None]
        if style_image is None or (said is not None and style_image_weight == 0):
            return said, None
        weights = None
        if (
            isinstance(style_image, (list, tuple))
            and style_image
            and all(isinstance(item, tuple) and len(item) == 2 for item in style_image)
        ):
            style_image, weights = zip(*style_image)
        shown, palettes = zip(*(self._seen(picture) for picture in load_images(style_image)))
        shown, palettes = self._recognised(torch.cat(shown)), torch.stack(palettes)
        if weights is not None:
            shown = blend_styles(shown, weights)[None]
            weights = [float(weight) for weight in weights]
            palettes = torch.einsum("n,nij->ij", palettes.new_tensor(weights) / sum(weights), palettes)[None]
        if said is None or style_image_weight == 1:
            return shown, palettes
        said, shown = (style if style.dim() == 3 else style[:, None] for style in (said, shown))
        if len(said) != len(shown) and 1 not in (len(said), len(shown)):
            raise StyleMambaError(
                f"{len(said)} prompts and {len(shown)} style images cannot be paired; give one of either, or as many of both."
            )
        said, shown = (s.expand(max(len(said), len(shown)), -1, -1) for s in (said, shown))
        return torch.cat([(1 - style_image_weight) * said, style_image_weight * shown], 1), style_image_weight * palettes

    def _stylise(self, photo: torch.Tensor, style, strength, generator, output_type, resolution, own: dict) -> torch.Tensor:
        """Photo (1, 3, H, W), uint8 -> latents, or the picture: float in 0..1, or uint8 from tiles that are to be a PIL image.

        ``own`` keeps what the VAE makes of the photo itself, for its other styles.
        """
        latent_only = output_type == "latent"
        pixels = photo.to(self._execution_device)
        height, width = pixels.shape[2:]
        if strength == 0 and not latent_only:
            return as_floats(pixels)
        if resolution is not None and resolution < min(height, width):
            small = scaled_down(pixels, resolution)
            made = self._stylise_pixels(small, style, strength, generator, "latent" if latent_only else "pt", own)
            return made if latent_only else restore_detail(made, small, pixels if output_type == "pil" else as_floats(pixels), strength)
        return self._stylise_pixels(pixels, style, strength, generator, output_type, own)

    def _stylise_pixels(self, pixels: torch.Tensor, style, strength, generator, output_type, own: dict) -> torch.Tensor:
        """`_stylise` at the size of the pixels (1, 3, H, W), uint8 or in 0..1."""
        latent_only = output_type == "latent"
        height, width = pixels.shape[2:]
        if max(height, width) > TILE and (height * width > LARGEST_WHOLE if self._tiling is None else self._tiling):
            dtype = torch.uint8 if output_type == "pil" else torch.float32
            return stylise_in_tiles(self, pixels, style, strength, generator, latent_only, dtype)
        pixels = as_floats(pixels)
        pad = (0, -width % self.size_multiple, 0, -height % self.size_multiple)
        padded = F.pad(pixels, pad, mode="replicate")
        encode, fuse, decode = self._steps()
        if generator is not None:  # each style has a sample of its own
            own = {"latents": self.encode_images(padded, generator)}
        if "latents" not in own:
            own["latents"] = encode(padded)
        latents = own["latents"]
        if strength == 0:
            return latents
        styled = _at_strength(latents, fuse(latents, style), strength)  # one graph for all strengths
        if latent_only:
            return styled
        if "decoded" in own:
            picture = decode(styled)
        elif styled.is_cuda:  # which takes hardly longer for two; a CPU would only need twice the memory
            picture, own["decoded"] = decode(torch.cat([styled, latents])).chunk(2)
        else:
            picture, own["decoded"] = decode(styled), decode(latents)
        picture = restore_lost(picture.clamp(0, 1), own["decoded"].clamp(0, 1), padded, max(0, 1 - strength))
        return picture[:, :, :height, :width].clamp(0, 1)

    def enable_sequential_cpu_offload(self, *args, **kwargs) -> None:
        """Not for this pipeline: a style is made of single weights, which are nowhere then."""
        raise StyleMambaError("StyleMamba cannot be offloaded layer by layer; call enable_model_cpu_offload, which its small parts fit.")

    def enable_tiling(self) -> None:
        """Stylises all photos larger than a tile in tiles; by default only those over 1536 x 1536 pixels are."""
        self._tiling = True

    def disable_tiling(self) -> None:
        """Stylises every photo at once, however large; this takes about half a gigabyte a megapixel."""
        self._tiling = False

    def enable_cuda_graphs(self) -> None:
        """On a GPU, replays the networks' calls as CUDA graphs: for many photos of few sizes, such as a video's frames.

        The first photo of a size takes some tenths of a second more, and a size's graphs keep their memory. Photos in tiles, and those with
        a ``generator``, are made as without.
        """
        self._graphs = ((), ())

    def disable_cuda_graphs(self) -> None:
        """Calls the networks as they are, and frees the graphs' memory."""
        self._graphs = None

    def _steps(self) -> tuple[Callable, Callable, Callable]:
        """`encode_images`, `fuse` and `decode_latents`, as graphs where these are enabled."""
        steps = (self.encode_images, self.fuse, self.decode_latents)
        if self._graphs is None:
            return steps
        # A loaded style, another device or another dtype puts other weights in place of those that a graph reads.
        weights = tuple(p.data_ptr() for part in (self.vae, self.fusion) for p in part.parameters())
        if self._graphs[0] != weights:
            self._graphs = (weights, tuple(GraphedCalls(step) for step in steps))
        return self._graphs[1]

    # Training on a style, and the styles that come of it.

    @property
    def style(self) -> dict | None:
        """What is known of the loaded style (prompt, steps, base, ...), or None. It is loaded for all pipelines that share the fusion."""
        return None if self.fusion.loaded_style is None else self.fusion.loaded_style.info

    def train_on_style(
        self, prompt: str, images: list, num_train_steps: int = 100, seed: int = 0, callback: Callable | None = None, **options
    ) -> list[dict]:
        """Trains the fusion on a style; see `stylemamba.training.train_on_style`. The trained style is loaded afterwards."""
        from .training import train_on_style

        return train_on_style(self, prompt, images, num_train_steps=num_train_steps, seed=seed, callback=callback, **options)

    def save_style(self, path: str | Path) -> None:
        """Writes the loaded style to a safetensors file."""
        write_style(path, *self.style_state())

    def style_state(self) -> tuple[dict[str, torch.Tensor], dict]:
        """The loaded style as `set_style` takes it: its tensors (parameter deltas, and its ``embedding`` (E,)) and its info."""
        if (loaded := self.fusion.loaded_style) is None:
            raise StyleMambaError("There is no style to save; call train_on_style or load_style first.")
        return dict(loaded.tensors), dict(loaded.info)

    def load_style(self, path: str | Path) -> None:
        """Loads a style file over the base fusion (in place of any style loaded before).

        Raises:
            StyleMambaError: when it is not a style file, or one of another base model; the style that was loaded stays.
        """
        self.set_style(*read_style(path))

    def set_style(self, tensors: dict[str, torch.Tensor], info: dict) -> None:
        """Applies a style: deltas by the names of the fusion's parameters, ``embedding`` (E,), its style embedding, and ``palette`` (4, 4)
        where its colours are a picture's.

        ``info["prompt"]`` is its sentence, and `stylemamba.style_file.belongs_to` says of which fusion it is.

        Raises:
            StyleMambaError: when this is no style, or one of another base model; the style that was loaded stays.
        """
        if not isinstance(tensors, dict) or not isinstance(tensors.get(EMBEDDING), torch.Tensor) or not isinstance(info, dict):
            raise StyleMambaError("A style is a dict of tensors with an 'embedding', and a dict of info; give what style_state returned.")
        before = self.fusion.loaded_style
        self.unload_style()
        try:
            self._set_style(tensors, info)
        except BaseException:
            self.unload_style()
            if before is not None:
                self._set_style(before.tensors, before.info)
            raise

    def _set_style(self, tensors: dict[str, torch.Tensor], info: dict) -> None:
        """`set_style` on the base fusion."""
        deltas = {name: delta for name, delta in tensors.items() if name not in (EMBEDDING, PALETTE)}
        parameters = dict(self.fusion.named_parameters())
        shapes = {name: value.shape for name, value in parameters.items()}
        fitting = tensors[EMBEDDING].shape[-1] == self.fusion.config.style_dim and all(shapes.get(n) == d.shape for n, d in deltas.items())
        if not (fitting and fits(info, self.fusion)):
            raise StyleMambaError(
                f"The style {info.get('prompt', '')!r} was trained on the base model {info.get('base')} but this one is "
                f"{base_hash(parameters)}; load the model it was trained on, or train the style again."
            )
        with torch.inference_mode(False), torch.no_grad():
            untouched = {name: parameters[name].detach().clone() for name in deltas}
            kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            self.fusion.loaded_style = LoadedStyle(dict(info), kept, untouched)
            for name, delta in deltas.items():
                parameters[name].data = untouched[name] + delta.to(untouched[name])

    def unload_style(self) -> None:
        """Returns to the base fusion, bit by bit."""
        if (loaded := self.fusion.loaded_style) is None:
            return
        parameters = dict(self.fusion.named_parameters())
        for name, value in loaded.untouched.items():
            parameters[name].data = value.to(parameters[name].device, parameters[name].dtype)
        self.fusion.loaded_style = None

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """Saves the base pipeline; a loaded style is not part of it (see `save_style`)."""
        self.fusion.refuse_style()  # before another part is written
        super().save_pretrained(save_directory, **kwargs)


def blend_styles(styles: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """The style between several, as the fusion takes it: unit embeddings (N, E) and a weight for each -> (K, E).

    The rows are the K styles of any weight, their lengths the weights, which are made to sum to 1. Of one style alone it is (E,). Rows of a
    blend may be blended again.

    Raises:
        StyleMambaError: when a weight is negative or not finite, or all are zero.
    """
    shares = torch.tensor([float(w) if isinstance(w, Real) else math.nan for w in weights], dtype=styles.dtype, device=styles.device)
    if not shares.isfinite().all() or (shares < 0).any() or not shares.sum() > 0:
        raise StyleMambaError(f"The weights {list(weights)} cannot blend styles; give each a number from 0 up, and not all of them 0.")
    blend = ((shares / shares.sum())[:, None] * styles)[shares > 0]
    return blend[0] if len(blend) == 1 else blend / blend.norm(dim=-1).sum()  # rows of a blend are shorter than others


def _recalled(made: dict, key: tuple, make: Callable):
    """What ``make`` gives, made once for a key; of more than 64 the oldest is forgotten."""
    value = made.get(key)
    if value is None:
        with torch.inference_mode(False), torch.no_grad():
            made[key] = value = make()
        for oldest in [*made][:-64]:
            made.pop(oldest, None)  # another thread may have been faster
    return value


def _is_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and low <= value <= high


def _names_in(folder: Path) -> set[str]:
    """The names of all tensors in a part's files."""
    names = set()
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, "pt") as file:
                names.update(file.keys())
        except (SafetensorError, OSError) as error:
            raise StyleMambaError(f"{path} is damaged or not complete ({str(error).splitlines()[0]}); copy it again.") from error
    return names


def _check_complete(folder: Path, part: torch.nn.Module, saved: set[str]) -> None:
    """Refuses files that lack a parameter, which would be random; but for those with names that are not known, as the libraries load what
    their earlier versions named otherwise."""
    lacking = sorted({name for name, _ in part.named_parameters()} - saved)
    if lacking and saved <= part.state_dict().keys():
        raise StyleMambaError(f"{folder} lacks {lacking[0]!r} and {len(lacking) - 1} more parameters; copy it again.")


@contextlib.contextmanager
def _named_packages(model: str | Path) -> Iterator[None]:
    """What the tokenizers of Google's SigLIP need and no other part does is named where it is missing."""
    try:
        yield
    except ImportError as error:
        if not any(package in str(error).lower() for package in ("sentencepiece", "protobuf")):
            raise
        raise StyleMambaError(f"The tokenizer of {model} needs two more packages; install sentencepiece and protobuf.") from error


def _at_strength(latents: torch.Tensor, styled: torch.Tensor, strength: float) -> torch.Tensor:
    return styled if strength == 1 else torch.lerp(latents.to(styled), styled, strength)


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    """In the memory layout in which convolutions are fastest; the layers keep it from there on."""
    return images.contiguous(memory_format=torch.channels_last) if images.device.type in ("cpu", "cuda") else images


def _to_bytes(picture: Image.Image) -> torch.Tensor:
    """RGB -> uint8 (1, 3, H, W)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def _to_tensor(picture: Image.Image) -> torch.Tensor:
    """RGB -> (1, 3, H, W) in 0..1."""
    return _to_bytes(picture).float() / 255


def _to_pil(picture: torch.Tensor) -> Image.Image:
    """(1, 3, H, W), uint8 or in 0..1 -> RGB."""
    if picture.dtype != torch.uint8:
        picture = (picture * 255).round().byte()
    return Image.fromarray(picture[0].permute(1, 2, 0).cpu().numpy())
