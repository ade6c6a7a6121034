"""What the nodes do with pictures, masks, batches and styles, under inference mode as ComfyUI runs them."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from comfy_stubs import InterruptProcessingException, ProgressBar
from elsewhere import DEVICE, elsewhere
from PIL import Image
from synthetic import synthetic_photo

from stylemamba import StyleMambaError, colours, detail, pipeline, style_file, tiling

pytestmark = pytest.mark.usefixtures("inference_mode")
LEVEL = 1 / 255


def image(*sizes_or_size, seed=0) -> torch.Tensor:
    """An IMAGE of one synthetic photo."""
    photo = synthetic_photo(*sizes_or_size, seed=seed)
    return torch.from_numpy(np.array(photo)).float()[None] / 255


@pytest.mark.parametrize("size", [(50, 39), (16, 16), (1, 1), (3, 70)])
@pytest.mark.parametrize("strength", [1.0, 0.5, 2.0])
def test_five_steps_give_the_pipelines_picture(five_steps, fire, tiny_pipeline, size, strength):
    photo = image(*size)
    expected = tiny_pipeline(photo[0].numpy(), "fire", strength=strength, output_type="np").images
    picture = five_steps(photo, fire, strength)
    assert picture.shape == photo.shape
    assert np.abs(picture.numpy() - expected).max() < LEVEL


def test_one_node_does_what_five_do(run, model, five_steps, fire):
    photos = torch.cat([image(41, 24), image(41, 24, seed=1)])
    picture = run("Stylize", photos, "fire", 1.0, model=model)
    assert torch.equal(picture, five_steps(photos, fire))
    assert torch.equal(run("Stylize", photos, "", 1.0, model=model, style=fire), picture)
    assert not torch.equal(picture[0], picture[1])


@pytest.mark.parametrize("channels", [3, 4])
def test_resolution_gives_the_pipelines_picture_and_leaves_what_is_masked(run, model, tiny_pipeline, channels):
    photo, mask = (torch.rand(1, 70, 90, channels) * 254).round() / 255 + LEVEL, torch.zeros(1, 70, 90)  # no pixel is invisible
    mask[:, :30] = 1
    expected = tiny_pipeline(photo[0, ..., :3].numpy(), "fire", strength=0.7, resolution=40, output_type="np").images
    picture = run("Stylize", photo, "fire", 0.7, resolution=40, model=model)
    assert picture.shape == photo.shape and torch.equal(picture[..., 3:], photo[..., 3:])
    assert np.abs(picture[..., :3].numpy() - expected).max() < LEVEL
    masked = run("Stylize", photo, "fire", 0.7, resolution=40, mask=mask, model=model)
    assert torch.allclose(masked[:, 30:], photo[:, 30:]) and torch.allclose(masked[:, :30], picture[:, :30])
    with pytest.raises(StyleMambaError, match="resolution 8"):
        run("Stylize", photo, "fire", 0.7, resolution=8, model=model)


def test_strength_zero_returns_the_photo(five_steps, fire):
    photo = image(30, 21)
    assert torch.allclose(five_steps(photo, fire, 0.0), photo, atol=1e-5)


def test_mask_styles_its_region_and_leaves_the_rest(five_steps, fire):
    photo = image(48, 32)
    mask = torch.zeros(1, 32, 48)
    mask[:, :, :24] = 1
    picture = five_steps(photo, fire, mask=mask)
    assert torch.allclose(picture[:, :, 24:], photo[:, :, 24:], atol=1e-6)
    assert (picture - photo)[:, :, :20].abs().mean() > 0.02


def test_two_masks_put_two_styles_into_one_picture(run, model, five_steps, fire):
    photo, snow = image(48, 32), run("StyleEmbedding", model, "snow and ice")
    left = torch.zeros(1, 32, 48)
    left[:, :, :16] = 1
    right = left.flip(-1)
    plain = run("VAEEncode", model, photo)
    first = run("Fusion", model, plain, fire, 1.0, left)
    second = run("Fusion", model, first, snow, 1.0, right)
    changed = [(new["samples"] - old["samples"]).abs().mean((0, 1, 2)) > 1e-3 for new, old in ((first, plain), (second, first))]
    assert changed[0].tolist() == [True] * 4 + [False] * 8 and changed[1].tolist() == [False] * 8 + [True] * 4
    picture = run("Decode", model, second)
    assert torch.allclose(picture[:, :, 16:32], photo[:, :, 16:32], atol=1e-6)
    assert all((picture - photo)[:, :, part].abs().mean() > 0.02 for part in (slice(16), slice(32, None)))


def test_black_mask_of_load_image_is_no_mask_and_any_other_is_one(five_steps, fire):
    photo = image(48, 32)
    assert torch.allclose(five_steps(photo, fire, mask=torch.zeros(1, 64, 64)), five_steps(photo, fire), atol=1e-6)
    assert torch.allclose(five_steps(photo, fire, mask=torch.zeros(1, 32, 48)), photo, atol=1e-6)
    square = image(64, 64)
    assert torch.allclose(five_steps(square, fire, mask=torch.zeros(1, 64, 64)), five_steps(square, fire), atol=1e-6)


def test_black_masks_of_several_frames_are_none(run, model):
    frames = torch.cat([image(48, 32), image(48, 32, seed=1)])
    without = run("Stylize", frames, "fire", 1.0, model=model)
    assert torch.equal(run("Stylize", frames, "fire", 1.0, mask=torch.zeros(2, 64, 64), model=model), without)


def test_mask_that_is_black_everywhere_is_told(run, model, caplog):
    photo = image(48, 32)
    assert torch.allclose(run("Stylize", photo, "fire", 1.0, mask=torch.zeros(1, 32, 48), model=model), photo, atol=1e-6)
    assert "the mask is black everywhere" in caplog.text


def test_black_mask_beside_another_is_one(run, model):
    batch, masks = torch.cat([image(64, 64), image(64, 64, seed=1)]), torch.stack([torch.zeros(64, 64), torch.ones(64, 64)])
    change = (run("Stylize", batch, "fire", 1.0, mask=masks, model=model) - batch).abs().mean((1, 2, 3))
    assert change[0] < 1e-6 and change[1] > 0.02


def test_masks_of_another_size_fit_and_of_another_number_do_not(five_steps, fire):
    photo, mask = image(48, 32), torch.ones(1, 100, 10)
    assert torch.allclose(five_steps(photo, fire, mask=mask), five_steps(photo, fire), atol=1e-4)
    with pytest.raises(StyleMambaError, match="2 masks for 1 picture"):
        five_steps(photo, fire, mask=torch.ones(2, 32, 48))


def test_noise_mask_of_the_latent_is_the_mask_and_other_keys_survive(run, model, fire):
    photo, mask = image(48, 32), torch.zeros(1, 32, 48)
    latent = {**run("VAEEncode", model, photo), "noise_mask": mask[:, None], "batch_index": [7]}
    styled = run("Fusion", model, latent, fire, 1.0)
    assert styled["batch_index"] == [7] and styled["noise_mask"] is latent["noise_mask"]
    assert torch.allclose(run("Decode", model, styled), photo, atol=1e-6)


def test_transparency_is_kept_and_grey_becomes_colour(five_steps, fire):
    photo, alpha = image(24, 16), torch.rand(1, 16, 24, 1)
    picture = five_steps(torch.cat([photo, alpha], -1), fire)
    assert torch.equal(picture[..., 3:], alpha) and torch.equal(picture[..., :3], five_steps(photo, fire))
    assert five_steps(photo[..., :1], fire).shape == photo.shape


def test_latents_changed_by_other_nodes_decode_without_the_photo(run, model, fire):
    latent = run("Fusion", model, run("VAEEncode", model, image(50, 30)), fire, 0.5)
    larger = {**latent, "samples": latent["samples"].repeat(1, 1, 2, 2)}
    assert run("Decode", model, larger).shape == (1, 64, 104, 3)


def test_latents_of_another_model_are_refused(run, model, fire):
    with pytest.raises(StyleMambaError, match=r"\(1, 16, 4, 4\).*4, height"):
        run("Fusion", model, {"samples": torch.zeros(1, 16, 4, 4)}, fire, 1.0)
    with pytest.raises(StyleMambaError, match=r"4, height"):
        run("Decode", model, {"samples": torch.zeros(1, 4, 1, 4, 4)})


class OtherVAE:
    """ComfyUI's VAE object, with the pipeline's own weights inside: pictures (B, H, W, 3) in 0..1, latents not scaled."""

    latent_channels = 4

    def __init__(self, vae, compression=4):
        self.vae, self.spacial_compression_encode = vae, lambda: compression

    def encode(self, pixels):
        return self.vae.encode(2 * pixels.movedim(-1, 1) - 1).latent_dist.mode()

    def decode(self, latents):
        return (self.vae.decode(latents).sample.movedim(1, -1) / 2 + 0.5).clamp(0, 1)


def test_vae_from_comfyui_takes_the_place_of_the_own_one(run, model, five_steps, fire):
    photo, vae = image(50, 39), OtherVAE(model.pipe.vae)
    latent = run("Fusion", model, run("VAEEncode", model, photo, vae), fire, 0.5)
    assert torch.allclose(run("Decode", model, latent, vae), five_steps(photo, fire, 0.5), atol=1e-4)
    with pytest.raises(StyleMambaError, match="4 channels at 1/8 .* trained for 4 channels at 1/4"):
        run("VAEEncode", model, photo, OtherVAE(model.pipe.vae, 8))


def test_vae_of_the_same_shape_with_other_latents_is_refused(run, model):
    """Such as the VAE of SDXL with a model that was trained for that of SD 1.5."""
    stranger = copy.deepcopy(model.pipe.vae)
    stranger.quant_conv.weight.neg_()
    for name, inputs in (("VAEEncode", image(50, 39)), ("Decode", run("VAEEncode", model, image(50, 39)))):
        with pytest.raises(StyleMambaError, match="latents are scaled differently"):
            run(name, model, inputs, OtherVAE(stranger))


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 256 and 128 pixels, so that a small photo has many.

    The small model's weights are random, so that every error grows: no estimate of group norms is taken as good enough here.
    """
    monkeypatch.setattr(tiling, "TILE", 256)
    monkeypatch.setattr(tiling, "MARGIN", 8)
    monkeypatch.setattr(tiling, "SAMPLES", 16)
    monkeypatch.setattr(tiling, "SAMPLE", 16)
    monkeypatch.setattr(tiling, "MISS", 0.0)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_large_photo_gives_the_pipelines_picture_in_the_same_tiles(five_steps, fire, tiny_pipeline, small_tiles, monkeypatch, strength):
    monkeypatch.setattr(pipeline, "TILE", 256)
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE", 256 * 256)
    photo = image(290, 270)
    expected = tiny_pipeline(photo[0].numpy(), "fire", strength=strength, output_type="np").images
    apart = np.abs(five_steps(photo, fire, strength).numpy() - expected)[0].max(-1)
    # What the VAE lost is given back by its surroundings: at a seam the node has seen both tiles, the pipeline one, and with random weights
    # these are not quite alike.
    seams = [np.abs(np.arange(length) - 223.5) < 2 for length in apart.shape]
    assert apart[~seams[0]][:, ~seams[1]].max() < LEVEL and apart.max() < 0.1


@pytest.mark.parametrize("largest", [256 * 256, 128 * 128])
def test_out_of_memory_falls_back_to_smaller_tiles(run, model, five_steps, fire, small_tiles, monkeypatch, largest):
    # Random weights lose nearly all of the photo, and what is given back would double every difference of small tiles.
    monkeypatch.setattr(detail, "VAE_EPSILON", 1.0)
    photo = image(290, 270)
    expected = five_steps(photo, fire)

    def short_of_memory(function, scale, refused):
        def run(x, *args):
            if x[0, 0].numel() * scale**2 > largest:
                refused.append(x.shape)
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return function(x, *args)

        return run

    refused: dict[str, list] = {"encode_images": [], "fuse": [], "decode_latents": []}
    for name, shapes in refused.items():
        scale = 1 if name == "encode_images" else model.pipe.size_multiple
        monkeypatch.setattr(model.pipe, name, short_of_memory(getattr(model.pipe, name), scale, shapes))
    picture = five_steps(photo, fire)
    assert all(refused.values()) and -10 * np.log10(np.mean((picture - expected).numpy() ** 2)) > 40


def test_too_little_memory_is_said_in_one_sentence(run, model, fire, monkeypatch):
    def fail(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(model.pipe, "encode_images", fail)
    with pytest.raises(StyleMambaError, match="not enough memory, even in small tiles"):
        run("VAEEncode", model, image(40, 32))
    with pytest.raises(StyleMambaError, match="1 crops of 64 x 64 pixels needs more memory .* lower batch_size or size"):
        run("Train", model, image(40, 32), "fire", **TRAINING)


def test_cancel_stops_between_tiles(run, model, small_tiles, monkeypatch):
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE", 100)
    windows, encode = [], model.pipe.encode_images

    def encode_and_cancel(pixels, *args):
        windows.append(pixels.shape)
        ProgressBar.cancel_at = 0
        return encode(pixels, *args)

    monkeypatch.setattr(model.pipe, "encode_images", encode_and_cancel)
    with pytest.raises(InterruptProcessingException):
        run("VAEEncode", model, image(290, 270))
    assert len(windows) == 1


def test_empty_batch_is_refused(run, model):
    with pytest.raises(StyleMambaError, match="no image"):
        run("VAEEncode", model, torch.zeros(0, 8, 8, 3))


def test_style_of_another_model_is_refused(run, model, fire):
    fire.info.update({key: "0" * 16 for key in style_file.BASE})
    with pytest.raises(StyleMambaError, match="'fire' belongs to another model; connect the one .+ to the input 'model'"):
        run("Fusion", model, run("VAEEncode", model, image(16, 16)), fire, 1.0)
    assert model.pipe.style is None


def test_style_from_text_picture_and_both(run, model):
    text = run("StyleEmbedding", model, "fire").embedding
    picture = image(20, 20)
    shown = run("StyleEmbedding", model, " ", picture).embedding
    assert torch.allclose(shown.norm(), torch.tensor(1.0)) and not torch.allclose(shown, text, atol=0.01)
    for weight, expected in ((0.0, text), (1.0, shown)):
        assert torch.allclose(run("StyleEmbedding", model, "fire", picture, weight).embedding, expected, atol=1e-6)
    half = run("StyleEmbedding", model, "fire", picture).embedding
    assert torch.allclose(half, torch.stack([text, shown]) / 2, atol=1e-6)
    with pytest.raises(StyleMambaError, match="neither a text nor a style image"):
        run("StyleEmbedding", model, "\n")


def test_several_pictures_are_blended_as_in_the_pipeline(run, model, five_steps, tiny_pipeline):
    photo, shown = image(48, 32), torch.cat([image(20, 20, seed=3), 1 - image(20, 20, seed=4)])
    pairs = [(picture.numpy(), 1.0) for picture in shown]
    expected = tiny_pipeline(photo[0].numpy(), style_image=pairs, output_type="np").images
    assert np.abs(five_steps(photo, run("StyleEmbedding", model, "", shown)).numpy() - expected).max() < LEVEL


def test_at_a_resolution_a_pictures_colours_stay_in_the_mask_as_well(run, model):
    """And go by those of the region alone, as without a resolution: the colours of the small picture do not count."""
    photo, mask, style = image(96, 64), torch.zeros(1, 64, 96), run("StyleEmbedding", model, "", image(20, 20, seed=3))
    mask[:, :32] = 1
    made = run("Stylize", photo, "", 0.8, resolution=40, mask=mask, model=model, style=style)
    plain = type(style)({"embedding": style.embedding}, style.info)
    uncoloured = run("Stylize", photo, "", 0.8, resolution=40, mask=mask, model=model, style=plain)
    expected = colours.recoloured(uncoloured.movedim(-1, 1), style.palette, 0.8 * mask[None]).movedim(1, -1)
    assert torch.allclose(made, expected, atol=1e-5) and torch.allclose(made[:, 32:], photo[:, 32:], atol=1e-5)
    assert (made - uncoloured)[:, :32].abs().mean() > 0.02


def test_an_emptied_source_text_is_a_photo(run, model, fire):
    assert torch.equal(run("StyleEmbedding", model, "fire", source_text=" ").embedding, fire.embedding)
    assert run("Train", model, image(40, 32), "fire", source_text="", **TRAINING).info["source_prompt"] == "a photo"


def test_a_pictures_colours_come_with_its_style(run, model, five_steps, tiny_pipeline):
    """As in the pipeline; blended, by the blend's share; and in a masked region alone."""
    photo, shown = image(48, 32), (image(20, 20, seed=3) * torch.tensor([1.0, 0.2, 0.2]))
    style = run("StyleEmbedding", model, "", shown)
    expected = tiny_pipeline(photo[0].numpy(), style_image=shown[0].numpy(), output_type="np").images
    picture = five_steps(photo, style)
    assert np.abs(picture.numpy() - expected).max() < LEVEL
    with_text = tiny_pipeline(photo[0].numpy(), "fire", style_image=shown[0].numpy(), output_type="np").images
    assert np.abs(five_steps(photo, run("StyleEmbedding", model, "fire", shown)).numpy() - with_text).max() < LEVEL
    blend = run("BlendStyles", run("StyleEmbedding", model, "fire"), style, 0.5)
    assert np.abs(five_steps(photo, blend).numpy() - with_text).max() < LEVEL
    mask = torch.zeros(1, 32, 48)
    mask[:, :, :24] = 1
    masked = five_steps(photo, style, mask=mask)
    assert torch.allclose(masked[:, :, 24:], photo[:, :, 24:], atol=1e-6)
    redder = lambda x: (x[..., 0] - x[..., 1:].mean(-1))[:, :, :16].mean()  # noqa: E731
    assert redder(masked) > redder(photo) + 0.1
    trained = run("Train", model, photo, "", **TRAINING, style=style)
    assert torch.equal(trained.palette, style.palette), "training towards a picture's style keeps its colours"


TRAINING = dict(steps=4, seed=1, size=64, batch_size=1)


def test_training_changes_the_picture_and_not_the_cached_model(run, model, five_steps, fire):
    photo = image(40, 32)
    before = {name: value.clone() for name, value in model.pipe.fusion.state_dict().items()}
    plain = five_steps(photo, fire)
    trained = run("Train", model, photo, "fire", **TRAINING)
    assert (five_steps(photo, trained) - plain).abs().mean() > 0.003
    assert all(torch.equal(value, before[name]) for name, value in model.pipe.fusion.state_dict().items())
    assert torch.equal(five_steps(photo, fire), plain)
    again = run("Train", model, photo, "fire", **TRAINING)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in trained.tensors.items())


def test_training_towards_a_pictures_style(run, model):
    photo, shown = image(40, 32), run("StyleEmbedding", model, "", image(20, 20, seed=3))
    trained = run("Train", model, photo, "", **TRAINING, style=shown)
    assert torch.allclose(trained.embedding, shown.embedding, atol=1e-6) and trained.info["prompt"] == shown.info["prompt"]
    assert any(tensor.abs().max() > 1e-4 for name, tensor in trained.tensors.items() if name != "embedding")


def test_training_works_after_weights_were_moved_under_inference_mode(run, model):
    model.pipe.to(torch.float64).to(torch.float32)  # what moving to the GPU does to them: they become inference tensors
    assert all(p.is_inference() for p in model.pipe.fusion.parameters())
    style = run("Train", model, image(40, 32), "fire", **TRAINING)
    assert any(tensor.abs().max() > 1e-4 for name, tensor in style.tensors.items() if name != "embedding")


def test_training_shows_progress_and_preview(run, model):
    run("Train", model, image(40, 32), "fire", **{**TRAINING, "steps": 6})
    assert [update[:2] for update in ProgressBar.updates] == [(step, 6) for step in range(1, 7)]
    previews = {step: preview for step, _, preview in ProgressBar.updates if preview}
    assert set(previews) == {5, 6}
    kind, picture, size = previews[5]
    assert kind == "JPEG" and isinstance(picture, Image.Image) and size >= 256


def test_batch_shows_one_bar_with_the_pictures(run, model):
    run("Stylize", image(16, 16).expand(3, -1, -1, -1), "fire", 1.0, model=model)
    assert [update[:2] for update in ProgressBar.updates] == [(step, 9) for step in range(1, 10)]
    assert [bool(preview) for _, _, preview in ProgressBar.updates] == [False, False, True] * 3


def test_cancel_stops_training_within_a_step_and_leaves_the_model_clean(run, model):
    before = {name: value.clone() for name, value in model.pipe.fusion.state_dict().items()}
    ProgressBar.cancel_at = 2
    with pytest.raises(InterruptProcessingException):
        run("Train", model, image(40, 32), "fire", **{**TRAINING, "steps": 50})
    assert len(ProgressBar.updates) == 2 and model.pipe.style is None
    assert all(torch.equal(value, before[name]) for name, value in model.pipe.fusion.state_dict().items())


@pytest.mark.parametrize("node", ["VAEEncode", "StyleEmbedding"])
def test_cancel_stops_a_batch(run, model, node):
    batch = image(16, 16).expand(9, -1, -1, -1)
    given = [model, batch] if node == "VAEEncode" else [model, "", batch]
    ProgressBar.cancel_at = 2
    with pytest.raises(InterruptProcessingException):
        run(node, *given)
    assert len(ProgressBar.updates) == 2


def test_saved_style_gives_the_same_picture_here_and_in_the_pipeline(run, model, five_steps, tiny_pipeline, models):
    photo = image(40, 32)
    trained = run("Train", model, photo, "fire", **TRAINING)
    picture = five_steps(photo, trained)
    run("SaveStyle", trained, "warm/fire")
    assert torch.equal(five_steps(photo, run("LoadStyle", "warm/fire.safetensors")), picture)
    tiny_pipeline.load_style(models / "warm" / "fire.safetensors")
    assert np.abs(tiny_pipeline(photo[0].numpy(), output_type="np").images - picture.numpy()).max() < LEVEL


def test_style_of_the_pipeline_loads_here(run, five_steps, tiny_pipeline, models):
    photo = image(40, 32)
    tiny_pipeline.train_on_style("snow", [photo[0].numpy()], num_train_steps=2, size=32)
    tiny_pipeline.save_style(models / "snow.safetensors")
    expected = tiny_pipeline(photo[0].numpy(), output_type="np").images
    assert np.abs(five_steps(photo, run("LoadStyle", "snow.safetensors")).numpy() - expected).max() < LEVEL


def test_saving_never_replaces_a_style_nor_leaves_its_folder(run, fire, models, tmp_path):
    run("SaveStyle", fire, "mine")
    first = (models / "mine.safetensors").read_bytes()
    run("SaveStyle", fire, "mine.safetensors")
    assert sorted(path.name for path in models.glob("*.safetensors")) == ["mine.safetensors", "mine_2.safetensors"]
    assert (models / "mine.safetensors").read_bytes() == first
    for name in ("", "../out", "/etc/style", "a/../../b", "c:\\style", ".hidden", "a*b"):
        with pytest.raises(StyleMambaError, match="cannot be used"):
            run("SaveStyle", fire, name)
    assert not list(tmp_path.glob("*.safetensors"))


def test_blend_goes_from_one_style_to_the_other(run, model, five_steps, fire):
    photo, trained = image(40, 32), run("Train", model, image(40, 32), "snow", **TRAINING)
    for balance, end in ((0.0, fire), (1.0, trained)):
        assert torch.allclose(five_steps(photo, run("BlendStyles", fire, trained, balance)), five_steps(photo, end), atol=1e-5)
    half = five_steps(photo, run("BlendStyles", fire, trained, 0.5))
    assert all((half - five_steps(photo, end)).abs().mean() > 0.001 for end in (fire, trained))
    trained.info.update({key: "0" * 16 for key in style_file.BASE})
    with pytest.raises(StyleMambaError, match="different models"):
        run("BlendStyles", fire, trained, 0.5)


def test_blends_of_any_number_of_styles_blend_again(run, model, fire):
    with_picture = run("StyleEmbedding", model, "snow", image(20, 20))  # of two parts
    three = run("BlendStyles", with_picture, fire, 0.4)
    again = run("BlendStyles", three, with_picture, 0.5)
    assert (len(three.embedding), len(again.embedding)) == (3, 5)
    shares = again.embedding.norm(dim=-1)
    assert torch.allclose(shares / shares.sum(), torch.tensor([0.15, 0.15, 0.2, 0.25, 0.25]), atol=1e-6)


def test_training_towards_a_style_of_another_model_is_refused(run, model, fire):
    fire.info.update({key: "0" * 16 for key in style_file.BASE})
    with pytest.raises(StyleMambaError, match="belongs to another model"):
        run("Train", model, image(40, 32), "", style=fire, **TRAINING)


def test_stylize_without_text_or_style_asks_for_one_of_them(run, model):
    with pytest.raises(StyleMambaError, match="neither a text nor a style;"):
        run("Stylize", image(20, 20), " ", 1.0, model=model)


def test_files_are_listed_validated_and_fingerprinted(nodes, run, fire, models):
    load_style, load_model = nodes["StyleMambaLoadStyle"], nodes["StyleMambaLoadModel"]
    assert load_model.define_schema().inputs[0].options["options"] == ["bundled", "tiny"]
    assert "no style 'mine.safetensors'" in load_style.validate_inputs("mine.safetensors")
    assert "no model 'big'" in load_model.validate_inputs("big") and load_model.validate_inputs("tiny") is True
    run("SaveStyle", fire, "mine")
    assert load_style.define_schema().inputs[0].options["options"] == ["mine.safetensors"]  # and none of the model's own weights
    assert load_style.validate_inputs("mine.safetensors") is True
    before = load_style.fingerprint_inputs("mine.safetensors")
    assert load_style.fingerprint_inputs("mine.safetensors") == before
    (models / "mine.safetensors").write_bytes((models / "mine.safetensors").read_bytes() + b" ")
    assert load_style.fingerprint_inputs("mine.safetensors") != before
    assert load_model.fingerprint_inputs("tiny") == load_model.fingerprint_inputs("tiny")


def test_parts_become_a_model_that_learns(nodes, run, models):
    (models / "broken").mkdir()
    (models / "broken" / "config.json").write_text("{")
    load_parts = nodes["StyleMambaLoadParts"]
    assert [widget.options["options"] for widget in load_parts.define_schema().inputs] == [["parts/vae"], ["parts/siglip"]]
    assert nodes["StyleMambaLoadStyle"].define_schema().inputs[0].options["options"] == []  # the parts' weights are no styles
    assert load_parts.validate_inputs("parts/vae", "vae").startswith("There is no siglip folder 'vae'")
    both = load_parts.validate_inputs("no", "vae")
    assert "no autoencoder folder 'no'" in both and "no siglip folder 'vae'" in both
    model, photo = run("LoadParts", "parts/vae", "parts/siglip"), image(40, 32)
    trained = run("Train", model, photo, "fire", **{**TRAINING, "steps": 20}, parameters="all")
    again = run("LoadParts", "parts/vae", "parts/siglip")  # the same fresh weights: the style fits
    assert (run("Stylize", photo, "", 1.0, model=again, style=trained) - photo).abs().mean() > 0.01


def test_folder_gives_its_photos_in_their_sizes_one_by_one(nodes, run, input_folder):
    load_folder = nodes["StyleMambaLoadFolder"]
    (input_folder / "holiday" / "raw").mkdir(parents=True)
    (input_folder / ".hidden").mkdir()
    (input_folder / "holiday" / "raw" / "back").symlink_to(input_folder)
    transparent = synthetic_photo(9, 7)
    transparent.putalpha(128)
    for name, photo in (("2.png", transparent), ("1.png", synthetic_photo(30, 20)), ("raw/3.png", synthetic_photo(5, 5))):
        photo.save(input_folder / "holiday" / name)
    folders = ["input", "input/holiday", "input/holiday/raw", "input/holiday/raw/back"]
    assert load_folder.define_schema().inputs[0].options["options"] == folders
    images, names = load_folder.execute("input/holiday", 50).args
    assert [picture.shape for picture in images] == [(1, 20, 30, 3), (1, 7, 9, 4)] and names == ["1", "2"]
    assert torch.equal(images[0], image(30, 20))
    assert load_folder.execute("input/holiday", 1, skip=1)[1] == ["2"]
    asked = ({"limit": 50}, {"limit": None}, {"limit": 50, "skip": None})  # None: another node will say
    before = [load_folder.fingerprint_inputs("input/holiday", **each) for each in asked]
    assert [load_folder.fingerprint_inputs("input/holiday", **each) for each in asked] == before
    synthetic_photo(8, 8).save(input_folder / "holiday" / "1.png")
    assert all(load_folder.fingerprint_inputs("input/holiday", **each) != was for each, was in zip(asked, before))


def test_folder_mistakes_get_one_sentence(nodes, run, input_folder):
    load_folder = nodes["StyleMambaLoadFolder"]
    assert "no folder 'input/away'" in load_folder.validate_inputs("input/away")
    assert "no folder 'input/../models'" in load_folder.validate_inputs("input/../models")
    with pytest.raises(StyleMambaError, match="'input' holds no photos after the first 0"):
        load_folder.execute("input", 50)
    assert load_folder.fingerprint_inputs("input", 50) == []
    (input_folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(StyleMambaError, match="^broken.png"):
        load_folder.execute("input", 50)


@pytest.mark.parametrize("side", [None, 128])
def test_photos_wait_on_the_cpu_and_weights_compute_elsewhere(run, model, monkeypatch, side):
    """As with a GPU: every node takes what ComfyUI keeps on the CPU, and leaves its results there; whole and in tiles."""
    monkeypatch.setattr(sys.modules["comfy.model_management"], "get_torch_device", lambda: DEVICE)
    if side:
        monkeypatch.setattr(pipeline, "LARGEST_WHOLE", 100)
        monkeypatch.setattr(tiling, "TILE", side)
        monkeypatch.setattr(tiling, "SAMPLES", 16)
    with torch.inference_mode(False), torch.no_grad(), elsewhere(monkeypatch):  # that device has no inference mode
        photo, mask = image(150, 140), torch.zeros(1, 140, 150)
        mask[:, :70] = 1
        said = run("StyleEmbedding", model, "fire", image(20, 20))
        trained = run("Train", model, image(40, 32), "snow", **TRAINING)
        again = run("Train", model, image(40, 32), "", style=said, **TRAINING)
        mixed = run("BlendStyles", run("BlendStyles", said, trained, 0.5), again, 0.5)
        assert all(tensor.device.type == "cpu" for style in (said, trained, mixed) for tensor in style.tensors.values())
        latent = run("Fusion", model, run("VAEEncode", model, photo), mixed, 0.8, mask)
        picture = run("Decode", model, latent)
        coarse = run("Stylize", photo, "", 1.0, resolution=64, mask=mask, model=model, style=said)
        assert latent["samples"].device.type == picture.device.type == coarse.device.type == "cpu"
    for made in (picture, coarse):
        assert torch.allclose(made[:, 70:], photo[:, 70:], atol=1e-5) and (made - photo)[:, :70].abs().mean() > 0.01


def test_loading_the_pack_imports_nothing_heavy():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import comfy_stubs, pathlib, pytest\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    comfy_stubs.node_classes(comfy_stubs.install(patch, pathlib.Path('none')))\n"
        "    print(sorted({'diffusers', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=sys.modules["comfy_stubs"].PACK
    ).stdout
    assert output.strip() == "[]"
