"""Every shipped workflow fits the nodes' schemas, and every text that a user sees is there in both languages."""

import json
import re

import numpy as np
import pytest
import torch
from comfy_graphs import NAMES, load_graph
from comfy_stubs import PACK, run_graph
from PIL import Image
from synthetic import synthetic_photo

WORKFLOWS = sorted((PACK / "workflows").glob("*.json"))
WORKFLOW_IDS = [path.stem for path in WORKFLOWS]
SEED_CONTROL = ("fixed", "increment", "decrement", "randomize")
USERS_FILES = ("style_file", "vae", "siglip")  # choices among files that a user brings or makes, and which the tests do not have
# What the workflows use of ComfyUI's own nodes: sockets in, widgets, sockets out.
CORE_NODES = {
    "LoadImage": ([], ["image", "upload"], ["IMAGE", "MASK"]),
    "SaveImage": (["IMAGE"], ["filename_prefix"], []),
    "MarkdownNote": ([], ["text"], []),
}


@pytest.fixture
def schemas(nodes) -> dict:
    return {node_id: node.define_schema() for node_id, node in nodes.items()}


def test_there_are_workflows():
    assert "stylize_in_one_node" in WORKFLOW_IDS and "five_steps" in WORKFLOW_IDS


@pytest.mark.parametrize("path", WORKFLOWS, ids=WORKFLOW_IDS)
def test_links_join_sockets_of_one_type_that_exist(path, schemas):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    by_id = {node["id"]: node for node in workflow["nodes"]}
    for link, source, output, target, slot, link_type in workflow["links"]:
        assert by_id[source]["outputs"][output]["type"] == by_id[target]["inputs"][slot]["type"] == link_type
        assert link in by_id[source]["outputs"][output]["links"] and by_id[target]["inputs"][slot]["link"] == link
    for node in workflow["nodes"]:
        for socket in node["inputs"]:
            if "widget" in socket:  # a widget that takes its value from a link
                assert socket["name"] == socket["widget"]["name"] in CORE_NODES[node["type"]][1]
        inputs = [(socket["name"], socket["type"]) for socket in node["inputs"] if "widget" not in socket]
        outputs = [socket["type"] for socket in node["outputs"]]
        if node["type"] in CORE_NODES:
            assert ([kind for _, kind in inputs], outputs) == CORE_NODES[node["type"]][::2]
            continue
        schema = schemas[node["type"]]
        sockets = {socket.id: socket for socket in schema.inputs if not socket.is_widget}
        assert inputs == [(name, socket.io_type) for name, socket in sockets.items()]
        assert outputs == [output.io_type for output in schema.outputs]
        unlinked = {socket["name"] for socket in node["inputs"] if socket["link"] is None}
        assert all(sockets[name].options.get("optional") for name in unlinked)


@pytest.mark.parametrize("path", WORKFLOWS, ids=WORKFLOW_IDS)
def test_widget_values_are_within_their_ranges(path, schemas):
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        values = list(node["widgets_values"])
        if node["type"] in CORE_NODES:
            assert len(values) == len(CORE_NODES[node["type"]][1])
            continue
        for widget in (socket for socket in schemas[node["type"]].inputs if socket.is_widget):
            value, options = values.pop(0), widget.options
            if widget.io_type in ("INT", "FLOAT"):
                assert options["min"] <= value <= options["max"], (node["type"], widget.id)
            elif widget.io_type == "STRING":
                assert isinstance(value, str)
            elif widget.id not in USERS_FILES:
                assert value in options["options"]
            if options.get("control_after_generate"):
                assert values.pop(0) in SEED_CONTROL
        assert not values, f"{node['type']} has more values than widgets"


@pytest.mark.parametrize("path", WORKFLOWS, ids=WORKFLOW_IDS)
def test_api_graph_is_the_same_graph(path, schemas):
    """The JSON that a program would post; ComfyUI lists whatever lies beside a workflow, so it lies with the tests."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    expected = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        linked = {socket["name"]: sources[socket["link"]] for socket in node["inputs"] if socket["link"] is not None}
        values = [value for value in node["widgets_values"] if value not in SEED_CONTROL]
        names = CORE_NODES[node["type"]][1] if node["type"] in CORE_NODES else [s.id for s in schemas[node["type"]].inputs if s.is_widget]
        inputs = {**dict(zip(names, values)), **linked}
        inputs.pop("upload", None)
        expected[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    assert json.loads((PACK / "tests" / "comfy" / "api" / path.name).read_text(encoding="utf-8")) == expected


@pytest.mark.parametrize("name", NAMES)
def test_workflow_runs_in_the_stand_ins(nodes, models, input_folder, name):
    """In the real ComfyUI, they run in test_comfyui.py."""
    photos = {"example.png": synthetic_photo(40, 28)}
    photos["example.png"].save(input_folder / "example.png")
    if name == "apply_a_saved_style":
        run_graph(nodes, load_graph("train_a_style_and_save_it"), photos)
    ((pictures,),) = run_graph(nodes, load_graph(name), photos).values()
    photo = torch.from_numpy(np.array(photos["example.png"])) / 255
    assert pictures.shape[1:] == photo.shape and (pictures - photo).abs().mean() > 0.01


@pytest.mark.parametrize("path", WORKFLOWS, ids=WORKFLOW_IDS)
def test_thumbnail_lies_beside_it(path):
    with Image.open(path.with_suffix(".jpg")) as thumbnail:
        assert thumbnail.format == "JPEG" and min(thumbnail.size) >= 256
    assert path.with_suffix(".jpg").stat().st_size < 200_000


def test_only_workflows_lie_in_the_folder():
    """ComfyUI offers every JSON file there as a template."""
    assert all("nodes" in json.loads(path.read_text(encoding="utf-8")) for path in WORKFLOWS)
    assert {path.suffix for path in (PACK / "workflows").iterdir()} == {".json", ".jpg"}


def test_every_node_says_what_it_and_its_sockets_are_for(schemas):
    for schema in schemas.values():
        assert schema.node_id.startswith("StyleMamba") and schema.category == "StyleMamba"
        assert schema.display_name and schema.description.endswith(".")
        for socket in [*schema.inputs, *schema.outputs]:
            assert socket.options.get("tooltip", "").endswith("."), (schema.node_id, socket.id)
        for widget in (socket for socket in schema.inputs if socket.is_widget and socket.options.get("options") != []):
            default = widget.options.get("default")
            assert default is not None or widget.io_type == "COMBO", (schema.node_id, widget.id)
            if widget.io_type in ("INT", "FLOAT"):
                assert widget.options["min"] <= default <= widget.options["max"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_and_tooltips_are_translated(schemas, language):
    translated = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert set(translated) == set(schemas)
    for node_id, schema in schemas.items():
        texts = translated[node_id]
        assert set(texts["inputs"]) == {socket.id for socket in schema.inputs}
        assert set(texts["outputs"]) == {str(index) for index in range(len(schema.outputs))}
        sockets = [*texts["inputs"].values(), *texts["outputs"].values()]
        sentences = [texts["display_name"], texts["description"], *(entry["tooltip"] for entry in sockets)]
        assert all(entry["name"] for entry in sockets)
        if language == "en":
            assert texts["display_name"] == schema.display_name and texts["description"] == schema.description
            for socket in schema.inputs:
                assert texts["inputs"][socket.id]["tooltip"] == socket.options["tooltip"]
            for index, socket in enumerate(schema.outputs):
                assert texts["outputs"][str(index)]["tooltip"] == socket.options["tooltip"]
        else:
            assert all(re.search("[\u4e00-\u9fff]", text) for text in sentences)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_node_has_a_help_page_with_its_sockets_and_a_picture(schemas, language):
    docs = PACK / "web" / "docs"
    texts = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    for node_id in schemas:
        page = (docs / (f"{node_id}.md" if language == "en" else f"{node_id}/zh.md")).read_text(encoding="utf-8")
        for entry in [*texts[node_id]["inputs"].values(), *texts[node_id]["outputs"].values()]:
            assert f"**{entry['name']}**: {entry['tooltip']}" in page
        pictures = re.findall(r"!\[.*?\]\((.+?)\)", page)
        assert pictures and all((docs / picture).is_file() for picture in pictures)
