"""Styles from sentences and pictures, and mixtures of styles."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from .images import check_images, picture_to_rgb
from .progress import Progress
from .ranges import in_range
from .values import CATEGORY, ModelSocket, Style, StyleSocket, advanced

DEFAULT_TEXT = "a watercolor painting"
SHARE = dict(min=0.0, max=1.0)


class StyleMambaStyleEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaStyleEmbedding",
            display_name="SigLIP Style Embedding",
            category=CATEGORY,
            description="Turns a sentence, a picture, or both into a style.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load StyleMamba Model."),
                io.String.Input(
                    "text",
                    default=DEFAULT_TEXT,
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip=(
                        "The style in a few words: a painter, a medium, a light, a mood. Leave it empty to take the style "
                        "from the picture alone."
                    ),
                ),
                io.Image.Input(
                    "style_image",
                    optional=True,
                    tooltip="A picture in the wanted style. Of a batch the mean is taken; the pictures of a folder make one style each.",
                ),
                io.Float.Input(
                    "image_weight",
                    default=0.5,
                    **SHARE,
                    step=0.05,
                    optional=True,
                    tooltip="With text and picture: 0 follows the text alone, 1 the picture alone.",
                ),
                advanced(
                    io.String.Input(
                        "source_text",
                        default="a photo",
                        optional=True,
                        tooltip=(
                            "What your photo is, in words. The style is the direction from here to the text; 'a photo' is "
                            "nearly always right."
                        ),
                    )
                ),
            ],
            outputs=[StyleSocket.Output(display_name="style", tooltip="For Stylize, Mamba Fusion, Blend Styles and Train on Style.")],
        )

    @classmethod
    def execute(cls, model, text, style_image=None, image_weight=0.5, source_text="a photo") -> io.NodeOutput:
        import torch

        from stylemamba import StyleMambaError
        from stylemamba.colours import palette_of
        from stylemamba.pipeline import ANCHOR, blend_styles

        in_range("image_weight", image_weight, SHARE)
        if style_image is not None:
            check_images("style_image", style_image)
        text = text.strip()
        if not text and style_image is None:
            raise StyleMambaError(
                "There is neither a text nor a style image; describe a style in a few words, such as 'a watercolor painting'."
            )
        pipe = model.on_device()
        said = pipe.encode_prompt(text, source_text.strip() or ANCHOR)[0] if text else None
        if style_image is None:
            return io.NodeOutput(Style.of(pipe, text, said))
        pictures, shown = picture_to_rgb(style_image).split(1), []
        progress = Progress(len(pictures))
        for picture in pictures:
            shown.append(pipe.encode_style_image(picture))
            progress.update()
        shown = blend_styles(torch.cat(shown), [1] * len(pictures))
        share = image_weight if text else 1.0
        palette = share * sum(map(palette_of, pictures)) / len(pictures) if share > 0 else None
        return io.NodeOutput(Style.of(pipe, text or "a picture", _between(said, shown, image_weight) if text else shown, palette))


class StyleMambaBlendStyles(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaBlendStyles",
            display_name="Blend Styles",
            category=CATEGORY,
            description="Mixes two styles. Chain several of these for more.",
            inputs=[
                StyleSocket.Input("style_a", tooltip="One style, trained or not."),
                StyleSocket.Input("style_b", tooltip="The other style."),
                io.Float.Input(
                    "balance", default=0.5, **SHARE, step=0.05, tooltip="0 is style A, 1 is style B, 0.5 has equal parts of both."
                ),
            ],
            outputs=[StyleSocket.Output(display_name="style", tooltip="The mixture.")],
        )

    @classmethod
    def execute(cls, style_a, style_b, balance) -> io.NodeOutput:
        from stylemamba import StyleMambaError
        from stylemamba.style_file import BASE, EMBEDDING

        in_range("balance", balance, SHARE)
        ours, theirs = ([style.info[key] for key in BASE if key in style.info] for style in (style_a, style_b))
        shared = [base for base in dict.fromkeys(ours) if base in theirs]
        if not shared:
            raise StyleMambaError("The two styles belong to different models and cannot be blended; make both with the same model.")
        tensors = {}
        for style, share in ((style_a, 1 - balance), (style_b, balance)):
            for name, tensor in style.tensors.items():
                if name != EMBEDDING:
                    tensors[name] = tensors.get(name, 0) + share * tensor
        tensors[EMBEDDING] = _between(style_a.embedding, style_b.embedding, balance)
        # What one of them was trained with and scored says nothing of the mixture.
        info = {"prompt": f"{style_a.info['prompt']} + {style_b.info['prompt']}", **dict(zip(BASE, shared))}
        return io.NodeOutput(Style(tensors, info))


def _between(a, b, share: float):
    """From style ``a`` (share 0) to ``b`` (share 1), either an embedding (E,) or a blend (K, E)."""
    import torch

    from stylemamba.pipeline import blend_styles

    a, b = (style.reshape(-1, style.shape[-1]) for style in (a, b))
    return blend_styles(torch.cat([a, b]), [1 - share] * len(a) + [share] * len(b))
