"""The pack in stand-ins for ComfyUI, and in a real ComfyUI where there is one."""

import os
import shutil
import sys
from pathlib import Path

import comfy_stubs
import pytest
from comfy_server import ComfyServer


@pytest.fixture
def nodes(monkeypatch, tmp_path) -> dict[str, type]:
    """Node id -> class, imported without ComfyUI."""
    return comfy_stubs.node_classes(comfy_stubs.install(monkeypatch, tmp_path / "models"))


@pytest.fixture(scope="session")
def server(tmp_path_factory, tiny_model_dir):
    """A running ComfyUI with the tiny model as ``models/stylemamba/tiny``, and its VAE and SigLIP as ``parts/vae`` and ``parts/siglip``."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("needs a real ComfyUI: set COMFYUI_PATH to a checkout (and COMFYUI_PYTHON to the interpreter with its requirements)")
    with ComfyServer(Path(checkout), tmp_path_factory.mktemp("comfyui"), os.environ.get("COMFYUI_PYTHON", sys.executable)) as server:
        copy_tiny_model(tiny_model_dir, server.base / "models" / "stylemamba")
        yield server


@pytest.fixture
def models(nodes, tiny_model_dir, tmp_path) -> Path:
    """``models/stylemamba`` of `nodes`, with the same models."""
    copy_tiny_model(tiny_model_dir, tmp_path / "models" / "stylemamba")
    return tmp_path / "models" / "stylemamba"


def copy_tiny_model(source: str, models: Path) -> None:
    shutil.copytree(source, models / "tiny")
    for part, folder in (("vae", "vae"), ("style_encoder", "siglip"), ("tokenizer", "siglip")):
        shutil.copytree(Path(source, part), models / "parts" / folder, dirs_exist_ok=True)
