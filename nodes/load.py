"""Models and styles from and to ``models/stylemamba/``."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path, PurePosixPath

from comfy_api.v0_0_2 import io, ui

from .values import CATEGORY, Model, ModelSocket, Style, StyleSocket

FOLDER = "stylemamba"
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
                    options=[BUNDLED, *_model_folders()],
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
    def validate_inputs(cls, model):
        if model != BUNDLED and model not in _model_folders():
            return f"There is no model '{model}' in models/stylemamba; choose 'bundled', or put a saved StyleMambaPipeline there."
        return True

    @classmethod
    def fingerprint_inputs(cls, model):
        if model == BUNDLED:
            return model
        return _fingerprint(_model_folders()[model])

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        from stylemamba import StyleMambaPipeline

        if model == BUNDLED:
            return io.NodeOutput(bundled_model())
        return io.NodeOutput(Model(StyleMambaPipeline.from_pretrained(_model_folders()[model])))


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
                    options=list(_part_folders("autoencoder")),
                    tooltip=(
                        "A folder in models/stylemamba with a diffusers AutoencoderKL or AutoencoderTiny, such as "
                        "stabilityai/sd-vae-ft-mse."
                    ),
                ),
                io.Combo.Input(
                    "siglip",
                    options=list(_part_folders("siglip")),
                    tooltip=(
                        "A folder in models/stylemamba with a SigLIP or SigLIP 2 and its tokenizer, such as google/siglip-base-patch16-224."
                    ),
                ),
            ],
            outputs=[ModelSocket.Output(display_name="model", tooltip="The parts and a fresh fusion that fits them.")],
        )

    @classmethod
    def validate_inputs(cls, vae, siglip):
        for folder, kind, example in (
            (vae, "autoencoder", "stabilityai/sd-vae-ft-mse"),
            (siglip, "siglip", "google/siglip-base-patch16-224"),
        ):
            if folder not in _part_folders(kind):
                return (
                    f"There is no {kind} folder '{folder}' in models/stylemamba; download {example} from Hugging Face into a folder there."
                )
        return True

    @classmethod
    def fingerprint_inputs(cls, vae, siglip):
        return _fingerprint(_part_folders("autoencoder")[vae]), _fingerprint(_part_folders("siglip")[siglip])

    @classmethod
    def execute(cls, vae, siglip) -> io.NodeOutput:
        import torch

        from stylemamba import StyleMambaPipeline

        with torch.inference_mode(False):  # weights made under ComfyUI's inference mode could not be trained
            pipe = StyleMambaPipeline.from_components(_part_folders("autoencoder")[vae], _part_folders("siglip")[siglip])
        return io.NodeOutput(Model(pipe))


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
                    options=list(_style_files()),
                    tooltip="A style file (.safetensors) in models/stylemamba. Press R for new files.",
                ),
            ],
            outputs=[
                StyleSocket.Output(display_name="style", tooltip="The style, for Mamba Fusion. It works with the model it was made with.")
            ],
        )

    @classmethod
    def validate_inputs(cls, style_file):
        if style_file not in _style_files():
            return (
                f"There is no style '{style_file}' in models/stylemamba; train one and save it with Save Style, or copy a style file there."
            )
        return True

    @classmethod
    def fingerprint_inputs(cls, style_file):
        return _fingerprint(_style_files()[style_file])

    @classmethod
    def execute(cls, style_file) -> io.NodeOutput:
        from stylemamba.style_file import read_style

        return io.NodeOutput(Style(*read_style(_style_files()[style_file])))


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

        path = _free_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_style(path, style.tensors, style.info)
        return io.NodeOutput(ui=ui.PreviewText(f"Saved as {path.name}"))


@functools.lru_cache(maxsize=1)
def bundled_model() -> Model:
    """The pack's own model; kept, because Stylize uses it without a loader node."""
    from stylemamba import StyleMambaPipeline

    return Model(StyleMambaPipeline.from_pretrained())


def register_model_folder() -> None:
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


def _walk():
    """(root, folder, file names) of all folders under ``models/stylemamba`` and its extra paths, not entering models."""
    import folder_paths

    for root in folder_paths.get_folder_paths(FOLDER):
        for folder, subfolders, files in os.walk(root, followlinks=True):
            if "model_index.json" in files:
                subfolders.clear()
            yield Path(root), Path(folder), files


def _model_folders() -> dict[str, Path]:
    """Name -> folder of every saved pipeline."""
    return {folder.relative_to(root).as_posix(): folder for root, folder, files in _walk() if "model_index.json" in files}


def _part_folders(kind: str) -> dict[str, Path]:
    """Name -> folder of every single part, "autoencoder" or "siglip", as diffusers and transformers save them."""
    parts = {}
    for root, folder, files in _walk():
        if "config.json" in files:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a damaged file must not cost ComfyUI its list of nodes
                config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
                if kind in str(config.get("_class_name") or config.get("model_type")).lower():
                    parts[folder.relative_to(root).as_posix()] = folder
    return parts


def _style_files() -> dict[str, Path]:
    """Name -> file of every style."""
    return {
        (folder / file).relative_to(root).as_posix(): folder / file
        for root, folder, files in _walk()
        if not {"model_index.json", "config.json"} & set(files)
        for file in sorted(files)
        if file.endswith(".safetensors") and not file.startswith(".")
    }


def _fingerprint(path: Path) -> list[tuple]:
    """Changes when the file, or a file in the folder, does."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]


def _free_path(name: str) -> Path:
    """Where a new style goes: a path in ``models/stylemamba`` at which nothing stands yet."""
    import folder_paths

    from stylemamba import StyleMambaError

    parts = PurePosixPath(name.strip().replace("\\", "/").removesuffix(".safetensors")).parts
    if not parts or any(part in ("/", "..") or part.startswith(".") or set(part) & set('<>:"|?*') for part in parts):
        raise StyleMambaError(
            f"The name '{name}' cannot be used for a style file; use letters, digits, spaces, '-' and '_', such as 'my_style'."
        )
    path = Path(folder_paths.get_folder_paths(FOLDER)[0], *parts).with_name(f"{parts[-1]}.safetensors")
    number = 2
    while path.exists():
        path = path.with_name(f"{parts[-1]}_{number}.safetensors")
        number += 1
    return path
