"""Sentences for training the text tower and the fusion: the vocabulary in many wordings, and the language around it."""

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np

TEMPLATES = (
    "{}", "{} style", "a picture in {} style", "{} art", "make it look like {}", "turn this photo into {}", "an image of {}",
    "a beautiful {}", "{} with a lot of detail", "in the style of {}", "as {}", "the look of {}", "a {} of a {subject}", "{subject}, {}",
    "{} picture of my {subject}", "a {subject} as {}", "{}, soft colors", "{}, high quality", "a {adjective} {}", "{adjective} {}",
)  # fmt: skip
ZH_TEMPLATES = ("{}", "{}风格", "一幅{}", "{}效果", "变成{}", "像{}一样", "一张{}风格的照片", "美丽的{}")
SUBJECTS = (
    "woman", "man", "child", "face", "dog", "cat", "horse", "bird", "house", "street", "city", "bridge", "boat", "harbor", "garden",
    "flower", "tree", "forest", "mountain", "river", "lake", "sea", "beach", "sky", "car", "train", "kitchen", "table", "fruit",
    "portrait", "landscape", "still life", "selfie", "holiday photo", "wedding", "crowd", "church", "castle", "meadow", "cloud",
)  # fmt: skip
ADJECTIVES = (
    "soft", "bright", "dark", "hazy", "foggy", "colorful", "pale", "warm", "cold", "old", "modern", "abstract", "delicate", "bold",
    "dramatic", "peaceful", "gloomy", "vivid", "muted", "rough", "elegant", "dreamy", "blue", "red", "green", "golden", "purple",
    "monochrome", "vintage", "futuristic", "sad", "happy", "mysterious", "simple", "wild", "rainy", "sunny",
)  # fmt: skip


def vocabulary() -> list[dict]:
    """The styles that ship with the package: name, zh, group, wordings; here with the paraphrases that only training sees.

    ``zh_wordings`` are Chinese, ``wordings`` English.
    """
    styles = json.loads(files("stylemamba").joinpath("styles.json").read_text(encoding="utf-8"))
    more = json.loads(Path(__file__).with_name("paraphrases.json").read_text(encoding="utf-8"))
    for style in styles:
        texts = {chinese: [t for t in more[style["name"]] if bool(re.search("[\u4e00-\u9fff]", t)) == chinese] for chinese in (False, True)}
        style["wordings"] += texts[False]
        style["zh_wordings"] = [style["zh"], *texts[True]]
    return styles


def word_it(wording: str, rng: np.random.Generator) -> str:
    """A wording of a style inside a random template."""
    template = TEMPLATES[rng.integers(len(TEMPLATES))]
    return template.format(wording, subject=SUBJECTS[rng.integers(len(SUBJECTS))], adjective=ADJECTIVES[rng.integers(len(ADJECTIVES))])


def word_pair(one: str, two: str, rng: np.random.Generator) -> str:
    """Two styles in one sentence, ``one`` being what light or film does to the scene and ``two`` the medium."""
    patterns = ("{0} {1}", "{1}, {0}", "{0}, {1}", "{0} and {1}", "{1} with {0}", "a {0} {1}", "{1} in {0}")
    return patterns[rng.integers(len(patterns))].format(one, two)


def style_sentences(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(free wording, the same by the styles' names); every fifth sentence combines two styles, every fifth is no template's."""
    styles, out = vocabulary(), []
    for index in range(count):
        chosen = [styles[i] for i in rng.choice(len(styles), 2 if index % 5 == 0 else 1, replace=False)]
        words = [([style["name"]] * 3 + style["wordings"])[rng.integers(3 + len(style["wordings"]))] for style in chosen]
        names = [style["name"] for style in chosen]
        if index % 5 != 1:
            between = " and " if rng.random() < 0.5 else ", "
            seed = rng.integers(2**31)
            out.append(tuple(word_it(between.join(texts), np.random.default_rng(seed)) for texts in (words, names)))
        else:
            out.append((words[0], names[0]))
    return out


def word_sentences(count: int, words: list[str], rng: np.random.Generator) -> list[str]:
    """Any words of the language, so that unseen sentences land near their meaning."""
    patterns = (
        "{0}", "{0} {1}", "a {0} painting", "{0} style", "in the style of {0}", "made of {0}", "a {0} {1}", "{0} and {1}",
        "a photo of a {0}", "like a {0} in the {1}", "{0} {1} {2}", "the {0} of {1}", "a {2} {0} with {1}", "{0} colors",
        "a drawing of {0}",
    )  # fmt: skip
    picks = rng.integers(len(words), size=(count, 3))
    return [patterns[i % len(patterns)].format(*(words[p] for p in row)) for i, row in enumerate(picks)]


def chinese_pairs(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(Chinese sentence, English sentence of the same meaning)."""
    styles, out = vocabulary(), []
    for _ in range(count):
        one, two = (styles[i] for i in rng.choice(len(styles), 2, replace=False))
        if rng.random() < 0.8:
            zh, en = one["zh_wordings"][rng.integers(len(one["zh_wordings"])) if rng.random() < 0.6 else 0], one["name"]
        else:
            zh, en = one["zh"] + "和" + two["zh"], one["name"] + " and " + two["name"]
        out.append((ZH_TEMPLATES[rng.integers(len(ZH_TEMPLATES))].format(zh), en))
    return out
