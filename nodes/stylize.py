"""Photo -> latent -> stylised latent -> picture: the paper's steps as nodes, and all of them in one."""

from __future__ import annotations

import dataclasses
import logging

from comfy_api.v0_0_2 import io

from .images import check_images, photo_to_rgb
from .photo import Photo
from .progress import Progress
from .ranges import in_range
from .styles import DEFAULT_TEXT, StyleMambaStyleEmbedding
from .tiles import at_once_or_in_tiles, pixels_at_a_time
from .values import CATEGORY, Model, ModelSocket, Style, StyleSocket, advanced

STRENGTH = dict(
    default=1.0,
    min=0.0,
    max=3.0,
    step=0.05,
    tooltip="How much of the style: 0 leaves the photo, 1 is the full style, more exaggerates.",
)
RESOLUTION = dict(min=0, max=8192)
LARGEST_MISS = 0.75  # of another VAE's latents, relative; approximations of the same VAE stay below, unrelated ones are over 1
MASK_TOOLTIP = "The style goes where the mask is white; the rest of the photo stays as it is. Without a mask the whole photo is stylised."


class StyleMambaVAEEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaVAEEncode",
            display_name="VAE Encode (StyleMamba)",
            category=CATEGORY,
            description="Encodes photos of any size into latents, and remembers their size and what the VAE loses of them.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load StyleMamba Model."),
                io.Image.Input("image", tooltip="The photo, or a batch of photos or video frames."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Another VAE than the model's own: only for a model that was trained with it, such as one for the SD VAE.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="For Mamba Fusion.")],
        )

    @classmethod
    def execute(cls, model, image, vae=None) -> io.NodeOutput:
        check_images("image", image)
        return io.NodeOutput(encode(model, image, Progress(len(image)), vae))


class StyleMambaFusion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaFusion",
            display_name="Mamba Fusion",
            category=CATEGORY,
            description="Gives latents a style. Several of these in a row, each with its mask, put several styles into one picture.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load StyleMamba Model."),
                io.Latent.Input("latent", tooltip="From VAE Encode (StyleMamba)."),
                StyleSocket.Input("style", tooltip="From SigLIP Style Embedding, Train on Style, Load Style or Blend Styles."),
                io.Float.Input("strength", **STRENGTH),
                io.Mask.Input("mask", optional=True, tooltip=MASK_TOOLTIP),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The stylised latents, for VAE Decode (StyleMamba).")],
        )

    @classmethod
    def execute(cls, model, latent, style, strength, mask=None) -> io.NodeOutput:
        in_range("strength", strength, STRENGTH)
        return io.NodeOutput(fuse(model, latent, style, strength, Progress(len(latent["samples"])), _given(mask)))


class StyleMambaDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaDecode",
            display_name="VAE Decode (StyleMamba)",
            category=CATEGORY,
            description="Decodes latents into pictures of the photos' own size.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load StyleMamba Model."),
                io.Latent.Input("latent", tooltip="From Mamba Fusion."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE that was used for encoding, if it was not the model's own."),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The stylised pictures, as many and as large as the photos.")],
        )

    @classmethod
    def execute(cls, model, latent, vae=None) -> io.NodeOutput:
        return io.NodeOutput(decode(model, latent, Progress(len(latent["samples"])), vae))


class StyleMambaStylize(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaStylize",
            display_name="Stylize (StyleMamba)",
            category=CATEGORY,
            description="Gives a photo the style that a sentence describes: everything in one node, with the bundled model.",
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of photos or video frames, of any size."),
                io.String.Input(
                    "text",
                    default=DEFAULT_TEXT,
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The style in a few words, such as 'a Monet painting', 'charcoal drawing' or 'a hazy mosaic'.",
                ),
                io.Float.Input("strength", **STRENGTH),
                advanced(
                    io.Int.Input(
                        "resolution",
                        default=0,
                        **RESOLUTION,
                        step=32,
                        optional=True,
                        tooltip="The shorter side, in pixels, at which the style is made: larger strokes on large photos, and less time. "
                        "The picture keeps the photo's size and detail. 0 works at the photo's own size.",
                    )
                ),
                io.Mask.Input("mask", optional=True, tooltip=MASK_TOOLTIP),
                ModelSocket.Input("model", optional=True, tooltip="Another model than the bundled one."),
                StyleSocket.Input(
                    "style", optional=True, tooltip="A described, trained or blended style, which takes the place of the text."
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The stylised pictures, as many and as large as the photos.")],
        )

    @classmethod
    def execute(cls, image, text, strength, resolution=0, mask=None, model=None, style=None) -> io.NodeOutput:
        import torch

        from stylemamba import StyleMambaError
        from stylemamba.pipeline import SMALLEST

        from .load import bundled_model

        check_images("image", image)
        in_range("strength", strength, STRENGTH)
        in_range("resolution", resolution, RESOLUTION)
        if 0 < resolution < SMALLEST:
            raise StyleMambaError(
                f"The resolution {resolution} is too small; use at least {SMALLEST} pixels, or 0 for the photo's own size."
            )
        model = model or bundled_model()
        if style is None and not text.strip():
            raise StyleMambaError("There is neither a text nor a style; describe a style in a few words, such as 'a watercolor painting'.")
        style = style or StyleMambaStyleEmbedding.execute(model, text)[0]
        mask = _given(mask)
        masks = [None] * len(image) if mask is None else _masks(mask, image.movedim(-1, 1))
        progress, pictures = Progress(3 * len(image)), []
        for photo, part in zip(image.split(1), masks):  # one at a time: a long batch needs no more memory than its pictures
            if 0 < resolution < min(photo.shape[1:3]):
                pictures.append(_stylize_coarsely(model, photo, style, strength, progress, part, resolution))
                continue
            latent = fuse(model, encode(model, photo, progress), style, strength, progress, part)
            pictures.append(decode(model, latent, progress))
        return io.NodeOutput(torch.cat(pictures))


def _stylize_coarsely(model: Model, image, style: Style, strength: float, progress: Progress, mask, resolution: int):
    """IMAGE (1, H, W, C) -> IMAGE of the same size; the style is made at ``resolution``, and the mask (1, 1, H, W) applied at full size."""
    import torch

    from stylemamba.colours import recoloured
    from stylemamba.detail import restore_detail, scaled_down
    from stylemamba.style_file import PALETTE

    photo = photo_to_rgb(image)
    small = scaled_down(photo, resolution)
    # Its colours are for the mask's region, which the small picture knows nothing of.
    plain = Style({name: tensor for name, tensor in style.tensors.items() if name != PALETTE}, style.info)
    latent = fuse(model, encode(model, small.movedim(1, -1), progress), plain, strength, progress)
    made = decode(model, latent, progress).movedim(-1, 1)
    picture = restore_detail(made, small.to(made), photo.to(made), strength)
    if mask is not None:
        picture = torch.lerp(photo.to(picture), picture, mask.to(picture))
    if style.palette is not None:
        picture = recoloured(picture.clamp(0, 1), style.palette, min(strength, 1) * (1.0 if mask is None else mask))
    return torch.cat([picture, image[..., 3:4].movedim(-1, 1).to(picture)], 1).movedim(1, -1)


def encode(model: Model, image, progress: Progress, vae=None) -> dict:
    """IMAGE (B, H, W, C) -> LATENT, with ComfyUI's convention for ``samples``: the VAE's own latents, not scaled."""
    import torch

    height, width = image.shape[1:3]
    pipe = model.on_device(pixels_at_a_time(height * width))
    _check_vae(model, vae)
    padding = (0, -width % pipe.size_multiple, 0, -height % pipe.size_multiple)
    latents = []
    for photo in image.split(1):
        latents.append(_encode_one(pipe, photo_to_rgb(photo), padding, progress, vae).to(_results_device()))
        progress.update()
    samples = torch.cat(latents)
    return {"samples": samples, Photo.KEY: Photo(samples, image, samples, padding)}


def _encode_one(pipe, photo, padding: tuple[int, int, int, int], progress: Progress, vae):
    """Unscaled latents of a photo (1, 3, H, W)."""
    import torch.nn.functional as F

    from stylemamba.tiling import encode_in_tiles

    height, width = photo.shape[2:]
    pixels = F.pad(photo, padding, mode="replicate")
    if vae is not None:
        return vae.encode(pixels.movedim(1, -1))  # which has tiles of its own
    latents = at_once_or_in_tiles(
        height * width,
        lambda: pipe.encode_images(pixels.to(pipe.vae.device)),
        lambda side: encode_in_tiles(pipe, photo, side, progress.check),
    )
    return _unscaled(pipe, latents)


def fuse(model: Model, latent: dict, style: Style, strength: float, progress: Progress, mask=None) -> dict:
    """LATENT -> stylised LATENT; whatever else the LATENT holds stays in it."""
    import torch

    samples = latent["samples"]
    _check_latents(model.pipe, samples)
    photo = Photo.of(latent)
    pixels = _pixels(model.pipe, samples, photo)
    pipe = model.on_device(pixels_at_a_time(pixels))
    if mask is None:
        mask = _given(latent.get("noise_mask"))  # as ComfyUI's samplers take it
    regions = None if mask is None else _masks(mask, samples if photo is None else photo.pixels.movedim(-1, 1))
    fused = []
    with style.applied(pipe):
        for index, sample in enumerate(samples.split(1)):
            sample = sample.to(pipe.fusion.device)
            styled = _fuse_one(pipe, sample, style, strength, pixels, progress)
            if regions is not None:
                share = _at_latent_size(regions[index], sample, (0, 0, 0, 0) if photo is None else photo.padding)
                styled = torch.lerp(sample.to(styled), styled, share.to(styled))
            fused.append(styled.to(samples))
            progress.update()
    result = {**latent, "samples": torch.cat(fused)}
    if photo is None:
        result.pop(Photo.KEY, None)  # one that did not fit these latents must not seem to fit the stylised ones
    else:
        region = 1.0 if regions is None else torch.cat(regions)
        colours = () if style.palette is None else ((style.palette, min(strength, 1) * region),)
        result[Photo.KEY] = dataclasses.replace(
            photo,
            samples=result["samples"],
            kept=photo.kept * (1 - min(strength, 1) * region),
            region=1 - (1 - photo.region) * (1 - region),
            colours=photo.colours + colours,
        )
    return result


def _fuse_one(pipe, sample, style: Style, strength: float, pixels: int, progress: Progress):
    """Unscaled latents (1, C, h, w) of a photo of so many pixels -> the same, stylised."""
    from stylemamba.tiling import fuse_in_tiles

    scaled = _scaled(pipe, sample)
    styled = at_once_or_in_tiles(
        pixels,
        lambda: pipe.fuse(scaled, style.embedding[None], strength),
        lambda side: fuse_in_tiles(pipe, scaled, style.embedding[None], strength, side, progress.check),
    )
    return _unscaled(pipe, styled)


def decode(model: Model, latent: dict, progress: Progress, vae=None):
    """LATENT -> IMAGE (B, H, W, C) of the photo's size and alpha channel, if the photo is known."""
    import torch
    import torch.nn.functional as F

    from stylemamba.colours import recoloured
    from stylemamba.detail import restore_lost
    from stylemamba.tiling import decode_in_tiles

    samples = latent["samples"]
    _check_latents(model.pipe, samples)
    photo = Photo.of(latent)
    pixels = _pixels(model.pipe, samples, photo)
    pipe = model.on_device(pixels_at_a_time(pixels))
    _check_vae(model, vae)

    def pictures(z):
        if vae is not None:
            return vae.decode(z).movedim(-1, 1).float()
        scaled = _scaled(pipe, z.to(pipe.vae.device))
        return at_once_or_in_tiles(
            pixels,
            lambda: pipe.decode_latents(scaled),
            lambda side: decode_in_tiles(pipe, scaled, side, progress.check),
        ).clamp(0, 1)

    results = []
    for index, sample in enumerate(samples.split(1)):
        picture = pictures(sample)
        if photo is not None:
            image = photo.pixels[index : index + 1]
            height, width = image.shape[1:3]
            left, _, top, _ = photo.padding
            original = photo_to_rgb(image).to(picture)
            kept, region = (
                value[index : index + 1].to(picture) if torch.is_tensor(value) else value for value in (photo.kept, photo.region)
            )
            padded, kept = (F.pad(x, photo.padding, mode="replicate") if torch.is_tensor(x) else x for x in (original, kept))
            picture = restore_lost(picture, pictures(photo.latents[index : index + 1]).to(picture), padded, kept)
            picture = picture[:, :, top : top + height, left : left + width]
            picture = original + region * (picture - original) if torch.is_tensor(region) else picture
            for palette, amount in photo.colours:
                amount = amount[index : index + 1] if torch.is_tensor(amount) else amount
                picture = recoloured(picture.clamp(0, 1), palette, amount)
            alpha = image[..., 3:4].movedim(-1, 1).to(picture)
            picture = torch.cat([picture, alpha], 1)
        results.append(picture.clamp(0, 1).movedim(1, -1).to(_results_device()))
        progress.update(_preview(results[-1]))
    return torch.cat(results)


def _pixels(pipe, samples, photo: Photo | None) -> int:
    """How many pixels one picture has."""
    if photo is not None:
        return photo.pixels.shape[1] * photo.pixels.shape[2]
    return samples.shape[-2] * samples.shape[-1] * pipe.size_multiple**2


def _given(mask):
    """A MASK, or None for the black ones of 64 x 64 px that Load Image gives for pictures without transparency."""
    if mask is None or mask.any():
        return mask
    if mask.shape[-2:] == (64, 64):
        return None
    # As Load Image makes it of a picture whose transparency is all opaque.
    logging.warning("StyleMamba: the mask is black everywhere, so nothing is stylised; disconnect it to stylise the whole photo.")
    return mask


def _masks(mask, pictures) -> list:
    """MASK -> one (1, 1, H, W) for each of the pictures (B, C, H, W), at their size."""
    import torch.nn.functional as F

    from stylemamba import StyleMambaError

    size = pictures.shape[2:]
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    if not mask.isfinite().all():
        raise StyleMambaError("The input 'mask' has NaN or infinite values; give another mask, or mend the node that makes it.")
    if len(mask) not in (1, len(pictures)):
        raise StyleMambaError(f"There are {len(mask)} masks for {len(pictures)} pictures; give one mask, or one for each picture.")
    mask = mask.clamp(0, 1)
    if mask.shape[2:] != size:
        mask = F.interpolate(mask, size, mode="bilinear", antialias=True)
    return list(mask.expand(len(pictures), -1, -1, -1).split(1))


def _at_latent_size(mask, sample, padding: tuple[int, int, int, int]):
    """A mask (1, 1, H, W) of the photo on the grid of its latent, which covers the padded photo."""
    import torch.nn.functional as F

    return F.interpolate(F.pad(mask, padding, mode="replicate"), sample.shape[2:], mode="area")


def _scaled(pipe, latents):
    config = pipe.vae.config
    return (latents - (config.get("shift_factor") or 0.0)) * config.scaling_factor


def _unscaled(pipe, latents):
    config = pipe.vae.config
    return latents / config.scaling_factor + (config.get("shift_factor") or 0.0)


def _check_latents(pipe, samples) -> None:
    from stylemamba import StyleMambaError

    channels = pipe.vae.config.latent_channels
    if not len(samples):
        raise StyleMambaError("The input 'latent' holds no latents; connect those of at least one photo.")
    if samples.dim() != 4 or samples.shape[1] != channels:
        raise StyleMambaError(
            f"The latents have the shape {tuple(samples.shape)} but this model works on (batch, {channels}, height, width); "
            "encode the photo with VAE Encode (StyleMamba)."
        )


def _check_vae(model: Model, vae) -> None:
    """Raises StyleMambaError when a VAE from ComfyUI's loaders makes other latents than those that the model's fusion was trained on."""
    from stylemamba import StyleMambaError

    if vae is None or vae in model.fitting_vaes:
        return
    pipe = model.pipe
    own = pipe.vae.config.latent_channels, pipe.size_multiple
    given = vae.latent_channels, vae.spacial_compression_encode()
    if given != own:
        raise StyleMambaError(
            f"The VAE makes latents of {given[0]} channels at 1/{given[1]} of the photo's size, but this model was trained for {own[0]} "
            f"channels at 1/{own[1]}; disconnect it to use the model's own."
        )
    # The VAEs of SD 1.5 and SDXL, for one, differ in nothing but their latents.
    probe = _probe(8 * pipe.size_multiple)
    expected = _unscaled(pipe, pipe.encode_images(probe.to(pipe.vae.device)))
    miss = (vae.encode(probe.movedim(1, -1)).to(expected) - expected).norm() / expected.norm()
    if not miss < LARGEST_MISS:
        raise StyleMambaError(
            "The VAE's latents are scaled differently, or mean something else, than those that this model was trained on; "
            "disconnect it to use the model's own."
        )
    model.fitting_vaes.add(vae)


def _probe(size: int):
    """A picture (1, 3, size, size) with light and dark, several colours, slopes and edges."""
    import torch

    ramp = torch.linspace(0, 1, size)
    rows, columns = torch.meshgrid(ramp, ramp, indexing="ij")
    return torch.stack([columns, rows, ((rows * 4).floor() + (columns * 4).floor()) % 2])[None]


def _results_device():
    from comfy import model_management

    return model_management.intermediate_device()


def _preview(picture):
    """IMAGE (1, H, W, C) -> PIL."""
    from PIL import Image

    return Image.fromarray((picture[0, ..., :3] * 255).round().byte().cpu().numpy())
