"""What ComfyUI-Manager and the registry take leaves a user's torch untouched and lacks nothing that the pack needs."""

import re
import sys

import pytest
from comfy_stubs import PACK


def test_requirements_leave_torch_alone_and_pin_nothing():
    """Managers install them into the user's environment: naming torch has replaced CUDA builds before."""
    lines = [line.split("#")[0].strip() for line in (PACK / "requirements.txt").read_text().splitlines()]
    names = [re.split(r"[<>=!~\[; ]", line)[0].lower() for line in lines if line]
    assert {"diffusers", "transformers", "einops"} <= set(names)
    assert not {"torch", "torchvision", "torchaudio", "xformers", "triton", "numpy"} & set(names)
    assert not any("==" in line or line.startswith(("-", "git+", "http")) for line in lines)


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
    for code in [*(PACK / "nodes").glob("*.py"), PACK / "__init__.py"]:
        assert not re.search(r"\b(eval|exec)\(|subprocess|os\.system|\bpip\b", code.read_text()), f"the registry bans it in {code.name}"
