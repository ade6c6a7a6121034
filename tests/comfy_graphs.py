"""The shipped workflows in ComfyUI's API format, made quick to run."""

import json

from comfy_stubs import PACK

API = PACK / "tests" / "comfy" / "api"
# The one that saves a style comes before the one that loads it.
NAMES = sorted((path.stem for path in API.glob("*.json")), key=lambda name: (name != "train_a_style_and_save_it", name))
HAS_BUNDLE = (PACK / "stylemamba" / "bundled" / "model_index.json").is_file()


def load_graph(name: str, tiny: bool = not HAS_BUNDLE) -> dict:
    """A shipped graph with few training steps and with tiny parts in place of the full-size ones.

    Args:
        tiny: takes the model ``tiny`` in place of the bundled one.
    """
    graph = json.loads((API / f"{name}.json").read_text(encoding="utf-8"))
    for node in list(graph.values()):
        if node["class_type"] == "StyleMambaTrain":
            node["inputs"] |= {"steps": 2, "size": 64}
        if node["class_type"] == "StyleMambaLoadParts":
            node["inputs"] |= {"vae": "parts/vae", "siglip": "parts/siglip"}
        if tiny and node["class_type"] == "StyleMambaLoadModel":
            node["inputs"]["model"] = "tiny"
        if tiny and node["class_type"] == "StyleMambaStylize":
            graph["model"] = {"class_type": "StyleMambaLoadModel", "inputs": {"model": "tiny"}}
            node["inputs"]["model"] = ["model", 0]
    return graph


def node_of(graph: dict, class_type: str) -> str:
    """The id of the graph's first node of a type."""
    return next(key for key, node in graph.items() if node["class_type"] == class_type)
