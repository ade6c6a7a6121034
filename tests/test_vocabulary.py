"""The vocabulary that ships with the package, and what the bundled model's text tower makes of it."""

import json
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image
from synthetic import synthetic_photo

from stylemamba import StyleMambaPipeline


@pytest.fixture(scope="module")
def styles() -> list[dict]:
    return json.loads(files("stylemamba").joinpath("styles.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bundled() -> StyleMambaPipeline:
    return StyleMambaPipeline.from_pretrained()


def test_every_style_has_a_name_of_its_own_in_both_languages_and_other_wordings(styles):
    assert len(styles) >= 120
    for language in ("name", "zh"):
        assert len({style[language] for style in styles}) == len(styles)
    assert all(len(set(style["wordings"])) >= 3 for style in styles)


def test_the_bundled_tokenizer_knows_every_character(styles, bundled):
    unknown = bundled.tokenizer.unk_token_id
    texts = [text for style in styles for text in (style["name"], style["zh"], *style["wordings"])]
    assert not [text for text, ids in zip(texts, bundled.tokenizer(texts)["input_ids"]) if unknown in ids]


def test_a_chinese_name_means_what_the_english_one_means(styles, bundled):
    english, chinese = (bundled.encode_prompt([style[language] for style in styles]) for language in ("name", "zh"))
    cosines = english @ chinese.T
    assert cosines.diagonal().mean() > 0.95
    assert (cosines.argmax(0) == cosines.argmax(0).new_tensor(range(len(styles)))).float().mean() > 0.95


@pytest.mark.parametrize(
    ("style", "least", "most"), [("fire", -0.4, 0.4), ("snow", -0.4, 0.4), ("oil painting", -0.4, 0.4), ("halftone", 0.9, 1.1)]
)
def test_only_a_lattice_repeats_over_an_even_grey(bundled, style, least, most):
    """Flames in the same place every 64 px look like wallpaper; a screen's dots must stay in line."""
    picture = np.asarray(bundled(Image.new("RGB", (256, 256), (200, 210, 220)), style).images[0], float)[32:-32, 32:-32]
    picture -= picture.mean((0, 1))
    assert picture.std() > 2  # there is a texture
    assert least < np.mean(picture[64:] * picture[:-64]) / np.mean(picture**2) < most


@pytest.mark.parametrize("style", ["night", "neon", "sepia"])
def test_a_picture_as_prompt_means_the_style_that_it_shows(styles, bundled, style):
    shown = bundled(synthetic_photo(192, 192, seed=3), style, output_type="pt").images
    names = [each["name"] for each in styles]
    near = bundled.encode_style_image(shown)[0] @ bundled.encode_prompt(names).T
    assert style in [names[index] for index in near.argsort(descending=True)[:3]]
    assert near.max() > 0.8  # and as its sentence, which the fusion understands: the encoder's own embedding has .5 at most


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("a hazy mosaic", {"fog", "mosaic"}),
        ("van gogh in the snow", {"van gogh", "snow"}),
        ("stained glass at night", {"stained glass", "night"}),
        ("charcoal, sunset", {"charcoal", "sunset"}),
        ("雨里的浮世绘", {"rain", "ukiyo-e"}),
    ],
)
def test_two_styles_in_one_sentence_are_both_meant(styles, bundled, prompt, meant):
    names = [each["name"] for each in styles]
    bank = bundled.fusion.bank
    shares = (bank.sharpness * bundled.encode_prompt(prompt) @ bank.keys[: len(names)].T).softmax(-1)[0]
    assert {names[index] for index in shares.argsort(descending=True)[:2]} == meant
    assert shares.sort(descending=True).values[1] > 0.15, "one of them is hardly seen"


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [("van goh", "van gogh"), ("impresionism", "impressionism"), ("stain glass", "stained glass"), ("watercolour", "watercolor")],
)
def test_a_slip_of_the_pen_is_understood(styles, bundled, prompt, meant):
    names = [each["name"] for each in styles]
    assert names[(bundled.encode_prompt(names) @ bundled.encode_prompt(prompt)[0]).argmax()] == meant


@pytest.mark.parametrize(
    "prompt", ["a photo", "photograph", "leave it as it is", "no filter, natural colours", "DSLR photo, 8k", "照片", "不要滤镜"]
)
def test_a_wish_for_no_look_leaves_the_photo(bundled, prompt):
    photo = synthetic_photo(192, 192, seed=3)
    changed = np.abs(bundled(photo, prompt, output_type="np").images[0] - np.asarray(photo) / 255).mean()
    assert changed < 0.05, "the mildest style changes it by .09, sepia by .15"


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("anime, masterpiece, best quality, 8k", "anime"),
        ("oil painting of a cat, highly detailed, sharp focus", "oil painting"),
        ("portrait of a young woman, watercolor, soft light", "watercolor"),
        ("水彩画，高清，杰作", "watercolor"),
    ],
)
def test_subjects_and_words_of_quality_ask_for_nothing(styles, bundled, prompt, meant):
    names = [each["name"] for each in styles]
    bank = bundled.fusion.bank
    shares = (bank.sharpness * bundled.encode_prompt(prompt) @ bank.keys[: len(names)].T).softmax(-1)[0]
    assert names[shares.argmax()] == meant and shares.max() > 0.6
