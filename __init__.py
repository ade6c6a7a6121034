"""ComfyUI's way into the pack; programs ``import stylemamba`` and never come through here."""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

if find_spec("comfy_api"):  # absent where a test runner imports the folder
    # Under its own name, whatever this folder is called, because diffusers writes the names of classes into saved models; and from here,
    # whatever else is called stylemamba on sys.path.
    if "StyleMambaPipeline" not in getattr(sys.modules.get("stylemamba"), "__all__", ()):
        spec = spec_from_file_location("stylemamba", Path(__file__).with_name("stylemamba") / "__init__.py")
        sys.modules["stylemamba"] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules["stylemamba"])
    from .nodes import comfy_entrypoint  # noqa: F401

    WEB_DIRECTORY = "web"
