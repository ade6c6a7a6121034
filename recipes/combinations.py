"""Pictures in two or three styles at once: which are combined, and which is laid over which."""

from functools import cache

import numpy as np
from effects import EFFECTS
from sentences import vocabulary

LAYERS = {"light": 0, "film": 0, "mood": 0, "art": 1, "artist": 1, "medium": 2, "digital": 2}  # by the styles' groups
TINT = np.array([1.25, 0.95, 0.7], np.float32)  # what a warm light does to a photo
DEAF = 0.4  # of a tint's change of the photo: a style that shows less of it has colours of its own


def with_effect(photo: np.ndarray, name: str) -> np.ndarray:
    """uint8 (H, W, 3) to the same."""
    return np.rint(EFFECTS[name](photo.astype(np.float32) / 255) * 255).astype(np.uint8)


@cache
def has_own_colours(name: str) -> bool:
    """Whether a style's picture hardly tells what colour the light had, as charcoal's and a blueprint's does not."""
    coarse = np.random.RandomState(0).uniform(0.2, 0.75, (8, 8, 3)).astype(np.float32)
    photo = np.kron(coarse, np.ones((16, 16, 1), np.float32))
    tinted = photo * TINT
    tinted *= photo.mean(-1, keepdims=True) / tinted.mean(-1, keepdims=True)  # another colour, as light as before
    made, of_tinted = (EFFECTS[name](x.clip(0, 1)).mean((0, 1)) for x in (photo, tinted))
    return np.abs(of_tinted - made).mean() < DEAF * np.abs(tinted.mean((0, 1)) - photo.mean((0, 1))).mean()


def laid(names: list[str]) -> list[str]:
    """Styles in the order in which their effects are applied.

    A painter paints what the light shows, and a craft is made after a painting: light, art, medium. But on a medium with colours of its own
    no light would be seen, so that falls on the finished picture.
    """
    groups = {style["name"]: LAYERS[style["group"]] for style in vocabulary()}
    names = sorted(names, key=groups.get)
    lights = [name for name in names if groups[name] == 0]
    rest = names[len(lights) :]
    return rest + lights if any(has_own_colours(name) for name in rest) else names


def draw(rng: np.random.Generator) -> list[str]:
    """Two or three styles of different layers; two of three may be lights."""
    layers = [[s["name"] for s in vocabulary() if s["name"] in EFFECTS and LAYERS[s["group"]] == layer] for layer in range(3)]
    chosen = ((0, 1), (0, 2), (1, 2), (0, 0, 1), (0, 0, 2), (0, 1, 2))[rng.choice(6, p=(0.25, 0.35, 0.2, 0.05, 0.1, 0.05))]
    return laid([str(name) for layer in {*chosen} for name in rng.choice(layers[layer], chosen.count(layer), replace=False)])


def make(photos: np.ndarray, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """``count`` pictures of combinations, their ``names`` (count, 3), empty where there are but two, and their photos' ``index``."""
    names = [draw(rng) for _ in range(count)]
    index, pictures = rng.integers(len(photos), size=count), []
    for i, combined in zip(index, names):
        picture = photos[i]
        for name in combined:
            picture = with_effect(picture, name)
        pictures.append(picture)
    return {"index": index, "pictures": np.stack(pictures), "names": np.array([[*n, ""][:3] for n in names])}
