"""What is listed of models/stylemamba, and where a style is saved in it."""

import json
import sys

import pytest
import torch

from stylemamba import StyleMambaError

pytestmark = pytest.mark.usefixtures("inference_mode")


@pytest.fixture
def listed(nodes):
    """What the first inputs of a node offer."""

    def listed(node, inputs=1):
        return [choice for widget in nodes[f"StyleMamba{node}"].define_schema().inputs[:inputs] for choice in widget.options["options"]]

    return listed


def test_styles_are_saved_in_models_whatever_paths_come_before_it(nodes, run, models, fire, tmp_path, monkeypatch, listed):
    """ComfyUI reads extra_model_paths.yaml before it loads the pack."""
    extra = tmp_path / "elsewhere"
    extra.mkdir()
    monkeypatch.setattr(sys.modules["folder_paths"], "get_folder_paths", lambda _: [str(extra), str(models)])
    run("SaveStyle", fire, "mine")
    (models / "mine.safetensors").rename(extra / "theirs.safetensors")
    assert listed("LoadStyle") == ["theirs.safetensors"]
    run("SaveStyle", fire, "mine")
    snow = run("StyleEmbedding", run("LoadModel", "tiny"), "snow")
    run("SaveStyle", snow, "theirs")
    assert sorted(listed("LoadStyle")) == ["mine.safetensors", "theirs.safetensors", "theirs_2.safetensors"]
    (extra / "theirs.safetensors").rename(extra / "mine.safetensors")
    run("SaveStyle", snow, "other")
    (models / "other.safetensors").replace(models / "mine.safetensors")
    assert run("LoadStyle", "mine.safetensors").info["prompt"] == "snow", "of one name, the first folder's counts"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "x" * 300,
            "x" * 240,
            "印" * 100,
            "plain.safetensors/x",
            "a\0b",
            "a\ud800",
            "a\nb",
            "CON",
            "con.x",
            "lpt1/x",
            "a.",
            "a /b",
            "a./b",
        ),
        *("tiny/x", "tiny/vae/x", "parts/vae/x", "/".join(["x" * 200] * 30)),
    ],
)
def test_name_that_no_file_can_have_everywhere_is_refused_in_one_sentence(run, models, fire, listed, name):
    run("SaveStyle", fire, "plain")
    with pytest.raises(StyleMambaError, match="^The (name|folder).*; (use|choose).*$"):
        run("SaveStyle", fire, name)
    assert listed("LoadStyle") == ["plain.safetensors"]


@pytest.mark.parametrize("name", ["印" * 66, "x" * 200, "painter's, 2nd (late)/v1.5", "con_trast"])
def test_every_other_name_is_saved_listed_and_shown(nodes, models, fire, listed, name):
    for file in (f"{name}.safetensors", f"{name}_2.safetensors"):
        assert nodes["StyleMambaSaveStyle"].execute(fire, name).ui == f"Saved as {file}"
        assert file in listed("LoadStyle")


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_styles_made_in_bfloat16_and_float32_blend(run, model, models, fire, balance, image):
    """What the blend fits is what both fit."""
    half = run("LoadModel", "tiny")
    half.pipe.to(torch.bfloat16)
    snow, photo = run("StyleEmbedding", half, "snow"), image(40, 32)
    for pair in ((fire, snow), (snow, fire)):
        blend = run("BlendStyles", *pair, balance)
        run("SaveStyle", blend, "blend")
        loaded = run("LoadStyle", "blend.safetensors")
        for fitting in (model, half):
            assert run("Stylize", photo, "", 1.0, model=fitting, style=loaded).isfinite().all()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", {"_class_name": "AutoencoderDC"}),
        ("config.json", {"_class_name": "AutoencoderKLWan"}),
        ("config.json", {"_class_name": "AsymmetricAutoencoderKL"}),
        ("config.json", {"model_type": "siglip_vision_model", "architectures": ["SiglipVisionModel"]}),
        ("config.json", {"model_type": "siglip", "architectures": ["SiglipForImageClassification"]}),
        ("config.json", {"architectures": []}),
        ("config.json", ["siglip"]),
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}),
        ("model_index.json", {}),
    ],
)
def test_what_no_node_can_load_is_not_listed(models, listed, file, content):
    (models / "other").mkdir()
    (models / "other" / file).write_text(json.dumps(content))
    assert listed("LoadModel") == ["bundled", "tiny"] and listed("LoadParts", 2) == ["parts/vae", "parts/siglip"]


@pytest.mark.parametrize("content", [{"_class_name": "AutoencoderTiny"}, {"architectures": ["Siglip2Model"]}])
def test_what_a_node_can_load_is_listed(models, listed, content):
    (models / "other").mkdir()
    (models / "other" / "config.json").write_text(json.dumps(content))
    assert "other" in listed("LoadParts", 2)


@pytest.mark.parametrize(
    ("damaged", "load", "complaint"),
    [
        ("tiny/vae/diffusion_pytorch_model.safetensors", ("LoadModel", "tiny"), "vae.*is damaged"),
        (
            "parts/vae/diffusion_pytorch_model.safetensors",
            ("LoadParts", "parts/vae", "parts/siglip"),
            "'parts/vae' and 'parts/siglip' cannot",
        ),
        ("parts/siglip/model.safetensors", ("LoadParts", "parts/vae", "parts/siglip"), "'parts/vae' and 'parts/siglip' cannot"),
    ],
)
def test_damaged_model_is_refused_in_one_sentence(run, models, damaged, load, complaint):
    path = models / damaged
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StyleMambaError, match=f"{complaint}.*; copy it again.$"):
        run(*load)


def test_model_of_linked_parts_is_loaded_again_after_one_changed(nodes, models, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (models / "tiny").rename(elsewhere)
    (models / "tiny").mkdir()
    for part in elsewhere.iterdir():
        (models / "tiny" / part.name).symlink_to(part)
    load = nodes["StyleMambaLoadModel"]
    before = load.fingerprint_inputs("tiny")
    weights = elsewhere / "fusion" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    assert load.fingerprint_inputs("tiny") != before


def test_links_that_lead_back_up_are_not_followed(run, models, fire, listed):
    (models / "paintings").mkdir()
    (models / "by_link").symlink_to(models / "paintings")
    for name in ("loop", "other_loop"):
        (models / name).symlink_to(models)
        (models / "paintings" / name).symlink_to(models)
    run("SaveStyle", fire, "paintings/mine")
    assert sorted(listed("LoadStyle")) == ["by_link/mine.safetensors", "paintings/mine.safetensors"]
    assert listed("LoadModel") == ["bundled", "tiny"]
