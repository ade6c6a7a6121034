"""What ComfyUI-Manager and the registry take leaves a user's torch untouched and lacks nothing that the pack needs."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import venv

import pytest
from comfy_stubs import PACK
from PIL import Image


def test_requirements_leave_torch_alone_and_pin_nothing():
    """Managers install them into the user's environment: naming torch has replaced CUDA builds before."""
    lines = [line.split("#")[0].strip() for line in (PACK / "requirements.txt").read_text().splitlines()]
    names = [re.split(r"[<>=!~\[; ]", line)[0].lower() for line in lines if line]
    assert {"diffusers", "transformers", "einops", "sentencepiece", "protobuf"} <= set(names)
    assert not {"torch", "torchvision", "torchaudio", "xformers", "triton", "numpy"} & set(names)
    assert not any("==" in line or line.startswith(("-", "git+", "http")) for line in lines)


@pytest.mark.slow
def test_pip_leaves_what_comfyui_runs_on_alone(tmp_path):
    """A user's environment with a CUDA build of torch, as far as pip sees it; needs a package index."""
    venv.create(tmp_path)
    packages = next(tmp_path.rglob("site-packages"))
    users = {"torch": "2.6.0+cu124", "torchvision": "0.21.0+cu124", "torchaudio": "2.6.0+cu124", "numpy": "1.26.4", "pillow": "10.3.0"}
    for name, version in users.items():
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "INSTALLER").write_text("pip\n")
        (info / "RECORD").write_text("")
    python = next(path for folder in ("bin", "Scripts") for path in (tmp_path / folder).glob("python*"))
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--dry-run", "--quiet", "--report", "-"]
    run = subprocess.run([*command, "-r", PACK / "requirements.txt"], capture_output=True, text=True)
    if "No matching distribution" in run.stderr or "connection" in run.stderr.lower():
        pytest.skip("needs a package index")
    installed = {item["metadata"]["name"].lower() for item in json.loads(run.stdout)["install"]}
    assert "diffusers" in installed and not installed & set(users)
    assert not any(name.startswith(("nvidia", "triton", "cuda")) for name in installed)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_registry_finds_what_it_requires():
    import tomllib

    project = tomllib.loads((PACK / "pyproject.toml").read_text())
    comfy = project["tool"]["comfy"]
    assert re.fullmatch(r"[a-z0-9-]+", comfy["PublisherId"]) and comfy["DisplayName"] and comfy["Icon"].startswith("https://")
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["project"]["version"]) and project["project"]["urls"]["Repository"]
    assert project["project"]["name"] == project["project"]["name"].lower()


def test_published_pack_keeps_everything_that_it_needs():
    ignored = {line.strip("/\n") for line in (PACK / ".comfyignore").open()}
    assert not ignored & {
        "__init__.py",
        "nodes",
        "stylemamba",
        "locales",
        "web",
        "workflows",
        "pyproject.toml",
        "requirements.txt",
        "LICENSE",
    }
    assert {"tests", "benchmarks", "recipes"} <= ignored


def test_code_keeps_to_the_registrys_rules():
    """`comfy node validate` selects S102, S307 and E702 of ruff; the registry bans installing at run time as well."""
    for path in (*PACK.glob("*.py"), *(PACK / "nodes").glob("*.py"), *(PACK / "stylemamba").glob("*.py")):
        code = path.read_text(encoding="utf-8")
        called = {node.func.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not called & {"eval", "exec"}, path
        assert not any(token.string == ";" for token in tokenize.generate_tokens(io.StringIO(code).readline)), path
        assert not re.search(r"\bsubprocess\b|os\.system|\bpip install\b", code), path


def test_icon_is_what_the_registry_shows():
    """Square, at most 400 px."""
    with Image.open(PACK / ".github" / "icon.png") as icon:
        assert icon.width == icon.height <= 400
