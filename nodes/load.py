"""Models and styles from and to ``models/stylemamba/``."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from comfy_api.v0_0_2 import io, ui

from .choices import mistake, path_of
from .model_folder import SIGLIPS, VAES, fingerprint, home, model_folders, part_folders, style_files
from .new_style import place_for
from .tiles import is_out_of_memory
from .values import CATEGORY, Model, ModelSocket, Style, StyleSocket

BUNDLED = "bundled"


class StyleMambaLoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaLoadModel",
            display_name="Load StyleMamba Model",
            category=CATEGORY,
            description="Loads the model that comes with the pack, or one of your own from models/stylemamba.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[BUNDLED, *model_folders()],
                    default=BUNDLED,
                    tooltip=(
                        "'bundled' comes with the pack. Folders in models/stylemamba that hold a saved StyleMambaPipeline "
                        "are listed as well."
                    ),
                ),
            ],
            outputs=[ModelSocket.Output(display_name="model", tooltip="VAE, fusion and style encoder, for all StyleMamba nodes.")],
        )

    @classmethod
    def validate_inputs(cls, model=None):
        return model == BUNDLED or mistake(_model_folder, model)

    @classmethod
    def fingerprint_inputs(cls, model):
        if model == BUNDLED:
            return model
        return fingerprint(model_folders().values() if model is None else [_model_folder(model)])

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        from stylemamba import StyleMambaPipeline

        if model == BUNDLED:
            return io.NodeOutput(bundled_model())
        folder = _model_folder(model)
        with _loading(f"model '{model}'"):
            return io.NodeOutput(Model(StyleMambaPipeline.from_pretrained(folder)))


class StyleMambaLoadParts(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaLoadParts",
            display_name="Load StyleMamba Parts",
            category=CATEGORY,
            description=(
                "Makes a model of the paper's own parts, such as the SD VAE and SigLIP base. The fusion between them is fresh: it does "
                "nothing before Train on Style with parameters 'all'."
            ),
            inputs=[
                io.Combo.Input(
                    "vae",
                    options=list(part_folders(VAES)),
                    tooltip=(
                        "A folder in models/stylemamba with a diffusers AutoencoderKL or AutoencoderTiny, such as "
                        "stabilityai/sd-vae-ft-mse."
                    ),
                ),
                io.Combo.Input(
                    "siglip",
                    options=list(part_folders(SIGLIPS)),
                    tooltip=(
                        "A folder in models/stylemamba with a SigLIP or SigLIP 2 and its tokenizer, such as google/siglip-base-patch16-224."
                    ),
                ),
            ],
            outputs=[ModelSocket.Output(display_name="model", tooltip="The parts and a fresh fusion that fits them.")],
        )

    @classmethod
    def validate_inputs(cls, vae=None, siglip=None):
        # ComfyUI shows what is returned at both inputs, so it has to say which of them it means.
        mistakes = [found for found in (mistake(_vae_folder, vae), mistake(_siglip_folder, siglip)) if found is not True]
        return " ".join(mistakes) or True

    @classmethod
    def fingerprint_inputs(cls, vae, siglip):
        vaes = part_folders(VAES).values() if vae is None else [_vae_folder(vae)]
        siglips = part_folders(SIGLIPS).values() if siglip is None else [_siglip_folder(siglip)]
        return fingerprint([*vaes, *siglips])

    @classmethod
    def execute(cls, vae, siglip) -> io.NodeOutput:
        from stylemamba import StyleMambaPipeline

        folders = _vae_folder(vae), _siglip_folder(siglip)
        with _loading(f"model of '{vae}' and '{siglip}'"):
            return io.NodeOutput(Model(StyleMambaPipeline.from_components(*folders)))


class StyleMambaLoadStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaLoadStyle",
            display_name="Load Style",
            category=CATEGORY,
            description="Loads a style from models/stylemamba: one saved here, trained with the command line, or from someone else.",
            inputs=[
                io.Combo.Input(
                    "style_file",
                    options=list(style_files()),
                    tooltip="A style file (.safetensors) in models/stylemamba. Press R for new files.",
                ),
            ],
            outputs=[
                StyleSocket.Output(
                    display_name="style",
                    tooltip="The style, for Stylize, Mamba Fusion and Blend Styles. It works with the model it was made with.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, style_file=None):
        return mistake(_style_file, style_file)

    @classmethod
    def fingerprint_inputs(cls, style_file):
        return fingerprint(style_files().values() if style_file is None else [_style_file(style_file)])

    @classmethod
    def execute(cls, style_file) -> io.NodeOutput:
        from stylemamba.style_file import read_style

        return io.NodeOutput(Style(*read_style(_style_file(style_file))))


class StyleMambaSaveStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaSaveStyle",
            display_name="Save Style",
            category=CATEGORY,
            description=(
                "Saves a style to models/stylemamba, for Load Style, the command line and Python. An existing file is kept; "
                "the new one gets a number."
            ),
            inputs=[
                StyleSocket.Input("style", tooltip="A trained, blended or described style."),
                io.String.Input(
                    "name", default="my_style", tooltip="The file's name, without ending; 'paintings/monet' makes a subfolder."
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, style, name) -> io.NodeOutput:
        from stylemamba.style_file import write_style

        path = place_for(name)
        write_style(path, style.tensors, style.info)
        return io.NodeOutput(ui=ui.PreviewText(f"Saved as {path.relative_to(home()).as_posix()}"))


@functools.lru_cache(maxsize=1)
def bundled_model() -> Model:
    """The pack's own model; kept, because Stylize uses it without a loader node."""
    from stylemamba import StyleMambaPipeline

    return Model(StyleMambaPipeline.from_pretrained())


@contextlib.contextmanager
def _loading(what: str):
    """Says in one sentence what cannot be loaded: a damaged file may raise anything inside diffusers and transformers."""
    from stylemamba import StyleMambaError

    try:
        yield
    except Exception as error:
        if isinstance(error, StyleMambaError) or is_out_of_memory(error):
            raise
        raise StyleMambaError(f"The {what} cannot be loaded ({' '.join(str(error).split())}); copy it again.") from error


def _model_folder(name: str) -> Path:
    complaint = f"There is no model '{name}' in models/stylemamba; choose 'bundled', or put a saved StyleMambaPipeline there."
    return path_of(name, model_folders(), complaint)


def _vae_folder(name: str) -> Path:
    return _part_folder(name, VAES, "autoencoder", "stabilityai/sd-vae-ft-mse")


def _siglip_folder(name: str) -> Path:
    return _part_folder(name, SIGLIPS, "siglip", "google/siglip-base-patch16-224")


def _part_folder(name: str, classes: tuple[str, ...], kind: str, example: str) -> Path:
    complaint = f"There is no {kind} folder '{name}' in models/stylemamba; download {example} from Hugging Face into a folder there."
    return path_of(name, part_folders(classes), complaint)


def _style_file(name: str) -> Path:
    complaint = f"There is no style '{name}' in models/stylemamba; train one and save it with Save Style, or copy a style file there."
    return path_of(name, style_files(), complaint)
