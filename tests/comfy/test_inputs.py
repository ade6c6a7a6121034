"""What the nodes make of pictures of every kind, of values that come through links, and of lists."""

import math

import numpy as np
import pytest
import torch
from comfy_stubs import ProgressBar

from stylemamba import StyleMambaError
from stylemamba.images import load_image, load_image_and_alpha

pytestmark = pytest.mark.usefixtures("inference_mode")
TRAINING = dict(steps=2, seed=1, size=64, batch_size=1)


def same(style, other) -> bool:
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in style.tensors.items())


def test_photos_of_a_folder_and_of_a_batch_train_one_style(nodes, run, model, tiny_pipeline, image):
    batch, single = torch.cat([image(40, 32), image(40, 32, seed=1)]), image(50, 39, seed=2)
    assert nodes["StyleMambaTrain"].define_schema().is_input_list
    as_lists = {name: [value] for name, value in {"model": model, "text": "fire", **TRAINING}.items()}
    style = run("Train", images=[batch, single], **as_lists)
    photos = [photo.numpy() for photo in (*batch, *single)]
    tiny_pipeline.train_on_style("fire", photos, num_train_steps=2, seed=1, size=64, batch_size=1)
    assert all(torch.allclose(tensor, style.tensors[name]) for name, tensor in tiny_pipeline.style_state()[0].items())
    with pytest.raises(StyleMambaError, match="'text' has 2 entries"):
        run("Train", images=[single], **{**as_lists, "text": ["fire", "snow"]})


@pytest.mark.parametrize(
    ("node", "chosen", "complaint"),
    [
        ("LoadStyle", {"style_file": "no.safetensors"}, "no style 'no.safetensors'"),
        ("LoadModel", {"model": "no"}, "no model 'no'"),
        ("LoadParts", {"vae": "no", "siglip": "parts/siglip"}, "no autoencoder folder 'no'"),
        ("LoadParts", {"vae": "parts/vae", "siglip": "no"}, "no siglip folder 'no'"),
        ("LoadFolder", {"folder": "input/no", "limit": 50}, "no folder 'input/no'"),
    ],
)
def test_choice_that_another_node_makes_is_checked_when_it_is_known(nodes, run, models, fire, input_folder, node, chosen, complaint):
    """Until then, any of the files may be meant."""
    run("SaveStyle", fire, "mine")
    photo = input_folder / "photo.png"
    loader, unknown = nodes[f"StyleMamba{node}"], {name: None for name in chosen}
    assert loader.validate_inputs(**{name: None for name in chosen if name != "limit"}) is True
    photo.write_bytes(b"")
    before = loader.fingerprint_inputs(**unknown)
    assert loader.fingerprint_inputs(**unknown) == before
    changed = ("mine.safetensors", "tiny/model_index.json", "parts/vae/config.json")
    for path in (photo, *(models / name for name in changed)):
        path.write_bytes(path.read_bytes() + b" ")
    assert loader.fingerprint_inputs(**unknown) != before
    with pytest.raises(StyleMambaError, match=complaint):
        run(node, **chosen)


@pytest.mark.parametrize(
    ("node", "name", "value", "message"),
    [
        ("Stylize", "strength", 5.0, "The strength is 5; use 0 to 3."),
        ("Stylize", "resolution", -5, "The resolution is -5; use 0 to 8192."),
        ("Fusion", "strength", math.nan, "The strength is nan; use 0 to 3."),
        ("StyleEmbedding", "image_weight", 1.5, "The image weight is 1.5; use 0 to 1."),
        ("BlendStyles", "balance", -0.5, "The balance is -0.5; use 0 to 1."),
        ("Train", "batch_size", 0, "The batch size is 0; use 1 to 16."),
        ("Train", "seed", -1, "The seed is -1; use 0 to 18446744073709551615."),
        ("Train", "learning_rate", -1.0, "The learning rate is -1; use 0.0001 to 0.1."),
        ("LoadFolder", "limit", 0, "The limit is 0; use 1 to 10000."),
        ("LoadFolder", "skip", -1, "The skip is -1; use 0 to 1000000."),
        ("LoadFolder", "limit", 5.0, "The limit is 5.0; use a whole number from 1 to 10000."),
        ("LoadFolder", "limit", "5", "The limit is '5'; use a whole number from 1 to 10000."),
        ("Stylize", "strength", "1.0", "The strength is '1.0'; use a number from 0 to 3."),
    ],
)
def test_number_through_a_link_is_within_its_range(run, model, fire, input_folder, node, name, value, message, image):
    photo = image(40, 32)
    given = {
        "Stylize": {"image": photo, "text": "fire", "strength": 1.0},
        "Fusion": {"model": model, "latent": {}, "style": fire},
        "StyleEmbedding": {"model": model, "text": "fire", "style_image": photo},
        "BlendStyles": {"style_a": fire, "style_b": fire},
        "Train": {"model": model, "images": photo, "text": "fire", **TRAINING},
        "LoadFolder": {"folder": "input", "limit": 50},
    }[node]
    with pytest.raises(StyleMambaError) as error:
        run(node, **{**given, name: value})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (torch.zeros(0, 32, 40, 3), "holds no image"),
        (torch.zeros(1, 32, 40, 2), "has 2 channels"),
        (torch.full((1, 32, 40, 3), math.nan), "has NaN or infinite values"),
        (torch.full((1, 32, 40, 3), math.inf), "has NaN or infinite values"),
    ],
    ids=["empty", "two channels", "NaN", "infinite"],
)
def test_image_that_shows_nothing_is_refused_by_the_name_of_its_input(run, model, picture, complaint):
    for name, node in {
        "image": lambda: run("Stylize", picture, "fire", 1.0, model=model),
        "style image": lambda: run("StyleEmbedding", model, "", picture),
        "images": lambda: run("Train", model, picture, "fire", **TRAINING),
    }.items():
        with pytest.raises(StyleMambaError, match=f"^The input '{name}' {complaint}"):
            node()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_mask_that_masks_nothing_is_refused(run, model, image, value):
    with pytest.raises(StyleMambaError, match="^The input 'mask' has NaN or infinite values"):
        run("Stylize", image(40, 32), "fire", 1.0, mask=torch.full((1, 32, 40), value), model=model)


@pytest.mark.parametrize("with_photo", [True, False])
def test_latent_of_no_photo_is_refused(run, model, fire, image, with_photo):
    latent = run("VAEEncode", model, image(40, 32)) if with_photo else {}
    none = {**latent, "samples": torch.zeros(0, 4, 8, 10)}
    for node in (lambda: run("Fusion", model, none, fire, 1.0), lambda: run("Decode", model, none)):
        with pytest.raises(StyleMambaError, match="^The input 'latent' holds no latents"):
            node()


@pytest.mark.parametrize("width", [1024, 1100])
def test_strip_too_thin_for_a_preview_is_stylised_without_one(run, model, width):
    """ComfyUI would end with the error that it makes."""
    shape = (1, 1, width, 3)
    assert run("Stylize", torch.rand(shape), "fire", 1.0, model=model).shape == shape
    assert all(preview is None for *_, preview in ProgressBar.updates) and len(ProgressBar.updates) == 3


@pytest.mark.parametrize("node", ["LoadModel", "LoadParts", "LoadStyle", "LoadFolder"])
def test_where_nothing_can_be_chosen_it_is_for_comfyui_to_say_so(nodes, node):
    """Then it calls this without the choice, whose input it says is missing."""
    assert nodes[f"StyleMamba{node}"].validate_inputs() is True


@pytest.fixture
def transparent(image):
    """A photo with an invisible part, of a hidden grey, and a soft edge beside it."""

    def transparent(hidden):
        photo, alpha = image(40, 32), torch.ones(1, 32, 40, 1)
        alpha[:, :, :12], alpha[:, :, 12:20] = 0, 102 / 255
        return torch.cat([photo.where(alpha > 0, hidden), alpha], -1)

    return transparent


def as_image(picture) -> torch.Tensor:
    """PIL -> IMAGE."""
    return torch.from_numpy(np.array(picture)).float()[None] / 255


@pytest.mark.parametrize("resolution", [0, 32])
def test_invisible_part_of_a_photo_counts_as_white_and_a_soft_edge_keeps_its_colours(run, model, transparent, resolution):
    photo = transparent(0.0)
    stylize = lambda photo, strength: run("Stylize", photo, "fire", strength, resolution, model=model)  # noqa: E731
    assert torch.equal(stylize(photo, 1.0), stylize(transparent(1.0), 1.0))
    expected, alpha = map(as_image, load_image_and_alpha(photo[0].numpy()))
    assert torch.allclose(stylize(photo, 0.0), torch.cat([expected, alpha[..., None]], -1), atol=1e-3)


def test_transparency_of_a_style_image_and_of_training_photos_is_white(run, model, transparent):
    photo = transparent(0.0)
    opaque = as_image(load_image(photo[0].numpy()))
    shown, plain = (run("StyleEmbedding", model, "", each) for each in (photo, opaque))
    assert torch.allclose(shown.embedding, plain.embedding, atol=1e-3) and torch.allclose(shown.palette, plain.palette, atol=0.01)
    assert same(*(run("Train", model, each, "fire", **TRAINING) for each in (photo, opaque)))


@pytest.mark.parametrize("change", [lambda photo: photo[..., :1], lambda photo: photo * 3 - 1], ids=["grey", "beyond 0..1"])
def test_grey_and_overshooting_pictures_are_as_in_the_pipeline(run, model, image, change):
    picture = change(image(40, 32))
    plain = picture.clamp(0, 1).expand(-1, -1, -1, 3)
    assert torch.equal(*(run("StyleEmbedding", model, "", each).palette for each in (picture, plain)))
    assert same(*(run("Train", model, each, "fire", **TRAINING) for each in (picture, plain)))
