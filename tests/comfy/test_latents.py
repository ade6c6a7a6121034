"""What ComfyUI's own latent nodes do between these nodes: the photo behind a latent goes with it, or is forgotten."""

import dataclasses

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


@pytest.fixture
def halves(image):
    """A mask of the left half of a photo of 64 x 32 px, and one of the right half."""
    left = torch.zeros(1, 32, 64)
    left[:, :, :32] = 1
    return left, left.flip(-1)


def test_two_fusions_put_together_show_both_styles(run, model, fire, image, halves):
    photo, snow = image(64, 32), run("StyleEmbedding", model, "snow and ice")
    latent = run("VAEEncode", model, photo)
    ours, theirs = (run("Fusion", model, latent, style, 1.0, mask) for style, mask in zip((fire, snow), halves))
    at_left = halves[0][:, None, ::4, ::4]
    both = with_samples(ours, ours["samples"] * at_left + theirs["samples"] * (1 - at_left))  # as LatentCompositeMasked does
    picture, left, right = (run("Decode", model, each) for each in (both, ours, theirs))
    far = lambda a, b, columns: (a - b)[:, :, columns].abs().mean()  # noqa: E731
    for alone, columns in ((left, slice(0, 20)), (right, slice(44, 64))):
        assert far(picture, alone, columns) < far(picture, photo, columns) / 2
    again = run("Decode", model, run("Fusion", model, both, fire, 0.0, halves[0]))
    assert far(again, picture, slice(44, 64)) < 1e-5, "a mask after that leaves what is outside it"


def test_as_much_of_the_photo_is_kept_as_another_node_left(run, model, fire, image, halves):
    latent = run("Fusion", model, run("VAEEncode", model, image(64, 32)), fire, 0.4, halves[0])
    photo, samples = latent["stylemamba_photo"], latent["samples"]
    known = lambda moves: type(photo).of(with_samples(latent, samples + moves * samples.std()))  # noqa: E731
    places = torch.tensor([10, 40, 52, 58])  # where columns 2, 10, 13 and 14 of the latents are
    moves = torch.zeros_like(samples)
    rounded = known(moves + 1e-4)
    assert torch.equal(rounded.kept, photo.kept) and torch.equal(rounded.region, photo.region)
    assert torch.allclose(photo.kept[0, 0, 16, places], torch.tensor([0.6, 1.0, 1.0, 1.0]))
    moves[..., 12:14], moves[..., 14:] = 0.25, 1
    changed = known(moves)
    kept = changed.kept[0, 0, 16, places]
    assert torch.allclose(kept[[0, 1, 3]], torch.tensor([0.6, 1.0, 0.0]), atol=1e-6) and 0.2 < kept[2] < 0.8
    assert torch.equal(changed.region[0, 0, 16, places], torch.tensor([1.0, 0.0, 1.0, 1.0]))
    # As with --gpu-only, where a photo may be on the GPU and a mask of Load Image is not.
    latent["stylemamba_photo"] = dataclasses.replace(photo, pixels=photo.pixels.to("meta"))
    assert torch.equal(known(moves).kept, changed.kept)


def test_another_photo_of_the_same_scene_in_the_batch_is_not_the_first_one(run, model, fire, image, halves):
    photo = image(64, 32)
    first = run("Fusion", model, run("VAEEncode", model, photo), fire, 1.0, halves[0])
    frame = first["samples"].clone()
    frame[..., 10:] += frame.std()  # something is brighter
    pictures = run("Decode", model, with_samples(first, torch.cat([first["samples"], frame])))  # as Latent Batch does
    errors = (pictures[:, :, 44:] - photo[:, :, 44:]).abs().mean((1, 2, 3))
    assert errors[0] < 1e-6 and errors[1] > 0.02


def test_other_latents_in_its_place_are_decoded_without_the_photo(run, model, fire, image):
    latent = run("VAEEncode", model, image(50, 39))
    replaced = with_samples(latent, torch.randn(latent["samples"].shape, generator=torch.Generator().manual_seed(0)))
    for styled in (replaced, run("Fusion", model, replaced, fire, 0.5)):
        assert torch.equal(run("Decode", model, styled), run("Decode", model, {"samples": styled["samples"]}))
