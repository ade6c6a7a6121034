"""Stand-ins for the little that the nodes take from ComfyUI, so that schemas and arithmetic are tested where ComfyUI is not installed.

Sockets accept the keywords of ComfyUI 0.3.64 and no others. That the nodes work in the real ComfyUI is for test_comfyui.py to show.
"""

import asyncio
import functools
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

PACK = Path(__file__).parents[1]
PACK_MODULE = "custom_nodes/ComfyUI-StyleMamba"  # ComfyUI, too, imports a pack under its path

INPUT = {"display_name", "optional", "tooltip", "lazy"}
WIDGET = INPUT | {"default", "socketless"}
WIDGET_KEYWORDS = {
    "INT": WIDGET | {"min", "max", "step", "control_after_generate", "display_mode", "force_input"},
    "FLOAT": WIDGET | {"min", "max", "step", "round", "display_mode", "force_input"},
    "STRING": WIDGET | {"multiline", "placeholder", "dynamic_prompts", "force_input"},
    "BOOLEAN": WIDGET | {"label_on", "label_off", "force_input"},
    "COMBO": WIDGET | {"options", "control_after_generate", "upload", "image_folder", "remote"},
}
OUTPUT_KEYWORDS = {"display_name", "tooltip", "is_output_list"}


class Input:
    def __init__(self, id: str, **options):
        unknown = set(options) - WIDGET_KEYWORDS.get(self.io_type, INPUT)
        if unknown:
            raise TypeError(f"{self.io_type} input {id!r}: ComfyUI 0.3.64 does not know {sorted(unknown)}")
        self.id, self.options, self.extra_dict = id, options, {}

    @property
    def is_widget(self) -> bool:
        return self.io_type in WIDGET_KEYWORDS


class Output:
    def __init__(self, id: str | None = None, **options):
        if unknown := set(options) - OUTPUT_KEYWORDS:
            raise TypeError(f"{self.io_type} output: ComfyUI 0.3.64 does not know {sorted(unknown)}")
        self.id, self.options = id, options


def socket(io_type: str) -> type:
    kinds = {kind.__name__: type(kind.__name__, (kind,), {"io_type": io_type}) for kind in (Input, Output)}
    return type(io_type, (), kinds)


class Schema:
    def __init__(self, node_id, display_name, category, inputs, outputs, description, is_output_node=False, is_input_list=False):
        self.node_id, self.display_name, self.category, self.description = node_id, display_name, category, description
        self.inputs, self.outputs, self.is_output_node, self.is_input_list = inputs, outputs, is_output_node, is_input_list


class NodeOutput:
    def __init__(self, *args, ui=None):
        self.args, self.ui = args, ui

    def __getitem__(self, index):
        return self.args[index]


class InterruptProcessingException(Exception):
    pass


class ProgressBar:
    """Keeps what every bar was told; `cancel_at` presses Cancel when that many updates were shown."""

    updates: list = []
    cancel_at: int | None = None

    def __init__(self, total: int):
        self.total = total

    def update_absolute(self, value, total=None, preview=None):
        ProgressBar.updates.append((value, total, preview))


class ModelPatcher:
    def __init__(self, model, load_device, offload_device):
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


def _check_cancel():
    if ProgressBar.cancel_at is not None and len(ProgressBar.updates) >= ProgressBar.cancel_at:
        raise InterruptProcessingException


def install(monkeypatch, models_dir: Path) -> types.ModuleType:
    """Puts the stand-ins in place for one test and imports the pack as ComfyUI does; returns its module.

    ComfyUI's input folder is ``input`` beside ``models_dir``.
    """
    ProgressBar.updates, ProgressBar.cancel_at = [], None
    folders: dict[str, list[str]] = {}

    def add_model_folder_path(name, path):
        folders.setdefault(name, []).append(path)

    io = types.SimpleNamespace(
        Custom=socket,
        Schema=Schema,
        NodeOutput=NodeOutput,
        ComfyNode=type("ComfyNode", (), {}),
        WidgetInput=Input,
        **{name: socket(name.upper()) for name in ("Int", "Float", "String", "Boolean", "Combo", "Image", "Mask", "Latent", "Vae")},
    )
    cpu = torch.device("cpu")
    modules = {
        "comfy_api": {},
        "comfy_api.v0_0_2": dict(io=io, ui=types.SimpleNamespace(PreviewText=str), ComfyExtension=type("ComfyExtension", (), {})),
        "comfy": {},
        "comfy.utils": dict(ProgressBar=ProgressBar),
        "comfy.model_patcher": dict(ModelPatcher=ModelPatcher),
        "comfy.model_management": dict(
            get_torch_device=lambda: cpu,
            unet_offload_device=lambda: cpu,
            intermediate_device=lambda: cpu,
            load_models_gpu=lambda models, memory_required=0, force_full_load=False: None,
            soft_empty_cache=lambda: None,
            throw_exception_if_processing_interrupted=_check_cancel,
            InterruptProcessingException=InterruptProcessingException,
        ),
        "folder_paths": dict(
            models_dir=str(models_dir),
            add_model_folder_path=add_model_folder_path,
            get_folder_paths=folders.__getitem__,
            get_input_directory=lambda: str(models_dir.parent / "input"),
        ),
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    for name in [n for n in sys.modules if n.startswith(PACK_MODULE)]:
        monkeypatch.delitem(sys.modules, name)
    spec = importlib.util.spec_from_file_location(PACK_MODULE, PACK / "__init__.py")
    pack = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, PACK_MODULE, pack)
    spec.loader.exec_module(pack)
    return pack


def node_classes(pack: types.ModuleType) -> dict[str, type]:
    """Node id -> class, as the pack's entry point gives them."""
    extension = asyncio.run(pack.comfy_entrypoint())
    return {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}


def run_graph(nodes: dict[str, type], graph: dict, photos: dict[str, Image.Image]) -> dict[str, list[torch.Tensor]]:
    """Runs a graph in API format as ComfyUI would; the IMAGEs that reach each SaveImage, by the node's id.

    Args:
        photos: what LoadImage finds, by file name; an alpha channel becomes its mask.
    """

    def load_image(image, **_):
        pixels = torch.from_numpy(np.array(photos[image].convert("RGBA"))).float()[None] / 255
        has_alpha = photos[image].mode == "RGBA"
        return pixels[..., :3], 1 - pixels[..., 3] if has_alpha else torch.zeros(1, 64, 64)

    core = {"LoadImage": load_image, "SaveImage": lambda images, **_: [images]}

    @functools.cache
    def outputs(node_id) -> list[list]:
        """A list of values for each output: several where a node before it gave a list, for each item of which the node is run."""
        node = graph[node_id]
        given = {name: outputs(value[0])[value[1]] if isinstance(value, list) else [value] for name, value in node["inputs"].items()}
        execute = core.get(node["class_type"]) or nodes[node["class_type"]].execute
        schema = node["class_type"] in nodes and nodes[node["class_type"]].define_schema()
        calls = [
            {name: values[min(index, len(values) - 1)] for name, values in given.items()} for index in range(max(map(len, given.values())))
        ]
        results = [execute(**call) for call in ([given] if schema and schema.is_input_list else calls)]
        runs = [result.args if isinstance(result, NodeOutput) else result for result in results]
        is_list = [output.options.get("is_output_list") for output in schema.outputs] if schema else [False] * len(runs[0])
        return [sum(values, []) if whole else list(values) for values, whole in zip(zip(*runs), is_list)]

    with torch.inference_mode():
        for node_id, node in graph.items():
            if node["class_type"] == "StyleMambaSaveStyle":
                outputs(node_id)
        return {node_id: outputs(node_id)[0] for node_id, node in graph.items() if node["class_type"] == "SaveImage"}
