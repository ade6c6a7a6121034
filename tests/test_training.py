"""Training on a style: it learns, stops, continues, and travels as a file."""

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from synthetic import synthetic_photo

from stylemamba import StyleEncoder, StyleMambaError, StyleMambaPipeline, checkpoint
from stylemamba.low_rank import RANK
from stylemamba.style_file import EMBEDDING, belongs_to, read_style, write_style
from stylemamba.training import LossWeights, has_settled


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).resize((72, 60)) for _ in range(2)]


FAST = dict(num_train_steps=6, size=32, batch_size=2)


def test_training_lowers_its_loss_and_changes_the_picture(tiny_pipeline, photos):
    before = np.asarray(tiny_pipeline(photos[0], "fire").images[0])
    history = tiny_pipeline.train_on_style("fire", photos, **{**FAST, "num_train_steps": 25, "batch_size": 4, "early_stop": False})
    assert [row["step"] for row in history] == list(range(1, 26))
    first, last = (np.mean([row["global_direction"] for row in part]) for part in (history[:5], history[-5:]))
    assert last < first - 0.02
    after = np.asarray(tiny_pipeline(photos[0]).images[0])  # the loaded style's own sentence
    assert np.abs(after.astype(float) - before).mean() > 1


def test_style_file_round_trip_and_unload(tiny_pipeline, tiny_model_dir, photos, tmp_path):
    plain = np.asarray(tiny_pipeline(photos[0], "fire").images[0])
    tiny_pipeline.train_on_style("fire", photos, **FAST)
    styled = np.asarray(tiny_pipeline(photos[0]).images[0])
    path = tmp_path / "fire.safetensors"
    tiny_pipeline.save_style(path)
    assert path.stat().st_size < 1_000_000
    tiny_pipeline.unload_style()
    assert tiny_pipeline.style is None and np.array_equal(tiny_pipeline(photos[0], "fire").images[0], plain)

    other = StyleMambaPipeline.from_pretrained(tiny_model_dir)
    other.load_style(path)
    assert other.style["prompt"] == "fire" and other.style["steps"] == 6
    assert np.array_equal(other(photos[0]).images[0], styled)
    other.load_style(path)  # a second load starts from the base again
    assert np.array_equal(other(photos[0]).images[0], styled)


def test_pipelines_of_every_dtype_train_alike_and_share_their_styles(tiny_model_dir, photos, tmp_path):
    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    pipes = {dtype: StyleMambaPipeline.from_pretrained(tiny_model_dir, dtype=dtype) for dtype in dtypes}
    full, scores = pipes[torch.float32], {}
    for dtype, pipe in pipes.items():
        scores[dtype] = pipe.train_on_style("fire", photos, **FAST)[-1]["score"]
        assert all(delta.isfinite().all() and delta.dtype == torch.float32 for delta in pipe.style_state()[0].values())
        pipe.save_style(tmp_path / "style.safetensors")
        full.load_style(tmp_path / "style.safetensors")
        full.save_style(tmp_path / "again.safetensors")
        pipe.load_style(tmp_path / "again.safetensors")
        assert pipe.style["steps"] == full.style["steps"] == 6
    assert list(scores.values()) == pytest.approx([scores[torch.float32]] * 3, abs=0.02)
    full.train_on_style("fire", photos, **FAST)
    full.save_style(tmp_path / "full.safetensors")
    for pipe in pipes.values():
        pipe.load_style(tmp_path / "full.safetensors")


@pytest.mark.parametrize("parameters", ["modulation", "low-rank", "all"])
def test_same_seed_same_style_and_resume_equals_uninterrupted(tiny_pipeline, photos, tmp_path, parameters):
    options = {**FAST, "seed": 3, "parameters": parameters}
    whole = tiny_pipeline.train_on_style("snow", photos, **options)
    tiny_pipeline.save_style(tmp_path / "whole.safetensors")

    class Stop(Exception):
        pass

    def stop(step, info):
        if step == 3:
            raise Stop

    state = tmp_path / "state.safetensors"
    with pytest.raises(Stop):
        tiny_pipeline.train_on_style("snow", photos, callback=stop, checkpoint_path=state, **options)
    assert tiny_pipeline.style["steps"] == 3  # what was trained so far is a valid style
    resumed = tiny_pipeline.train_on_style("snow", photos, checkpoint_path=state, **options)
    tiny_pipeline.save_style(tmp_path / "resumed.safetensors")
    assert resumed == whole
    with safe_open(tmp_path / "whole.safetensors", "pt") as one, safe_open(tmp_path / "resumed.safetensors", "pt") as two:
        assert set(one.keys()) == set(two.keys()) and all(torch.equal(one.get_tensor(k), two.get_tensor(k)) for k in one.keys())


@pytest.mark.parametrize("parameters", ["modulation", "low-rank", "all"])
@pytest.mark.parametrize("place", ["backward", "step", "numbers"])
def test_a_step_that_is_interrupted_counts_as_none(tiny_model_dir, photos, tmp_path, monkeypatch, parameters, place):
    """Wherever Ctrl-C falls: before the weights have changed, after, or when all but the note of it is done."""
    # Fresh ones: weights that have been moved lie otherwise in memory, which changes the last bits.
    pipe, other, third = (StyleMambaPipeline.from_pretrained(tiny_model_dir) for _ in range(3))
    options = {**FAST, "parameters": parameters, "seed": 3}
    whole = pipe.train_on_style("snow", photos, **options)
    expected, _ = pipe.style_state()
    owner, name = {"backward": (torch.autograd, "grad"), "step": (torch.optim.AdamW, "step"), "numbers": (torch.Tensor, "tolist")}[place]
    done, steps = getattr(owner, name), []

    def interrupted(*args, **kwargs):
        made = done(*args, **kwargs)
        if steps and steps[-1] == 3:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, interrupted)
        state = tmp_path / "state.safetensors"
        other.train_on_style("snow", photos, checkpoint_path=state, callback=lambda step, info: steps.append(step), **options)
    assert other.style["steps"] == 3
    resumed = third.train_on_style("snow", photos, checkpoint_path=state, **options)
    assert [row["step"] for row in resumed] == [1, 2, 3, 4, 5, 6] and resumed == whole
    assert all(torch.equal(value, expected[name]) for name, value in third.style_state()[0].items())


def test_a_second_interrupt_costs_the_preview_alone(tiny_pipeline, photos, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("stylemamba.training._preview", interrupt)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, **FAST)
    assert tiny_pipeline.style["steps"] == 6 and "preview" not in tiny_pipeline.style
    monkeypatch.undo()
    assert len(tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, **FAST)) == 6 and tiny_pipeline.style["preview"]


def test_a_state_of_another_cpu_goes_on(tiny_pipeline, photos, tmp_path, monkeypatch):
    """Its embeddings differ in the last bits."""
    state, encode = tmp_path / "state.safetensors", StyleEncoder.encode_text
    tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, **{**FAST, "num_train_steps": 2})
    monkeypatch.setattr(StyleEncoder, "encode_text", lambda self, texts: encode(self, texts) + 1e-5)
    assert len(tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, **FAST)) == 6


def test_photos_are_kept_as_bytes(tiny_pipeline):
    from stylemamba.training import _crops

    pictures = [Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in range(3)]
    crops = _crops(3, iter(pictures), 32, 2, 0)
    assert crops.dtype == torch.uint8 and crops[:3, 0, 0, 0].tolist() == [0, 1, 2] and crops[3].max() == 0


def test_callback_gets_losses_and_a_preview(tiny_pipeline, photos):
    seen = []
    look = lambda step, info: seen.append((step, info["losses"], info["preview"]()))  # noqa: E731
    tiny_pipeline.train_on_style("ink", photos, callback=look, **{**FAST, "num_train_steps": 2})
    assert [s for s, _, _ in seen] == [1, 2]
    assert {"total", "global_direction", "masked_direction", "second_order", "content", "total_variation"} <= set(seen[0][1])
    assert all(preview.size == (32, 32) for _, _, preview in seen)


def test_a_folder_of_photos_does_not_delay_the_first_step(tiny_pipeline, photos, monkeypatch):
    encode, seen = tiny_pipeline.encode_images, []
    monkeypatch.setattr(tiny_pipeline, "encode_images", lambda images: (seen.append(len(images)), encode(images))[1])

    def stop(step, info):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_pipeline.train_on_style("fire", photos * 20, callback=stop, **FAST)
    assert 0 < sum(seen) <= FAST["batch_size"]


def test_the_style_file_tells_what_it_is(tiny_pipeline, photos, tmp_path):
    shown = []
    look = lambda step, info: shown.append(info["preview"]())  # noqa: E731
    history = tiny_pipeline.train_on_style("fire", photos, name="my fire", callback=look, **FAST)
    tiny_pipeline.save_style(tmp_path / "fire.safetensors")
    with safe_open(tmp_path / "fire.safetensors", "pt") as file:  # readable without the package
        info = json.loads(file.metadata()["info"])
    assert (info["name"], info["prompt"], info["steps"], len(info["base"])) == ("my fire", "fire", 6, 16)
    assert info["score"] == history[-1]["score"] and info["losses"]["content"] == history[-1]["content"]
    jpeg = base64.b64decode(info["preview"].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(jpeg)) as preview:
        difference = np.abs(np.asarray(preview, float) - np.asarray(shown[-1], float)).mean()
        assert preview.size == (32, 32) and difference < 20  # the photos are noise, which JPEG blurs


def test_the_preview_is_the_pipelines_picture(tiny_pipeline):
    photo, shown = synthetic_photo(32, 32), []
    tiny_pipeline.train_on_style("fire", [photo], callback=lambda step, info: shown.append(info["preview"]()), **FAST)
    assert np.abs(np.asarray(shown[-1], float) - np.asarray(tiny_pipeline(photo).images[0], float)).max() <= 1


def test_training_ends_when_the_score_has_settled(tiny_pipeline, photos, tmp_path):
    rising = [0.01 * step for step in range(60)]
    assert not has_settled([]) and not has_settled([0.5] * 23) and has_settled([0.5] * 24)
    assert not has_settled(rising) and has_settled(rising + [rising[-1]] * 20) and has_settled(rising[::-1])
    state = tmp_path / "state.safetensors"
    options = {**FAST, "num_train_steps": 80, "learning_rate": 1e-6, "checkpoint_path": state}
    history = tiny_pipeline.train_on_style("fire", photos, **options)
    assert len(history) == tiny_pipeline.style["steps"] == 24
    assert tiny_pipeline.train_on_style("fire", photos, **options) == history  # going on finds it settled, too
    assert len(tiny_pipeline.train_on_style("fire", photos, early_stop=False, **{**options, "num_train_steps": 32})) == 32


def test_training_works_under_inference_mode(tiny_model_dir, photos):
    with torch.inference_mode():
        pipe = StyleMambaPipeline.from_pretrained(tiny_model_dir)
        for module in (pipe.vae, pipe.style_encoder, pipe.fusion):  # weights as a host leaves them that moves models in inference mode
            for parameter in module.parameters():
                parameter.data = parameter.data.clone()
        before = np.asarray(pipe(photos[0], "fire").images[0], float)
        history = pipe.train_on_style("fire", photos, **FAST)
        assert len(history) == 6 and np.abs(np.asarray(pipe(photos[0]).images[0], float) - before).mean() > 0


def test_an_untrained_fusion_trains_in_whole(tiny_pipeline, photos):
    pipe = StyleMambaPipeline.from_components(
        tiny_pipeline.vae, tiny_pipeline.style_encoder, tiny_pipeline.tokenizer, hidden_size=32, depth=1, head_dim=8
    )
    with pytest.raises(StyleMambaError, match="parameters='all'"):
        pipe.train_on_style("fire", photos, **FAST)
    pipe.train_on_style("fire", photos, parameters="all", **FAST)
    latents = torch.randn(1, 4, 8, 8)
    assert not torch.equal(pipe.fuse(latents, pipe.encode_prompt("fire")), latents)


@pytest.mark.slow
def test_the_picture_stays_a_picture_after_too_many_steps():
    """The bundled model, long after the score has settled: the photo is still in the picture, and no grid of tokens lies over it."""
    pipe = StyleMambaPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    photo = synthetic_photo(96, 96)
    before = np.asarray(pipe(photo, "a cubist painting").images[0], float) / 255
    pipe.train_on_style("a cubist painting", [photo], num_train_steps=200, size=96, early_stop=False)
    after = np.asarray(pipe(photo).images[0], float) / 255
    original = np.asarray(photo, float) / 255
    grey = [picture.mean(-1).ravel() for picture in (original, before, after)]
    assert np.corrcoef(grey[0], grey[2])[0, 1] > 0.7 * np.corrcoef(grey[0], grey[1])[0, 1]
    token = pipe.vae_scale_factor * pipe.fusion.config.patch_size
    tile = (after - before).reshape(96 // token, token, 96 // token, token, 3).mean((0, 2))
    assert (tile - tile.mean((0, 1))).std() < 4 / 255
    assert 0.02 < after.std() and np.mean((after < 0.02) | (after > 0.98)) < 0.3  # neither flat nor clipped


def test_low_rank_deltas_travel_in_a_small_file(tiny_pipeline, photos, tmp_path):
    def fresh():
        size = {"hidden_size": 256, "depth": 1, "seed": 5}
        return StyleMambaPipeline.from_components(tiny_pipeline.vae, tiny_pipeline.style_encoder, tiny_pipeline.tokenizer, **size)

    pipe, state = fresh(), tmp_path / "state.safetensors"
    options = {**FAST, "parameters": "low-rank", "checkpoint_path": state}
    pipe.train_on_style("fire", photos, **{**options, "num_train_steps": 6})
    base, moved = dict(fresh().fusion.named_parameters()), dict(pipe.fusion.named_parameters())
    assert not torch.equal(moved["blocks.0.mlp.0.weight"], base["blocks.0.mlp.0.weight"])
    assert torch.linalg.matrix_rank((moved["blocks.0.mlp.0.weight"] - base["blocks.0.mlp.0.weight"]), rtol=1e-4) == RANK
    pipe.save_style(tmp_path / "fire.safetensors")
    whole = sum(p.numel() * 4 for p in base.values())
    assert (tmp_path / "fire.safetensors").stat().st_size < whole / 4

    other = fresh()
    other.load_style(tmp_path / "fire.safetensors")
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        styled = pipe.fuse(latents, pipe.encode_prompt("fire"))
        assert torch.allclose(other.fuse(latents, pipe.encode_prompt("fire")), styled, atol=1e-4)
        assert not torch.allclose(latents, styled, atol=1e-3)
    other.unload_style()
    assert all(torch.equal(p, base[name]) for name, p in other.fusion.named_parameters())


@pytest.mark.parametrize("rate", [5e-3, 1e-5])
def test_a_low_rank_style_of_the_bundled_model_is_small(photos, tmp_path, rate):
    pipe = StyleMambaPipeline.from_pretrained()
    pipe.train_on_style("fire", photos, parameters="low-rank", num_train_steps=2, size=32, learning_rate=rate)
    pipe.save_style(tmp_path / "fire.safetensors")
    assert (tmp_path / "fire.safetensors").stat().st_size < 1_000_000


def test_single_crops_train_on_every_photo(tiny_pipeline, photos):
    options = {**FAST, "batch_size": 1}
    history = tiny_pipeline.train_on_style("fire", photos, **options)
    trained, _ = tiny_pipeline.style_state()
    tiny_pipeline.train_on_style("fire", [photos[0], photos[0].rotate(90), photos[0].rotate(180)], **options)
    other, _ = tiny_pipeline.style_state()
    assert any(not torch.equal(value, other[name]) for name, value in trained.items())
    # The second-order loss compares steps with the same picture: the first step has none to compare with, every second has another one.
    assert [row["second_order"] != 0 for row in history] == [False, False, True, False, True, False]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what is mapped")
def test_files_that_were_read_are_not_kept_mapped(tmp_path):
    """Windows would not let them be replaced."""
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "state.safetensors", 1, {"module": module}, optimizer)
    write_style(tmp_path / "style.safetensors", {EMBEDDING: torch.ones(4)}, {"prompt": "fire", "base": ""})
    checkpoint.load(tmp_path / "state.safetensors", {"module": module}, optimizer)
    tensors, _ = read_style(tmp_path / "style.safetensors")
    assert tensors and optimizer.state and str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_a_style_can_be_named_by_a_file_whose_name_is_no_text(tmp_path):
    path, name = tmp_path / "style.safetensors", os.fsdecode(b"caf\xe9")
    write_style(path, {EMBEDDING: torch.ones(4)}, {"prompt": "\u96ea", "base": "", "name": name})
    assert read_style(path)[1]["name"] == name
    with safe_open(path, "pt") as file:
        assert "\u96ea" in file.metadata()["info"], "other texts stay readable"


def test_alien_style_files_are_refused(tiny_pipeline, photos, tmp_path):
    tiny_pipeline.train_on_style("fire", photos, **{**FAST, "num_train_steps": 1})
    tiny_pipeline.save_style(tmp_path / "fire.safetensors")
    tiny_pipeline.unload_style()
    with torch.no_grad():
        tiny_pipeline.fusion.embed.weight += 1
    with pytest.raises(StyleMambaError, match="base model"):
        tiny_pipeline.load_style(tmp_path / "fire.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    with pytest.raises(StyleMambaError, match="pickle.safetensors is not a readable safetensors file"):
        tiny_pipeline.load_style(tmp_path / "pickle.safetensors")
    tiny_pipeline.fusion.save_pretrained(tmp_path / "model")
    with pytest.raises(StyleMambaError, match="not a StyleMamba style"):
        tiny_pipeline.load_style(tmp_path / "model" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(StyleMambaError, match="no style file"):
        tiny_pipeline.load_style(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda tensors, info: (tensors, None),
        lambda tensors, info: (tensors, "{"),
        lambda tensors, info: (tensors, "[]"),
        lambda tensors, info: (tensors, json.dumps({**info, "prompt": None})),
        lambda tensors, info: (tensors, json.dumps({key: value for key, value in info.items() if key != "base"})),
        lambda tensors, info: ({**tensors, "embedding": tensors["embedding"] * float("nan")}, json.dumps(info)),
        lambda tensors, info: ({**tensors, "palette": torch.zeros(3, 3)}, json.dumps(info)),
        lambda tensors, info: (tensors, json.dumps({**info, "base in bfloat16": ["a"]})),
        lambda tensors, info: ({**tensors, "embedding": tensors["embedding"].to(torch.float8_e4m3fn)}, json.dumps(info)),
        lambda tensors, info: ({**tensors, "embedding": torch.zeros(2, 16)}, json.dumps(info)),
        lambda tensors, info: ({**tensors, "embedding": tensors["embedding"] * 1e30}, json.dumps(info)),
    ],
)
def test_damaged_style_files_are_refused_and_the_loaded_style_stays(tiny_pipeline, tmp_path, spoilt):
    style = {"embedding": tiny_pipeline.encode_prompt("fire")[0]}, {"prompt": "fire", **belongs_to(tiny_pipeline.fusion)}
    tiny_pipeline.set_style(*style)
    tensors, info = spoilt(*style)
    metadata = {"format": "stylemamba-style-1"} | ({} if info is None else {"info": info})
    save_file(tensors, tmp_path / "spoilt.safetensors", metadata=metadata)
    with pytest.raises(StyleMambaError, match="spoilt.safetensors is a safetensors file but not a StyleMamba style"):
        tiny_pipeline.load_style(tmp_path / "spoilt.safetensors")
    assert tiny_pipeline.style["prompt"] == "fire"


def test_what_fails_leaves_the_loaded_style(tiny_pipeline, photos, tmp_path):
    photo_file = tmp_path / "photo.png"
    photo_file.touch()
    tiny_pipeline.train_on_style("fire", photos, **FAST)
    styled = np.asarray(tiny_pipeline(photos[0]).images[0])
    tensors, info = tiny_pipeline.style_state()

    def stop(step, info):
        raise AssertionError("no step is trained")

    for fails in (
        lambda: tiny_pipeline.set_style(tensors, {**info, "base": "", "base in bfloat16": ""}),
        lambda: tiny_pipeline.set_style({**tensors, "embedding": tensors["embedding"][..., :5]}, info),
        lambda: tiny_pipeline.set_style({name: tensor for name, tensor in tensors.items() if name != "embedding"}, info),
        lambda: tiny_pipeline.set_style(tensors, None),
        lambda: tiny_pipeline.train_on_style("snow", photos, checkpoint_path=photo_file / "state.safetensors", callback=stop, **FAST),
        lambda: tiny_pipeline.train_on_style("snow", photos, checkpoint_path="x" * 300, callback=stop, **FAST),
        lambda: tiny_pipeline.load_style("x" * 300),
        lambda: tiny_pipeline.train_on_style("", photos, **FAST),
        lambda: tiny_pipeline.train_on_style("snow", ["missing.png"], callback=stop, **FAST),
    ):
        with pytest.raises(StyleMambaError):
            fails()
        assert tiny_pipeline.style["prompt"] == "fire" and np.array_equal(tiny_pipeline(photos[0]).images[0], styled)


def test_losses_that_are_no_numbers_end_the_training(tiny_pipeline, photos, monkeypatch):
    monkeypatch.setattr("stylemamba.losses.ContentLoss.forward", lambda self, a, b: (a * float("inf")).mean())
    with pytest.raises(StyleMambaError, match="Step 1 has no loss"):
        tiny_pipeline.train_on_style("fire", photos, **FAST)
    assert tiny_pipeline.style is None


def test_a_gradient_that_is_no_number_changes_nothing(tiny_pipeline, photos, tmp_path, monkeypatch):
    """The losses before it are numbers; only the next step's would not be."""
    grad, calls = torch.autograd.grad, []

    def spoilt(*args, **kwargs):
        calls.append(1)
        return [None if g is None else g * float("nan") for g in grad(*args, **kwargs)] if len(calls) == 3 else grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", spoilt)
    with pytest.raises(StyleMambaError, match="Step 3 has no loss"):
        tiny_pipeline.train_on_style("fire", photos, **{**FAST, "num_train_steps": 3})
    assert tiny_pipeline.style["steps"] == 2
    tiny_pipeline.save_style(tmp_path / "fire.safetensors")
    tiny_pipeline.load_style(tmp_path / "fire.safetensors")


def test_a_training_that_begins_anew_keeps_the_old_state_until_it_has_its_own(tiny_pipeline, photos, tmp_path):
    state = tmp_path / "state.safetensors"
    tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, **FAST)
    old = state.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylemamba.losses.ContentLoss.forward", stop)
        tiny_pipeline.train_on_style("snow", photos, checkpoint_path=state, resume=False, **FAST)
    assert state.read_bytes() == old
    history = tiny_pipeline.train_on_style("snow", photos, checkpoint_path=state, resume=False, **FAST)
    assert len(history) == 6 and state.read_bytes() != old


def test_a_thin_photo_is_no_larger_than_its_crops(tiny_pipeline, monkeypatch):
    resize, sizes = Image.Image.resize, set()
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, *args, **kwargs: (sizes.add(size), resize(self, size, *args, **kwargs))[1])
    tiny_pipeline.train_on_style("fire", [Image.new("RGB", (2, 4_000), "red")], **FAST)
    assert sizes == {(32, 32)}


def test_mistakes_are_named(tiny_pipeline, photos, tmp_path):
    with pytest.raises(StyleMambaError, match="empty"):
        tiny_pipeline.train_on_style("", photos, **FAST)
    with pytest.raises(StyleMambaError, match="at least one"):
        tiny_pipeline.train_on_style("fire", [], **FAST)
    for size in (0, 34):
        with pytest.raises(StyleMambaError, match=f"size is {size}"):
            tiny_pipeline.train_on_style("fire", photos, **{**FAST, "size": size})
    with pytest.raises(StyleMambaError, match="batch_size is 0"):
        tiny_pipeline.train_on_style("fire", photos, **{**FAST, "batch_size": 0})
    with pytest.raises(StyleMambaError, match="finite numbers"):
        tiny_pipeline.train_on_style("fire", photos, weights=LossWeights(content=float("nan")), **FAST)
    wrong = {"seed": (-1, 1.5, None, 2**64), "learning_rate": (-1.0, float("nan"), "x"), "batch_size": (1.5,), "size": (64.0, "64")}
    for option, value in [(option, value) for option, values in (*wrong.items(), ("num_train_steps", ("2", 2.5))) for value in values]:
        with pytest.raises(StyleMambaError, match=f"{option} is {value!r}"):
            tiny_pipeline.train_on_style("fire", photos, **{**FAST, option: value})
    numbers = {name: np.int64(value) for name, value in FAST.items()} | {"num_train_steps": np.int64(1), "seed": np.int64(1)}
    tiny_pipeline.train_on_style("fire", photos, checkpoint_path=tmp_path / "np.safetensors", **numbers, learning_rate=np.float32(0.01))
    with pytest.raises(StyleMambaError, match="empty"):
        tiny_pipeline.train_on_style("", photos, checkpoint_path=tmp_path / "new" / "s.safetensors", **FAST)
    assert not (tmp_path / "new").exists()
    tiny_pipeline.unload_style()
    for given, complaint in (
        ({"prompt": ["fire"]}, "The prompt is a list"),
        ({"source_prompt": ""}, "source_prompt is ''"),
        ({"style": np.ones(16)}, "style is a ndarray"),
        ({"weights": LossWeights(content="x")}, "finite numbers"),
    ):
        with pytest.raises(StyleMambaError, match=complaint):
            tiny_pipeline.train_on_style(**{"prompt": "fire", "images": photos, **FAST, **given})
    with pytest.raises(StyleMambaError, match="already"):
        tiny_pipeline.train_on_style("a photo", photos, **FAST)
    embedding = tiny_pipeline.encode_prompt("fire")[0]
    opposites = torch.stack([embedding, -embedding]) / 2
    for style in (torch.ones(3), 0 * embedding, embedding * float("nan"), embedding[None, None], opposites):
        with pytest.raises(StyleMambaError, match="style to train towards"):
            tiny_pipeline.train_on_style("fire", photos, style=style, **FAST)
    with pytest.raises(StyleMambaError, match="no style to save"):
        tiny_pipeline.save_style(tmp_path / "x.safetensors")
    state = tmp_path / "state.safetensors"
    tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, **{**FAST, "num_train_steps": 1})
    for prompt, pictures, more in (("snow", photos, {}), ("fire", photos[:1], {}), ("fire", photos, {"learning_rate": 0.5})):
        with pytest.raises(StyleMambaError, match="another training"):
            tiny_pipeline.train_on_style(prompt, pictures, checkpoint_path=state, **FAST, **more)
    with pytest.raises(StyleMambaError, match="another training"):
        tiny_pipeline.train_on_style("fire", photos, checkpoint_path=state, parameters="low-rank", **FAST)
    # A blend's sum may be the same and its styles others.
    fire, snow = tiny_pipeline.encode_prompt(["fire", "snow"])
    blend, state = torch.stack([fire, snow]) / 2, tmp_path / "blend.safetensors"
    tiny_pipeline.train_on_style("fire", photos, style=blend, checkpoint_path=state, **{**FAST, "num_train_steps": 1})
    with pytest.raises(StyleMambaError, match="another training"):
        tiny_pipeline.train_on_style("fire", photos, style=blend.sum(0), checkpoint_path=state, **FAST)
