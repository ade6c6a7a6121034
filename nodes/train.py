"""Training on a style, with a live preview."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from .images import check_images, picture_to_rgb
from .progress import Progress
from .ranges import in_range
from .styles import DEFAULT_TEXT
from .tiles import is_out_of_memory
from .values import CATEGORY, Model, ModelSocket, Style, StyleSocket, advanced

PREVIEW_EVERY = 5  # steps
LIMITS = {
    "steps": dict(min=1, max=2000),
    "seed": dict(min=0, max=0xFFFFFFFFFFFFFFFF),
    "size": dict(min=64, max=1024),
    "batch_size": dict(min=1, max=16),
    "learning_rate": dict(min=0.0001, max=0.1),
}


class StyleMambaTrain(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaTrain",
            display_name="Train on Style",
            category=CATEGORY,
            description=(
                "Trains a small part of the fusion on a style, to follow it further than the model does by itself. Train "
                "once, save the style, use it on any photo."
            ),
            is_input_list=True,  # the photos of a folder make one style together
            inputs=[
                ModelSocket.Input("model", tooltip="From Load StyleMamba Model or Parts. It stays as it is; the result is in the style."),
                io.Image.Input(
                    "images",
                    tooltip=(
                        "Photos to train on, a batch or a folder of them. One is enough for that photo; a dozen different ones make a "
                        "style for any photo."
                    ),
                ),
                io.String.Input("text", default=DEFAULT_TEXT, multiline=True, dynamic_prompts=True, tooltip="The style in a few words."),
                StyleSocket.Input(
                    "style", optional=True, tooltip="A style to train towards in place of the text: from a picture, or a blend."
                ),
                io.Int.Input(
                    "steps",
                    default=60,
                    **LIMITS["steps"],
                    tooltip="At most so many; it ends earlier, after 24 at the least, when the style score no longer rises.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    **LIMITS["seed"],
                    control_after_generate=True,
                    tooltip=(
                        "The same seed and inputs give the same style. Set it to 'fixed' to keep a trained style while you "
                        "change other nodes."
                    ),
                ),
                advanced(
                    io.Int.Input(
                        "size",
                        default=160,
                        **LIMITS["size"],
                        step=32,
                        optional=True,
                        tooltip="Side of the square crops that are trained on, in pixels.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "batch_size",
                        default=2,
                        **LIMITS["batch_size"],
                        optional=True,
                        tooltip="Crops in each step. More is steadier and slower.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "learning_rate",
                        default=0.005,
                        **LIMITS["learning_rate"],
                        step=0.0001,
                        round=0.0001,
                        optional=True,
                        tooltip="How far each step goes.",
                    )
                ),
                advanced(io.String.Input("source_text", default="a photo", optional=True, tooltip="What the photos are, in words.")),
                advanced(
                    io.Combo.Input(
                        "parameters",
                        options=["modulation", "low-rank", "all"],
                        default="modulation",
                        optional=True,
                        tooltip=(
                            "'modulation' trains a small part and keeps the rest of what the model knows. 'low-rank' may go "
                            "further from it. 'all' is for a model from Load StyleMamba Parts."
                        ),
                    )
                ),
            ],
            outputs=[
                StyleSocket.Output(
                    display_name="style", tooltip="The trained style, for Stylize, Mamba Fusion, Blend Styles and Save Style."
                )
            ],
        )

    @classmethod
    def execute(cls, images, **settings) -> io.NodeOutput:
        settings = {name: _only(name, values) for name, values in settings.items()}
        for batch in images:
            check_images("images", batch)
        for name, limits in LIMITS.items():
            if name in settings:
                in_range(name, settings[name], limits)
        # Bytes, and one photo at a time: the photos are in memory already, at four bytes a value.
        photos = []
        for photo in (photo[None] for batch in images for photo in batch):
            Progress.check()
            photos.append((255 * picture_to_rgb(photo)[0].movedim(0, -1)).round().byte().cpu().numpy())
        return io.NodeOutput(_train(photos, **settings))


def _only(name: str, values: list):
    """The value of an input, of which ComfyUI gives a list."""
    from stylemamba import StyleMambaError

    if len(values) != 1:
        raise StyleMambaError(
            f"The input '{name.replace('_', ' ')}' has {len(values)} entries, but one style is trained; connect just one."
        )
    return values[0]


def _train(
    photos: list,
    model: Model,
    text: str,
    steps: int,
    seed: int,
    size: int = 160,
    batch_size: int = 2,
    learning_rate: float = 0.005,
    source_text: str = "a photo",
    parameters: str = "modulation",
    style: Style | None = None,
) -> Style:
    """The style that training on photos (H, W, 3) gives; the model stays as it is."""
    from stylemamba import StyleMambaError
    from stylemamba.pipeline import ANCHOR
    from stylemamba.style_file import PALETTE, fits

    if style is not None and not fits(style.info, model.pipe.fusion):
        raise StyleMambaError(f"The style {style.info['prompt']!r} belongs to another model; make it with the one to be trained.")
    pipe = model.on_device(size * size * batch_size * 4)  # activations are kept for the backward pass
    progress = Progress(steps)

    def show(step: int, info: dict) -> None:
        progress.update(info["preview"]() if step % PREVIEW_EVERY == 0 or step == steps else None)

    try:
        pipe.train_on_style(
            text if style is None else style.info["prompt"],
            photos,
            num_train_steps=steps,
            seed=seed,
            callback=show,
            size=size,
            batch_size=batch_size,
            learning_rate=learning_rate,
            source_prompt=source_text.strip() or ANCHOR,
            parameters=parameters,
            style=None if style is None else style.embedding,
        )
        tensors, info = pipe.style_state()
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}  # as all styles are; and ComfyUI does not know of these
        if style is not None and style.palette is not None:
            tensors[PALETTE] = style.palette
        return Style(tensors, info)
    except Exception as error:
        if is_out_of_memory(error):
            raise StyleMambaError(
                f"Training on {batch_size} crops of {size} x {size} pixels needs more memory than there is; lower batch_size or size."
            ) from None
        raise
    finally:
        pipe.unload_style()
