"""Sentences for training the text tower and the fusion: the vocabulary in many wordings, and the language around it."""

import json
import re
from collections.abc import Container
from importlib.resources import files
from pathlib import Path

import numpy as np

TEMPLATES = (
    "{}", "{} style", "a picture in {} style", "{} art", "make it look like {}", "turn this photo into {}", "an image of {}",
    "a beautiful {}", "{} with a lot of detail", "in the style of {}", "as {}", "the look of {}", "a {} of a {subject}", "{subject}, {}",
    "{} picture of my {subject}", "a {subject} as {}", "{}, soft colors", "{}, high quality", "a {adjective} {}", "{adjective} {}",
)  # fmt: skip
ZH_TEMPLATES = ("{}", "{}风格", "一幅{}", "{}效果", "变成{}", "像{}一样", "一张{}风格的照片", "美丽的{}")
PHOTO = "a photo"  # asks for no look at all
PLAIN = (PHOTO, "a photograph", "no style", "leave it as it is", "an unchanged photo", "realistic photo", "原图", "照片")
SUBJECTS = (
    "woman", "man", "child", "face", "dog", "cat", "horse", "bird", "house", "street", "city", "bridge", "boat", "harbor", "garden",
    "flower", "tree", "forest", "mountain", "river", "lake", "sea", "beach", "sky", "car", "train", "kitchen", "table", "fruit",
    "portrait", "landscape", "still life", "selfie", "holiday photo", "wedding", "crowd", "church", "castle", "meadow", "cloud", "girl",
    "boy", "baby", "old man", "grandmother", "family", "couple", "friends", "bride", "king", "queen", "princess", "knight", "soldier",
    "farmer", "fisherman", "dancer", "ballerina", "musician", "singer", "guitarist", "chef", "doctor", "astronaut", "pirate", "witch",
    "wizard", "warrior", "samurai", "geisha", "angel", "robot", "dragon", "unicorn", "mermaid", "superhero", "monster", "ghost", "skull",
    "rabbit", "fox", "wolf", "bear", "lion", "tiger", "elephant", "owl", "eagle", "peacock", "butterfly", "fish", "whale", "turtle",
    "snake", "cow", "sheep", "chicken", "mouse", "panda", "puppy", "kitten", "parrot", "swan", "bee", "village", "farm", "cottage",
    "cabin", "lighthouse", "tower", "temple", "cathedral", "palace", "ruins", "windmill", "barn", "skyscraper", "skyline", "market",
    "cafe", "restaurant", "bar", "shop", "library", "classroom", "office", "factory", "station", "airport", "harbour", "pier", "canal",
    "fountain", "square", "alley", "bicycle", "motorcycle", "bus", "truck", "ship", "sailboat", "airplane", "balloon", "spaceship",
    "tram", "island", "waterfall", "desert", "jungle", "volcano", "valley", "hill", "cliff", "cave", "pond", "field", "park", "orchard",
    "vineyard", "roses", "sunflowers", "tulips", "leaves", "mushroom", "apple", "lemons", "bread", "cake", "coffee", "tea", "wine",
    "soup", "pizza", "breakfast", "bottle", "vase", "books", "clock", "lamp", "chair", "piano", "violin", "guitar", "shoes", "hat",
    "dress", "mirror", "window", "door", "eyes", "hands", "my mum", "my dad", "my son", "my daughter", "my best friend", "our house",
    "people", "street market", "city at rush hour",
)  # fmt: skip
ADJECTIVES = (
    "soft", "bright", "dark", "colorful", "pale", "warm", "cold", "old", "modern", "abstract", "delicate", "bold", "dramatic", "peaceful",
    "gloomy", "vivid", "muted", "rough", "elegant", "blue", "red", "green", "golden", "purple", "futuristic", "sad", "happy", "mysterious",
    "simple", "wild", "sunny",
)  # fmt: skip
# Adjectives that ask for a style of their own.
MEANT = {
    "hazy": "fog", "foggy": "fog", "misty": "fog", "rainy": "rain", "wet": "rain", "snowy": "snow", "wintry": "snow", "icy": "frozen",
    "frosty": "frozen", "stormy": "thunderstorm", "smoky": "smoke", "burning": "fire", "fiery": "fire", "nocturnal": "night",
    "nighttime": "night", "moonlit": "moonlight", "starry": "starry night sky", "candlelit": "candlelight", "autumnal": "autumn",
    "sunset": "sunset", "golden hour": "golden hour", "underwater": "underwater", "dreamy": "dreamlike", "creepy": "horror",
    "scary": "horror", "glitchy": "glitch", "monochrome": "black and white", "sepia": "sepia", "neon": "neon", "vintage": "vintage film",
    "volcanic": "lava", "cosmic": "galaxy", "dusty": "sandstorm", "twilight": "blue hour",
}  # fmt: skip


def vocabulary() -> list[dict]:
    """The styles that ship with the package: name, zh, group, wordings; here with the paraphrases that only training sees.

    ``zh_wordings`` are Chinese, ``wordings`` English.
    """
    styles = json.loads(files("stylemamba").joinpath("styles.json").read_text(encoding="utf-8"))
    more = json.loads(Path(__file__).with_name("paraphrases.json").read_text(encoding="utf-8"))
    for style in styles:
        texts = {chinese: [t for t in more[style["name"]] if is_chinese(t) == chinese] for chinese in (False, True)}
        style["wordings"] += texts[False]
        style["zh_wordings"] = [style["zh"], *texts[True]]
    return styles


def word_it(wording: str, rng: np.random.Generator) -> str:
    """A wording of a style inside a random template."""
    template = TEMPLATES[rng.integers(len(TEMPLATES))]
    return template.format(wording, subject=SUBJECTS[rng.integers(len(SUBJECTS))], adjective=ADJECTIVES[rng.integers(len(ADJECTIVES))])


def meanings() -> list[tuple[str, dict[str, float]]]:
    """What the vocabulary has no word for (other painters, films, materials, moods, any words that call a look to mind) and requests for
    several styles: each with the styles that come nearest, by weight, and what asks for a photo as it is with `PHOTO`."""
    return [*json.loads(Path(__file__).with_name("meanings.json").read_text(encoding="utf-8")).items()]


def is_chinese(text: str) -> bool:
    return bool(re.search("[\u4e00-\u9fff]", text))


def join(texts: list[str], rng: np.random.Generator) -> str:
    """Two or three styles in one sentence."""
    if all(is_chinese(text) for text in texts):
        patterns = ("{0}和{1}", "{0}的{1}", "{0}，{1}", "{0}{1}", "{0}里的{1}")
    else:
        patterns = ("{0} {1}", "{0}, {1}", "{0} and {1}", "{0} with {1}", "a {0} {1}", "{0} in {1}", "{0} + {1}", "{0} in the style of {1}")
    while len(texts) > 1:
        texts = [patterns[rng.integers(len(patterns))].format(*texts[:2]), *texts[2:]]
    return texts[0]


def beside(meaning: dict[str, float], style: str) -> dict[str, float]:
    """One style with another beside it; what asks for a photo as it is gives way."""
    return {style: 1.0} if PHOTO in meaning else {**dict.fromkeys(meaning, 0.5), style: 0.5}


def misspelt(text: str, rng: np.random.Generator) -> str:
    """One slip in one word: letters swapped, lost, doubled or mistaken, or no space after it."""
    words = text.split(" ")
    at = [i for i, word in enumerate(words) if len(word) > 3 and word.isascii()]
    if not at:
        return text
    i = at[rng.integers(len(at))]
    word, slip = words[i], rng.integers(6)
    j = int(rng.integers(1, len(word) - 1))
    if slip == 0:
        word = word[:j] + word[j + 1] + word[j] + word[j + 2 :]
    elif slip == 1:
        word = word[:j] + word[j + 1 :]
    elif slip == 2:
        word = word[:j] + word[j] + word[j:]
    elif slip == 3:
        word = word[:j] + "aeiouy"[rng.integers(6)] + word[j + 1 :]
    elif slip == 4:
        word = re.sub(r"(.)\1", r"\1", word)  # as in "impresionism"
    elif i + 1 < len(words):
        return " ".join([*words[:i], word + words[i + 1], *words[i + 2 :]])
    return " ".join([*words[:i], word, *words[i + 1 :]])


class Sentences:
    """Draws sentences of every kind, and what each means: styles by weight."""

    def __init__(self, withheld: Container[str] = ()):
        self.english, self.chinese = {}, {}  # the wordings of each style, its name first
        for style in vocabulary():
            keep = lambda texts: [t for t in texts if t not in withheld]
            self.english[style["name"]] = [style["name"], *keep(style["wordings"])]
            self.chinese[style["name"]] = keep(style["zh_wordings"])
        self.names = [*self.english]
        self.others = [(text, meaning) for text, meaning in meanings() if text not in withheld]
        # Words of photography and quality (8k, sharp focus) by whether they are Chinese.
        photos = [text for text, meaning in self.others if [*meaning] == [PHOTO] and len(text) < 24]
        self.photos = [[text for text in photos if is_chinese(text) == chinese] for chinese in (False, True)]

    def wording(self, style: str, chinese: bool, rng: np.random.Generator) -> str:
        own = (self.chinese if chinese else self.english)[style]
        return own[0] if rng.random() < 0.15 else own[rng.integers(len(own))]

    def draw(self, rng: np.random.Generator) -> tuple[str, dict[str, float]]:
        kind, chinese = rng.random(), rng.random() < 0.25
        if kind < 0.38:
            text, meaning = self.others[rng.integers(len(self.others))]
            chinese = is_chinese(text)
            if len(meaning) == 1 and rng.random() < 0.2:
                also = self.names[rng.integers(len(self.names))]
                if also not in meaning:
                    text, meaning = join([text, self.wording(also, chinese, rng)], rng), beside(meaning, also)
        else:
            styles = [self.names[i] for i in rng.choice(len(self.names), 1 if kind < 0.66 else 2 if kind < 0.93 else 3, replace=False)]
            # Several in one sentence are more often called by their names.
            shorten = len(styles) > 1 and rng.random() < 0.5
            own = self.chinese if chinese else self.english
            text = join([own[style][0] if shorten else self.wording(style, chinese, rng) for style in styles], rng)
            meaning = dict.fromkeys(styles, 1 / len(styles))
        frame = rng.random()
        if chinese and frame < 0.5:
            text = ZH_TEMPLATES[rng.integers(len(ZH_TEMPLATES))].format(text)
        elif not chinese and frame < 0.08 and len(meaning) == 1:
            adjective = [*MEANT][rng.integers(len(MEANT))]
            if MEANT[adjective] not in meaning:
                text, meaning = f"{adjective} {text}", beside(meaning, MEANT[adjective])
        elif not chinese and frame < 0.6:
            text = word_it(text, rng)
        if rng.random() < (0.5 if [*meaning] == [PHOTO] else 0.1):  # people add this to any style; it changes nothing
            more = self.photos[chinese]
            text += f"{'，' if chinese else ', '}{more[rng.integers(len(more))]}"
        if rng.random() < 0.3:
            text = text.replace("color", "colour").replace("gray", "grey")
        return misspelt(text, rng) if not chinese and rng.random() < 0.15 else text, meaning


def word_sentences(count: int, words: list[str], rng: np.random.Generator) -> list[str]:
    """Any words of the language, so that unseen sentences land near their meaning."""
    patterns = (
        "{0}", "{0} {1}", "a {0} painting", "{0} style", "in the style of {0}", "made of {0}", "a {0} {1}", "{0} and {1}",
        "a photo of a {0}", "like a {0} in the {1}", "{0} {1} {2}", "the {0} of {1}", "a {2} {0} with {1}", "{0} colors",
        "a drawing of {0}",
    )  # fmt: skip
    picks = rng.integers(len(words), size=(count, 3))
    return [patterns[i % len(patterns)].format(*(words[p] for p in row)) for i, row in enumerate(picks)]
