"""What travels between the nodes beside ComfyUI's own types."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from comfy_api.v0_0_2 import io

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

    from stylemamba import StyleMambaPipeline

CATEGORY = "StyleMamba"
ModelSocket = io.Custom("STYLEMAMBA_MODEL")
StyleSocket = io.Custom("STYLEMAMBA_STYLE")

# ComfyUI's estimate for the SD VAE, which has 128 channels at full size, is 2178 values a pixel.
VALUES_PER_PIXEL_AND_CHANNEL = 17


class Model:
    """A pipeline whose weights ComfyUI moves to the GPU and back. Node outputs are cached: nothing may change it for good."""

    def __init__(self, pipe: StyleMambaPipeline):
        self.pipe = pipe
        self.fitting_vaes = weakref.WeakSet()  # those of ComfyUI's VAEs that were found to make this model's latents

    @cached_property
    def patcher(self) -> ModelPatcher:
        import torch
        from comfy import model_management
        from comfy.model_patcher import ModelPatcher

        class StyleMamba(torch.nn.ModuleDict):
            """The name that ComfyUI's log shows."""

        weights = StyleMamba({name: part for name, part in self.pipe.components.items() if isinstance(part, torch.nn.Module)})
        return ModelPatcher(weights, model_management.get_torch_device(), model_management.unet_offload_device())

    def on_device(self, pixels: int = 0) -> StyleMambaPipeline:
        """The pipeline with its weights where ComfyUI computes, and room there for pictures of so many pixels."""
        from comfy import model_management

        config = self.pipe.vae.config
        channels = (config.get("block_out_channels") or config["decoder_block_out_channels"])[0]
        memory = pixels * channels * VALUES_PER_PIXEL_AND_CHANNEL * 4
        model_management.load_models_gpu([self.patcher], memory_required=memory, force_full_load=True)
        # With --novram it still loads leaf by leaf, and leaves out what it cannot cast on the fly.
        self.patcher.model.to(self.patcher.load_device)
        return self.pipe


@dataclass(frozen=True, eq=False)
class Style:
    """A style, trained or not, as `StyleMambaPipeline.set_style` takes it and style files hold it."""

    tensors: dict[str, torch.Tensor]  # "embedding" (E,), "palette" (4, 4) if pictures show it, and what training changed in the fusion
    info: dict  # "prompt", "base" (the hash of the fusion it belongs to), and what training adds

    @classmethod
    def of(cls, pipe: StyleMambaPipeline, name: str, embedding: torch.Tensor, palette: torch.Tensor | None = None) -> Style:
        """An untrained style."""
        from stylemamba.style_file import EMBEDDING, PALETTE, belongs_to

        tensors = {EMBEDDING: embedding.cpu()} | ({} if palette is None else {PALETTE: palette})
        return cls(tensors, {"prompt": name, **belongs_to(pipe.fusion)})

    @property
    def embedding(self) -> torch.Tensor:
        from stylemamba.style_file import EMBEDDING

        return self.tensors[EMBEDDING]

    @property
    def palette(self) -> torch.Tensor | None:
        from stylemamba.style_file import PALETTE

        return self.tensors.get(PALETTE)

    @contextlib.contextmanager
    def applied(self, pipe: StyleMambaPipeline):
        """The style on the pipeline's fusion, for as long as the block lasts.

        Raises:
            StyleMambaError: when the style belongs to another model.
        """
        from stylemamba import StyleMambaError
        from stylemamba.style_file import fits

        if not fits(self.info, pipe.fusion):
            name = self.info.get("prompt", "")
            raise StyleMambaError(f"The style {name!r} belongs to another model; connect the one it was made with to the input 'model'.")
        try:
            pipe.set_style(self.tensors, self.info)
            yield
        finally:
            pipe.unload_style()


def advanced(widget: io.WidgetInput) -> io.WidgetInput:
    """Hidden until the user asks for more; an argument of its own only since ComfyUI 0.8."""
    widget.extra_dict = {**widget.extra_dict, "advanced": True}
    return widget
