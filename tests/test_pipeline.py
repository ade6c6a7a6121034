"""The pipeline as diffusers users use it."""

import copy
import gc
import json
import pickle
import sys
import threading
import weakref
from fractions import Fraction
from importlib import import_module
from shutil import copytree

import accelerate
import numpy as np
import pytest
import torch
from conftest import make_tiny_tokenizer
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file
from synthetic import synthetic_photo

from stylemamba import StyleMambaError, StyleMambaFusion, StyleMambaPipeline, pipeline
from stylemamba.pipeline import StyleEncoder, blend_styles
from stylemamba.style_file import base_hash, belongs_to


def photo(width=50, height=38, seed=0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(50, 38), (64, 64), (1, 1), (33, 17)])
def test_output_has_the_input_size(tiny_pipeline, size):
    picture = tiny_pipeline(photo(*size), "a mosaic").images[0]
    assert picture.size == size and picture.mode == "RGB"


def test_strength_zero_is_the_photo_and_more_changes_more(tiny_pipeline):
    source = photo()
    pictures = [np.asarray(tiny_pipeline(source, "a mosaic", strength=s).images[0], float) for s in (0, 0.05, 0.5, 1.0)]
    distances = [np.abs(p - np.asarray(source, float)).mean() for p in pictures]
    assert distances[0] == 0 and distances == sorted(distances) and len(set(distances)) == 4
    assert distances[1] < 0.5 * distances[3]  # weak styles keep the photo's detail; they do not pay the VAE's loss at once


def test_resolution_gives_the_photo_its_size_back(tiny_pipeline):
    source = synthetic_photo(150, 101)
    whole = tiny_pipeline(source, "ink", output_type="pt").images
    for resolution in (101, 4096):  # nothing to scale down
        assert torch.equal(tiny_pipeline(source, "ink", output_type="pt", resolution=resolution).images, whole)
    coarse = tiny_pipeline(source, "ink", output_type="pt", resolution=48).images
    assert coarse.shape == whole.shape and not torch.equal(coarse, whole)
    assert tiny_pipeline(source, "ink", output_type="latent", resolution=48).images.shape[2:] == (12, 18)
    nearly = tiny_pipeline(source, "ink", output_type="pt", resolution=48, strength=0.01).images
    shown = tiny_pipeline(source, "ink", output_type="pt", strength=0).images
    assert (nearly - shown).abs().mean() < 0.5 * (coarse - shown).abs().mean()


def test_prompts_and_images_broadcast(tiny_pipeline):
    one, two = photo(seed=1), photo(seed=2)
    assert len(tiny_pipeline(one, ["ink", "snow", "fog"]).images) == 3
    both = tiny_pipeline([one, two], "ink").images
    assert np.array_equal(both[1], tiny_pipeline(two, "ink").images[0])
    paired = tiny_pipeline([one, two], ["ink", "snow"]).images
    assert np.array_equal(paired[1], tiny_pipeline(two, "snow").images[0])
    with pytest.raises(StyleMambaError, match="2 images and 3 prompts"):
        tiny_pipeline([one, two], ["a", "b", "c"])


def test_a_photo_in_several_styles_is_encoded_and_decoded_itself_only_once(tiny_pipeline, monkeypatch):
    calls, prompts = [], ["ink", "snow", "fog"]
    alone = [np.asarray(tiny_pipeline(photo(), prompt).images[0]) for prompt in prompts]
    for name in ("encode_images", "decode_latents"):
        step = getattr(tiny_pipeline, name)
        monkeypatch.setattr(tiny_pipeline, name, lambda *args, name=name, step=step: (calls.append(name), step(*args))[1])
    assert np.array_equal(alone, tiny_pipeline(photo(), prompts).images)
    assert calls.count("encode_images") == 1 and calls.count("decode_latents") == 4
    sampled = tiny_pipeline(photo(), ["ink", "ink"], generator=torch.Generator().manual_seed(0)).images
    assert not np.array_equal(*sampled)  # of latents of its own each


def test_output_types(tiny_pipeline):
    source = photo()
    array = tiny_pipeline(source, "ink", output_type="np").images
    tensor = tiny_pipeline(source, "ink", output_type="pt").images
    latents = tiny_pipeline(source, "ink", output_type="latent").images
    (pil,) = tiny_pipeline(source, "ink", return_dict=False)[0]
    assert array.shape == (1, 38, 50, 3) and tensor.shape == (1, 3, 38, 50) and latents.shape == (1, 4, 10, 13)
    assert np.abs(array[0] * 255 - np.asarray(pil)).max() <= 0.51 and 0 <= array.min() and array.max() <= 1
    with pytest.raises(StyleMambaError, match="'jpeg'"):
        tiny_pipeline(source, "ink", output_type="jpeg")


def test_source_prompt_changes_the_direction(tiny_pipeline):
    assert not torch.equal(tiny_pipeline.encode_prompt("ink", "a painting"), tiny_pipeline.encode_prompt("ink"))
    assert torch.equal(tiny_pipeline.encode_prompt("ink", "a photo"), tiny_pipeline.encode_prompt("ink"))


def test_generator_makes_posterior_samples_repeatable(tiny_pipeline):
    def sample(seed):
        return np.asarray(tiny_pipeline(photo(), "ink", generator=torch.Generator().manual_seed(seed)).images[0])

    assert np.array_equal(sample(1), sample(1)) and not np.array_equal(sample(1), sample(2))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"prompt": " "}, "empty"),
        ({"prompt": None}, "No prompt"),
        ({"prompt": [{"ink": 1.0}, "fog"]}, "is a dict"),
        ({"strength": -0.1}, "strength"),
        ({"strength": 7}, "strength"),
        ({"resolution": 8}, "resolution 8"),
        ({"prompt": 5}, "prompt is a int"),
        ({"prompt": np.array(["ink", "fog"])}, "prompt is a ndarray"),
        ({"source_prompt": ["a", "b"]}, r"source_prompt is \['a', 'b'\]"),
        ({"source_prompt": ""}, "source_prompt is ''"),
        ({"strength": "1"}, "strength '1'"),
        ({"strength": None}, "strength None"),
        ({"resolution": "64"}, "resolution '64'"),
        ({"generator": 3}, "generator 3"),
        ({"style_image": photo(), "style_image_weight": "half"}, "style_image_weight 'half'"),
        ({"prompt": None, "style_image": [(photo(), photo())]}, "weights"),
    ],
)
def test_mistakes_are_named(tiny_pipeline, arguments, words):
    with pytest.raises(StyleMambaError, match=words):
        tiny_pipeline(photo(), **{"prompt": "ink", **arguments})


def test_save_and_load_give_the_same_picture(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert getattr(import_module(index["fusion"][0]), index["fusion"][1]) is StyleMambaFusion
    assert all(hasattr(import_module(library), name) for library, name in (v for k, v in index.items() if k[0] != "_"))
    assert not list(tmp_path.rglob("*.bin"))
    loaded = StyleMambaPipeline.from_pretrained(tmp_path)
    assert np.array_equal(loaded(photo(), "ink").images[0], tiny_pipeline(photo(), "ink").images[0])


def test_without_a_gpu_cuda_graphs_change_nothing(tiny_pipeline):
    photo = Image.new("RGB", (48, 40), "teal")
    expected = [tiny_pipeline(photo, "fire", strength).images[0] for strength in (1, 0.5)]
    tiny_pipeline.enable_cuda_graphs()
    made = [tiny_pipeline(photo, "fire", strength).images[0] for strength in (1, 0.5)]
    assert all(np.array_equal(*both) for both in zip(expected, made))


def test_without_a_dtype_all_is_float32(tiny_pipeline, tmp_path):
    """Of files in fp16, which a CPU computes slowly."""
    tiny_pipeline.to(torch.float16).save_pretrained(tmp_path)
    for none in ({}, {"dtype": None}, {"torch_dtype": None}):
        pipe = StyleMambaPipeline.from_pretrained(tmp_path, **none)
        assert {part.dtype for part in (pipe.vae, pipe.fusion, pipe.style_encoder)} == {torch.float32}


def test_fractions_are_numbers(tiny_pipeline):
    half, shown = Fraction(1, 2), [(photo(seed=1), Fraction(1, 2)), (photo(seed=2), Fraction(1, 2))]
    made = tiny_pipeline(photo(), {"ink": half, "fog": half}, half, style_image=shown, style_image_weight=half).images[0]
    shown = [(picture, 0.5) for picture, _ in shown]
    assert np.array_equal(tiny_pipeline(photo(), {"ink": 0.5, "fog": 0.5}, 0.5, style_image=shown).images[0], made)


def test_a_vae_may_be_compiled_or_tiny(tiny_pipeline):
    expected = tiny_pipeline(photo(), "ink").images[0]
    layers = {"encoder_block_out_channels": (8,) * 3, "decoder_block_out_channels": (8,) * 3}
    tiny = AutoencoderTiny(**layers, num_encoder_blocks=(1,) * 3, num_decoder_blocks=(1,) * 3)
    for vae in (tiny_pipeline.vae, tiny):
        pipe = StyleMambaPipeline(**{**tiny_pipeline.components, "vae": torch.compile(vae, backend="eager")})
        made = pipe(photo(), "ink").images[0]
        assert pipe.vae_scale_factor == 4 and np.array_equal(made, expected) == (vae is not tiny)


def test_threads_may_remember_at_once():
    """Of more than there is room for, each forgets the oldest."""
    made, failed = {}, []

    def remember(thread):
        try:
            for i in range(500):
                assert pipeline._recalled(made, (thread, i), lambda: i + 1) == i + 1
        except Exception as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=remember, args=(thread,)) for thread in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        sys.setswitchinterval(interval)
    assert not failed and len(made) <= 64 + len(threads)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dtype_may_be_asked_for_when_loading_or_later(tiny_pipeline, tiny_model_dir, dtype):
    plain = np.asarray(tiny_pipeline(photo(), "ink").images[0], float)
    for half in (tiny_pipeline.to(dtype), StyleMambaPipeline.from_pretrained(tiny_model_dir, dtype=dtype)):
        assert half.dtype == dtype
        assert np.abs(np.asarray(half(photo(), "ink").images[0], float) - plain).mean() < 8


def test_photos_go_where_an_offloaded_vae_will_be(tiny_pipeline):
    """Of model offloading's hooks; the meta device stands for a GPU."""
    accelerate.cpu_offload_with_hook(tiny_pipeline.vae, execution_device="meta")
    assert tiny_pipeline.vae.device.type == "cpu" and tiny_pipeline.encode_images(torch.rand(1, 3, 16, 16)).is_meta
    with pytest.raises(StyleMambaError, match="remove_all_hooks"):
        tiny_pipeline.train_on_style("ink", [photo()])
    with pytest.raises(StyleMambaError, match="enable_model_cpu_offload"):
        tiny_pipeline.enable_sequential_cpu_offload()


def test_from_components_fits_the_fusion_and_starts_as_identity(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    tiny_pipeline.tokenizer.save_pretrained(tmp_path / "style_encoder")
    for pipe in (
        StyleMambaPipeline.from_components(tmp_path / "vae", tmp_path / "style_encoder", hidden_size=32, depth=1, head_dim=8),
        StyleMambaPipeline.from_components(
            tiny_pipeline.vae, tiny_pipeline.style_encoder, tiny_pipeline.tokenizer, hidden_size=32, depth=1, head_dim=8
        ),
    ):
        latents = torch.randn(1, 4, 8, 8)
        assert torch.equal(pipe.fuse(latents, pipe.encode_prompt("ink")), latents)


def test_components_made_in_inference_mode_take_a_style(tiny_pipeline, tmp_path):
    """As in a ComfyUI node."""
    tiny_pipeline.save_pretrained(tmp_path)
    with torch.inference_mode():
        pipe = StyleMambaPipeline.from_components(
            tmp_path / "vae", tmp_path / "style_encoder", tmp_path / "tokenizer", hidden_size=32, depth=1, head_dim=8
        )
        pipe.train_on_style("ink", [photo()], num_train_steps=1, size=32, parameters="all")
        pipe(photo())
    pipe.unload_style()
    pipe(photo(), "ink")


@pytest.mark.parametrize("package", ["SentencePiece", "protobuf"])
def test_what_a_tokenizer_lacks_is_named(tiny_pipeline, tiny_model_dir, monkeypatch, package):
    def lacks(*args, **kwargs):
        raise ImportError(f"SiglipTokenizer requires the {package} library but it was not found in your environment.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lacks)
    monkeypatch.setattr(type(tiny_pipeline.tokenizer), "from_pretrained", lacks)
    for load in (
        lambda: StyleMambaPipeline.from_components(tiny_pipeline.vae, tiny_pipeline.style_encoder, "a-folder"),
        lambda: StyleMambaPipeline.from_pretrained(tiny_model_dir),
    ):
        with pytest.raises(StyleMambaError, match="install sentencepiece and protobuf"):
            load()


def test_folder_that_is_no_pipeline_is_named(tmp_path):
    with pytest.raises(StyleMambaError, match="model_index.json"):
        StyleMambaPipeline.from_pretrained(tmp_path)


def test_a_hub_id_is_downloaded_and_loaded(tiny_model_dir, monkeypatch):
    asked = []
    monkeypatch.setattr(pipeline, "snapshot_download", lambda *args, **kwargs: asked.append((args, kwargs)) or tiny_model_dir)
    pipe = StyleMambaPipeline.from_pretrained("someone/styles", revision="v2", dtype=torch.bfloat16)
    assert pipe.dtype == torch.bfloat16 and pipe(photo(), "ink").images[0].size == photo().size
    (repository,), options = asked[0]
    assert repository == "someone/styles" and options["revision"] == "v2" and "*.bin" not in options["allow_patterns"]


def test_a_dict_of_prompts_is_blended_by_its_weights(tiny_pipeline):
    def made(prompt):
        return tiny_pipeline(photo(), prompt, output_type="pt").images

    alone, other = made("charcoal"), made("a mosaic")
    assert torch.equal(made({"charcoal": 1.0, "a mosaic": 0.0}), alone)
    assert torch.allclose(made({"charcoal": 2, "a mosaic": 2}), made({"a mosaic": 0.5, "charcoal": 0.5}), atol=1e-5)
    assert not torch.equal(made({"charcoal": 1, "a mosaic": 1}), alone) and not torch.equal(alone, other)


def test_a_style_picture_is_looked_at_once(tiny_pipeline, monkeypatch):
    looks, look = [], StyleEncoder.encode_image
    monkeypatch.setattr(StyleEncoder, "encode_image", lambda self, images: (looks.append(1), look(self, images))[1])
    red, blue = (np.full((8, 8, 3), colour, np.uint8) for colour in ((255, 0, 1), (1, 0, 255)))
    first, again = (tiny_pipeline(photo(), style_image=red, output_type="pt").images for _ in range(2))
    assert len(looks) == 1 and torch.equal(first, again)
    red[:] = blue  # the same array now shows another picture
    other = tiny_pipeline(photo(), style_image=red, output_type="pt").images
    assert len(looks) == 2 and not torch.equal(first, other)
    assert torch.equal(other, tiny_pipeline(photo(), style_image=blue, output_type="pt").images)


def test_style_images_are_blended_by_their_weights_and_with_the_prompt(tiny_pipeline):
    red, blue = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")

    def made(**style):
        return tiny_pipeline(photo(), output_type="pt", **style).images

    assert torch.allclose(made(style_image=[(red, 1), (blue, 0)]), made(style_image=red), atol=1e-6)
    assert not torch.allclose(made(style_image=[(red, 1), (blue, 1)]), made(style_image=red), atol=1e-6)
    assert torch.allclose(made(prompt="charcoal", style_image=red, style_image_weight=0), made(prompt="charcoal"), atol=1e-6)
    assert torch.allclose(made(prompt="charcoal", style_image=red, style_image_weight=1), made(style_image=red), atol=1e-6)
    # Words by weight, and pictures by weight, mixed with each other; and a picture for each of two photos with one sentence.
    mixed = made(prompt={"charcoal": 1, "a mosaic": 3}, style_image=[(red, 1), (blue, 2)])
    assert mixed.shape == (1, 3, 38, 50) and not torch.allclose(mixed, made(prompt="charcoal"), atol=1e-3)
    each = tiny_pipeline([photo(), photo()], "charcoal", style_image=[red, blue], output_type="pt").images
    assert torch.allclose(each[1:], made(prompt="charcoal", style_image=blue), atol=1e-5)
    with pytest.raises(StyleMambaError, match="3 prompts and 2 style images"):
        made(prompt=["a", "b", "c"], style_image=[red, blue])


def test_a_style_picture_gives_its_colours(tiny_pipeline, tmp_path):
    """Half of the way; with a sentence by the picture's weight, at a lower strength less, to bytes as to floats, and from a style file."""
    red, source = Image.new("RGB", (32, 32), (200, 40, 30)), photo()
    redder = lambda x: (x[:, 0] - x[:, 1:].mean(1)).mean().item()  # noqa: E731

    def made(**call):
        return tiny_pipeline(source, output_type="pt", **call).images

    plain, shown = made(prompt="charcoal"), made(style_image=red)
    own, wanted = redder(plain), (200 - 35) / 255
    assert redder(shown) == pytest.approx((own + wanted) / 2, abs=0.03)
    assert redder(made(prompt="charcoal", style_image=red, style_image_weight=0.5)) == pytest.approx((3 * own + wanted) / 4, abs=0.03)
    assert redder(made(prompt="charcoal", strength=0.5)) + 0.1 < redder(made(style_image=red, strength=0.5)) < redder(shown) - 0.05
    grey = made(style_image=[(red, 1), (Image.new("RGB", (32, 32), (30, 40, 200)), 1)])
    assert redder(grey) < redder(shown) - 0.1, "of two pictures by weight it is the mean of their colours"
    as_bytes = tiny_pipeline(source, style_image=red).images[0]
    assert np.abs(np.asarray(as_bytes) / 255 - shown[0].permute(1, 2, 0).numpy()).max() < 1 / 255
    style, palettes = tiny_pipeline._styles_of(None, "a photo", red, 0.5)
    base = base_hash(dict(tiny_pipeline.fusion.named_parameters()))
    tiny_pipeline.set_style({"embedding": style[0], "palette": palettes[0]}, {"prompt": "a picture", "base": base})
    tiny_pipeline.save_style(tmp_path / "red.safetensors")
    tiny_pipeline.unload_style()
    tiny_pipeline.load_style(tmp_path / "red.safetensors")
    try:
        assert torch.allclose(made(), shown, atol=1e-5)
    finally:
        tiny_pipeline.unload_style()


def test_a_blend_trains_and_travels_in_a_style_file(tiny_pipeline, tmp_path):
    blend = blend_styles(tiny_pipeline.encode_prompt(["charcoal", "a mosaic"]), [1, 3])
    tiny_pipeline.train_on_style("both", [photo()], num_train_steps=2, size=32, batch_size=1, style=blend)
    made = tiny_pipeline(photo(), output_type="pt").images
    tiny_pipeline.save_style(tmp_path / "both.safetensors")
    tiny_pipeline.load_style(tmp_path / "both.safetensors")
    assert torch.allclose(tiny_pipeline(photo(), output_type="pt").images, made, atol=1e-5)


@pytest.mark.parametrize("weights", [(-1, 1), (0, 0), (float("nan"), 1), ("0.7", 1), (None, 1)])
def test_weights_that_cannot_blend_are_refused(tiny_pipeline, weights):
    with pytest.raises(StyleMambaError, match="weights"):
        tiny_pipeline(photo(), dict(zip(("charcoal", "a mosaic"), weights)))


@pytest.mark.parametrize(
    "part, name, value, words",
    [
        ("fusion", "bank.looseness", None, "fusion lacks 'bank.looseness'.*another version"),
        ("fusion", "bank.colours", torch.zeros(1), "fusion has 'bank.colours'.*another version"),
        ("fusion", "phase", torch.zeros(4, 4, 32), "fusion has another shape of 'phase'.*another version"),
        ("vae", "decoder.conv_in.weight", None, "vae lacks 'decoder.conv_in.weight'"),
        ("style_encoder", "text_model.head.weight", None, "style_encoder lacks 'text_model.head.weight'"),
    ],
)
@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_files_that_do_not_fit_are_refused(tiny_model_dir, tmp_path, part, name, value, words, low_cpu_mem_usage):
    """What they lack would be random."""
    folder = copytree(tiny_model_dir, tmp_path / "other")
    (weights,) = (folder / part).glob("*.safetensors")
    state = {**load_file(weights), name: value}
    save_file({key: tensor for key, tensor in state.items() if tensor is not None}, weights, metadata={"format": "pt"})
    with pytest.raises(StyleMambaError, match=words):
        StyleMambaPipeline.from_pretrained(folder, low_cpu_mem_usage=low_cpu_mem_usage)


def test_an_option_of_another_version_and_a_file_cut_short_are_refused(tiny_model_dir, tmp_path):
    folder = copytree(tiny_model_dir, tmp_path / "other")
    config = folder / "fusion" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "swirl": 3}))
    with pytest.raises(StyleMambaError, match="has 'swirl'.*another version"):
        StyleMambaPipeline.from_pretrained(folder)
    weights = folder / "style_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(StyleMambaError, match="style_encoder.*damaged"):
        StyleMambaPipeline.from_pretrained(folder)


def test_parts_whose_names_an_earlier_library_gave_are_loaded(tiny_pipeline, tiny_model_dir, tmp_path, monkeypatch):
    """As the attention layers' of the VAE that `from_components` takes by default."""
    folder = copytree(tiny_model_dir, tmp_path / "other")
    vae = AutoencoderKL.from_config(tiny_pipeline.vae.config, mid_block_add_attention=True)
    vae.save_pretrained(folder / "vae")
    (weights,) = (folder / "vae").glob("*.safetensors")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    rename = lambda key: next((key.replace(new, name) for new, name in old.items() if new in key), key)  # noqa: E731
    save_file({rename(key): tensor for key, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    loaded = StyleMambaPipeline.from_pretrained(folder).vae
    assert all(torch.equal(*both) for both in zip(vae.parameters(), loaded.parameters(), strict=True))


def test_pipelines_that_share_a_fusion_share_its_style(tiny_pipeline, tmp_path):
    info = {"prompt": "ink", **belongs_to(tiny_pipeline.fusion)}
    tiny_pipeline.set_style({"embedding": tiny_pipeline.encode_prompt("ink")[0], "phase": torch.ones(8, 8, 32)}, info)
    other = StyleMambaPipeline(**tiny_pipeline.components)
    assert other.style["prompt"] == "ink" and other(photo()).images
    for part in (other, other.fusion):
        with pytest.raises(StyleMambaError, match="A style is loaded"):
            part.save_pretrained(tmp_path)
    assert not [*tmp_path.iterdir()]
    other.unload_style()
    assert tiny_pipeline.style is None and base_hash(dict(tiny_pipeline.fusion.named_parameters())) == info["base"]


def test_embeddings_are_remembered_as_they_were_made(tiny_pipeline):
    """Not as a caller changed them, nor as other weights or another tokenizer made them."""
    first = tiny_pipeline.encode_prompt("ink")
    tiny_pipeline.encode_prompt("ink").zero_()
    assert torch.equal(tiny_pipeline.encode_prompt("ink"), first)
    with torch.no_grad():
        tiny_pipeline.style_encoder.text_model.head.weight.mul_(-1)
    second = tiny_pipeline.encode_prompt("ink")
    assert not torch.allclose(second, first)
    tiny_pipeline.tokenizer = make_tiny_tokenizer("-.', 9876543210zyxwvutsrqponmlkjihgfedcba")
    assert not torch.allclose(tiny_pipeline.encode_prompt("ink"), second)
    with pytest.raises(StyleMambaError, match="list of prompts is empty"):
        tiny_pipeline.encode_prompt([])


def test_embeddings_do_not_keep_an_encoder_that_was_replaced(tiny_pipeline):
    before = weakref.ref(tiny_pipeline.style_encoder)
    embedding = tiny_pipeline.encode_prompt("ink")
    tiny_pipeline.style_encoder = copy.deepcopy(tiny_pipeline.style_encoder)
    gc.collect()
    assert before() is None
    again = pickle.loads(pickle.dumps(tiny_pipeline))
    assert torch.equal(again.encode_prompt("ink"), embedding)
