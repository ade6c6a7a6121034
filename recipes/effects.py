"""Procedural renderings of photos in named styles: the pictures that the bundled model learns to make from a photo and a sentence.

``EFFECTS`` maps a style's name to a function from float32 RGB (H, W, 3) in 0..1 to the same. Each is deterministic, looks no farther
than about 64 px and uses textures that repeat every 64 px from the top-left pixel, see ``filters``; but for those in ``LOOSE``,
whose strokes lie where the noise that the fusion sees has its hills, from the top-left pixel too.
"""

from collections.abc import Callable

import filters as f
import numpy as np

Effect = Callable[[np.ndarray], np.ndarray]
EFFECTS: dict[str, Effect] = {}
LOOSE: set[str] = set()


def effect(name: str, loose: bool = False) -> Callable[[Effect], Effect]:
    """Enters a function in ``EFFECTS`` under a style's name, its result clipped to float32 in 0..1; and in ``LOOSE`` its name."""

    def enter(function: Effect) -> Effect:
        if loose:
            LOOSE.add(name)
        EFFECTS[name] = lambda rgb: np.clip(function(rgb.astype(np.float32)), 0, 1).astype(np.float32)
        return function

    return enter


# --- drawing and print --------------------------------------------------------------------------------------------------------


def drawn(paper: np.ndarray | str, mark: str, amount: np.ndarray) -> np.ndarray:
    """A drawing material laid on paper: ``amount`` 0 is bare paper, 1 full cover."""
    ground = f.rgb_of(paper) if isinstance(paper, str) else paper
    return f.mix(ground + np.zeros((*amount.shape, 3), np.float32), f.rgb_of(mark), amount)


@effect("charcoal")
def charcoal(rgb):
    smooth = f.kuwahara(rgb, 3)
    dark = 1 - f.contrast(f.tone(f.luma(smooth), 0.5), 1.45)
    hatch = f.strokes(f.straight(rgb, 130), 0.8, 14)
    tooth = 0.07 * f.noise(rgb, 0.8, 2) + 0.06 * hatch
    cover = f.step(0.0, 0.95, 0.94 * dark + tooth * f.step(0.02, 0.3, dark) * f.step(1.1, 0.5, dark))
    lines = f.blur(f.wobble(f.ink(rgb, 1.4, 0.32, 16, 9), 0.7), 0.5)
    cover = np.maximum(cover * 0.95, lines * (0.9 + 0.1 * hatch))
    return drawn("#efe9dd", "#121110", np.clip(cover, 0, 1)) * f.paper(rgb, 0.02)


@effect("pencil sketch")
def pencil_sketch(rgb):
    grey = f.tone(f.luma(f.kuwahara(rgb, 2)), 0.55)
    dodge = np.clip(grey / (f.blur(grey, 5) + 0.03), 0, 1)
    dark = 1 - grey
    light_hatch = f.step(-0.3, 0.9, f.stripes(rgb, 8, 8, 0.08)) * f.step(0.4, 0.8, dark)
    dark_hatch = f.step(-0.3, 0.9, f.stripes(rgb, 8, -4, 0.08, 4)) * f.step(0.6, 0.95, dark)
    grain = 1 + 0.25 * f.noise(rgb, 0.8, 7)
    marks = 0.5 * light_hatch + 0.42 * dark_hatch + 0.2 * dark
    lines = 1.25 * (1 - f.step(0.5, 0.97, dodge)) + 0.45 * f.outline(rgb, 0.9, 0.05)
    return drawn("#fbfaf6", "#33343a", np.clip((marks * 0.85 + lines) * grain, 0, 0.95)) * f.paper(rgb, 0.02)


@effect("pastel")
def pastel(rgb):
    smooth = f.vivid(f.kuwahara(rgb, 4), 1.8)
    smooth = np.clip(0.2 + 0.86 * smooth + f.detail(rgb, 0.5), 0, 1)
    hatch = f.strokes(f.straight(rgb, 125), 0.9, 8, 21)
    tooth = f.step(-2.0, 0.2, hatch + 0.6 * f.noise(rgb, 0.9, 4) + 1.2 * (f.luma(smooth) - 0.4))
    chalk = smooth * (1 + 0.1 * hatch[..., None]) + 0.05
    chalk = f.mix(chalk, smooth * 0.45, 0.45 * f.outline(smooth, 1.5, 0.06))
    return f.mix(f.rgb_of("#a58d80"), chalk, 0.45 + 0.55 * tooth)


@effect("crayon")
def crayon(rgb):
    smooth = f.vivid(f.kuwahara(rgb, 4), 2.6, 0.85)
    smooth = np.clip(0.1 + 1.0 * smooth + f.detail(rgb, 0.4), 0, 1)
    hatch = f.strokes(f.flow(smooth, 4, np.radians(-50), 0.01), 0.8, 7, 23)
    dark = 1 - f.luma(smooth)
    wax = f.step(-2.2, 0.4, 0.8 * hatch + 0.8 * f.noise(rgb, 0.8, 8) + 1.0 * dark - 0.1)
    lines = f.wobble(f.outline(smooth, 1.6, 0.05), 0.8) * f.step(-1.8, -0.4, f.noise(rgb, 1.1, 9))
    wax_colour = smooth * (1 + 0.1 * hatch)[..., None]
    return f.mix(f.mix(f.rgb_of("#fdfaf0"), wax_colour, 0.35 + 0.65 * wax), 0.3 * smooth, 0.85 * lines)


@effect("woodcut")
def woodcut(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.6), 1.3)
    grooves = f.strokes(f.flow(smooth, 4, 0.15, 0.002), 1.3, 16, 31)
    carved = 0.14 * f.stripes(rgb, 12, 2, 0.15, 32) + 0.09 * grooves
    cut = f.step(0.4, 0.52, f.blur(grey + carved, 0.4))
    cut *= 1 - f.wobble(f.ink(rgb, 1.2, 0.16, 18), 0.5)
    return drawn("#efe3c6", "#17120f", 1 - cut) * f.paper(rgb, 0.03)


@effect("linocut")
def linocut(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.25)
    gouges = f.strokes(f.flow(smooth, 5, np.pi * 0.1, 0.003), 1.3, 9, 33)
    dark = f.step(0.33, 0.37, grey + 0.035 * gouges)
    light = f.step(0.62, 0.66, grey + 0.04 * gouges)
    out = f.mix(f.mix(f.rgb_of("#14202b"), f.rgb_of("#d1452c"), dark), f.rgb_of("#f5ead2"), light)
    return f.mix(out, f.rgb_of("#14202b"), f.ink(rgb, 1.4, 0.14, 16)) * f.paper(rgb, 0.04)


@effect("engraving")
def engraving(rgb):
    grey = f.tone(f.luma(f.kuwahara(rgb, 3)), 0.75)
    dark = 1 - f.contrast(grey, 1.25)
    bulge = 9 * f.blur(grey, 3)
    y, x = f.grid_of(rgb)
    # Lines 6 px apart: finer ones the VAE turns into an even tone.
    first = 0.5 + 0.5 * np.sin(2 * np.pi * ((y + bulge) / 6.4 + x / 64))
    second = 0.5 + 0.5 * np.sin(2 * np.pi * ((x + y + bulge) / 8))
    marks = f.step(-0.25, 0.25, dark * 1.25 - 0.1 - first) * 0.9
    marks = np.maximum(marks, f.step(-0.25, 0.25, dark * 1.6 - 0.85 - second) * 0.9)
    lines = f.ink(rgb, 1.0, 0.2, 18)
    return drawn("#f3ead4", "#231a14", np.maximum(marks, lines)) * f.paper(rgb, 0.03)


@effect("halftone")
def halftone(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.6), 1.2)
    sharp = np.clip(grey + 1.2 * (grey - f.blur(grey, 2.5)), 0, 1)
    return drawn("#f7f3e8", "#15151a", 1 - f.step(-0.09, 0.09, sharp - (0.04 + 0.9 * f.dots(rgb, 64 / 6))))


@effect("blueprint")
def blueprint(rgb):
    y, x = f.grid_of(rgb)
    fine = np.maximum(x % 16 < 1, y % 16 < 1) * 0.14 + np.maximum(x % 64 < 1.5, y % 64 < 1.5) * 0.16
    lines = np.maximum(f.outline(rgb, 0.9, 0.045), 0.6 * f.step(0.15, 0.6, f.edges(rgb, 1.0)))
    shade = 0.3 * f.posterise(f.tone(f.luma(f.kuwahara(rgb, 4)), 0.4), 4) ** 1.5
    return drawn("#0f3b92", "#f3f8ff", np.clip(0.95 * lines + fine + shade, 0, 1)) * f.paper(rgb, 0.03)


@effect("comic book")
def comic_book(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = f.tone(f.luma(smooth), 0.4)
    flat = f.recolour(f.vivid(smooth, 2.8, 0.9), 0.2 + 0.84 * f.posterise(grey, 4, 0.25))
    tint = f.step(-0.1, 0.1, f.dots(rgb, 16) - 0.55) * f.step(0.68, 0.55, grey) * f.step(0.15, 0.3, grey)
    flat = f.mix(flat, flat * np.array([0.62, 0.55, 0.72], np.float32), tint)
    return f.mix(flat, f.rgb_of("#0d0c14"), f.ink(rgb, 1.2, 0.17, 20, 14))


# --- ink and water ------------------------------------------------------------------------------------------------------------


def wash(rgb: np.ndarray, strength: float, pooling: float, seed: int) -> np.ndarray:
    """Transparent paint on white: density grainy like granulating pigment and deeper along the edges of areas."""
    density = -np.log(np.clip(rgb, 0.03, 1))
    # Finer grain than blotches would be: these repeat every 64 px, which shows on a sky like scales.
    blotch = 1 + 0.02 * f.noise(rgb, 4, seed) + 0.07 * f.noise(rgb, 1.2, seed + 1)
    pool = 1 + pooling * f.step(0.05, 0.5, f.edges(f.blur(rgb, 1.0), 1.5))
    return np.exp(-density * strength * (blotch * pool)[..., None])


@effect("watercolor")
def watercolor(rgb):
    smooth = f.wobble(f.kuwahara(f.kuwahara(rgb, 4), 3), 1.0)
    wet = f.mix(smooth, f.blur(smooth, 2.5), f.step(0.25, 0.05, f.edges(smooth, 2.0)))  # areas run, their borders stay
    grey = f.luma(wet)
    light = f.recolour(f.vivid(wet, 2.0, 0.65), 0.26 + 0.74 * f.posterise(f.tone(grey, 0.3), 6, 0.7))
    paint = wash(np.clip(light + f.detail(rgb, 0.75), 0, 1), 0.8, 1.0, 41)
    bare = f.step(0.66, 0.95, f.tone(f.blur(grey, 1.2), 0.3) + 0.02 * f.noise(rgb, 1.5, 44))
    paint = f.mix(paint, np.ones(3, np.float32), 0.85 * bare)
    return paint * f.rgb_of("#fdfaf3") * f.paper(rgb, 0.035)


@effect("ink wash")
def ink_wash(rgb):
    smooth = f.wobble(f.kuwahara(rgb, 4), 1.0)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.2)
    tones = np.clip(0.55 * f.posterise(grey, 4, 0.5) + 0.45 * f.blur(grey, 2.5), 0, 1)
    paint = wash(f.mix(np.ones((*grey.shape, 3), np.float32), tones[..., None] + 0.02, f.step(0.8, 0.3, tones)), 1.0, 0.7, 51)
    brush = f.along(f.ink(rgb, 1.5, 0.24, 16, 8), f.flow(smooth, 4), 3)
    dry = f.step(-2.2, -0.5, f.strokes(f.flow(smooth, 5), 0.8, 8, 53))
    return f.mix(paint * f.rgb_of("#f7f4ec"), f.rgb_of("#121318"), 0.92 * brush * dry) * f.paper(rgb, 0.03)


@effect("chinese ink painting")
def chinese_ink_painting(rgb):
    smooth = f.kuwahara(f.kuwahara(rgb, 3), 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.8), 1.15)
    direction = f.flow(smooth, 4, np.radians(60), 0.001)
    busy = f.step(0.03, 0.15, f.blur(f.edges(rgb, 1.5), 2.5))
    # Most of the silk stays bare: what is even has a thin wash, whatever its darkness.
    silk = f.rgb_of("#d2b88e")
    soft = 0.6 * f.posterise(grey, 4, 0.6) + 0.4 * f.blur(grey, 2.5)
    washes = f.ramp(soft, "#4e4434", "#84724f", "#b0976a", "#c9ad7e", "#d2b88e")
    washes = f.mix(washes, f.recolour(f.vivid(smooth, 1.2, 0.35) * f.rgb_of("#f4dcae"), f.luma(washes)), 0.35)
    out = f.mix(silk, washes, 0.27 + 0.33 * busy) * f.canvas(rgb, 0.025) * (1 + 0.03 * f.noise(rgb, 1.0, 60))[..., None]
    # Contours with a dry brush, and texture strokes (cun) in the dark parts of what has detail.
    line = f.along(np.maximum(f.ink(rgb, 0.9, 0.1, 20, 10), f.outline(rgb, 0.8, 0.03)), direction, 2)
    dry = f.step(-2.2, -0.4, f.strokes(direction, 0.8, 8, 64))
    cun = f.step(0.3, 1.5, f.strokes(direction, 0.8, 6, 63) + 2.4 * (0.45 - grey)) * f.step(0.75, 0.45, grey) * (0.1 + 0.9 * busy)
    return f.mix(out, f.rgb_of("#1e1913"), 0.88 * np.clip(np.maximum(line * dry, 0.6 * cun), 0, 1))


# --- paint --------------------------------------------------------------------------------------------------------------------


def painted(
    rgb: np.ndarray, direction: np.ndarray, width: float, length: int, bristle: float = 0.1, impasto: float = 0.2, seed: int = 5,
    even: float = 1.0,
):  # fmt: skip
    """Paint dragged along a direction: colour smoothed along it, bristle streaks in brightness, and light on the ridges.

    ``even`` is the share of streaks and ridges left where nothing is nearby (a sky): there alone would one see them repeat.
    """
    hair = f.strokes(direction, width, length, seed)
    hair = hair * (even + (1 - even) * f.step(0.02, 0.3, f.blur(f.edges(rgb, 2.0), 5)))
    paint = f.along(rgb, direction, length)
    light = 1 + bristle * hair + f.relief(f.blur(hair, 0.6), impasto)
    return np.clip(paint * light[..., None], 0, 1)


def broken(rgb: np.ndarray, hair: np.ndarray, tints: list[tuple[str, float]], light: float = 0.3) -> np.ndarray:
    """Broken colour: each streak pulled towards one of the tints, chosen by the height of the streak texture.

    A tint keeps the picture's brightness but for the share ``light`` of its own, so that the streaks do not hide the content.
    """
    centres = np.linspace(-1.5, 1.5, len(tints))
    width = centres[1] - centres[0]
    for centre, (code, amount) in zip(centres, tints, strict=True):
        tint = f.rgb_of(code)
        shade = (1 - light) * (f.luma(rgb) - f.luma(tint))[..., None]
        rgb = f.mix(rgb, np.clip(tint + shade, 0, 1), amount * np.exp(-(((hair - centre) / width) ** 2)))
    return np.clip(rgb, 0, 1)


@effect("pointillism")
def pointillism(rgb):
    base = f.vivid(f.kuwahara(rgb, 2), 2.8, 0.9)
    base = np.clip(f.recolour(base, 0.2 + 0.8 * f.tone(f.luma(base), 0.4)) + f.detail(rgb, 0.6), 0, 1)
    out = f.mix(f.rgb_of("#f5ecd8"), base, 0.5)
    tints = np.stack([f.rgb_of(c) for c in ("#2040e0", "#ff8a1e", "#e03a90", "#20b070", "#ffe040", "#7030c0")])
    y, x = f.grid_of(rgb)
    for layer, (spacing, radius, strength) in enumerate(((64 / 14, 2.3, 0.3), (64 / 10, 2.3, 0.5))):
        points = f.seeds(rgb, spacing, 0.3, 90 + layer)
        label, _ = f.cells(rgb, points, spacing)
        flat = points.reshape(-1, 2)
        distance = np.hypot(flat[label, 0] - y, flat[label, 1] - x)
        colour = f.fill(base, label)
        tint = tints[np.clip(((f.cell_values(label, points, spacing, 95 + layer) + 1) * 3).astype(int), 0, 5)]
        tint = np.clip(tint + 0.75 * (f.luma(colour) - f.luma(tint))[..., None], 0, 1)
        out = f.mix(out, f.mix(colour, tint, strength), f.step(radius + 0.6, radius - 0.4, distance))
    return out


@effect("fauvism")
def fauvism(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = np.clip(f.tone(f.luma(smooth), 0.6) + 0.7 * f.detail(rgb)[..., 0], 0, 1)
    wild = f.ramp(grey, "#1b1464", "#0a6e9a", "#12a05a", "#f02a3a", "#ff7a1a", "#ffc81e", "#fff0c0")
    base = f.mix(wild, f.vivid(smooth, 5.0, 1.0), 0.4)
    direction = f.flow(smooth, 4, np.radians(60), 0.002)
    out = painted(f.saturate(base, 1.4), direction, 1.5, 6, 0.06, 0.14, 101)
    return f.mix(out, f.rgb_of("#10104a"), 0.85 * f.along(f.outline(rgb, 1.7, 0.07), direction, 3))


@effect("abstract expressionism")
def abstract_expressionism(rgb):
    smooth = f.kuwahara(rgb, 5)
    grey = f.contrast(f.tone(f.luma(smooth), 0.65), 1.4)
    bold = f.palette(
        f.recolour(f.vivid(smooth, 4.5, 1.0), grey),
        ("#f4efe4", "#12100f", "#d7261e", "#f4c216", "#1d4fa8", "#e87f2a", "#7f8d8a", "#efb9a6"),
        4.0, 1.0, 0.9,
    )
    direction = f.flow(smooth, 5, f.waves(rgb, 14) - 0.6, 0.001)
    out = painted(bold, direction, 1.8, 12, 0.12, 0.28, 291)
    light_drip = f.step(0.12, 0.03, np.abs(f.noise(rgb, 6, 295))) * f.step(0.55, 0.35, grey)
    dark_drip = f.step(0.12, 0.03, np.abs(f.noise(rgb, 6, 292))) * f.step(0.45, 0.65, grey)
    splash = f.step(2.2, 2.5, f.noise(rgb, 1.5, 294))
    out = f.mix(out, f.rgb_of("#f7f3ea"), 0.8 * np.maximum(light_drip, splash))
    return f.mix(out, f.rgb_of("#100e0d"), 0.85 * np.maximum(0.8 * dark_drip, f.along(f.ink(rgb, 1.8, 0.12, 18), direction, 4)))


# --- flat colour --------------------------------------------------------------------------------------------------------------


def woodblock(
    rgb: np.ndarray, inks: tuple[str, ...], neutral: tuple[str, ...], line: str, light: float, colourful: float, fade: float, width: float,
    drawn: float,
):  # fmt: skip
    """A Japanese colour print: flat inks and a thin drawing on cream paper, without shadows.

    What has less colour than ``colourful`` is left to the paper, through the colours ``neutral`` from dark to light. Brightness to the
    power of ``light`` is printed. Inks fade (bokashi) by the share ``fade`` of what the photo's brightness does nearby. The drawing's
    lines have the colour ``line``, are ``width`` px wide and cover the share ``drawn``.
    """
    smooth = f.along(f.kuwahara(f.kuwahara(rgb, 4), 3), f.flow(rgb, 3), 3)
    grey = f.tone(f.luma(smooth), 0.85) ** light
    coloured = f.recolour(f.vivid(smooth, 3.0, 0.7), 0.95 * grey)
    strong = f.step(0.33 * colourful, colourful, f.blur(np.ptp(smooth, axis=-1), 1.0))
    paper = ("#efe2c2", "#e4d0a4", "#d2bb8c")
    flat = f.palette(f.mix(f.ramp(grey, *neutral), coloured, strong), (*paper, *inks), 2.0, 1.0, 1.5)
    flat = f.recolour(flat, np.clip(f.luma(flat) + fade * (f.blur(f.luma(smooth), 3.5) - f.blur(f.luma(smooth), 16)), 0, 1))
    wood = 1 + 0.012 * f.noise(rgb, 1.0, 111) + 0.02 * f.stripes(rgb, 12, 0, 0.4, 112)
    drawing = f.along(np.maximum(f.outline(rgb, width, 0.035), f.ink(rgb, width, 0.06, 20, 14)), f.flow(smooth, 3), 2)
    print_ = f.mix(flat * wood[..., None], f.rgb_of(line), drawn * np.clip(1.3 * drawing, 0, 1))
    return np.clip(print_ + f.detail(rgb, 0.5), 0, 1)


@effect("ukiyo-e")
def ukiyo_e(rgb):
    inks = ("#1f3d66", "#4f7d98", "#9db8b4", "#b84a32", "#dc9a76", "#76845a", "#a9b088", "#c29a50", "#6a4c3a", "#252230")
    neutral = ("#2a2630", "#8a8478", "#d6c49c", "#e6d4aa", "#efe2c2")
    return woodblock(rgb, inks, neutral, "#1d1b24", 0.4, 0.3, 0.4, 0.7, 0.9)


@effect("pop art")
def pop_art(rgb):
    smooth = f.along(f.kuwahara(f.kuwahara(rgb, 4), 3), f.flow(rgb, 3), 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.6), 1.2)
    hot = f.blur(f.vivid(smooth, 3.0, 1.0), 2.0)
    # What has no clear colour counts as warm: a hue that hung on a grey's last tint would be torn.
    warm = f.step(-0.13, -0.05, hot[..., 0] - hot[..., 2])
    light = f.mix(f.rgb_of("#19b5e8"), f.rgb_of("#ffe01a"), warm)
    middle = f.mix(f.rgb_of("#5a2bd0"), f.rgb_of("#f0187a"), warm)
    # An ink gives way to the next in dots that grow.
    screen = f.dots(rgb, 16)
    grown = lambda low, high: f.step(-0.08, 0.08, 1.2 * f.step(low, high, grey) - 0.1 - screen)
    out = f.mix(f.rgb_of("#17123a"), middle, f.step(0.18, 0.24, grey))
    out = f.mix(f.mix(out, light, grown(0.36, 0.66)), f.rgb_of("#fffdf0"), grown(0.7, 0.95))
    drawing = f.along(f.ink(rgb, 1.5, 0.1, 20), f.flow(rgb, 3), 2)
    return f.mix(out, f.rgb_of("#0c0a18"), np.clip(1.3 * drawing, 0, 1))


@effect("cubism")
def cubism(rgb):
    smooth = f.kuwahara(rgb, 3)
    y, x = f.grid_of(rgb)
    base, light, lines = smooth, np.zeros_like(y), np.zeros_like(y)
    # Planes through planes: large facets and, over them, smaller ones. Their lattices do not follow the photo, or nobody could learn them.
    for spacing, seed, share, tilt in ((32, 125, 0.55, 0.24), (64 / 3, 121, 0.4, 0.22)):
        label = f.triangles(smooth, spacing, 0.45, seed, snap=False)
        centre = f.cell_means(np.stack([y, x], -1), label, int(label.max()) + 1)[label]
        turn = 2 * np.pi / 64 * (5 * centre[..., 0] + 3 * centre[..., 1])
        light = light + tilt * ((y - centre[..., 0]) * np.sin(turn) + (x - centre[..., 1]) * np.cos(turn)) / spacing + 0.03 * np.cos(turn)
        base = f.mix(base, f.fill(base, label), share)
        lines = np.maximum(lines, share * f.cell_borders(label, 0.6))
    grey = f.contrast(f.tone(f.luma(base), 0.6), 1.3) + light
    out = f.ramp(grey, "#171511", "#403b30", "#67694f", "#a8874e", "#d3b985", "#f3e8cc")
    cool = f.ramp(grey, "#14191c", "#3a4749", "#6d7f7e", "#9fb0a6", "#d9dccb", "#f5f0de")
    out = f.mix(out, cool, 0.8 * f.step(0.0, 0.5, np.sin(2 * turn)))
    out = f.mix(out, f.vivid(base, 2.4) * (1 + light[..., None]), 0.35)
    out = out * (1 + 0.05 * f.strokes(f.straight(rgb, 20), 0.9, 5, 122))[..., None]
    out = f.mix(out, f.rgb_of("#1b1712"), 0.7 * lines)
    return f.mix(out, f.rgb_of("#15110d"), 0.9 * f.ink(rgb, 1.3, 0.12, 18))


@effect("art nouveau")
def art_nouveau(rgb):
    smooth = f.abstraction(rgb, 3, 1, 5)
    vivid = f.recolour(f.vivid(smooth, 2.0), f.tone(f.luma(smooth), 0.55))
    flat = f.palette(
        vivid,
        ("#f4e4bd", "#dcb968", "#b8893a", "#8e9a5e", "#4f6b4c", "#2f4a4a", "#6f9a94", "#c9724a", "#8a3f2e", "#e3b79a", "#3b2a1e"),
        6.0, 1.0, 1.4,
    )
    gold = 1 + 0.02 * f.noise(rgb, 0.9, 231)[..., None]
    thick = f.along(f.ink(rgb, 1.6, 0.12, 22, 12), f.flow(smooth, 4), 6)
    return f.mix(flat * gold, f.rgb_of("#2c1a10"), 0.95 * f.step(0.2, 0.7, thick))


@effect("art deco poster")
def art_deco_poster(rgb):
    smooth = f.abstraction(rgb, 4, 2, 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.25)
    level = f.posterise(grey, 5, 0.15)
    flat = f.ramp(level, "#0c0f14", "#0d4a4f", "#b8862e", "#e6c56a", "#f7ecd0")
    y, x = f.grid_of(rgb)
    shell = np.hypot((x + 16 * ((y // 16) % 2)) % 32 - 15.5, y % 16 - 16)
    rays = f.step(0.9, 0.3, np.abs(shell % 8 - 4)) * f.step(17, 16, shell)
    flat = f.mix(flat, f.rgb_of("#e6c56a"), 0.5 * rays * f.step(0.5, 0.3, grey))
    flat = f.mix(flat, f.rgb_of("#f7ecd0"), 0.45 * rays * f.step(0.5, 0.65, grey))
    return f.mix(flat, f.rgb_of("#0a0c10"), f.ink(rgb, 1.4, 0.12, 20))


@effect("vintage poster")
def vintage_poster(rgb):
    smooth = f.abstraction(rgb, 4, 2, 3)
    vivid = f.recolour(f.vivid(smooth, 2.6), f.tone(f.luma(smooth), 0.5))
    flat = f.palette(
        vivid,
        ("#f3e3bf", "#e9b44c", "#d9592b", "#9b2d20", "#2b6f73", "#7fb2a2", "#1d2f3f", "#b98a5a", "#f0c79a"),
        3.0, 1.0, 1.4,
    )
    worn = 0.5 * f.step(1.8, 3.4, f.noise(rgb, 0.8, 241) + 0.6 * f.noise(rgb, 3, 242))
    flat = f.mix(flat, f.rgb_of("#16222e"), 0.9 * f.ink(rgb, 1.3, 0.1, 18))
    return f.mix(flat, f.rgb_of("#efe0bd"), 0.6 * worn) * f.rgb_of("#fff6e2") * f.paper(rgb, 0.06)


@effect("minimalism")
def minimalism(rgb):
    smooth = f.abstraction(rgb, 4, 2)
    grey = f.contrast(f.tone(f.luma(smooth), 0.4), 1.2)
    hot = f.step(0.24, 0.3, f.saturate(smooth, 1.5)[..., 0] - smooth[..., 1:].max(-1))
    out = f.rgb_of("#23262b") + np.zeros_like(rgb)
    for low, code in ((0.26, "#9aa5a8"), (0.48, "#d9d3c7"), (0.72, "#f7f5f0")):
        out = f.mix(out, f.rgb_of(code), f.step(low, low + 0.02, grey))
    return f.mix(out, f.rgb_of("#e2502f"), hot * f.step(0.2, 0.24, grey))


@effect("anime")
def anime(rgb):
    smooth = f.abstraction(rgb, 3, 2)
    grey = f.tone(f.luma(smooth), 0.45)
    cel = f.recolour(f.vivid(smooth, 2.2, 0.7), 0.24 + 0.8 * f.posterise(grey, 4, 0.3))
    cel = np.clip(f.mix(cel, cel * np.array([0.86, 0.88, 1.16], np.float32), f.step(0.5, 0.3, grey)), 0, 1)
    cel = f.screen(cel, 0.18 * f.blur(cel * f.step(0.6, 0.95, grey)[..., None], 6))
    return f.mix(cel, f.rgb_of("#2a1f3a"), 0.9 * f.ink(rgb, 0.9, 0.1, 20, 12))


@effect("cartoon")
def cartoon(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.tone(f.luma(smooth), 0.5)
    flat = f.recolour(f.vivid(smooth, 3.6, 0.95), 0.24 + 0.84 * f.posterise(grey, 3, 0.2))
    return f.mix(flat, f.rgb_of("#120e14"), f.step(0.25, 0.65, f.blur(f.ink(f.kuwahara(rgb, 2), 1.4, 0.06, 20), 0.7)))


@effect("paper cut")
def paper_cut(rgb):
    # Scissors cut smooth contours.
    smooth = f.abstraction(rgb, 4, 2, 4)
    grey = f.contrast(f.tone(f.blur(f.luma(smooth), 1.0), 0.5), 1.2)
    out = f.rgb_of("#1f2a52") * f.paper(rgb, 0.04)
    for low, code in ((0.2, "#5a3f86"), (0.36, "#c2477f"), (0.52, "#f2785c"), (0.67, "#fbb862"), (0.82, "#fff1cf")):
        sheet = f.step(low, low + 0.02, grey)
        shadow = f.blur(np.pad(sheet, ((3, 0), (3, 0)), mode="edge")[:-3, :-3], 2.0)
        out = out * (1 - 0.6 * shadow * (1 - sheet))[..., None]
        out = f.mix(out, f.rgb_of(code) * f.paper(rgb, 0.04) * (1 + f.relief(f.blur(sheet, 0.7), 0.3))[..., None], sheet)
    return out


@effect("graffiti")
def graffiti(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.6), 1.2)
    spray = f.mix(f.ramp(f.posterise(grey, 5, 0.4), "#151020", "#7a1fd0", "#ff2f8f", "#ffb01f", "#d8ff4a"), f.vivid(smooth, 5, 1.0), 0.4)
    y, x = f.grid_of(rgb)
    joint = np.maximum(f.step(1.3, 0.4, np.abs(y % 16 - 0.5)), f.step(1.3, 0.4, np.abs((x + 16 * ((y // 16) % 2)) % 32 - 0.5)))
    speck = f.step(1.0, 2.2, f.noise(rgb, 0.8, 261))
    drip = f.along(f.ink(rgb, 1.8, 0.12, 22), f.straight(rgb, 90), 5)
    out = f.mix(spray, f.rgb_of("#e9e2da"), 0.35 * speck) * (1 - 0.45 * joint)[..., None] * (1 + 0.05 * f.noise(rgb, 1.5, 262))[..., None]
    return f.mix(out, f.rgb_of("#0c0812"), f.step(0.25, 0.7, np.maximum(drip, f.ink(rgb, 1.8, 0.12, 22))))


@effect("pixel art")
def pixel_art(rgb):
    size = 8  # the fusion's token, which can be of one colour
    smooth = f.kuwahara(rgb, 2)
    grey = f.blocks(f.tone(f.luma(smooth), 0.45)[..., None], size)[..., 0]
    dark = f.blocks(f.ink(rgb, 1.6, 0.1, 18)[..., None], size)[..., 0]
    y, x = f.grid_of(rgb)
    dither = (((x // size + y // size) % 2) - 0.5) * 0.03
    flat = f.recolour(f.vivid(f.blocks(smooth, size), 2.2, 0.9), f.posterise(grey + dither, 7, 0.05))
    flat = np.round(flat * 7) / 7
    return f.mix(flat, f.rgb_of("#141020"), f.step(0.55, 0.65, dark))


@effect("low poly")
def low_poly(rgb):
    label = f.triangles(rgb, 64 / 5, 0.45, 131, snap=False)
    y, x = f.grid_of(rgb)
    flat = f.fill(f.vivid(f.contrast(rgb, 1.1), 1.9), label)
    count = int(label.max()) + 1
    centre = f.cell_means(np.stack([y, x], -1), label, count)
    shade = 1 + 0.09 * np.sin(2 * np.pi / 64 * (17 * centre[:, 0] + 23 * centre[:, 1]))
    return np.clip(flat * shade[label][..., None] + 0.02, 0, 1)


@effect("stained glass")
def stained_glass(rgb):
    spacing = 64 / 5
    points = f.seeds(rgb, spacing, 0.3, 141)
    smooth = f.kuwahara(rgb, 3)
    label, _ = f.cells(smooth, points, spacing, 18.0, 3)
    colour = f.fill(smooth, label)
    grey = f.contrast(f.tone(f.luma(colour), 0.5), 1.15)
    dull = f.step(0.3, 0.02, colour.max(-1) - colour.min(-1))
    jewel = f.ramp(grey, "#101c70", "#0a5f9f", "#c81e3a", "#f5a81a", "#fff2a8")
    glass = f.recolour(f.mix(f.vivid(colour, 4.0, 1.0), jewel, 0.12 + 0.5 * dull), 0.1 + 0.85 * grey)
    glow = 1 + 0.1 * f.noise(rgb, 3, 142) + 0.22 * f.cell_values(label, points, spacing, 143)
    glass = np.clip(f.saturate(glass, 1.3) * glow[..., None], 0, 1)
    lead = np.maximum(f.cell_borders(label, 0.9), 0.8 * f.ink(rgb, 1.4, 0.03, 18))
    return f.mix(glass, f.rgb_of("#0c0b10"), np.clip(lead * 1.1, 0, 1))


@effect("mosaic")
def mosaic(rgb):
    points = f.seeds(rgb, 8, 0.16, 151)
    smooth = f.vivid(f.kuwahara(rgb, 2), 2.8, 0.9)
    label, _ = f.cells(smooth, points, 8, 2.5, 2)
    y, x = f.grid_of(rgb)
    tiles = f.fill(np.clip(f.recolour(smooth, f.tone(f.luma(smooth), 0.5)) + f.detail(rgb, 0.6, 5), 0, 1), label)
    tiles = tiles * (1.06 + 0.2 * f.cell_values(label, points, 8, 152))[..., None] + 0.03
    flat = points.reshape(-1, 2)
    bevel = ((flat[label, 0] - y) + (flat[label, 1] - x)) / 8
    tiles = np.clip(tiles * (1 + 0.18 * bevel)[..., None], 0, 1)
    return f.mix(tiles, f.rgb_of("#4e463c"), 0.85 * f.cell_borders(label, 0.65))


@effect("embroidery")
def embroidery(rgb):
    smooth = f.vivid(f.kuwahara(rgb, 3), 2.4)
    flat = f.recolour(smooth, 0.1 + 0.88 * f.posterise(f.tone(f.luma(smooth), 0.5), 6, 0.4))
    direction = f.flow(smooth, 4, np.radians(-60), 0.001)
    thread = f.strokes(direction, 0.9, 12, 211)
    stitch = f.step(1.2, 2.2, f.along(f.noise(rgb, 1.6, 212), direction, 2) * 1.5)
    shine = 1 + 0.2 * thread + f.relief(thread, 0.12) - 0.12 * stitch
    sewn = f.along(flat, direction, 4) * shine[..., None] + f.detail(rgb, 0.4)
    return f.mix(sewn, 0.25 * smooth, 0.6 * f.outline(smooth, 1.4, 0.06))


@effect("cross stitch")
def cross_stitch(rgb):
    size = 8
    colour = f.blocks(f.vivid(f.contrast(rgb + f.detail(rgb, 0.5, 6), 1.15), 2.2), size)
    y, x = f.grid_of(rgb)
    u, v = x % size - 3.5, y % size - 3.5
    rising, falling = f.step(1.9, 1.1, np.abs(u + v) * 0.71), f.step(1.9, 1.1, np.abs(u - v) * 0.71)
    ends = f.step(4.4, 3.6, np.maximum(np.abs(u), np.abs(v)))
    thread = np.maximum(rising, falling) * ends
    light = np.where(rising > 0.5, 1.12 - 0.09 * np.abs(u + v), 0.82 - 0.05 * np.abs(u - v))
    cloth = f.rgb_of("#efe6d2") * (0.62 + 0.3 * f.step(5.2, 2.0, np.abs(u) + np.abs(v)))[..., None]
    return f.mix(f.mix(cloth, colour * 0.8, 0.5), colour * light[..., None], thread)


@effect("knitted")
def knitted(rgb):
    width, height = 8, 8
    y, x = f.grid_of(rgb)
    leg = np.abs(x % width - 3.5)
    slanted = y + 0.9 * leg
    row, column = (slanted // height).astype(int), (x // width).astype(int)
    label = row * (column.max() + 1) + column
    wool = f.fill(f.vivid(f.contrast(f.kuwahara(rgb, 2), 1.2), 2.0), label)
    across = (slanted % height) / height - 0.5
    round_ = np.sqrt(np.clip(1 - (2 * across) ** 2 * 0.9, 0, 1)) * f.step(4.3, 2.6, leg + 0.3) * f.step(-0.2, 0.9, leg)
    fuzz = 1 + 0.1 * f.noise(rgb, 0.8, 221)
    return np.clip(wool * (0.5 + 0.65 * round_ * fuzz)[..., None], 0, 1)


@effect("neon")
def neon(rgb):
    smooth = f.kuwahara(rgb, 3)
    core = np.maximum(f.step(0.12, 0.5, f.edges(smooth, 1.2)), f.outline(smooth, 1.1, 0.04))
    grey = f.tone(f.luma(f.blur(smooth, 2)), 0.6)
    hue = f.ramp(grey, "#3a4bff", "#00e5ff", "#b01fff", "#ff1f90", "#ffb03a")
    hue = np.clip(f.mix(hue, f.vivid(f.blur(smooth, 2), 6, 1.0) + 0.2, 0.4), 0, 1)
    light = hue * core[..., None]
    out = np.zeros_like(rgb) + f.rgb_of("#07051a") + 0.2 * hue * f.luma(smooth)[..., None]
    for sigma, gain in ((9, 0.6), (3.5, 0.8), (0.8, 1.0)):
        out = f.screen(out, np.clip(gain * f.blur(light, sigma), 0, 1))
    return f.mix(out, np.ones(3, np.float32), 0.4 * core**3)


# --- light and weather --------------------------------------------------------------------------------------------------------


@effect("night")
def night(rgb):
    grey = f.luma(rgb)
    dark = f.ramp(f.tone(grey, 0.4) ** 1.3, "#01030c", "#08163a", "#17356e", "#447ab8", "#b8d6f4")
    dark = f.mix(dark, f.saturate(rgb, 0.8) * f.rgb_of("#2a4680"), 0.25)
    warm = f.step(0.04, 0.25, rgb[..., 0] - rgb[..., 2])
    lamp = np.maximum(f.step(0.7, 1.0, grey), f.step(0.42, 0.85, grey) * warm)
    light = f.mix(f.rgb_of("#bfd6ff"), f.rgb_of("#ffb84a"), warm) * lamp[..., None]
    return f.screen(f.screen(0.85 * dark, 0.7 * f.blur(light, 7)), 0.55 * light)


@effect("fog")
def fog(rgb):
    soft = f.mix(rgb, f.blur(rgb, 4), 0.4)
    depth = f.step(0.1, 0.8, f.blur(f.luma(rgb), 5))
    haze = np.clip(0.42 + 0.32 * depth + 0.03 * f.noise(rgb, (5, 9), 161), 0, 0.92)
    return f.mix(f.saturate(f.contrast(soft, 1.1), 0.4), f.rgb_of("#d5dbdf"), haze)


@effect("fire")
def fire(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = np.clip(f.contrast(f.tone(f.luma(smooth), 0.6), 1.3) + f.detail(rgb, 0.8)[..., 0], 0, 1)
    up = f.flow(smooth, 4, np.radians(90) + 0.6 * f.noise(rgb, (9, 5), 173), 0.003)
    tongues = f.strokes(up, 1.6, 16, 174)
    below = np.pad(f.blur(grey, 1.2), ((0, 22), (0, 0)), mode="edge")
    licking = sum(w * below[k : k + len(grey)] for k, w in ((4, 0.4), (8, 0.3), (14, 0.2), (20, 0.1)))
    heat = 0.78 * grey + 0.3 * np.maximum(licking - grey, 0) * f.step(-1.0, 1.0, tongues) + 0.085 * tongues * (0.4 + grey)
    out = f.ramp(heat / 0.97, "#040101", "#2a0402", "#8c1203", "#e84a05", "#ffa014", "#ffe35a", "#fffbe0")
    return f.screen(out, 0.35 * f.blur(out, 7) * f.rgb_of("#ff6a10"))


def flakes(like: np.ndarray, spacing: int, radius: float, seed: int) -> np.ndarray:
    """Soft white discs on a jittered lattice, of varied size."""
    points = f.seeds(like, spacing, 0.42, seed)
    label, _ = f.cells(like, points, spacing)
    y, x = f.grid_of(like)
    flat = points.reshape(-1, 2)
    size = radius * (0.75 + 0.45 * f.cell_values(label, points, spacing, seed))
    return f.step(1.2, 0.5, np.hypot(flat[label, 0] - y, flat[label, 1] - x) / size)


@effect("snow")
def snow(rgb):
    grey = f.luma(f.blur(rgb, 1.2))
    upward = np.gradient(f.blur(grey, 1.5), axis=0)
    cold = f.mix(f.saturate(rgb, 0.45), f.ramp(f.tone(f.luma(rgb), 0.45), "#18263c", "#56708f", "#a9bfd6", "#eef4fb"), 0.65)
    lying = f.step(-0.008, -0.035, upward + 0.006 * f.noise(rgb, 2, 181)) + 0.5 * f.step(0.6, 0.9, grey)
    white = f.mix(np.clip(cold, 0, 1), f.rgb_of("#f6faff"), np.clip(0.8 * lying, 0, 0.88))
    white = f.mix(white, np.ones(3, np.float32), 0.85 * flakes(rgb, 16, 2.2, 183))
    return f.mix(white, np.ones(3, np.float32), 0.95 * flakes(rgb, 32, 4.0, 184))


@effect("golden hour")
def golden_hour(rgb):
    grey = f.tone(f.luma(rgb), 0.35)
    sun = f.ramp(grey, "#2c0f22", "#94362a", "#f58a2c", "#ffc65a", "#fff2c0")
    out = f.mix(f.saturate(rgb, 1.4) * f.rgb_of("#ffd09c"), sun, 0.55)
    glow = f.blur(out * f.step(0.4, 0.9, grey)[..., None], 10) * f.rgb_of("#ff9038")
    return f.screen(out, 0.8 * glow)


@effect("underwater")
def underwater(rgb):
    bent = f.warp(rgb, 1.2 * f.noise(rgb, 6, 191), 1.2 * f.noise(rgb, 6, 192))
    grey = f.tone(f.luma(bent), 0.4)
    sea = f.ramp(grey, "#001424", "#034a6a", "#0a8fa4", "#4fd2cc", "#dafff0")
    out = f.mix(bent * np.array([0.35, 0.85, 0.95], np.float32), sea, 0.65)
    caustic = f.step(0.42, 0.0, np.abs(f.noise(rgb, 4.5, 193) + 0.3 * f.noise(rgb, 2.5, 194)))
    return f.screen(out, 0.5 * f.blur(caustic, 0.8)[..., None] * f.rgb_of("#a8ffee") * (0.25 + 0.75 * grey[..., None]))


@effect("rain")
def rain(rgb):
    wet = f.mix(rgb, f.along(rgb, f.straight(rgb, 90), 8), 0.5)
    grey = f.contrast(f.tone(f.luma(wet), 0.4), 1.1) ** 1.2
    out = f.mix(f.ramp(grey, "#0b1118", "#2c3a48", "#5f7282", "#a7b8c4", "#e6eef2"), f.saturate(wet, 0.6) * 0.85, 0.35)
    streak = f.step(1.0, 2.4, f.strokes(f.straight(rgb, 80), 0.8, 11, 301))
    far = f.step(1.0, 2.6, f.strokes(f.straight(rgb, 80), 0.6, 7, 302))
    return f.screen(out, (0.5 * streak + 0.22 * far)[..., None] * f.rgb_of("#dce8f0"))


@effect("autumn")
def autumn(rgb):
    grey = f.tone(f.luma(rgb), 0.35)
    green = f.step(-0.02, 0.12, rgb[..., 1] - np.maximum(rgb[..., 0] * 0.8, rgb[..., 2]))
    sky = f.step(0.08, 0.3, rgb[..., 2] - rgb[..., 0])
    foliage = f.ramp(grey, "#2a0a06", "#9a2810", "#e86a14", "#fbb42a", "#fff0b0")
    out = f.mix(f.saturate(rgb, 1.2) * f.rgb_of("#ffdcaa"), foliage, np.clip(0.6 + 0.35 * green - 0.35 * sky, 0, 1))
    points = f.seeds(rgb, 32, 0.4, 312)
    label, _ = f.cells(rgb, points, 32)
    y, x = f.grid_of(rgb)
    turn = np.pi * f.cell_values(label, points, 32, 313)
    dy, dx = (points.reshape(-1, 2)[label, i] - c for i, c in ((0, y), (1, x)))
    u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    leaf = f.step(1.1, 0.8, np.abs(u / 6.0) ** 1.5 + np.abs(v / 3.2) ** 1.2)
    tint = f.ramp(0.5 + 0.5 * f.cell_values(label, points, 32, 314), "#b3260e", "#e8701a", "#ffc93a")
    return f.mix(out, tint, 0.95 * leaf)


@effect("frozen")
def frozen(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.5), 1.2)
    ice = f.ramp(grey, "#06234a", "#2069a8", "#6fb8e4", "#bfe6f7", "#ffffff")
    ice = f.mix(ice, f.saturate(rgb, 0.4) * f.rgb_of("#c0e0ff"), 0.15)
    points = f.seeds(rgb, 64 / 3, 0.4, 321)
    label, border = f.cells(rgb, points, 64 / 3)
    shade = 0.07 * f.cell_values(label, points, 64 / 3, 322)
    crack = f.step(1.4, 0.2, border)
    needles = sum(f.step(1.2, 2.4, f.strokes(f.straight(rgb, angle), 0.7, 8, 323 + angle)) for angle in (0, 60, 120))
    out = np.clip(ice + shade[..., None], 0, 1) + f.relief(f.blur(grey, 1), 0.8)[..., None]
    return f.screen(np.clip(out, 0, 1), np.clip(0.55 * crack + 0.4 * needles, 0, 0.85))


@effect("dreamlike")
def dreamlike(rgb):
    grey = f.tone(f.luma(rgb), 0.4)
    haze = f.ramp(grey, "#5a4a8c", "#9c84d0", "#f2a6cc", "#ffd6c8", "#fffbea")
    soft = f.mix(0.15 + 0.85 * f.vivid(rgb, 1.5, 0.6), haze, 0.5)
    glow = f.blur(soft * f.step(0.3, 0.9, grey)[..., None], 7)
    sparkle = flakes(rgb, 32, 1.6, 331)[..., None] * f.rgb_of("#fffbe8")
    return f.screen(f.screen(f.mix(soft, f.blur(soft, 2.5), 0.4), 0.5 * glow), 0.6 * sparkle)


@effect("horror")
def horror(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.7), 1.6)
    rough = f.strokes(f.straight(rgb, 88), 0.9, 14, 341)
    dread = np.clip(grey + 0.06 * rough - 0.08, 0, 1) ** 1.3
    out = f.ramp(dread, "#020101", "#1a0605", "#4b1410", "#8f8a70", "#dfe0c0")
    red = f.step(0.1, 0.3, rgb[..., 0] - rgb[..., 1:].max(-1))
    out = f.mix(out, f.rgb_of("#c00808") * (0.2 + dread[..., None]), 0.85 * red)
    blood = f.step(1.5, 2.6, f.strokes(f.straight(rgb, 90), 1.3, 15, 342))
    out = f.mix(out, f.rgb_of("#6a0505"), 0.7 * blood)
    return f.mix(out, np.zeros(3, np.float32), 0.85 * f.ink(rgb, 1.6, 0.22, 20))


@effect("starry night sky")
def starry_night_sky(rgb):
    even = f.step(0.10, 0.02, f.blur(f.edges(rgb, 1.5), 3))
    grey = f.tone(f.luma(rgb), 0.35)
    sky = f.ramp(grey + 0.05 * f.noise(rgb, 8, 351), "#05061c", "#121a52", "#38309a", "#8a5cc0", "#f0c0dc")
    ground = f.ramp(grey**1.4, "#020308", "#0e1330", "#2c3468", "#7f86b8", "#dfe4ff")
    small, large = flakes(rgb, 16, 1.1, 352), flakes(rgb, 32, 1.8, 353)
    stars = np.clip(np.maximum(small, large) + 1.2 * f.blur(large, 2), 0, 1)
    return f.screen(f.mix(ground, sky, even), stars * (0.12 + 0.88 * even))


# --- film and colour looks ----------------------------------------------------------------------------------------------------


def toned(rgb: np.ndarray, *stops: str, local: float = 0.2, own: float = 0.0) -> np.ndarray:
    """A print toned through the given colours from shadow to light, with a share of the photo's own colour."""
    return f.mix(f.ramp(f.tone(f.luma(rgb), local), *stops), rgb, own)


@effect("sepia")
def sepia(rgb):
    return toned(rgb, "#22130a", "#6b4526", "#b98d5a", "#f3dfb5", local=0.25) * f.paper(rgb, 0.05)


@effect("vaporwave")
def vaporwave(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.5), 1.15)
    shift = f.warp(grey, np.full_like(grey, 3), np.zeros_like(grey))
    out = f.ramp(grey, "#1a0b4a", "#6a2bc4", "#ff5fc0", "#ff9ad0", "#9af5ff", "#f4ffff")
    ghost = f.ramp(shift, "#1a0b4a", "#3a50e0", "#20c8e8", "#ff9ad0", "#9af5ff", "#f4ffff")
    y, _ = f.grid_of(rgb)
    return f.mix(out, ghost, 0.35) * (0.93 + 0.09 * (y % 8 < 4))[..., None]


@effect("vintage film")
def vintage_film(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.3), 1.2)
    faded = f.mix(f.saturate(rgb, 0.8), f.ramp(grey, "#241a2a", "#7c4a3a", "#d09a5c", "#f8dc98", "#fff2cc"), 0.62)
    scratch = f.step(2.0, 3.0, f.strokes(f.straight(rgb, 90), 0.7, 20, 361))
    dust = f.step(2.6, 3.2, f.noise(rgb, 0.9, 362))
    out = (0.07 + 0.9 * faded) * (1 + 0.045 * f.noise(rgb, 0.7, 363))[..., None]
    return f.mix(out, f.rgb_of("#fff3d6"), np.clip(0.7 * scratch + 0.8 * dust, 0, 0.85))


@effect("film noir")
def film_noir(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.45), 1.9, 0.53)
    y, x = f.grid_of(rgb)
    blinds = f.step(-0.9, 0.6, np.sin(2 * np.pi * (3 * y + x) / 64))
    grey = grey * (0.74 + 0.26 * blinds)
    grey = np.clip(grey + 0.35 * f.blur(np.maximum(grey - 0.6, 0), 6), 0, 1) * (1 + 0.05 * f.noise(rgb, 0.7, 365))
    return np.repeat(grey[..., None], 3, -1)


@effect("black and white")
def black_and_white(rgb):
    return np.repeat(f.contrast(f.tone(f.luma(rgb), 0.3), 1.25)[..., None], 3, -1)


@effect("cyanotype")
def cyanotype(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.4), 1.2) + 0.015 * f.noise(rgb, 1.0, 371)
    return f.ramp(grey, "#041440", "#0c3c84", "#3a7cba", "#a9cde0", "#f4f7f2")


@effect("infrared")
def infrared(rgb):
    leaf = f.step(-0.04, 0.12, rgb[..., 1] - 0.9 * np.maximum(rgb[..., 2], 0.9 * rgb[..., 0]))
    sky = f.step(0.02, 0.25, rgb[..., 2] - rgb[..., 0])
    grey = f.tone(f.luma(rgb), 0.4)
    grey = np.clip(grey * (1 - 0.55 * sky) + 0.38 * leaf + 0.06, 0, 1)
    out = f.ramp(grey, "#14060f", "#7a1136", "#e0356f", "#ffa6b8", "#fff4f2")
    out = f.mix(out, f.ramp(grey, "#020814", "#0a3a56", "#3f8fa6", "#d8f2f2"), 0.85 * sky)
    return f.screen(out, 0.35 * f.blur(out * f.step(0.6, 0.95, grey)[..., None], 6))


@effect("cyberpunk")
def cyberpunk(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.5), 1.3) ** 1.2
    warm = f.step(-0.12, 0.18, rgb[..., 0] - rgb[..., 2])
    cold = f.ramp(grey, "#04030f", "#0a1a4a", "#0878b8", "#12e6f0", "#e0ffff")
    hot = f.ramp(grey, "#06030f", "#3a0a5a", "#c8129a", "#ff4fb0", "#fff0a0")
    out = f.mix(cold, hot, warm)
    edge = f.step(0.2, 0.6, f.edges(rgb, 1.2))[..., None] * f.mix(f.rgb_of("#10f0ff"), f.rgb_of("#ff20a8"), warm)
    out = f.screen(out, np.clip(0.45 * edge + 0.7 * f.blur(edge, 4), 0, 1))
    y, _ = f.grid_of(rgb)
    return out * (0.9 + 0.12 * (y % 8 < 4))[..., None]


@effect("thermal camera")
def thermal_camera(rgb):
    grey = f.contrast(f.tone(f.luma(f.blur(f.kuwahara(rgb, 3), 1.0)), 0.6) + 0.18 * (rgb[..., 0] - rgb[..., 2]), 1.15)
    return f.ramp(grey, "#04001c", "#2a0a86", "#8a0f9c", "#e0304a", "#ff8a14", "#ffe23a", "#ffffff")


@effect("polaroid")
def polaroid(rgb):
    grey = f.tone(f.luma(rgb), 0.2)
    out = f.mix(f.saturate(f.contrast(rgb, 1.05), 0.95), f.ramp(grey, "#23465a", "#6f8c84", "#e2c48c", "#fff2c4"), 0.45)
    out = 0.1 + 0.9 * out * np.array([1.0, 0.95, 0.84], np.float32)
    return f.screen(f.blur(out, 0.7), 0.2 * f.blur(out * f.step(0.5, 0.9, grey)[..., None], 6) * f.rgb_of("#ffc890"))


@effect("lomo")
def lomo(rgb):
    out = f.vivid(f.contrast(rgb, 1.5), 1.9, 0.95)
    out = np.stack([f.step(0.02, 0.95, out[..., 0]), f.step(-0.02, 1.0, out[..., 1]) * 0.97, 0.16 + 0.62 * out[..., 2]], -1)
    return f.mix(out, f.ramp(f.luma(out), "#06203a", "#2a6a5a", "#e0b848", "#fff4a8"), 0.3) * f.paper(rgb, 0.025)


@effect("dementor")
def dementor(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.6), 1.3)
    drained = f.along(grey, f.straight(rgb, 90), 12)
    ghost = np.clip(0.68 * grey + 0.32 * drained, 0, 1) ** 1.3
    cold = f.ramp(ghost, "#010306", "#0c1923", "#2c4657", "#6d909f", "#c6dde2")
    cold = f.mix(cold, f.saturate(rgb, 0.3) * f.rgb_of("#52707f"), 0.12)
    fern = np.minimum(*(np.abs(f.strokes(f.straight(rgb, angle), 0.9, 9, 201 + angle)) for angle in (60, 120)))
    frost = f.step(0.22, 0.02, fern) + 0.35 * f.step(0.8, 2.2, f.noise(rgb, 1.5, 203))
    return f.screen(cold, 0.26 * np.clip(frost, 0, 1)[..., None] * f.rgb_of("#b5d4e0") * (0.5 + ghost[..., None]))


@effect("gold relief")
def gold_relief(rgb):
    grey = f.tone(f.luma(f.kuwahara(rgb, 3)), 0.6)
    light = f.relief(f.blur(grey, 1.2), 5.0) + f.relief(f.blur(grey, 3.5), 4.0)
    metal = np.clip(0.28 + 0.34 * grey + 0.55 * light + 0.03 * f.noise(rgb, 1.0, 381), 0, 1)
    out = f.ramp(metal, "#1e0d02", "#6a3d08", "#b87a16", "#eabb3c", "#fff0a0", "#fffdf0")
    return f.screen(out, 0.3 * f.blur(out * f.step(0.75, 1.0, metal)[..., None], 3))


@effect("marble")
def marble(rgb):
    grey = f.tone(f.luma(f.kuwahara(rgb, 3)), 0.6)
    light = f.relief(f.blur(grey, 1.0), 3.4) + f.relief(f.blur(grey, 3.0), 3.4)
    vein = f.step(0.1, 0.0, np.abs(f.stripes(rgb, 2, 1, 0.09, 391))) + 0.5 * f.step(0.06, 0.0, np.abs(f.stripes(rgb, 1, -2, 0.14, 392)))
    cloud = 0.05 * f.noise(rgb, 6, 393)
    stone = np.clip(0.4 + 0.5 * grey + 0.6 * light + cloud, 0, 1)
    out = f.ramp(stone, "#2e3038", "#6c6e78", "#b0b1b4", "#e4e2de", "#ffffff")
    return out * (1 - np.clip(vein, 0, 1) * 0.32)[..., None]


@effect("clay")
def clay(rgb):
    smooth = f.abstraction(rgb, 4, 2)
    flat = f.recolour(f.vivid(smooth, 2.6, 0.75), 0.2 + 0.7 * f.posterise(f.tone(f.luma(smooth), 0.5), 5, 0.8))
    height = f.blur(f.luma(flat), 2.0)
    prints = f.stripes(rgb, 8, 5, 0.8, 401) * f.step(0.2, 1.2, f.noise(rgb, 6, 402))
    light = 1 + f.relief(height, 3.5) + 0.045 * prints + f.relief(f.noise(rgb, 3, 403), 0.08)
    seam = f.blur(f.outline(smooth, 2.0, 0.05), 0.8)
    return np.clip(flat * light[..., None], 0, 1) * (1 - 0.5 * seam)[..., None]
