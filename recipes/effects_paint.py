"""More procedural renderings for ``effects.EFFECTS``: paintings, stroke by stroke (after Hertzmann, SIGGRAPH 1998, and Haeberli, 1990).

A stroke has one colour, taken from the picture where it is set down and changed a little, and lies over those before it.
"""

from typing import NamedTuple

import filters as f
import numpy as np
from effects import effect


class Brush(NamedTuple):
    """Strokes of a size, px: ``spacing`` of where they are set down, ``length`` and ``width`` (each varies by a third). ``shade`` and
    ``hue`` are the deviations of a stroke's brightness and of each of its channels, ``turn`` that of its direction (radians), and
    ``bristle`` the depth of its hairs."""

    spacing: float
    length: float
    width: float
    shade: float
    hue: float
    turn: float = 0.2
    bristle: float = 0.05


def lay_strokes(rgb: np.ndarray, direction: np.ndarray, brush: Brush, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) in strokes along a direction (H, W, 2: x, y), in random order, and how thick the paint lies (H, W)."""
    (h, w), spacing = rgb.shape[:2], brush.spacing
    reach = int(np.ceil(brush.length / 2 / spacing)) + 1
    cells = tuple(int(np.ceil(n / spacing)) + 2 * reach + 1 for n in (h, w))
    middle_y, middle_x = (np.indices(cells) - reach + rng.random((2, *cells))) * spacing
    at = np.clip(middle_y, 0, h - 1).astype(int), np.clip(middle_x, 0, w - 1).astype(int)
    angle = np.arctan2(direction[at][..., 1], direction[at][..., 0]) + brush.turn * rng.standard_normal(cells)
    along, across = np.cos(angle), np.sin(angle)
    length, width = (size * rng.uniform(0.35, 0.65, cells) for size in (brush.length, brush.width))
    colour = f.blur(rgb, brush.width / 3)[at]
    colour = colour + brush.shade * rng.standard_normal((*cells, 1)) + brush.hue * rng.standard_normal((*cells, 3))
    order, hairs = rng.random(cells), rng.uniform(0, 100, cells)
    y, x = f.grid_of(rgb)
    row, column = (y // spacing).astype(int) + reach, (x // spacing).astype(int) + reach
    last, out, height = np.full((h, w), -1.0), rgb.copy(), np.zeros((h, w), np.float32)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            cell = row + i, column + j
            right, down = x - middle_x[cell], y - middle_y[cell]
            u = (right * along[cell] + down * across[cell]) / length[cell]
            v = (down * along[cell] - right * across[cell]) / width[cell]
            covers = (np.abs(u) ** 4 + np.abs(v) ** 2.5 < 1) & (order[cell] > last)
            last = np.where(covers, order[cell], last)
            span = v * width[cell]
            hair = np.sin(2.2 * span + hairs[cell]) / 2 + np.sin(3.7 * span + 1.7 * hairs[cell]) / 2
            out = np.where(covers[..., None], colour[cell] * (1 + brush.bristle * hair[..., None]), out)
            height = np.where(covers, 0.6 * (1 - np.abs(v) ** 3) + 0.6 * order[cell] + 0.2 * hair, height)
    return np.clip(out, 0, 1).astype(np.float32), height.astype(np.float32)


def canvas(rgb: np.ndarray, base: np.ndarray, direction: np.ndarray, large: Brush, fine: Brush, light: float, kept: float) -> np.ndarray:
    """``base`` (the photo ``rgb`` in the painter's colours) in large strokes, in fine ones where something is nearby; ``light`` falls on
    the paint's ridges, and of the photo's finest detail ``kept`` comes back there."""
    rng = random_of(rgb)
    (out, height), (close, ridges) = lay_strokes(base, direction, large, rng), lay_strokes(f.mix(base, rgb, 0.2), direction, fine, rng)
    busy = 0.9 * f.step(0.04, 0.18, f.blur(f.edges(rgb, 1.5), 2))
    out, height = f.mix(out, close, busy), f.mix(height[..., None], ridges[..., None], busy)[..., 0]
    lit = out * (1 + f.relief(f.blur(height, 0.6), light))[..., None]
    return np.clip(lit + f.detail(rgb, kept) * busy[..., None], 0, 1)


def random_of(rgb: np.ndarray) -> np.random.Generator:
    """A photo's own strokes, the same each time."""
    return np.random.default_rng(int(rgb[::7, ::7].sum(dtype=np.float64) * 1e4))


def swirls(rgb: np.ndarray, size: float) -> np.ndarray:
    """Angles (H, W) that turn around the hills of a random landscape."""
    hills = f.blur(random_of(rgb).standard_normal(rgb.shape[:2]), size)
    down, right = np.gradient(hills)
    return np.arctan2(down, right) + np.pi / 2


def toned(smooth: np.ndarray, grey: np.ndarray, vivid: float, limit: float, air: float, *stops: str) -> np.ndarray:
    """Colours strengthened, drawn to a painter's palette by brightness (the share ``air`` of it), at the brightness ``grey``."""
    return f.recolour(f.mix(f.vivid(smooth, vivid, limit), f.ramp(grey, *stops), air), grey)


@effect("oil painting", loose=True)
def oil_painting(rgb):
    base = f.vivid(f.contrast(f.kuwahara(rgb, 4), 1.1), 1.7)
    direction = f.flow(base, 4, np.radians(35), 0.001)
    return canvas(rgb, base, direction, Brush(6, 28, 8, 0.025, 0.01, 0.3, 0.06), Brush(3.4, 13, 4, 0.025, 0.01), 0.2, 0.8)


@effect("palette knife", loose=True)
def palette_knife(rgb):
    base = f.vivid(f.contrast(f.kuwahara(rgb, 5), 1.15), 2.4)
    direction = f.flow(base, 5, np.radians(-30), 0.002)
    return canvas(rgb, base, direction, Brush(10, 30, 15, 0.06, 0.04, 0.5, 0.03), Brush(5, 15, 7, 0.05, 0.03, 0.4, 0.03), 0.35, 0.5)


@effect("monet painting", loose=True)
def monet_painting(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.12 + 0.88 * f.tone(f.luma(smooth), 0.25) ** 0.85
    base = toned(smooth, grey, 2.8, 0.65, 0.42, "#3a3f8c", "#5f7fc0", "#8fb8b8", "#e8c8c8", "#fff4d8")
    direction = f.flow(smooth, 4, np.radians(8), 0.002)
    return canvas(rgb, base, direction, Brush(6, 22, 7, 0.03, 0.06), Brush(3.2, 10, 3.2, 0.035, 0.065), 0.12, 0.8)


@effect("impressionism", loose=True)
def impressionism(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.1 + 0.9 * f.tone(f.luma(smooth), 0.3)
    base = toned(smooth, grey, 2.0, 0.6, 0.3, "#2a3474", "#58708c", "#b09878", "#f0dcb0", "#fff8e0")
    direction = f.flow(smooth, 4, np.radians(-50), 0.002)
    return canvas(rgb, base, direction, Brush(6, 18, 7.5, 0.05, 0.05, 0.45), Brush(3.2, 9, 3.4, 0.05, 0.05, 0.4), 0.16, 0.7)


@effect("post-impressionism", loose=True)
def post_impressionism(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.4), 1.1)
    base = f.mix(f.recolour(f.vivid(smooth, 3.0), grey), f.ramp(grey, "#1c2450", "#2f6070", "#7f9058", "#d8a850", "#fff0c0"), 0.3)
    direction = f.flow(smooth, 4, np.radians(60), 0.002)
    return canvas(rgb, base, direction, Brush(5.5, 20, 6.5, 0.07, 0.04, 0.15, 0.07), Brush(3.2, 10, 3.4, 0.06, 0.04, 0.15), 0.2, 0.6)


@effect("van gogh", loose=True)
def van_gogh(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.15)
    mood = f.ramp(grey, "#0a1650", "#1d4fa8", "#3f8fc0", "#8fbf98", "#f0c53c", "#fff2b4")
    base = f.mix(f.recolour(f.vivid(smooth, 3.0, 0.8), grey), mood, 0.55)
    direction = f.flow(smooth, 4, swirls(rgb, 22), 0.002)
    large, fine = Brush(5, 24, 5.5, 0.09, 0.05, 0.12, 0.07), Brush(3, 11, 3, 0.07, 0.04, 0.15, 0.06)
    return f.mix(canvas(rgb, base, direction, large, fine, 0.22, 0.6), f.rgb_of("#0a1238"), 0.5 * f.outline(rgb, 1.6, 0.07))


@effect("pissarro", loose=True)
def pissarro(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.14 + 0.84 * f.tone(f.luma(smooth), 0.3)
    base = toned(smooth, grey, 1.9, 0.55, 0.4, "#34446a", "#5a7a5a", "#9cac78", "#e4d8a8", "#fff6e0")
    direction = f.flow(smooth, 4, np.radians(30), 0.002)
    return canvas(rgb, base, direction, Brush(4.5, 11, 5, 0.05, 0.05, 0.5), Brush(3, 8, 3, 0.045, 0.05, 0.4), 0.14, 0.7)


@effect("signac", loose=True)
def signac(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.12 + 0.88 * f.tone(f.luma(smooth), 0.3)
    base = toned(smooth, grey, 3.2, 0.8, 0.4, "#3038a0", "#4080d0", "#e08898", "#f8d080", "#fff8d8")
    direction = f.flow(smooth, 5, 0.0, 0.004)
    return canvas(rgb, base, direction, Brush(5.5, 8.5, 6.5, 0.04, 0.1, 0.12, 0), Brush(4, 6, 4.6, 0.04, 0.09, 0.12, 0), 0.08, 0.6)
