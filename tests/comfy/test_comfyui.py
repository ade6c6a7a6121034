"""The pack in a real ComfyUI: it loads, every shipped workflow runs over HTTP, training works, Cancel and the cache behave.

Needs COMFYUI_PATH, a ComfyUI checkout, and COMFYUI_PYTHON, an interpreter with its requirements and this project's; the extra test-comfyui.
"""

import io
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from comfy_graphs import NAMES, load_graph, node_of
from comfy_server import PACK, PACK_FOLDER, ExecutionFailed
from PIL import Image
from synthetic import synthetic_photo

import stylemamba
from stylemamba.cli import main as command_line


@pytest.fixture
def photo(server) -> Image.Image:
    return Image.open(server.base / "input" / "example.png").convert("RGB")


def largest_difference(picture, expected) -> int:
    return np.abs(np.asarray(picture, int) - np.asarray(expected, int)).max()


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def test_pack_loads_at_once(server):
    assert server.get("/object_info/StyleMambaStylize")["StyleMambaStylize"]["category"] == "StyleMamba"
    seconds = float(re.search(rf"([\d.]+) seconds: .*{re.escape(PACK_FOLDER)}$", server.log(), re.MULTILINE)[1])
    assert seconds <= 0.3


def check_what_the_browser_gets(server, pack_folder):
    assert sorted(server.get("/workflow_templates")[pack_folder]) == sorted(NAMES)
    assert server.get("/i18n")["zh"]["nodeDefs"]["StyleMambaTrain"]["display_name"] == "训练风格"
    for page in ("StyleMambaTrain.md", "StyleMambaTrain/zh.md", "images/StyleMambaTrain.jpg"):
        assert server.get(f"/extensions/{urllib.parse.quote(pack_folder)}/docs/{page}")
    for name in NAMES:
        for ending in ("json", "jpg"):
            assert server.get(f"/api/workflow_templates/{urllib.parse.quote(pack_folder)}/{name}.{ending}")


def test_templates_translations_and_help_are_served(server):
    check_what_the_browser_gets(server, PACK_FOLDER)


def test_folder_with_spaces_and_no_cache(server, start_server):
    name = "My StyleMamba - pack (2)"
    graph = load_graph("five_steps")
    with start_server(pack_folder=name, options=("--cache-none",)) as other:
        check_what_the_browser_gets(other, name)
        for page in ("../../pyproject.toml", "%2e%2e/%2e%2e/pyproject.toml", "docs/none.md"):
            with pytest.raises(OSError, match="404"):
                other.get(f"/extensions/{urllib.parse.quote(name)}/{page}")
        (picture,) = other.run(graph)[node_of(graph, "SaveImage")]
    assert largest_difference(picture, server.run(graph)[node_of(graph, "SaveImage")][0]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_shipped_workflow_runs(server, photo, name):
    graph = load_graph(name)
    if name == "apply_a_saved_style" and not (server.base / "models" / "stylemamba" / "copper_engraving.safetensors").exists():
        server.run(load_graph("train_a_style_and_save_it"))
    pictures = server.run(graph)[node_of(graph, "SaveImage")]
    assert len(pictures) == 1
    for picture in pictures:
        assert picture.size == photo.size
        assert np.abs(np.asarray(picture, float) - np.asarray(photo)).mean() > 3


def test_picture_is_the_pipelines(server, photo):
    graph = load_graph("five_steps", tiny=True)
    pipe = stylemamba.StyleMambaPipeline.from_pretrained(server.base / "models" / "stylemamba" / "tiny")
    expected = pipe(photo, graph[node_of(graph, "StyleMambaStyleEmbedding")]["inputs"]["text"]).images[0]
    picture = server.run(graph)[node_of(graph, "SaveImage")][0]
    assert largest_difference(picture, expected) <= 1


@pytest.mark.slow
def test_large_photo_goes_in_tiles_and_gives_the_pipelines_picture(server):
    photo = synthetic_photo(1600, 1500)
    photo.save(server.base / "input" / "large.png")
    graph = load_graph("stylize_in_one_node", tiny=True)
    graph[node_of(graph, "LoadImage")]["inputs"]["image"] = "large.png"
    pipe = stylemamba.StyleMambaPipeline.from_pretrained(server.base / "models" / "stylemamba" / "tiny")
    expected = pipe(photo, graph[node_of(graph, "StyleMambaStylize")]["inputs"]["text"]).images[0]
    assert largest_difference(server.run(graph)[node_of(graph, "SaveImage")][0], expected) <= 1


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


def sd_vae(folder, comfy_file):
    """A VAE of SD's architecture with random weights, for diffusers and as ComfyUI's own loader wants it."""
    import torch
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = AutoencoderKL(**blocks, block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4)
    with torch.no_grad():  # contrast, so that pictures can differ
        vae.quant_conv.weight *= 30
        vae.decoder.conv_out.weight *= 8
    vae.half().save_pretrained(folder)
    comfy_file.parent.mkdir(exist_ok=True)
    shutil.copy(folder / "diffusion_pytorch_model.safetensors", comfy_file)


def test_sd_vae_of_comfyuis_own_loader_plugs_in(server, photo):
    """Latents of ComfyUI's VAE nodes and of these nodes are the same; the fresh fusion of the parts leaves them as they are."""
    sd_vae(server.base / "models" / "stylemamba" / "parts" / "sd-vae", server.base / "models" / "vae" / "sd.safetensors")
    photo.crop((0, 0, 96, 64)).save(server.base / "input" / "small.png")

    graph = {
        "photo": node("LoadImage", image="small.png"),
        "vae": node("VAELoader", vae_name="sd.safetensors"),
        "model": node("StyleMambaLoadParts", vae="parts/sd-vae", siglip="parts/siglip"),
        "style": node("StyleMambaStyleEmbedding", model=["model", 0], text="fire"),
        "core latent": node("VAEEncode", pixels=["photo", 0], vae=["vae", 0]),
        "latent": node("StyleMambaVAEEncode", model=["model", 0], image=["photo", 0], vae=["vae", 0]),
        "own latent": node("StyleMambaVAEEncode", model=["model", 0], image=["photo", 0]),
    }
    for source in ("core latent", "latent", "own latent"):
        graph[f"{source} fused"] = node("StyleMambaFusion", model=["model", 0], latent=[source, 0], style=["style", 0], strength=1.0)
        graph[f"{source} decoded"] = node("VAEDecode", samples=[f"{source} fused", 0], vae=["vae", 0])
        graph[f"{source} saved"] = node("SaveImage", images=[f"{source} decoded", 0], filename_prefix="vae")
    graph["decoded here"] = node("StyleMambaDecode", model=["model", 0], latent=["core latent fused", 0], vae=["vae", 0])
    graph["decoded by its own"] = node("StyleMambaDecode", model=["model", 0], latent=["core latent fused", 0])
    for source in ("decoded here", "decoded by its own"):
        graph[f"{source} saved"] = node("SaveImage", images=[source, 0], filename_prefix="vae")
    pictures = [np.asarray(pictures[0], int) for pictures in server.run(graph).values()]
    assert len(pictures) == 5 and pictures[0].std() > 10
    assert all(np.abs(picture - pictures[0]).max() <= 1 for picture in pictures)

    graph["model"] = node("StyleMambaLoadParts", vae="parts/vae", siglip="parts/siglip")
    with pytest.raises(ExecutionFailed, match="The VAE makes latents of 4 channels at 1/8"):
        server.run(graph)


def test_only_changed_inputs_and_files_are_computed_again(server, photo):
    train = load_graph("train_a_style_and_save_it")
    train_id = node_of(train, "StyleMambaTrain")
    train[train_id]["inputs"]["seed"] = 11
    assert train_id in server.executed(server.queue(train))
    train[node_of(train, "StyleMambaFusion")]["inputs"]["strength"] = 0.7
    second = server.executed(server.queue(train))
    assert node_of(train, "StyleMambaFusion") in second and train_id not in second

    path = server.base / "input" / "changing.png"
    photo.save(path)
    train[node_of(train, "LoadImage")]["inputs"]["image"] = path.name
    server.wait(server.queue(train))
    assert train_id not in server.executed(server.queue(train))
    photo.rotate(90).save(path)
    assert train_id in server.executed(server.queue(train))

    apply = load_graph("apply_a_saved_style")
    load_id = node_of(apply, "StyleMambaLoadStyle")
    server.wait(server.queue(apply))
    assert load_id not in server.executed(server.queue(apply))
    path = server.base / "models" / "stylemamba" / "copper_engraving.safetensors"
    path.write_bytes(path.with_name("copper_engraving_2.safetensors").read_bytes())
    assert load_id in server.executed(server.queue(apply))


def test_training_and_batches_show_progress_with_previews(server, photo):
    train = load_graph("train_a_style_and_save_it", tiny=True)
    train_id = node_of(train, "StyleMambaTrain")
    train[train_id]["inputs"] |= {"steps": 6, "seed": 21}
    batch = load_graph("stylize_in_one_node", tiny=True)
    stylize_id, photo_id = node_of(batch, "StyleMambaStylize"), node_of(batch, "LoadImage")
    batch["two"] = {"class_type": "RepeatImageBatch", "inputs": {"image": [photo_id, 0], "amount": 2}}
    batch[stylize_id]["inputs"]["image"] = ["two", 0]
    for graph, node_id, total in ((train, train_id, 6), (batch, stylize_id, 6)):
        with server.listening() as (client, receive):
            server.queue(graph, client)
            values, previews, running = [], [], None
            while True:
                message = receive()
                if isinstance(message, bytes):
                    if running == node_id:
                        previews.append(Image.open(io.BytesIO(message[8:])))
                    continue
                running = message["data"]["node"] if message["type"] == "executing" else running
                if message["type"] == "progress" and message["data"]["node"] == node_id:
                    values.append((message["data"]["value"], message["data"]["max"]))
                if message["type"] == "execution_success":
                    break
        # ComfyUI leaves out messages that follow each other too fast.
        assert len(values) >= 2 and values == sorted(values) and values[-1] == (total, total)
        assert previews and all(preview.format == "JPEG" and min(preview.size) > 60 for preview in previews)


def test_cancel_stops_training_within_a_step_and_leaves_the_model_clean(server):
    graph = load_graph("train_a_style_and_save_it")
    plain = load_graph("stylize_in_one_node")
    before = server.run(plain)[node_of(plain, "SaveImage")][0]
    train = graph[node_of(graph, "StyleMambaTrain")]["inputs"]
    train |= {"steps": 2000, "seed": 12, "size": 128}
    with server.listening() as (client, receive):
        prompt_id, cancelled, steps = server.queue(graph, client), False, 0
        while True:
            message = receive()
            if isinstance(message, dict) and message["type"] == "progress":
                steps += 1
                if steps == 2:
                    server.post("/interrupt", {})
                    cancelled = True
            if cancelled and isinstance(message, dict) and message["type"] == "execution_interrupted":
                break
        assert steps <= 3
    with pytest.raises(ExecutionFailed, match="interrupted"):
        server.wait(prompt_id)
    plain[node_of(plain, "StyleMambaStylize")]["inputs"]["strength"] = 0.999999  # not the cached picture
    after = server.run(plain)[node_of(plain, "SaveImage")][0]
    assert largest_difference(after, before) <= 1
    train["steps"] = 2
    assert server.run(graph)


def test_models_are_comfyuis_to_unload(server):
    graph = load_graph("stylize_in_one_node")
    stylize = graph[node_of(graph, "StyleMambaStylize")]["inputs"]
    pictures = []
    for strength in (0.8, 0.800001):
        stylize["strength"] = strength
        pictures.append(server.run(graph)[node_of(graph, "SaveImage")][0])
        server.post("/free", {"unload_models": True, "free_memory": True})
    assert "Requested to load StyleMamba" in server.log()
    assert largest_difference(*pictures) <= 1


def test_every_state_of_comfyuis_memory_manager_gives_the_same_picture(server):
    command = [server.python, Path(__file__).with_name("memory_states.py"), server.checkout, PACK, server.base / "models"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in lines if " difference " in line] == [
        f"{state}_VRAM difference 0.000000 still loaded 0" for state in ("NORMAL", "LOW", "NO", "HIGH")
    ]


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (127, 65)])
def test_photos_of_any_size_and_transparency(server, size):
    photo = synthetic_photo(*size)
    alpha = Image.new("L", size, 255)
    alpha.paste(90, (0, 0, size[0], (size[1] + 1) // 2))
    photo.putalpha(alpha)
    photo.save(server.base / "input" / "odd.png")
    graph = load_graph("stylize_in_one_node")
    stylize = graph[node_of(graph, "StyleMambaStylize")]["inputs"]
    source = stylize["image"][0]
    graph["joined"] = {"class_type": "JoinImageWithAlpha", "inputs": {"image": [source, 0], "alpha": [source, 1]}}
    graph[source]["inputs"]["image"] = "odd.png"
    stylize["image"] = ["joined", 0]
    (picture,) = server.run(graph)[node_of(graph, "SaveImage")]
    assert picture.mode == "RGBA" and picture.size == size
    assert np.abs(np.asarray(picture)[..., 3].astype(int) - np.asarray(alpha)).max() <= 1


def test_folder_of_photos_of_several_sizes(server):
    folder = server.base / "input" / "my holiday"
    folder.mkdir()
    sizes = {"a": (40, 30), "b": (33, 57)}
    for name, size in sizes.items():
        synthetic_photo(*size).save(folder / f"{name}.jpg")
    graph = load_graph("batch_of_photos")
    graph[node_of(graph, "StyleMambaLoadFolder")]["inputs"]["folder"] = "input/my holiday"
    pictures = server.run(graph)[node_of(graph, "SaveImage")]
    assert [picture.size for picture in pictures] == list(sizes.values())
    assert sorted(path.name for path in (server.base / "output").glob("[ab]_*.png")) == ["a_00001_.png", "b_00001_.png"]


def test_folder_of_photos_trains_one_style(server):
    folder = server.base / "input" / "to train on"
    folder.mkdir()
    for index, size in enumerate(((70, 66), (80, 90))):
        synthetic_photo(*size, seed=index).save(folder / f"{index}.png")
    graph = load_graph("train_a_style_and_save_it", tiny=True)
    graph["folder"] = node("StyleMambaLoadFolder", folder="input/to train on", limit=50)
    graph[node_of(graph, "StyleMambaTrain")]["inputs"]["images"] = ["folder", 0]
    graph[node_of(graph, "StyleMambaSaveStyle")]["inputs"]["name"] = "of a folder/style"
    assert len(server.run(graph)[node_of(graph, "SaveImage")]) == 1
    assert [path.name for path in (server.base / "models" / "stylemamba" / "of a folder").iterdir()] == ["style.safetensors"]


def test_choices_and_numbers_through_links(server):
    photo = synthetic_photo(40, 30)
    (server.base / "input" / "linked").mkdir()
    photo.save(server.base / "input" / "linked" / "photo.png")
    graph = {
        "which folder": node("Choice", value="input/linked"),
        "which model": node("Choice", value="tiny"),
        "how strong": node("PrimitiveFloat", value=0.0),
        "photos": node("StyleMambaLoadFolder", folder=["which folder", 0], limit=50),
        "model": node("StyleMambaLoadModel", model=["which model", 0]),
        "styled": node("StyleMambaStylize", image=["photos", 0], text="fire", strength=["how strong", 0], model=["model", 0]),
        "saved": node("SaveImage", images=["styled", 0], filename_prefix="linked"),
    }
    assert largest_difference(server.run(graph)["saved"][0], photo) <= 1
    for wrong, value, message in (
        ("how strong", 5.0, "The strength is 5; use 0 to 3."),
        ("which model", "none", "There is no model 'none'"),
        ("which folder", "none", "There is no folder 'none'"),
    ):
        with pytest.raises(ExecutionFailed, match=f"StyleMambaError: {message}"):
            server.run({**graph, wrong: node(graph[wrong]["class_type"], value=value)})


def test_flipped_latent_gives_the_flipped_photo(server, photo):
    graph = load_graph("five_steps", tiny=True)
    fusion = graph[node_of(graph, "StyleMambaFusion")]["inputs"]
    graph["flipped"] = node("LatentFlip", samples=fusion["latent"], flip_method="y-axis: horizontally")
    fusion |= {"latent": ["flipped", 0], "strength": 0.0}
    (picture,) = server.run(graph)[node_of(graph, "SaveImage")]
    assert largest_difference(picture, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) <= 1


def test_style_trained_in_comfyui_gives_the_same_picture_everywhere(server, photo, tmp_path):
    model, styles = str(server.base / "models" / "stylemamba" / "tiny"), server.base / "models" / "stylemamba"
    graph = load_graph("train_a_style_and_save_it", tiny=True)
    graph[node_of(graph, "StyleMambaSaveStyle")]["inputs"]["name"] = "trips/there"
    (picture,) = server.run(graph)[node_of(graph, "SaveImage")]
    pipe = stylemamba.StyleMambaPipeline.from_pretrained(model)
    pipe.load_style(styles / "trips" / "there.safetensors")
    assert largest_difference(picture, pipe(photo).images[0]) <= 1
    photo.save(tmp_path / "photo.png")
    arguments = ["--style-file", str(styles / "trips" / "there.safetensors"), "--model", model, "-o", str(tmp_path / "out.png")]
    assert command_line(["stylize", str(tmp_path / "photo.png"), *arguments]) == 0
    assert largest_difference(picture, Image.open(tmp_path / "out.png")) <= 1


def test_style_trained_by_the_command_line_gives_the_same_picture_in_comfyui(server, photo, tmp_path):
    model, style = str(server.base / "models" / "stylemamba" / "tiny"), server.base / "models" / "stylemamba" / "back.safetensors"
    photo.save(tmp_path / "photo.png")
    assert command_line(["train", "snow", "--images", str(tmp_path / "photo.png"), "-o", str(style), "--steps", "3", "--model", model]) == 0
    arguments = ["--style-file", str(style), "--model", model, "-o", str(tmp_path / "out.png")]
    assert command_line(["stylize", str(tmp_path / "photo.png"), *arguments]) == 0
    graph = load_graph("apply_a_saved_style", tiny=True)
    graph[node_of(graph, "StyleMambaLoadStyle")]["inputs"]["style_file"] = "back.safetensors"
    (picture,) = server.run(graph)[node_of(graph, "SaveImage")]
    assert largest_difference(picture, Image.open(tmp_path / "out.png")) <= 1
    assert largest_difference(picture, photo) > 3


def test_prompts_queued_together_all_run(server):
    graphs = [load_graph("stylize_in_one_node") for _ in range(2)]
    for graph, text in zip(graphs, ("fire", "snow")):
        graph[node_of(graph, "StyleMambaStylize")]["inputs"]["text"] = text
    for prompt_id in [server.queue(graph) for graph in graphs]:
        assert server.wait(prompt_id)["status"]["status_str"] == "success"


def test_mistakes_get_one_sentence(server):
    graph = load_graph("stylize_in_one_node")
    graph[node_of(graph, "StyleMambaStylize")]["inputs"]["text"] = "  "
    with pytest.raises(ExecutionFailed, match="StyleMambaError: There is neither a text nor a style; .+"):
        server.run(graph)
    graph = load_graph("apply_a_saved_style")
    graph[node_of(graph, "StyleMambaLoadStyle")]["inputs"]["style_file"] = "missing.safetensors"
    with pytest.raises(ExecutionFailed, match="There is no style 'missing.safetensors' in models/stylemamba"):
        server.run(graph)


def test_nothing_was_wanted_from_other_machines(server):
    """Runs last: the server has a proxy that notes what goes through it."""
    assert server.requests == []
