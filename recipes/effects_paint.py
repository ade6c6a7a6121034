"""More procedural renderings for ``effects.EFFECTS``: paintings, stroke by stroke (after Hertzmann, SIGGRAPH 1998, and Haeberli, 1990).

A stroke has one colour, taken from the picture where it is set down and changed a little, and lies over those before it. Where strokes
lie, and how they vary, is read from the noise that the fusion sees at the same place (`stylemamba.noise`): strokes that are drawn by lot
cannot be learned but for their average.
"""

import functools
from typing import NamedTuple

import filters as f
import numpy as np
from effects import effect

from stylemamba.noise import NOISE_PERIOD, NoiseField

LATENT = 4  # px, side of a latent pixel


class Brush(NamedTuple):
    """Strokes of a size, px: ``length`` and ``width`` (each varies by a third). ``shade`` and ``hue`` are the deviations of a stroke's
    brightness and of each of its channels, ``turn`` that of its direction (radians), and ``bristle`` the depth of its hairs."""

    length: float
    width: float
    shade: float
    hue: float
    turn: float = 0.2
    bristle: float = 0.05


@functools.cache
def noise() -> np.ndarray:
    """(channels, NOISE_PERIOD, NOISE_PERIOD): what the fusion sees of it from a picture's top left corner on."""
    return NoiseField().field.numpy()


def lay_strokes(rgb: np.ndarray, direction: np.ndarray, brush: Brush) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) in strokes along a direction (H, W, 2: x, y), and how thick the paint lies (H, W).

    Every latent pixel has a stroke, and the one with the most of the noise's first channel lies on top.
    """
    h, w = rgb.shape[:2]
    reach = int(np.ceil(0.65 * brush.length / LATENT)) + 1
    rows, columns = (-(-n // LATENT) for n in (h, w))
    cells = [np.arange(n + 2 * reach) - reach for n in (rows, columns)]
    order, shade, down, right, *coarse = noise()[:, cells[0] % NOISE_PERIOD][:, :, cells[1] % NOISE_PERIOD]
    middle_y, middle_x = ((np.float32(c) + 0.5 + 0.8 * np.tanh(n)) * LATENT for c, n in ((cells[0][:, None], down), (cells[1], right)))
    at = np.clip(middle_y, 0, h - 1).astype(int), np.clip(middle_x, 0, w - 1).astype(int)
    angle = np.arctan2(direction[at][..., 1], direction[at][..., 0]) + brush.turn * (coarse[0] + coarse[2]) * 0.7
    length, width = (size * (0.5 + 0.1 * np.clip(c, -1.5, 1.5)) for size, c in ((brush.length, coarse[1]), (brush.width, shade)))
    strokes = np.stack([middle_y, middle_x, np.cos(angle), np.sin(angle), length, width, order])

    def from_middle(y, x, stroke):
        """How far along and across a stroke a pixel lies, 1 being its border."""
        middle_y, middle_x, along, across, length, width, _ = stroke
        return ((x - middle_x) * along + (y - middle_y) * across) / length, ((y - middle_y) * along - (x - middle_x) * across) / width

    # A latent pixel's pixels ask the strokes of those around it, all latent pixels at a time.
    y, x = np.arange(rows * LATENT).reshape(rows, LATENT, 1, 1), np.arange(columns * LATENT).reshape(columns, LATENT)
    last = np.full((rows, LATENT, columns, LATENT), -np.inf, np.float32)
    top = np.full(last.shape, -1)
    for i, j in np.ndindex(2 * reach + 1, 2 * reach + 1):
        stroke = strokes[:, i : i + rows, None, j : j + columns, None]
        u, v = from_middle(y, x, stroke)
        covers = (u**4 + v**2 < 1) & (stroke[-1] > last)
        last = np.where(covers, stroke[-1], last)
        top = np.where(covers, np.ravel_multi_index(np.ogrid[i : i + rows, j : j + columns], order.shape)[:, None, :, None], top)
    top = top.reshape(rows * LATENT, columns * LATENT)[:h, :w]
    stroke = strokes.reshape(len(strokes), -1)[:, top]
    _, v = from_middle(*np.ogrid[:h, :w], stroke)
    span = v * stroke[5]
    hair = np.sin(2.2 * span) / 2 + np.sin(3.7 * span) / 2
    colour = f.blur(rgb, brush.width / 3)[at] + brush.shade * shade[..., None] + brush.hue * np.stack([down, right, coarse[0]], -1)
    out = colour.reshape(-1, 3)[top] * (1 + brush.bristle * hair[..., None])
    bare = (top < 0)[..., None]
    height = np.where(bare[..., 0], 0, 0.6 * (1 - np.abs(v) ** 3) + 0.2 * stroke[-1] + 0.2 * hair)
    return np.clip(np.where(bare, rgb, out), 0, 1).astype(np.float32), height.astype(np.float32)


def canvas(rgb: np.ndarray, base: np.ndarray, direction: np.ndarray, large: Brush, fine: Brush, light: float, kept: float) -> np.ndarray:
    """``base`` (the photo ``rgb`` in the painter's colours) in large strokes, in fine ones where something is nearby; ``light`` falls on
    the paint's ridges, and of the photo's finest detail ``kept`` comes back there."""
    (out, height), (close, ridges) = lay_strokes(base, direction, large), lay_strokes(f.mix(base, rgb, 0.2), direction, fine)
    busy = 0.9 * f.step(0.04, 0.18, f.blur(f.edges(rgb, 1.5), 2))
    out, height = f.mix(out, close, busy), f.mix(height[..., None], ridges[..., None], busy)[..., 0]
    lit = out * (1 + f.relief(f.blur(height, 0.6), light))[..., None]
    return np.clip(lit + f.detail(rgb, kept) * busy[..., None], 0, 1)


def seen(channel: int, rgb: np.ndarray) -> np.ndarray:
    """(H, W): a channel of the noise under each pixel."""
    y, x = (np.arange(n) // LATENT % NOISE_PERIOD for n in rgb.shape[:2])
    return noise()[channel][y][:, x]


def swirls(rgb: np.ndarray, size: float) -> np.ndarray:
    """Angles (H, W) that turn around the hills of the noise's coarsest channel, of about ``size`` px (16 at least)."""
    hills = f.blur(seen(-1, rgb), max(size**2 - 16**2, 4) ** 0.5)
    down, right = np.gradient(hills)
    return np.arctan2(down, right) + np.pi / 2


def toned(smooth: np.ndarray, grey: np.ndarray, vivid: float, limit: float, air: float, *stops: str) -> np.ndarray:
    """Colours strengthened, drawn to a painter's palette by brightness (the share ``air`` of it), at the brightness ``grey``."""
    return f.recolour(f.mix(f.vivid(smooth, vivid, limit), f.ramp(grey, *stops), air), grey)


@effect("oil painting", loose=True)
def oil_painting(rgb):
    base = f.vivid(f.contrast(f.kuwahara(rgb, 4), 1.1), 1.7)
    direction = f.flow(base, 4, np.radians(35), 0.001)
    return canvas(rgb, base, direction, Brush(28, 8, 0.025, 0.01, 0.3, 0.06), Brush(13, 4, 0.025, 0.01), 0.2, 0.8)


@effect("palette knife", loose=True)
def palette_knife(rgb):
    base = f.vivid(f.contrast(f.kuwahara(rgb, 5), 1.15), 2.4)
    direction = f.flow(base, 5, np.radians(-30), 0.002)
    return canvas(rgb, base, direction, Brush(30, 15, 0.06, 0.04, 0.5, 0.03), Brush(15, 7, 0.05, 0.03, 0.4, 0.03), 0.35, 0.5)


@effect("monet painting", loose=True)
def monet_painting(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.12 + 0.88 * f.tone(f.luma(smooth), 0.25) ** 0.85
    base = toned(smooth, grey, 2.8, 0.65, 0.42, "#3a3f8c", "#5f7fc0", "#8fb8b8", "#e8c8c8", "#fff4d8")
    direction = f.flow(smooth, 4, np.radians(8), 0.002)
    return canvas(rgb, base, direction, Brush(22, 7, 0.03, 0.06), Brush(10, 3.2, 0.035, 0.065), 0.12, 0.8)


@effect("impressionism", loose=True)
def impressionism(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.1 + 0.9 * f.tone(f.luma(smooth), 0.3)
    base = toned(smooth, grey, 2.0, 0.6, 0.3, "#2a3474", "#58708c", "#b09878", "#f0dcb0", "#fff8e0")
    direction = f.flow(smooth, 4, np.radians(-50), 0.002)
    return canvas(rgb, base, direction, Brush(18, 7.5, 0.05, 0.05, 0.45), Brush(9, 3.4, 0.05, 0.05, 0.4), 0.16, 0.7)


@effect("post-impressionism", loose=True)
def post_impressionism(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.4), 1.1)
    base = f.mix(f.recolour(f.vivid(smooth, 3.0), grey), f.ramp(grey, "#1c2450", "#2f6070", "#7f9058", "#d8a850", "#fff0c0"), 0.3)
    direction = f.flow(smooth, 4, np.radians(60), 0.002)
    return canvas(rgb, base, direction, Brush(20, 6.5, 0.07, 0.04, 0.15, 0.07), Brush(10, 3.4, 0.06, 0.04, 0.15), 0.2, 0.6)


@effect("van gogh", loose=True)
def van_gogh(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.15)
    mood = f.ramp(grey, "#0a1650", "#1d4fa8", "#3f8fc0", "#8fbf98", "#f0c53c", "#fff2b4")
    base = f.mix(f.recolour(f.vivid(smooth, 3.0, 0.8), grey), mood, 0.55)
    direction = f.flow(smooth, 4, swirls(rgb, 22), 0.002)
    large, fine = Brush(24, 5.5, 0.09, 0.05, 0.12, 0.07), Brush(11, 3, 0.07, 0.04, 0.15, 0.06)
    return f.mix(canvas(rgb, base, direction, large, fine, 0.22, 0.6), f.rgb_of("#0a1238"), 0.5 * f.outline(rgb, 1.6, 0.07))


@effect("pissarro", loose=True)
def pissarro(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.14 + 0.84 * f.tone(f.luma(smooth), 0.3)
    base = toned(smooth, grey, 1.9, 0.55, 0.4, "#34446a", "#5a7a5a", "#9cac78", "#e4d8a8", "#fff6e0")
    direction = f.flow(smooth, 4, np.radians(30), 0.002)
    return canvas(rgb, base, direction, Brush(11, 5, 0.05, 0.05, 0.5), Brush(8, 3, 0.045, 0.05, 0.4), 0.14, 0.7)


@effect("signac", loose=True)
def signac(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.12 + 0.88 * f.tone(f.luma(smooth), 0.3)
    base = toned(smooth, grey, 3.2, 0.8, 0.4, "#3038a0", "#4080d0", "#e08898", "#f8d080", "#fff8d8")
    direction = f.flow(smooth, 5, 0.0, 0.004)
    return canvas(rgb, base, direction, Brush(8.5, 6.5, 0.04, 0.1, 0.12, 0), Brush(6, 4.6, 0.04, 0.09, 0.12, 0), 0.08, 0.6)
