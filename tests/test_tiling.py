"""Large photos in tiles: the same picture as at once."""

from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import synthetic_photo

from stylemamba import StyleMambaPipeline, pipeline, tiling


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 128 pixels, so that a small photo has many; fewer samples likewise.

    The small model's weights are random, so that every error grows: no estimate is taken as good enough here.
    """
    monkeypatch.setattr(tiling, "TILE", 128)
    monkeypatch.setattr(pipeline, "TILE", 128)
    monkeypatch.setattr(tiling, "MARGIN", 8)
    monkeypatch.setattr(tiling, "SAMPLES", 16)
    monkeypatch.setattr(tiling, "SAMPLE", 16)
    monkeypatch.setattr(tiling, "MISS", 0.0)


def landscape(width=250, height=310) -> Image.Image:
    """A flat sky over noise: what is in one tile tells nothing of the next."""
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    photo[: height // 2] = np.linspace(90, 200, height // 2).astype(np.uint8)[:, None, None]
    return Image.fromarray(photo)


def psnr(a, b) -> float:
    return -10 * np.log10(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2) / 255**2)


@pytest.mark.parametrize("way", ["lattice", "scatter", "looseness"])
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_tiles_give_the_same_picture(tiny_pipeline, small_tiles, monkeypatch, strength, way):
    photo, bank = landscape(), tiny_pipeline.fusion.bank
    if way != "lattice":
        monkeypatch.setattr(bank, way, torch.ones_like(bank.looseness))
    whole = tiny_pipeline(photo, "a mosaic", strength=strength).images[0]
    tiny_pipeline.enable_tiling()
    tiled = tiny_pipeline(photo, "a mosaic", strength=strength).images[0]
    assert tiled.size == photo.size
    assert psnr(whole, tiled) > 45
    assert psnr(whole, photo) < 30  # there was something to get wrong


def test_statistics_of_single_tiles_would_not_do(tiny_pipeline, small_tiles, monkeypatch):
    """Group norms that see only their tile are what the module is for."""
    photo = landscape()
    whole = tiny_pipeline(photo, "a mosaic").images[0]
    tiny_pipeline.enable_tiling()
    monkeypatch.setattr(tiling._AsOne, "__call__", lambda self, tile: self.function(self.window_of(tile)))
    monkeypatch.setattr(tiling._AsOne, "missed", lambda self: False)
    assert psnr(whole, tiny_pipeline(photo, "a mosaic").images[0]) < 40


def test_output_types_and_repeatability(tiny_pipeline, small_tiles):
    photo = landscape(200, 150)
    tiny_pipeline.enable_tiling()
    picture, again = (np.asarray(tiny_pipeline(photo, "ink").images[0]) for _ in range(2))
    array = tiny_pipeline(photo, "ink", output_type="np").images
    latents = tiny_pipeline(photo, "ink", output_type="latent").images
    assert np.array_equal(picture, again)
    assert array.shape == (1, 150, 200, 3) and np.abs(array[0] * 255 - picture).max() <= 0.51
    assert latents.shape == (1, 4, 38, 50)
    assert np.array_equal(tiny_pipeline(photo, "ink", strength=0).images[0], photo)


def test_the_vaes_own_slicing_and_tiling_do_not_interfere(tiny_pipeline, small_tiles):
    tiny_pipeline.enable_tiling()
    photo = landscape(200, 150)
    expected = tiny_pipeline(photo, "ink").images[0]
    tiny_pipeline.vae.enable_slicing()
    tiny_pipeline.vae.enable_tiling()
    assert np.array_equal(tiny_pipeline(photo, "ink").images[0], expected)
    assert tiny_pipeline.vae.use_slicing and tiny_pipeline.vae.use_tiling


@pytest.mark.parametrize(("owner", "method"), [("vae", "decode"), ("pipe", "decode_latents")])
def test_nor_do_they_where_a_method_was_replaced(tiny_pipeline, small_tiles, monkeypatch, owner, method):
    tiny_pipeline.enable_tiling()
    photo = landscape(200, 150)
    expected = tiny_pipeline(photo, "ink").images[0]
    owner = {"vae": tiny_pipeline.vae, "pipe": tiny_pipeline}[owner]
    own = getattr(owner, method)
    monkeypatch.setattr(owner, method, lambda *args, **kwargs: own(*args, **kwargs))
    tiny_pipeline.vae.enable_slicing()
    assert np.array_equal(tiny_pipeline(photo, "ink").images[0], expected) and tiny_pipeline.vae.use_slicing


def test_while_tiles_are_made_other_threads_have_the_vaes_own_slicing(tiny_pipeline, small_tiles, monkeypatch):
    meanwhile, fuse = [], tiny_pipeline.fuse
    monkeypatch.setattr(tiny_pipeline, "fuse", lambda *args: meanwhile.append(tiny_pipeline.vae.use_slicing) or fuse(*args))
    tiny_pipeline.vae.enable_slicing()
    tiny_pipeline.enable_tiling()
    tiny_pipeline(landscape(140, 60), "ink")
    assert meanwhile and all(meanwhile)


def test_an_interrupt_as_a_tile_begins_leaves_later_group_norms_alone(tiny_pipeline, small_tiles, monkeypatch):
    enter = torch.overrides.TorchFunctionMode.__enter__

    def interrupted(self):
        enter(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.overrides.TorchFunctionMode, "__enter__", interrupted)
    tiny_pipeline.enable_tiling()
    with pytest.raises(KeyboardInterrupt):
        tiny_pipeline(landscape(140, 60), "ink")
    images = torch.rand(2, 4, 8, 8)
    assert torch.nn.GroupNorm(2, 4)(images).mean().item() == pytest.approx(0, abs=1e-5)


def test_only_large_photos_are_tiled_unless_told(tiny_pipeline, small_tiles, monkeypatch):
    tiled = []
    monkeypatch.setattr(pipeline, "stylise_in_tiles", lambda pipe, photo, *_: tiled.append(photo.shape) or photo)
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE", 200 * 150)
    tiny_pipeline([landscape(200, 150), landscape(201, 150)], "ink")
    assert tiled == [(1, 3, 150, 201)]
    tiny_pipeline.disable_tiling()
    tiny_pipeline(landscape(201, 150), "ink")
    assert len(tiled) == 1
    tiny_pipeline.enable_tiling()
    tiny_pipeline([landscape(200, 150), landscape(100, 90)], "ink")  # the second is no larger than a tile
    assert len(tiled) == 2


@pytest.fixture
def vae_calls(monkeypatch):
    """The names of the pipeline's steps that call the VAE, as they are called."""
    calls = []

    def watch(name):
        step = getattr(StyleMambaPipeline, name)
        monkeypatch.setattr(StyleMambaPipeline, name, lambda *args: calls.append(name) or step(*args))

    watch("encode_images")
    watch("decode_latents")
    return calls


def test_the_bundled_model_needs_each_tile_once(monkeypatch, vae_calls):
    """Its group norms' moments are estimated well enough from samples."""
    monkeypatch.setattr(tiling, "TILE", 384)
    monkeypatch.setattr(pipeline, "TILE", 384)
    pipe, photo = StyleMambaPipeline.from_pretrained(), synthetic_photo(700, 560)
    whole = pipe(photo, "a Monet painting").images[0]
    pipe.enable_tiling()
    vae_calls.clear()
    tiled = pipe(photo, "a Monet painting").images[0]
    assert psnr(whole, tiled) > 45
    tiles = len(tiling._Grid(pipe, 140, 175).tiles)
    assert vae_calls == ["encode_images"] * (1 + tiles) + ["decode_latents"] * 2 * (1 + tiles)  # the samples once, and the tiles


def test_tiles_are_made_again_when_the_estimate_was_far_off(tiny_pipeline, small_tiles, monkeypatch, vae_calls):
    monkeypatch.setattr(tiling, "MISS", 0.1)
    photo = landscape()
    tiny_pipeline.enable_tiling()
    tiny_pipeline(photo, "ink")
    enough = vae_calls.count("encode_images")
    monkeypatch.setattr(tiling, "_calibrated", lambda samples, whole: torch.eye(len(samples))[0])  # one window of sky for all
    vae_calls.clear()
    tiny_pipeline(photo, "ink")
    assert vae_calls.count("encode_images") == 2 * enough


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("side", [1024, 512])
def test_the_windows_that_tell_the_moments_take_no_more_than_a_tile(factor, side):
    pipe = SimpleNamespace(vae_scale_factor=factor, fusion=SimpleNamespace(config=SimpleNamespace(patch_size=2)))
    grid = tiling._Grid(pipe, 4096 // factor, 4096 // factor, side)
    pixels = [(rows.window.stop - rows.window.start) * (columns.window.stop - columns.window.start) for rows, columns in grid.samples]
    assert 0.5 * side**2 < factor**2 * sum(pixels) <= side**2


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 1, 9), (2, 8, 9, 1)])
def test_texture_of_a_single_row_is_a_number(shape):
    assert tiling._texture(torch.rand(shape)).isfinite().all()


def test_calibrated_samples_stand_for_the_whole():
    """Half of the picture is dark, and only a tenth of the samples are."""
    samples = torch.rand(100, 2) * 0.1 + torch.tensor([0.0, 0.5])
    samples[:90, 0] += 1
    whole = torch.tensor([0.55, 0.55])
    weights = tiling._calibrated(samples, whole)
    assert weights.min() >= 0 and weights.sum().item() == pytest.approx(1)
    assert abs(weights @ samples - whole)[0] < 0.25 * abs(samples.mean(0) - whole)[0]


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 48, 49, 100, 1000])
def test_spans_cover_the_axis_once(length):
    spans = tiling._spans(length, 64, tiling.MARGIN)
    assert [i for span in spans for i in range(length)[span.core]] == list(range(length))
    assert all(span.window.start % 64 == 0 and span.window.stop <= length for span in spans)
    fades = torch.zeros(length)
    for span in spans:
        fades[span.window] += tiling._fade(span.window, length, tiling.MARGIN, fades)
    assert torch.allclose(fades, torch.ones(length))


@pytest.mark.parametrize("side", [256, 512, 1024])
@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("patch", [1, 2, 3, 8])
def test_fusion_windows_of_every_size_fade_into_their_neighbours_alone(side, scale, patch):
    pipe = SimpleNamespace(vae_scale_factor=scale, fusion=SimpleNamespace(config=SimpleNamespace(patch_size=patch)))
    fades, grid = torch.zeros(300), tiling._Grid(pipe, 8, 300, side)
    assert grid.margin >= max(16, 8 * patch)  # what the scans still do at 8 tokens is no more to be seen
    for tile in grid.tiles:
        fades[tile.columns.window] += tiling._fade(tile.columns.window, 300, grid.margin, fades)
    assert torch.allclose(fades, torch.ones(300))


@pytest.mark.parametrize("offloaded", [False, True])
def test_a_photos_tiles_are_brought_to_the_vae(tiny_pipeline, small_tiles, monkeypatch, offloaded):
    """ComfyUI keeps photos on the CPU, and diffusers an offloaded VAE until it is called; the meta device stands for a GPU."""

    class Seen(Exception):
        pass

    def encode_images(images, generator=None):
        raise Seen(images.device.type)

    if offloaded:
        accelerate.cpu_offload_with_hook(tiny_pipeline.vae, execution_device="meta")
    else:
        tiny_pipeline.vae.to("meta")
    monkeypatch.setattr(tiny_pipeline, "encode_images", encode_images)
    with pytest.raises(Seen, match="meta"):
        tiling.encode_in_tiles(tiny_pipeline, torch.rand(1, 3, 300, 200))
