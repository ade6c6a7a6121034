"""The pack in stand-ins for ComfyUI, and in a real ComfyUI where there is one."""

import os
import shutil
import sys
from pathlib import Path

import comfy_stubs
import numpy as np
import pytest
import torch
from comfy_server import ComfyServer
from synthetic import synthetic_photo

CHOICE_NODE = """
class Choice:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("STRING",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("COMBO",), "choose", "test"

    def choose(self, value):
        return (value,)


NODE_CLASS_MAPPINGS = {"Choice": Choice}
"""


@pytest.fixture
def nodes(monkeypatch, tmp_path) -> dict[str, type]:
    """Node id -> class, imported without ComfyUI."""
    return comfy_stubs.node_classes(comfy_stubs.install(monkeypatch, tmp_path / "models"))


@pytest.fixture(scope="session")
def start_server(tmp_path_factory, tiny_model_dir):
    """Starts a ComfyUI with the tiny model as ``models/stylemamba/tiny``, and its VAE and SigLIP as ``parts/vae`` and ``parts/siglip``.

    It has a node of another pack, Choice, that gives a value to a list of choices.
    """
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("needs a real ComfyUI: set COMFYUI_PATH to a checkout (and COMFYUI_PYTHON to the interpreter with its requirements)")

    def start(**settings) -> ComfyServer:
        python = os.environ.get("COMFYUI_PYTHON", sys.executable)
        server = ComfyServer(Path(checkout), tmp_path_factory.mktemp("comfyui"), python, **settings)
        copy_tiny_model(tiny_model_dir, server.base / "models" / "stylemamba")
        (server.base / "custom_nodes" / "choice.py").write_text(CHOICE_NODE)
        return server

    return start


@pytest.fixture(scope="session")
def server(start_server):
    """One that is running, for all tests that do not change it for each other."""
    with start_server() as server:
        yield server


@pytest.fixture
def models(nodes, tiny_model_dir, tmp_path) -> Path:
    """``models/stylemamba`` of `nodes`, with the same models."""
    copy_tiny_model(tiny_model_dir, tmp_path / "models" / "stylemamba")
    return tmp_path / "models" / "stylemamba"


@pytest.fixture
def input_folder(nodes, tmp_path) -> Path:
    """ComfyUI's input folder for `nodes`."""
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


@pytest.fixture
def inference_mode():
    """As ComfyUI runs its nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture
def run(nodes):
    """Executes a node by its short name; the only output, or None."""

    def run(name, *args, **kwargs):
        node = nodes[f"StyleMamba{name}"]
        if (schema := node.define_schema()).is_input_list:  # ComfyUI gives each input a list; several photos are one here
            kwargs |= dict(zip((input.id for input in schema.inputs), args))
            args, kwargs = (), {key: value if isinstance(value, list) else [value] for key, value in kwargs.items()}
        outputs = node.execute(*args, **kwargs)
        return outputs[0] if outputs.args else None

    return run


@pytest.fixture
def image():
    """An IMAGE of one synthetic photo, by its width and height."""

    def image(width, height, seed=0):
        return torch.from_numpy(np.array(synthetic_photo(width, height, seed=seed))).float()[None] / 255

    return image


@pytest.fixture
def model(run, models):
    return run("LoadModel", "tiny")


@pytest.fixture
def fire(run, model):
    return run("StyleEmbedding", model, "fire")


@pytest.fixture
def five_steps(run, model):
    def five_steps(photo, style, strength=1.0, mask=None):
        return run("Decode", model, run("Fusion", model, run("VAEEncode", model, photo), style, strength, mask))

    return five_steps


def copy_tiny_model(source: str, models: Path) -> None:
    shutil.copytree(source, models / "tiny")
    for part, folder in (("vae", "vae"), ("style_encoder", "siglip"), ("tokenizer", "siglip")):
        shutil.copytree(Path(source, part), models / "parts" / folder, dirs_exist_ok=True)
