"""What ComfyUI's own latent nodes do between these nodes: the photo behind a latent goes with it, or is forgotten."""

import pytest
import torch

pytestmark = pytest.mark.usefixtures("inference_mode")

# On (..., H, W), as Flip Latent and Rotate Latent do to latents.
TURNS = {
    "vertically": lambda x: x.flip(-2),
    "horizontally": lambda x: x.flip(-1),
    "90 degrees": lambda x: x.rot90(1, (-1, -2)),
    "180 degrees": lambda x: x.rot90(2, (-1, -2)),
    "270 degrees": lambda x: x.rot90(3, (-1, -2)),
}


def with_samples(latent: dict, samples: torch.Tensor) -> dict:
    """As ComfyUI's nodes change a latent: a copy of the dict, with everything else that is in it."""
    return {**latent, "samples": samples}


@pytest.mark.parametrize("size", [(50, 39), (32, 32)])
@pytest.mark.parametrize("when", ["before the fusion", "after it"])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_photo_turns_with_its_latent(run, model, fire, size, when, turn, image):
    photo = torch.cat([image(*size), torch.rand(1, size[1], size[0], 1)], -1)
    mask = torch.zeros(1, size[1], size[0])
    mask[:, :20, :30] = 1
    latent, turned = run("VAEEncode", model, photo), turn(photo.movedim(-1, 1)).movedim(1, -1)
    if when == "before the fusion":
        latent = run("Fusion", model, with_samples(latent, turn(latent["samples"])), fire, 0.5, turn(mask))
    else:
        latent = run("Fusion", model, latent, fire, 0.5, mask)
        latent = with_samples(latent, turn(latent["samples"]))
    picture = run("Decode", model, latent)
    assert picture.shape == turned.shape and torch.equal(picture[..., 3], turned[..., 3])
    outside = turn(mask) == 0
    assert torch.allclose(picture[outside], turned[outside], atol=1e-6)
    assert (picture - turned)[~outside].abs().mean() > 0.02


def test_detail_comes_from_the_photo_that_was_picked_from_the_batch(run, model, fire, image):
    photos = torch.cat([image(50, 39), image(50, 39, seed=1)])
    latent = run("VAEEncode", model, photos)
    repeated = with_samples(latent, latent["samples"][1:].clone().repeat(3, 1, 1, 1))
    picture = run("Decode", model, run("Fusion", model, repeated, fire, 0.0))
    assert torch.allclose(picture, photos[1:].expand(3, -1, -1, -1), atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_blend_of_two_fusions_keeps_the_photo(run, model, fire, image, share):
    photo = image(50, 39)
    latent = run("VAEEncode", model, photo)
    mild, full = (run("Fusion", model, latent, fire, strength, mask) for strength, mask in ((0.2, None), (1.0, torch.zeros(1, 39, 50))))
    blend = with_samples(full, torch.lerp(mild["samples"], full["samples"], share))
    assert torch.allclose(run("Decode", model, blend), photo, atol=1e-6), "the photo of the first latent, wholly masked there"


def test_other_latents_in_its_place_are_decoded_without_the_photo(run, model, fire, image):
    latent = run("VAEEncode", model, image(50, 39))
    replaced = with_samples(latent, torch.randn(latent["samples"].shape, generator=torch.Generator().manual_seed(0)))
    for styled in (replaced, run("Fusion", model, replaced, fire, 0.5)):
        assert torch.equal(run("Decode", model, styled), run("Decode", model, {"samples": styled["samples"]}))
