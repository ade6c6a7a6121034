"""More procedural renderings for ``effects.EFFECTS``: painters and movements known by their colours, planes and lines, and a few by soft
strokes. The teacher would know each by one painting, whose colours it lays over everything."""

import filters as f
import numpy as np
from effects import effect, woodblock
from effects_paint import Brush, canvas, lay_strokes, seen, swirls

# What `choose_artworks.py` leaves to its effect, here or in `effects.py`, without an artwork.
ALONE = {
    "turner", "kuindzhi", "derain", "matisse", "expressionism", "seurat", "chagall", "symbolism", "kandinsky", "baroque", "malevich",
    "leger", "miro", "lichtenstein", "warhol", "dali", "surrealism", "rousseau", "botero", "picasso", "hokusai", "hiroshige",
    "renaissance", "de stijl", "art nouveau", "minimalism",
}  # fmt: skip


def lit(smooth: np.ndarray, strength: float, contrast: float = 1.0, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Brightness (H, W) of a well-exposed picture, in the range ``low`` to ``high``."""
    return low + (high - low) * f.contrast(f.tone(f.luma(smooth), strength), contrast)


def outlined(picture: np.ndarray, rgb: np.ndarray, width: float, code: str, amount: float = 0.9) -> np.ndarray:
    """Bold lines along the photo's edges, more those of its areas than of every leaf, drawn with a brush."""
    line = f.along(f.outline(f.mix(rgb, f.kuwahara(rgb, 4), 0.5), width, 0.05), f.flow(rgb, 3), 3)
    return f.mix(picture, f.rgb_of(code), amount * np.clip(1.3 * line, 0, 1))


def warmth(rgb: np.ndarray) -> np.ndarray:
    """0 (blue) to 1 (red), (H, W), in fairly even areas."""
    hot = f.vivid(rgb, 4.0, 1.0)
    return f.step(-0.08, 0.12, f.blur(hot[..., 0] - hot[..., 2], 1.5))


# --- soft strokes -------------------------------------------------------------------------------------------------------------


@effect("turner", loose=True)
def turner(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = lit(f.blur(smooth, 1.2), 0.5, 1.0, 0.22, 1.0)
    haze = f.ramp(grey, (0.2, "#4a3a34"), (0.4, "#94744a"), (0.6, "#d8a850"), (0.8, "#f6d98c"), (1.0, "#fffae0"))
    cool = f.ramp(grey, (0.2, "#3c4454"), (0.5, "#8494a0"), (0.75, "#dcd8b8"), (1.0, "#fffae0"))
    base = f.mix(f.mix(cool, haze, 0.35 + 0.65 * warmth(smooth)), f.recolour(f.vivid(smooth, 1.8, 0.6), grey), 0.25)
    base = f.screen(base, 0.35 * f.blur(base * f.step(0.6, 0.95, grey)[..., None] * f.rgb_of("#ffe6a0"), 14))
    direction = f.flow(smooth, 5, swirls(rgb, 26), 0.003)
    return canvas(rgb, base, direction, Brush(34, 12, 0.02, 0.015, 0.3, 0.03), Brush(18, 6, 0.02, 0.015), 0.08, 0.5)


@effect("kuindzhi", loose=True)
def kuindzhi(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.4), 1.5, 0.55)
    glow = f.ramp(grey, "#060d12", "#0c2a22", "#2c5a34", "#9aa83c", "#f2d860", "#fffbd8")
    dusk = f.ramp(grey, "#080812", "#101f3c", "#24506c", "#6f9a94", "#e6dca0", "#fffbd8")
    base = f.mix(f.mix(dusk, glow, warmth(smooth)), f.recolour(f.vivid(smooth, 3.2, 0.85), grey), 0.35)
    base = f.screen(base, 0.3 * f.blur(base * f.step(0.6, 0.9, grey)[..., None], 8))
    direction = f.flow(smooth, 4, 0.0, 0.002)
    return canvas(rgb, base, direction, Brush(26, 9, 0.015, 0.01, 0.2, 0.03), Brush(11, 4, 0.02, 0.01), 0.06, 0.7)


@effect("derain", loose=True)
def derain(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = lit(smooth, 0.6, 1.0, 0.08, 1.0)
    warm = f.ramp(grey, "#3a1070", "#d81e4a", "#ff6a1e", "#ffc02a", "#fff3b8")
    cool = f.ramp(grey, "#141a70", "#1450c0", "#12a088", "#7fd0c8", "#fff3c8")
    base = f.mix(f.mix(cool, warm, warmth(smooth)), f.vivid(smooth, 4.0, 1.0), 0.3)
    direction = f.flow(smooth, 4, np.radians(-20), 0.002)
    return canvas(rgb, base, direction, Brush(16, 8, 0.03, 0.05, 0.25, 0.02), Brush(9, 4.4, 0.03, 0.04, 0.25, 0.02), 0.12, 0.6)


@effect("matisse", loose=True)
def matisse(rgb):
    smooth = f.along(f.kuwahara(f.kuwahara(rgb, 5), 4), f.flow(rgb, 4), 4)
    vivid = f.recolour(f.vivid(smooth, 4.5, 1.0), lit(smooth, 0.6, 1.1, 0.12, 1.0))
    flat = f.palette(
        vivid,
        ("#fff2d6", "#f7c948", "#f07a3a", "#d8324a", "#f3a3b4", "#2f6fc0", "#7fc0d8", "#1f8a6a", "#8fc070", "#6a3a8a", "#22244a"),
        7.0, 1.0, 1.5,
    )  # fmt: skip
    direction = f.flow(smooth, 5, np.radians(70), 0.002)
    painted = canvas(rgb, flat, direction, Brush(26, 11, 0.02, 0.012, 0.3, 0.04), Brush(14, 6, 0.02, 0.012), 0.1, 0.3)
    return outlined(painted + f.detail(rgb, 0.8), rgb, 1.7, "#1c2040", 0.85)


@effect("expressionism", loose=True)
def expressionism(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.3)
    warm = f.ramp(grey, "#14060c", "#6a1018", "#c8321e", "#f08a1e", "#f8dc6a")
    cool = f.ramp(grey, "#06080f", "#10304a", "#1f6a6a", "#7fae5a", "#f2e68c")
    base = f.mix(f.mix(cool, warm, warmth(smooth)), f.vivid(smooth, 3.5, 1.0), 0.25)
    direction = f.flow(smooth, 4, swirls(rgb, 16), 0.003)
    painted = canvas(rgb, base, direction, Brush(30, 8, 0.07, 0.04, 0.2, 0.07), Brush(13, 4, 0.06, 0.04), 0.22, 0.5)
    return outlined(painted, rgb, 1.8, "#08060c", 0.8)


@effect("seurat", loose=True)
def seurat(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = lit(smooth, 0.45, 1.0, 0.16, 1.0)
    shade = f.ramp(grey, "#3a3a78", "#6a6a98", "#b0a878", "#e8d890", "#fff8dc")
    base = f.mix(f.recolour(f.vivid(smooth, 2.4, 0.7), grey), shade, 0.4)
    direction = f.straight(rgb, 0)
    under, _ = lay_strokes(base, direction, Brush(5, 5, 0.02, 0.04, 3, 0))
    # Each dot is pure: blue or orange, violet or yellow, beside its opposite.
    opposite = np.where(seen(2, rgb)[..., None] > 0, f.rgb_of("#ffb040"), f.rgb_of("#5060d0")) - 0.55
    over, _ = lay_strokes(np.clip(base + 0.16 * opposite, 0, 1), direction, Brush(4, 4, 0.03, 0.045, 3, 0))
    return np.clip(f.mix(under, over, 0.7) + f.detail(rgb, 0.7), 0, 1)


@effect("chagall", loose=True)
def chagall(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = lit(smooth, 0.6, 1.1, 0.06, 0.98)
    dream = f.ramp(grey, "#0c1040", "#22409c", "#4a80c8", "#a0b8d8", "#f2ecd8")
    warm = f.ramp(grey, "#3a0c3c", "#a0244a", "#dc5a4a", "#f0b05a", "#fbeec0")
    green = f.ramp(grey, "#0c2a30", "#1f6a4a", "#6aa85a", "#c8d07a", "#f8f0c8")
    hot = f.vivid(smooth, 4.0, 1.0)
    leafy = f.step(0.02, 0.14, f.blur(hot[..., 1] - np.maximum(hot[..., 0], hot[..., 2]), 1.5))
    base = f.mix(f.mix(f.mix(dream, warm, f.step(0.35, 0.9, warmth(smooth))), green, leafy), f.vivid(smooth, 3.0), 0.2)
    direction = f.flow(smooth, 4, swirls(rgb, 20), 0.002)
    painted = canvas(rgb, base, direction, Brush(22, 9, 0.04, 0.03, 0.4, 0.05), Brush(11, 4.4, 0.04, 0.03), 0.1, 0.6)
    return outlined(painted, rgb, 1.4, "#101438", 0.6)


@effect("symbolism", loose=True)
def symbolism(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = lit(smooth, 0.4, 1.15, 0.02, 0.92)
    gold = f.ramp(grey, "#120c14", "#4a2c1c", "#a0701e", "#e0b848", "#f8ecb0")
    deep = f.ramp(grey, "#0c0c1c", "#1c2a44", "#2f5a64", "#84a090", "#ece4b8")
    base = f.mix(f.mix(deep, gold, warmth(smooth)), f.recolour(f.vivid(smooth, 2.4, 0.7), grey), 0.25)
    base = f.screen(base, 0.3 * f.blur(base * f.step(0.5, 0.85, grey)[..., None], 6))
    direction = f.flow(smooth, 5, swirls(rgb, 24), 0.002)
    return canvas(rgb, base, direction, Brush(26, 7, 0.03, 0.015, 0.2, 0.04), Brush(11, 3.6, 0.03, 0.02), 0.1, 0.7)


@effect("kandinsky", loose=True)
def kandinsky(rgb):
    smooth = f.along(f.kuwahara(f.kuwahara(rgb, 5), 4), f.flow(rgb, 4), 4)
    # The colours turn with the brightness, as on his mountains and churches, and with the colour that was there.
    turn = 2.4 * f.blur(lit(smooth, 0.7, 1.1), 1.2) + 0.7 * warmth(smooth)
    wheel = ("#2a2a8c", "#1f6fd0", "#28b0a0", "#f07030", "#f8d838", "#fff0c0", "#58b8e8", "#e0303c", "#f8c030", "#d060a0", "#fff0c0")
    base = f.ramp(turn / 3.1, *wheel)
    base = f.mix(base, f.recolour(base, lit(smooth, 0.5, 1.1, 0.1, 1.0)), 0.6)
    direction = f.flow(smooth, 4, swirls(rgb, 22), 0.002)
    painted = canvas(rgb, base, direction, Brush(22, 12, 0.02, 0.03, 0.4, 0.03), Brush(12, 6, 0.02, 0.03), 0.1, 0.4)
    return outlined(painted + f.detail(rgb, 0.8), rgb, 1.6, "#101020", 0.9)


@effect("baroque", loose=True)
def baroque(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = 0.88 * f.contrast(f.tone(f.luma(smooth), 0.2), 1.35, 0.55) ** 1.25
    glow = f.ramp(grey, "#080504", "#2a150b", "#6e3d1c", "#b98248", "#ecc98c", "#fff1cf")
    base = f.mix(glow, f.recolour(f.vivid(smooth, 2.4, 0.7) * f.rgb_of("#ffe2b4"), grey), 0.5)
    base = f.screen(base, 0.2 * f.blur(base * f.step(0.55, 0.9, grey)[..., None], 7))
    direction = f.flow(smooth, 4, np.radians(40), 0.002)
    return canvas(rgb, base, direction, Brush(22, 6, 0.018, 0.008, 0.3, 0.05), Brush(10, 3, 0.015, 0.008), 0.08, 1.0)


@effect("rococo", loose=True)
def rococo(rgb):
    smooth = f.kuwahara(rgb, 3)
    # Light flesh, silk and clouds out of a warm dusk.
    grey = 0.03 + 0.92 * f.contrast(f.tone(f.luma(smooth), 0.5), 1.2, 0.52) ** 1.3
    rose = f.ramp(grey, "#140d08", "#3e2618", "#865438", "#c8906e", "#eecaa4", "#fdf0d6")
    sea = f.ramp(grey, "#0d100c", "#28291e", "#565c4a", "#8a9a98", "#c0ccc6", "#f6f0da")
    base = f.mix(f.mix(sea, rose, warmth(smooth)), f.recolour(f.vivid(smooth, 1.6, 0.45), grey), 0.3)
    direction = f.flow(smooth, 4, swirls(rgb, 18), 0.002)
    return canvas(rgb, base, direction, Brush(16, 6, 0.02, 0.01, 0.4, 0.05), Brush(8, 2.6, 0.015, 0.01), 0.05, 1.2)


# --- planes and lines ---------------------------------------------------------------------------------------------------------


@effect("malevich")
def malevich(rgb):
    smooth = f.kuwahara(rgb, 4)
    label = f.triangles(smooth, 32, 0.4, 501, snap=False)
    fine = f.triangles(smooth, 64 / 4, 0.45, 502, snap=False)
    y, x = f.grid_of(rgb)
    vivid = f.recolour(f.vivid(smooth, 4.5, 1.0), lit(smooth, 0.7, 1.3))
    busy = f.step(0.05, 0.15, f.blur(f.edges(rgb, 1.5), 3))
    planes = f.mix(f.fill(vivid, label), f.fill(vivid, fine), f.fill(busy[..., None], fine)[..., 0] > 0.5)
    flat = f.palette(planes, ("#f4efe2", "#16161a", "#c8281e", "#e8b820", "#1f4f9c", "#2f7a4a", "#d88a90", "#8a8880"), 2.0, 1.0, 1.4)
    # Every plane is a little lighter towards one side, as if another lay over it.
    centre = f.cell_means(np.stack([y, x], -1), label, int(label.max()) + 1)[label]
    tilt = ((y - centre[..., 0]) + (x - centre[..., 1])) / 64
    return (f.mix(flat, f.mix(vivid, flat, 0.5), 0.35) * (1 + 0.16 * tilt[..., None]) + f.detail(rgb, 1.1)) * f.paper(rgb, 0.02)


@effect("leger")
def leger(rgb):
    smooth = f.along(f.kuwahara(f.kuwahara(rgb, 4), 4), f.flow(rgb, 3), 4)
    grey = lit(smooth, 0.7, 1.2)
    vivid = f.recolour(f.vivid(smooth, 5.0, 1.0), 0.1 + 0.9 * grey)
    flat = f.palette(vivid, ("#f6f2e4", "#f2c81e", "#d8281e", "#1f4fae", "#2f8a4a", "#9aa0a4", "#e08a3a", "#1a1a1e"), 3.0, 0.9, 1.4)
    # His tubes: planes shaded to the side, light in their middle.
    tube = f.relief(f.blur(grey, 3.0), 4.0)
    return outlined(np.clip(flat * (1 + tube[..., None]) + f.detail(rgb, 0.9), 0, 1), rgb, 1.8, "#0c0c10", 1.0)


@effect("miro")
def miro(rgb):
    smooth = f.along(f.kuwahara(f.kuwahara(rgb, 5), 4), f.flow(rgb, 4), 5)
    grey = lit(smooth, 0.7, 1.1)
    ground = f.ramp(f.blur(grey, 2), (0.0, "#10205c"), (0.35, "#1f5ab8"), (0.6, "#6aa8dc"), (0.62, "#e8c048"), (1.0, "#f8e8b0"))
    ground = ground * (1 + 0.05 * f.noise(rgb, 4, 511) + 0.03 * f.noise(rgb, 1.2, 512))[..., None]
    vivid = f.recolour(f.vivid(smooth, 6.0, 1.0), 0.15 + 0.85 * grey)
    spots = f.palette(vivid, ("#e02020", "#f8d018", "#109048", "#101014", "#1840b0", "#ffffff"), 2.0, 0.7, 1.6)
    strong = f.step(0.16, 0.3, f.blur(np.ptp(smooth, axis=-1), 1.5))
    return outlined(f.mix(ground, spots, strong) + f.detail(rgb, 0.7), rgb, 1.6, "#08080c", 1.0)


@effect("lichtenstein")
def lichtenstein(rgb):
    smooth = f.kuwahara(f.kuwahara(rgb, 4), 3)
    grey = lit(smooth, 0.7, 1.25)
    hot = f.vivid(smooth, 5.0, 1.0)
    warm, blue = f.step(0.02, 0.1, hot[..., 0] - hot[..., 2]), f.step(0.0, 0.08, hot[..., 2] - hot[..., 0])
    yellow = f.step(0.04, 0.12, np.minimum(hot[..., 0], hot[..., 1]) - hot[..., 2]) * f.step(0.5, 0.6, grey)
    colour = f.mix(f.mix(f.rgb_of("#e8e4dc"), f.rgb_of("#e01f26"), warm), f.rgb_of("#1f50b4"), blue)
    colour = f.mix(colour, f.rgb_of("#ffdf1e"), yellow)
    dots = f.step(-0.1, 0.1, f.dots(rgb, 16) - f.step(0.3, 0.95, grey) * 0.9)
    light = f.mix(f.mix(f.rgb_of("#fffdf4"), colour, dots), colour, yellow)
    out = f.mix(colour, light, f.step(0.34, 0.38, grey))
    out = f.mix(out, f.rgb_of("#0c0c14"), f.step(0.2, 0.16, grey))
    return f.mix(out, f.rgb_of("#0c0c14"), np.clip(1.2 * f.along(f.ink(rgb, 1.6, 0.12, 18), f.flow(rgb, 3), 3), 0, 1))


@effect("warhol")
def warhol(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = lit(smooth, 0.7, 1.3)
    warm = warmth(smooth)
    ground = f.mix(f.rgb_of("#1fb8b0"), f.rgb_of("#f8c81e"), warm)
    middle = f.mix(f.rgb_of("#7a3ab0"), f.rgb_of("#f0487a"), warm)
    light = f.mix(f.rgb_of("#a8e8d0"), f.rgb_of("#ffe9b8"), warm)
    out = f.mix(middle, ground, f.step(0.36, 0.4, grey))
    out = f.mix(out, light, f.step(0.68, 0.72, grey))
    # The black screen, a little out of register and rough.
    black = f.step(0.3, 0.2, grey + 0.7 * f.detail(rgb, 1.4)[..., 0] + 0.035 * f.noise(rgb, 0.9, 521))
    black = f.warp(black, 2.0, -1.0)
    return f.mix(out, f.rgb_of("#14101c"), np.maximum(black, 0.8 * f.ink(rgb, 1.2, 0.1, 14)))


@effect("dali")
def dali(rgb):
    smooth = f.along(f.kuwahara(rgb, 3), f.flow(rgb, 3, np.pi / 2, 0.001), 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.4), 1.25)
    sand = f.ramp(grey, "#1c0f0a", "#6a3a14", "#c07a20", "#eab850", "#fff0b8")
    sky = f.ramp(grey, "#0c1626", "#1f4868", "#4a90a8", "#a8d0c0", "#fff0c0")
    base = f.mix(f.mix(sky, sand, warmth(smooth)), f.recolour(f.vivid(smooth, 3.0, 0.8), grey), 0.35)
    # Glazed, with hard light: shine on what is light, depth below it.
    shine = f.screen(base, 0.3 * f.blur(f.step(0.7, 0.95, grey)[..., None] * f.rgb_of("#fff0c0"), 2))
    return np.clip(shine * (1 + f.relief(f.blur(grey, 2.0), 1.6))[..., None] + f.detail(rgb, 0.9), 0, 1)


@effect("surrealism")
def surrealism(rgb):
    smooth = f.along(f.kuwahara(rgb, 3), f.flow(rgb, 3, np.pi / 2, 0.001), 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.2)
    earth = f.ramp(grey, "#160c14", "#5c2c34", "#b0684c", "#e8b88c", "#fff0dc")
    sky = f.ramp(grey, "#0a1c30", "#1a5a80", "#46a0b8", "#a8dcd8", "#fdf6e0")
    base = f.mix(f.mix(sky, earth, warmth(smooth)), f.recolour(f.vivid(smooth, 2.6, 0.8), grey), 0.3)
    melt = f.warp(base, 1.6 * np.sin(2 * np.pi / 32 * f.grid_of(rgb)[0]), 1.6 * np.sin(2 * np.pi / 64 * f.grid_of(rgb)[1]))
    glow = f.screen(melt, 0.3 * f.blur(melt * f.step(0.6, 0.9, grey)[..., None], 5))
    return np.clip(glow * (1 + f.relief(f.blur(grey, 2.5), 1.4))[..., None] + f.detail(rgb, 0.7), 0, 1)


@effect("naive art")
def naive_art(rgb):
    smooth = f.along(f.kuwahara(rgb, 3), f.flow(rgb, 3), 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.15)
    meadow = f.ramp(grey, "#0c1a14", "#23503a", "#5a8a4c", "#a6b870", "#e8e0b4", "#fbf6e2")
    sky = f.ramp(grey, "#141c30", "#35587c", "#7aa4bc", "#bcd6d8", "#f4f0e0")
    earth = f.ramp(grey, "#20120e", "#6e3424", "#b86444", "#e2ae80", "#f8e6c8")
    hot = f.vivid(smooth, 4.0, 1.0)
    blue = f.step(0.0, 0.12, f.blur(hot[..., 2] - hot[..., 0], 1.5))
    red = f.step(0.04, 0.2, f.blur(hot[..., 0] - np.maximum(hot[..., 1], hot[..., 2]), 1.2))
    strong = f.step(0.2, 0.45, f.blur(np.ptp(hot, axis=-1), 1.2))
    plain = f.recolour(f.vivid(smooth, 2.4, 0.8), 0.08 + 0.88 * grey)
    base = f.mix(f.mix(f.mix(meadow, sky, blue), earth, red), plain, 0.2 + 0.4 * strong)
    # Every blade and leaf has a stroke of its own.
    busy = f.step(0.03, 0.15, f.blur(f.edges(rgb, 1.5), 3))
    leaf = f.strokes(f.flow(rgb, 3, np.radians(65), 0.003), 1.2, 5, 531) * f.step(0.8, 0.35, grey) * (0.4 + 0.6 * busy)
    return outlined(np.clip(base * (1 + 0.12 * leaf[..., None]) + f.detail(rgb, 0.9), 0, 1), rgb, 1.0, "#141410", 0.55)


@effect("rousseau")
def rousseau(rgb):
    smooth = f.along(f.kuwahara(rgb, 4), f.flow(rgb, 3), 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.15)
    jungle = f.ramp(grey, "#06140e", "#123c22", "#2c7038", "#7aa850", "#dce0a0", "#f8f4dc")
    sky = f.ramp(grey, "#0c1c28", "#2c5064", "#6a98a8", "#b0d0cc", "#f4f2e0")
    warm = f.recolour(f.vivid(smooth, 4.0, 1.0), 0.08 + 0.85 * grey)
    hot = f.vivid(smooth, 4.0, 1.0)
    blue = f.step(0.0, 0.12, f.blur(hot[..., 2] - hot[..., 0], 1.5))
    strong = f.step(0.12, 0.3, f.blur(hot[..., 0] - np.maximum(hot[..., 1], hot[..., 2]), 1.2))
    base = f.mix(f.mix(jungle, sky, blue), warm, 0.2 + 0.7 * strong)
    leaf = f.strokes(f.flow(rgb, 3, np.radians(65), 0.003), 1.4, 6, 531)
    dark = f.step(0.65, 0.35, grey)
    leaves = base * (1 + 0.14 * (dark * leaf)[..., None])
    return outlined(np.clip(leaves + f.detail(rgb, 0.8), 0, 1), rgb, 1.2, "#061008", 0.65)


@effect("botero")
def botero(rgb):
    # Everything swells: what is light grows, and is modelled softly.
    smooth = f.blur(f.kuwahara(f.kuwahara(rgb, 4), 4), 1.0)
    grey = lit(smooth, 0.5, 1.1, 0.08, 1.0)
    warm = f.ramp(grey, "#3c1c18", "#8a4430", "#d88860", "#f4c898", "#fff0d8")
    cool = f.ramp(grey, "#1c2c2c", "#3c6a5c", "#84b090", "#c8dcb4", "#fbf4dc")
    base = f.mix(f.mix(cool, warm, warmth(smooth)), f.recolour(f.vivid(smooth, 3.0, 0.8), grey), 0.45)
    volume = f.relief(f.blur(grey, 4.0), 4.0)
    return np.clip(base * (1 + volume[..., None]) + f.detail(rgb, 0.7), 0, 1) * f.canvas(rgb, 0.012)


@effect("picasso")
def picasso(rgb):
    smooth = f.kuwahara(rgb, 4)
    y, x = f.grid_of(rgb)
    label = f.triangles(smooth, 32, 0.45, 541, snap=False)
    centre = f.cell_means(np.stack([y, x], -1), label, int(label.max()) + 1)[label]
    turn = 2 * np.pi / 64 * (7 * centre[..., 0] + 5 * centre[..., 1])
    base = f.mix(smooth, f.fill(smooth, label), 0.5)
    grey = lit(base, 0.7, 1.25) + 0.2 * ((y - centre[..., 0]) * np.sin(turn) + (x - centre[..., 1]) * np.cos(turn)) / 32
    warm = f.ramp(grey, "#2a1018", "#a02c2c", "#e0803c", "#f2c860", "#fff0d0")
    cool = f.ramp(grey, "#10142c", "#1f4a8c", "#4a98b8", "#a8d0c8", "#fbf4e0")
    side = np.clip(warmth(smooth) + 0.3 * np.sin(3 * turn), 0, 1)
    planes = f.mix(f.mix(cool, warm, side), f.recolour(f.vivid(base, 3.5, 1.0), grey), 0.3)
    lines = np.maximum(0.4 * f.cell_borders(label, 0.6), f.along(f.outline(smooth, 1.8, 0.05), f.flow(rgb, 3), 3))
    return f.mix(planes, f.rgb_of("#0c0c14"), np.clip(1.1 * lines, 0, 1))


@effect("de stijl")
def de_stijl(rgb):
    smooth = f.kuwahara(rgb, 4)
    vivid = f.recolour(f.vivid(smooth, 5.0, 1.0), lit(smooth, 0.7, 1.3))
    colours = ("#f6f2e6", "#d8201e", "#f4cc18", "#1c3f9c", "#141418", "#c8ccc8")
    # Large rectangles, small ones where the photo has much to tell.
    large, small = (f.palette(f.blocks(vivid, size), colours, 0.5, 0.9, 1.3) for size in (16, 8))
    busy = f.blocks(f.edges(rgb, 1.5)[..., None], 16) > 0.09
    flat = np.where(busy, small, large)
    y, x = f.grid_of(rgb)
    near = np.minimum(np.minimum(y % 16, 15 - y % 16), np.minimum(x % 16, 15 - x % 16))
    differs = f.step(0.02, 0.08, f.blur(np.abs(flat - f.blur(flat, 2.5)).max(-1), 1.0))
    lines = (near < 1) * differs
    return f.mix(f.mix(flat, vivid, 0.12) + f.detail(rgb, 0.9), f.rgb_of("#101014"), np.clip(0.95 * lines, 0, 1))


@effect("hokusai")
def hokusai(rgb):
    inks = ("#14326a", "#1f4f8c", "#3f78a8", "#86aec0", "#b8ccc4", "#c89878", "#a84a34", "#7c8458", "#18202e")
    neutral = ("#12224a", "#2f5a8c", "#b8c8bc", "#e4d8b4", "#efe4c8")
    return woodblock(rgb, inks, neutral, "#12244e", 0.5, 0.2, 0.3, 0.9, 0.9)


@effect("hiroshige")
def hiroshige(rgb):
    inks = ("#1c5a80", "#4a98b0", "#98ccd0", "#2c7058", "#88a868", "#c8443c", "#e89880", "#3c3440")
    neutral = ("#2c3c4c", "#7c98a0", "#d8cca8", "#e8d8b4", "#f2e8d0")
    return woodblock(rgb, inks, neutral, "#22242c", 0.6, 0.16, 0.6, 0.6, 0.8)


@effect("renaissance")
def renaissance(rgb):
    smooth = f.blur(f.kuwahara(rgb, 3), 0.6)
    grey = f.contrast(f.tone(f.luma(smooth), 0.35), 1.1) ** 1.1
    umber = f.ramp(grey, "#140c08", "#3c2414", "#84582c", "#c8a060", "#f0dca8", "#fff6dc")
    verdigris = f.ramp(grey, "#0c100c", "#24382c", "#54744c", "#98a878", "#e4dca8", "#fff6dc")
    hot = f.vivid(smooth, 3.0, 1.0)
    cool = f.step(-0.05, 0.15, f.blur(np.maximum(hot[..., 1], hot[..., 2]) - hot[..., 0], 1.5))
    base = f.mix(f.mix(umber, verdigris, cool), f.recolour(f.vivid(smooth, 2.6, 0.75), grey), 0.45)
    # Old varnish: fine cracks.
    label, border = f.cells(smooth, f.seeds(rgb, 64 / 6, 0.45, 571), 64 / 6)
    cracks = f.step(0.9, 0.2, border) * (0.5 + 0.5 * f.step(-0.3, 0.6, f.noise(rgb, 6, 572)))
    return np.clip(base * (1 - 0.1 * cracks)[..., None] + f.detail(rgb, 1.0), 0, 1)
