"""The pack in a real ComfyUI: it loads, every shipped workflow runs over HTTP, training works, Cancel and the cache behave.

Needs COMFYUI_PATH, a ComfyUI checkout, and COMFYUI_PYTHON, an interpreter with its requirements and this project's.
"""

import re
import subprocess
import time
import urllib.parse

import numpy as np
import pytest
from comfy_graphs import NAMES, load_graph, node_of
from comfy_server import PACK_FOLDER, ExecutionFailed
from PIL import Image
from synthetic import synthetic_photo

import stylemamba


@pytest.fixture
def photo(server) -> Image.Image:
    return Image.open(server.base / "input" / "example.png").convert("RGB")


def test_pack_loads_at_once(server):
    assert server.get("/object_info/StyleMambaStylize")["StyleMambaStylize"]["category"] == "StyleMamba"
    seconds = float(re.search(rf"([\d.]+) seconds: .*{re.escape(PACK_FOLDER)}$", server.log(), re.MULTILINE)[1])
    assert seconds <= 0.3


def test_templates_translations_and_help_are_served(server):
    assert sorted(server.get("/workflow_templates")[PACK_FOLDER]) == sorted(NAMES)
    assert server.get("/i18n")["zh"]["nodeDefs"]["StyleMambaTrain"]["display_name"] == "训练风格"
    for page in ("StyleMambaTrain.md", "StyleMambaTrain/zh.md", "images/StyleMambaTrain.jpg"):
        assert server.get(f"/extensions/{urllib.parse.quote(PACK_FOLDER)}/docs/{page}")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_workflow_runs(server, photo, name):
    graph = load_graph(name)
    if name == "apply_a_saved_style" and not (server.base / "models" / "stylemamba" / "copper_engraving.safetensors").exists():
        server.run(load_graph("train_a_style_and_save_it"))
    pictures = server.run(graph)[node_of(graph, "SaveImage")]
    assert len(pictures) == (2 if name == "batch_of_photos" else 1)
    for picture in pictures:
        assert picture.size == photo.size
        assert np.abs(np.asarray(picture, float) - np.asarray(photo)).mean() > 3


def test_picture_is_the_pipelines(server, photo):
    graph = load_graph("five_steps", tiny=True)
    pipe = stylemamba.StyleMambaPipeline.from_pretrained(server.base / "models" / "stylemamba" / "tiny")
    expected = pipe(photo, graph[node_of(graph, "StyleMambaStyleEmbedding")]["inputs"]["text"]).images[0]
    picture = server.run(graph)[node_of(graph, "SaveImage")][0]
    assert np.abs(np.asarray(picture, int) - np.asarray(expected, int)).max() <= 1


def test_transparent_part_of_the_photo_is_the_mask(server):
    photo = synthetic_photo(96, 64)
    mask = Image.new("L", photo.size, 255)
    mask.paste(0, (0, 0, 48, 64))  # painted in ComfyUI's MaskEditor: transparent
    photo.putalpha(mask)
    photo.save(server.base / "input" / "painted.png")
    graph = load_graph("style_only_the_masked_region")
    graph[node_of(graph, "LoadImage")]["inputs"]["image"] = "painted.png"
    picture = np.asarray(server.run(graph)[node_of(graph, "SaveImage")][0], int)
    difference = np.abs(picture - np.asarray(photo.convert("RGB"), int)).mean((0, 2))
    assert difference[48:].max() == 0 and difference[:44].mean() > 3


SMALL_VAE = """
from comfy.cli_args import args
args.cpu = True
import torch
from comfy.taesd.taesd import TAESD
from safetensors.torch import save_file
torch.manual_seed(0)
vae = TAESD()
for parameter in vae.parameters():
    torch.nn.init.normal_(parameter, std=0.06)
save_file(vae.state_dict(), "{}")
"""


def test_vae_of_comfyuis_own_loader_plugs_in(server, photo):
    """Latents of ComfyUI's VAE nodes and of these nodes are the same; the fresh fusion of the parts leaves them as they are."""
    from diffusers import AutoencoderKL

    folder = server.base / "models" / "vae"
    folder.mkdir()
    subprocess.run([server.python, "-c", SMALL_VAE.format(folder / "small.safetensors")], cwd=server.checkout, check=True)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "block_out_channels": (8,) * 4}
    sd_like = AutoencoderKL(**blocks, latent_channels=4, norm_num_groups=4, mid_block_add_attention=False)
    sd_like.save_pretrained(server.base / "models" / "stylemamba" / "parts" / "sd-vae")

    def node(class_type, **inputs):
        return {"class_type": class_type, "inputs": inputs}

    graph = {
        "photo": node("LoadImage", image="example.png"),
        "vae": node("VAELoader", vae_name="small.safetensors"),
        "model": node("StyleMambaLoadParts", vae="parts/sd-vae", siglip="parts/siglip"),
        "style": node("StyleMambaStyleEmbedding", model=["model", 0], text="fire"),
        "core latent": node("VAEEncode", pixels=["photo", 0], vae=["vae", 0]),
        "latent": node("StyleMambaVAEEncode", model=["model", 0], image=["photo", 0], vae=["vae", 0]),
    }
    for source in ("core latent", "latent"):
        fused, decoded, core_decoded = (f"{source} {step}" for step in ("fused", "decoded", "decoded by the core"))
        graph[fused] = node("StyleMambaFusion", model=["model", 0], latent=[source, 0], style=["style", 0], strength=1.0)
        graph[decoded] = node("StyleMambaDecode", model=["model", 0], latent=[fused, 0], vae=["vae", 0])
        graph[core_decoded] = node("VAEDecode", samples=[fused, 0], vae=["vae", 0])
        for step in (decoded, core_decoded):
            graph[f"save {step}"] = node("SaveImage", images=[step, 0], filename_prefix="vae")
    pictures = [np.asarray(pictures[0], int) for pictures in server.run(graph).values()]
    assert len(pictures) == 4 and all(np.abs(picture - pictures[0]).max() <= 1 for picture in pictures)

    graph["model"] = node("StyleMambaLoadParts", vae="parts/vae", siglip="parts/siglip")
    with pytest.raises(ExecutionFailed, match="The VAE makes latents of 4 channels at 1/8"):
        server.run(graph)


def test_unchanged_training_is_not_repeated_and_a_changed_style_file_is_read_again(server):
    train = load_graph("train_a_style_and_save_it")
    train_id = node_of(train, "StyleMambaTrain")
    train[train_id]["inputs"]["seed"] = 11
    assert train_id in server.executed(server.queue(train))
    train[node_of(train, "StyleMambaFusion")]["inputs"]["strength"] = 0.7
    second = server.executed(server.queue(train))
    assert node_of(train, "StyleMambaFusion") in second and train_id not in second

    apply = load_graph("apply_a_saved_style")
    load_id = node_of(apply, "StyleMambaLoadStyle")
    server.wait(server.queue(apply))
    assert load_id not in server.executed(server.queue(apply))
    path = server.base / "models" / "stylemamba" / "copper_engraving.safetensors"
    path.write_bytes(path.with_name("copper_engraving_2.safetensors").read_bytes())
    assert load_id in server.executed(server.queue(apply))


def test_cancel_stops_training_and_the_next_prompt_runs(server):
    graph = load_graph("train_a_style_and_save_it", tiny=True)
    train = graph[node_of(graph, "StyleMambaTrain")]["inputs"]
    train |= {"steps": 2000, "seed": 12}
    prompt_id = server.queue(graph)
    time.sleep(3)
    server.post("/interrupt", {})
    begin = time.monotonic()
    with pytest.raises(ExecutionFailed, match="interrupted"):
        server.wait(prompt_id)
    assert time.monotonic() - begin < 5
    train["steps"] = 2
    assert server.run(graph)


def test_prompts_queued_together_all_run(server):
    graphs = [load_graph("stylize_in_one_node") for _ in range(2)]
    for graph, text in zip(graphs, ("fire", "snow")):
        graph[node_of(graph, "StyleMambaStylize")]["inputs"]["text"] = text
    for prompt_id in [server.queue(graph) for graph in graphs]:
        assert server.wait(prompt_id)["status"]["status_str"] == "success"


def test_mistakes_get_one_sentence(server):
    graph = load_graph("stylize_in_one_node")
    graph[node_of(graph, "StyleMambaStylize")]["inputs"]["text"] = "  "
    with pytest.raises(ExecutionFailed, match="StyleMambaError: There is neither a text nor a style image; .+"):
        server.run(graph)
    graph = load_graph("apply_a_saved_style")
    graph[node_of(graph, "StyleMambaLoadStyle")]["inputs"]["style_file"] = "missing.safetensors"
    with pytest.raises(ExecutionFailed, match="There is no style 'missing.safetensors' in models/stylemamba"):
        server.run(graph)
