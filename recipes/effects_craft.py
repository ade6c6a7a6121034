"""More procedural renderings for ``effects.EFFECTS``: drawing media, prints, textiles, ceramics, wood, metal and sand.

Importing this file registers them. They keep to the rules of ``effects``: deterministic, no look farther than about 64 px, textures
that repeat every 64 px; structure is 4 to 16 px coarse where the medium allows, because the model sees a picture in 8-px tokens.
"""

import filters as f
import numpy as np
from effects import drawn, effect, wash
from scipy import ndimage

# --- shared pieces ------------------------------------------------------------------------------------------------------------


def keyed(rgb: np.ndarray, radius: int = 4, gain: float = 1.4) -> np.ndarray:
    """Brightness for media of few tones: 0.45 parts figure from ground, whatever the exposure.

    A colder or warmer colour than around counts as darker or lighter, so that a blue bird stands out from leaves of the same luma; the
    dividing brightness follows the surroundings (some 50 px), so that an even ground, dark or light, falls on the light side.
    """
    smooth = f.kuwahara(rgb, radius)
    warmth = smooth[..., 0] - smooth[..., 2]
    grey = np.clip(f.luma(smooth) + 0.25 * (warmth - f.blur(warmth, 18)), 0, 1)
    mean = f.blur(grey, 18)
    spread = np.sqrt(np.maximum(f.blur(grey * grey, 18) - mean * mean, 0)) + 0.12
    return np.clip(0.45 + gain * 0.25 * (grey - np.clip(0.85 * mean, 0.16, 0.5)) / spread, 0, 1)


def lattice(like: np.ndarray, size: int, stagger: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Offset (down, across) of every pixel from the middle of its ``size``-px cell; every second row may be shifted by half a cell."""
    y, x = f.grid_of(like)
    x = x + (size / 2) * ((y // size) % 2) if stagger else x
    return y % size - (size - 1) / 2, x % size - (size - 1) / 2


def joints(like: np.ndarray, size: int, width: float = 1.5) -> np.ndarray:
    """1 on the straight joints of square tiles, ``width`` px to either side of a cell's border."""
    v, u = lattice(like, size)
    return f.step(size / 2 - width - 0.6, size / 2 - width + 0.6, np.maximum(np.abs(u), np.abs(v)))


def timber(like: np.ndarray, seed: int) -> np.ndarray:
    """Horizontal wood grain around 0, deviation about 1: dark year rings some 9 px apart and fine fibres."""
    rings = f.step(0.1, 1.0, f.stripes(like, 7, 0, 0.3, seed)) - 0.3
    return -1.6 * rings + 0.6 * f.noise(like, (0.8, 9.0), seed + 1)


# --- drawing ------------------------------------------------------------------------------------------------------------------


@effect("chalkboard")
def chalkboard(rgb):
    smooth = f.kuwahara(rgb, 2)
    grey = 0.5 * keyed(rgb, 2) + 0.5 * f.contrast(f.tone(f.luma(smooth), 0.5), 1.3) + 0.8 * f.detail(rgb)[..., 0]
    board = f.rgb_of("#234034") * (1 + 0.12 * f.strokes(f.straight(rgb, -20), 2.5, 8, 501))[..., None]
    chalk = np.clip(0.9 + 0.6 * (f.vivid(smooth, 3.0) - f.luma(smooth)[..., None]), 0, 1)
    hatch = f.stripes(rgb, 8, 8, 0.12, 503)
    fill = f.step(0.36, 0.86, grey) * (0.6 + 0.4 * f.step(-0.5, 0.4, hatch + 2.2 * (grey - 0.6)))
    lines = 0.95 * f.step(0.2, 0.5, f.blur(f.edges(f.blur(smooth, 0.6), 1.2), 0.6))
    tooth = f.step(-2.0, -0.2, f.noise(rgb, 0.9, 504))
    return f.mix(board, chalk, np.maximum(0.85 * fill, lines) * (0.55 + 0.45 * tooth))


@effect("ballpoint pen")
def ballpoint_pen(rgb):
    grey = f.contrast(f.tone(f.luma(f.kuwahara(rgb, 2)), 0.6), 1.3)
    dark = 1 - 0.6 * grey - 0.4 * keyed(rgb, 2)
    marks = np.zeros_like(dark)
    # Each further direction joins where the picture is darker still, as a pen shades.
    for rows, columns, low, seed in ((10, 6, 0.26, 511), (4, -11, 0.5, 512), (12, -3, 0.7, 513)):
        hatch = f.step(-0.1, 0.6, f.stripes(rgb, rows, columns, 0.14, seed) + 1.6 * (dark - low) - 0.5)
        marks = 1 - (1 - marks) * (1 - 0.85 * hatch * f.step(low - 0.1, low + 0.04, dark))
    lines = f.wobble(f.outline(f.kuwahara(rgb, 2), 0.9, 0.05), 0.7)
    y, _ = f.grid_of(rgb)
    page = f.mix(f.rgb_of("#fbfbf6"), f.rgb_of("#b9d2ea"), 0.8 * f.step(1.3, 0.4, np.abs(y % 16 - 8)))
    return f.mix(page, f.rgb_of("#16279c"), np.clip(np.maximum(marks, 0.95 * lines), 0, 1))


@effect("marker drawing")
def marker_drawing(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.tone(f.luma(smooth), 0.5)
    flat = f.recolour(f.vivid(smooth, 2.4, 0.65), 0.3 + 0.68 * f.posterise(grey, 4, 0.2))
    band = f.stripes(rgb, 4, 8, 0.05, 521)
    overlap = f.step(0.72, 0.95, band)
    flat = f.saturate(flat, 0.8)
    layers = flat ** (1.0 + 0.75 * overlap + 0.1 * band)[..., None]
    gap = f.step(-0.86, -0.97, band) * f.step(0.35, 0.6, grey)
    bare = np.clip(f.step(0.76, 0.82, grey) + 0.85 * gap, 0, 1)
    out = f.mix(layers, f.rgb_of("#fffefa"), bare)
    return f.mix(out, f.rgb_of("#101018"), f.step(0.3, 0.65, f.blur(f.ink(rgb, 1.2, 0.08, 18), 0.7)))


@effect("line art")
def line_art(rgb):
    smooth = f.kuwahara(rgb, 2)
    warm = 0.5 + 0.5 * np.repeat(smooth[..., :1] - smooth[..., 2:], 3, -1)
    marks = np.maximum(f.outline(smooth, 0.85, 0.05), f.outline(warm, 0.9, 0.08))
    return drawn("#ffffff", "#000000", f.step(0.28, 0.55, f.along(marks, f.flow(smooth, 3), 3)))


@effect("scratchboard")
def scratchboard(rgb):
    smooth = f.kuwahara(rgb, 2)
    grey = np.clip(keyed(rgb, 2, 1.3) + 1.5 * f.detail(rgb)[..., 0], 0, 1)
    hair = f.strokes(f.flow(smooth, 4, np.radians(60), 0.002), 0.8, 9, 531)
    scratch = f.step(-0.25, 0.35, hair + 5.0 * (grey - 0.6)) * f.step(0.15, 0.35, grey)
    edge = f.step(0.3, 0.6, f.edges(smooth, 0.8)) * f.step(0.3, 0.5, grey)
    return drawn("#0a0a0b", "#f6f4ee", np.maximum(scratch, 0.9 * edge))


@effect("silhouette")
def silhouette(rgb):
    grey = f.blur(keyed(rgb, 2), 0.7)
    sky = f.ramp(f.contrast(f.blur(f.luma(rgb), 6), 1.5), "#8a1f6e", "#e03a58", "#ff7f38", "#ffc04e", "#fff0b4")
    return f.mix(np.zeros_like(rgb) + f.rgb_of("#08060c"), sky, f.step(0.43, 0.46, grey))


@effect("sand drawing")
def sand_drawing(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.2)
    groove = f.blur(f.step(0.2, 0.6, f.blur(np.maximum(f.ink(rgb, 1.5, 0.1, 18), f.outline(smooth, 1.5, 0.05)), 1.0)), 0.8)
    rake = 0.28 * f.blur(f.stripes(rgb, 8, 3, 0.2, 541), 0.5) * f.step(0.62, 0.35, grey)
    grain = 0.5 * f.noise(rgb, 0.7, 542) + 0.35 * f.noise(rgb, 1.6, 543)
    light = f.relief(0.9 * f.blur(groove, 2.0) - 1.2 * groove + rake + 0.05 * grain, 1.1)
    shade = 0.54 + 0.44 * (grey - 0.5) - 0.32 * groove + 0.7 * light + 0.03 * grain
    return f.ramp(shade, "#4a3218", "#8c6638", "#cfa667", "#eacb92", "#fff0cd")


# --- print --------------------------------------------------------------------------------------------------------------------


def spot_inks(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much blue-ish, red-ish and yellow ink (0..1 each) a levelled, strengthened picture asks for."""
    smooth = f.kuwahara(rgb, 3)
    grey = np.clip(0.4 * f.tone(f.luma(smooth), 0.5) + 0.6 * keyed(rgb, 3) + 0.8 * f.detail(rgb)[..., 0], 0, 1)
    strong = f.recolour(f.vivid(smooth, 3.2, 0.9), grey)
    return 1 - strong[..., 0], 1 - strong[..., 1], 1 - strong[..., 2]


@effect("screen print")
def screen_print(rgb):
    blue, red, yellow = spot_inks(rgb)
    out = f.rgb_of("#f6ecd6") + np.zeros_like(rgb)
    holes = f.step(-3.0, -2.4, f.noise(rgb, 1.6, 551))
    for amount, code, low, dx, dy in ((yellow, "#ffcd2e", 0.34, 0, 2), (red, "#f2563f", 0.54, 3, 0), (blue, "#1b8f96", 0.58, -2, -2)):
        plate = f.step(low - 0.025, low + 0.025, f.warp(f.blur(amount, 0.8), dx, dy)) * holes
        out = out * f.mix(np.ones(3, np.float32), f.rgb_of(code), plate)
    dark = f.step(0.72, 0.75, f.blur((blue + red + yellow) / 3, 0.8))
    return f.mix(out, f.rgb_of("#23163a"), 0.9 * np.maximum(dark, f.ink(rgb, 1.6, 0.1, 18)))


@effect("risograph")
def risograph(rgb):
    blue, red, yellow = spot_inks(rgb)
    pink_amount, blue_amount = np.clip(0.75 * red + 0.35 * yellow, 0, 1), np.clip(1.3 * blue - 0.2, 0, 1)
    grain = f.noise(rgb, 0.8, 561)
    pink = f.step(-0.2, 0.2, f.warp(pink_amount, 2.5, 1.5) - 0.08 - 0.84 * (1 - f.dots(rgb, 64 / 6)) + 0.1 * grain)
    # The second drum runs a fine grain: four steps of solid ink rather than a screen.
    navy = f.step(0.12, 0.88, f.posterise(f.warp(blue_amount, -1.5, -1.0), 4, 0.3) + 0.1 * grain)
    pulp = f.rgb_of("#f5efe0") * f.paper(rgb, 0.03)
    pulp = pulp * f.mix(np.ones(3, np.float32), f.rgb_of("#ff4f9a"), 0.92 * pink)
    return pulp * f.mix(np.ones(3, np.float32), f.rgb_of("#2f6bd0"), 0.95 * navy)


@effect("newsprint")
def newsprint(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.6), 1.25, 0.45)
    sharp = np.clip(grey + 1.8 * (grey - f.blur(grey, 3.5)), 0, 1)
    cover = 1 - f.step(-0.12, 0.12, sharp - (0.02 + 0.8 * f.dots(rgb, 64 / 6)))
    y, x = f.grid_of(rgb)
    # The back page's text shows through: word-like bars in lines of 8 px.
    words = f.step(-0.5, -0.1, f.noise(rgb, (0.4, 3.0), 571)) * f.step(2.6, 1.8, np.abs(y % 8 - 3.5))
    words = words * f.step(29.5, 28.5, np.abs(x % 64 - 31.5))
    aged = f.rgb_of("#dbc793") * (1 + 0.03 * f.noise(rgb, 5, 572))[..., None] * f.paper(rgb, 0.05)
    page = aged * (1 - 0.28 * words * f.step(0.4, 0.8, sharp))[..., None]
    return f.mix(page, f.rgb_of("#2c2721"), 0.9 * cover)


@effect("spray stencil")
def spray_stencil(rgb):
    smooth = f.blur(f.kuwahara(rgb, 4), 0.6)
    grey = keyed(rgb)
    wall = f.rgb_of("#b9b4aa") * (1 + 0.05 * f.noise(rgb, 5, 581) + 0.05 * f.noise(rgb, 1.1, 582))[..., None]
    pits = f.step(2.0, 2.7, f.noise(rgb, 1.4, 583))
    wall = wall * (1 - 0.35 * pits)[..., None]
    speck = f.noise(rgb, 0.8, 584)

    def sprayed(picture: np.ndarray, mask: np.ndarray, code: str) -> np.ndarray:
        """One colour through a cut-out: crisp cover and specks of overspray some px beyond it."""
        over = f.step(0.25, 1.6, speck + 2.2 * f.blur(mask, 4.0) - 0.55) * f.step(0.04, 0.3, f.blur(mask, 4.0))
        return f.mix(picture, f.rgb_of(code), np.clip(np.maximum(0.97 * mask * (0.985 + 0.015 * speck), 0.5 * over), 0, 1))

    out = sprayed(wall, f.step(0.68, 0.71, grey), "#f4f2ec")
    hot = f.step(0.14, 0.24, smooth[..., 0] - smooth[..., 1:].max(-1))
    out = sprayed(out, hot, "#d8171f")
    return sprayed(out, np.maximum(f.step(0.43, 0.4, grey), f.ink(rgb, 1.8, 0.1, 16)), "#0d0d0f")


# --- paint --------------------------------------------------------------------------------------------------------------------


@effect("gouache")
def gouache(rgb):
    smooth = f.wobble(f.kuwahara(rgb, 4), 0.9, 4, 591)
    grey = f.tone(f.luma(smooth), 0.5)
    flat = f.palette(
        f.recolour(f.vivid(smooth, 2.2, 0.75), 0.16 + 0.82 * f.posterise(grey, 6, 0.15)),
        (
            "#fbf1dc",
            "#f4cfa6",
            "#ee9a78",
            "#d75f55",
            "#8e3b4e",
            "#3d2f4c",
            "#27506b",
            "#3f8a94",
            "#8dc3b8",
            "#7f9a55",
            "#46683f",
            "#e8b84c",
            "#a9744a",
            "#b9b0b8",
        ),
        3.0,
        1.0,
        1.1,
    )
    hair = f.strokes(f.straight(rgb, 20), 1.2, 7, 592)
    dry = f.step(0.7, 1.8, hair) * f.step(0.06, 0.3, f.edges(f.blur(flat, 1.0), 2.0))
    return f.mix(flat * (1 + 0.02 * hair)[..., None], f.rgb_of("#fdf4e2"), 0.55 * dry) + f.detail(rgb, 0.6)


@effect("fresco")
def fresco(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.5), 1.2)
    earth = f.palette(
        f.recolour(f.vivid(smooth, 2.6, 0.7), grey),
        ("#f2e4c6", "#dcb988", "#cc8a54", "#ac5236", "#6b3a2c", "#7f8a62", "#587c8c", "#9db4b4", "#3f3b38", "#cda048"),
        6.0,
        1.0,
        1.3,
    )
    plaster = f.rgb_of("#eadfc8")
    trowel = 0.045 * f.noise(rgb, 2.2, 606) + f.relief(f.noise(rgb, 3, 607), 0.08)
    out = f.mix(np.clip(earth + f.detail(rgb, 0.9), 0, 1), plaster, 0.16 + 0.14 * f.step(0.4, 1.6, f.noise(rgb, 1.2, 608)))
    out = out * (1 + trowel)[..., None]
    # Flakes have fallen off to the plaster, and a few cracks run along the borders of wide plates.
    rough = f.noise(rgb, 2.2, 614) + 0.35 * f.noise(rgb, 1.1, 605)
    lost, rim = f.step(2.0, 2.15, rough), f.step(1.7, 1.95, rough)
    _, border = f.cells(rgb, f.seeds(rgb, 32, 0.45, 601), 32)
    crack = f.step(0.8, 0.2, f.wobble(border, 1.6, 2.5, 602)) * f.step(-0.5, 0.5, f.noise(rgb, 5, 603))
    out = f.mix(out * (1 - 0.25 * rim)[..., None], plaster * (1 + 0.6 * trowel)[..., None], 0.85 * lost)
    return f.mix(out, f.rgb_of("#4a3a2c"), 0.7 * crack)


# --- textile ------------------------------------------------------------------------------------------------------------------


@effect("tapestry")
def tapestry(rgb):
    y, x = f.grid_of(rgb)
    down = y % 6.4  # px, a thread: finer ones are an even tone to the VAE
    row = (y // 6.4).astype(int)
    across = x + 4 * (row % 2)
    column = (across // 8).astype(int)
    smooth = f.vivid(f.kuwahara(rgb, 2), 2.0, 0.75)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.3)
    wool = f.palette(
        np.clip(f.recolour(smooth, grey) + f.detail(rgb, 1.0, 5), 0, 1),
        (
            "#f5e8c8",
            "#d9b878",
            "#b5803c",
            "#a03a30",
            "#5c1f26",
            "#1c2c52",
            "#46648a",
            "#9ab0b0",
            "#3a5636",
            "#838f4c",
            "#241814",
            "#d39a80",
        ),
        3.5,
        1.0,
        1.2,
    )
    thread = f.mix(f.fill(wool, row * (column.max() + 1) + column), wool, 0.45)
    bead = np.sqrt(np.clip(1 - ((across % 8 - 3.5) / 4.3) ** 2, 0, 1)) * np.sqrt(np.clip(1 - ((down - 2.7) / 3.84) ** 2, 0, 1))
    fibre = 1 + 0.05 * f.noise(rgb, (0.6, 2.0), 611)
    return thread * ((0.45 + 0.82 * bead) * fibre)[..., None]


@effect("batik")
def batik(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = 0.5 * f.contrast(f.tone(f.luma(smooth), 0.55), 1.25) + 0.5 * keyed(smooth, 2)
    warm = f.step(-0.02, 0.1, f.vivid(smooth, 2.0)[..., 0] - f.vivid(smooth, 2.0)[..., 2])
    middle = f.mix(f.rgb_of("#2f62a8"), f.rgb_of("#a8501f"), warm)
    light = f.mix(f.rgb_of("#8fb4d0"), f.rgb_of("#dfa24a"), warm)
    out = f.mix(f.rgb_of("#141a44"), middle, f.step(0.29, 0.32, grey))
    out = f.mix(out, light, f.step(0.52, 0.55, grey))
    cream = f.rgb_of("#f6ead0")
    out = f.mix(out, cream, f.step(0.76, 0.79, grey))
    v, u = lattice(rgb, 8, stagger=True)
    wax = f.step(1.9, 1.1, np.hypot(u, v)) * f.step(0.34, 0.3, grey)
    line = f.step(0.3, 0.7, f.blur(f.step(0.3, 0.5, f.edges(smooth, 1.2)), 0.5))
    out = f.mix(out, cream, np.maximum(0.75 * wax, 0.92 * line))
    out = f.mix(out, f.rgb_of("#141a44"), 0.85 * f.ink(rgb, 1.0, 0.14, 20) * (1 - line) * f.step(0.3, 0.5, grey))
    crack = f.step(0.07, 0.0, np.abs(f.noise(rgb, 5.0, 621))) + f.step(0.1, 0.0, np.abs(f.noise(rgb, 3.0, 622))) * 0.6
    out = f.mix(out, f.rgb_of("#1a2460"), 0.6 * np.clip(crack, 0, 1) * f.step(0.3, 0.6, grey))
    return out * f.canvas(rgb, 0.03)


@effect("felt")
def felt(rgb):
    grey = f.blur(f.tone(f.luma(f.kuwahara(rgb, 5)), 0.5), 0.8)
    whole = np.clip(grey * 4, 0, 3.99).astype(int)
    level = f.blur(whole / 3, 0.7)
    colour = f.saturate(f.recolour(f.vivid(f.kuwahara(rgb, 3), 2.0, 0.6), 0.2 + 0.3 * level + 0.4 * grey), 0.8)
    fibre = f.strokes(f.flow(rgb, 4, f.waves(rgb, 12), 1.0), 0.9, 4, 632)
    puff = f.relief(f.blur(level, 1.8), 2.4)
    out = f.wobble(colour, 1.0, 1.0, 631) * (1 + 0.055 * fibre + 0.07 * f.noise(rgb, 1.0, 634) + puff)[..., None]
    # A running stitch on the lighter piece, a few px inside its seam; the shadow of that piece beyond the seam.
    seam = np.zeros(whole.shape, bool)
    seam[1:] |= whole[1:] != whole[:-1]
    seam[:, 1:] |= whole[:, 1:] != whole[:, :-1]
    away = ndimage.distance_transform_edt(~seam) if seam.any() else np.full(whole.shape, 64.0)
    above = whole / 3 - f.blur(whole / 3, 4.0)
    out = out * (1 - 0.25 * f.step(4.0, 0.5, away) * (above < 0))[..., None]
    calm = f.step(0.13, 0.08, f.blur(seam.astype(np.float32), 6.0))
    thread = f.step(1.7, 0.9, np.abs(away - 4.5)) * f.step(0.0, 0.02, above) * calm
    dash = f.step(-0.3, 0.1, f.stripes(rgb, 6, 7))
    out = f.mix(out, f.rgb_of("#fff6e4"), 0.9 * thread * dash)
    return out + f.detail(rgb, 0.9)


# --- building blocks, wood and metal ------------------------------------------------------------------------------------------


@effect("toy bricks")
def toy_bricks(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.45), 1.2)
    vivid = np.clip(f.recolour(f.vivid(rgb, 2.6, 0.9), grey) + f.detail(rgb, 0.7, 6), 0, 1)
    plastic = f.palette(
        f.blocks(vivid, 8),
        (
            "#f4f4f4",
            "#a3a2a5",
            "#5f6468",
            "#1b2a34",
            "#c4281b",
            "#e8762a",
            "#f5cd2f",
            "#e7cf9c",
            "#d09168",
            "#6a3d20",
            "#287f46",
            "#a5ca3f",
            "#0d69ab",
            "#7bb5e6",
            "#f3a9c0",
            "#6e4a9e",
        ),
        1.5,
        1.0,
        1.0,
    )
    v, u = lattice(rgb, 8)
    r = np.hypot(u, v)
    stud = f.step(3.1, 2.4, r)
    shade = f.step(3.6, 2.8, np.hypot(u - 0.9, v - 0.9)) * (1 - stud)
    lit = np.clip(-(u + v) / np.maximum(r, 0.5), -1.5, 1.5) * f.step(1.4, 2.6, r) * stud
    edge = 0.16 * ((u < -3) | (v < -3)) - 0.3 * ((u > 3) | (v > 3))
    return np.clip(plastic * (1 + 0.06 * stud - 0.42 * shade + edge)[..., None] + 0.13 * lit[..., None], 0, 1)


@effect("bronze")
def bronze(rgb):
    grey = f.contrast(f.tone(f.luma(f.kuwahara(rgb, 3)), 0.6), 1.2)
    light = f.relief(f.blur(grey, 1.0), 3.6) + f.relief(f.blur(grey, 3.0), 4.0)
    metal = np.clip(0.1 + 0.56 * grey + 0.6 * light + 0.02 * f.noise(rgb, 1.0, 641), 0, 1)
    out = f.ramp(metal, "#0d0704", "#3d210e", "#7a481d", "#b87a40", "#edc084", "#fff4e0")
    hollow = f.blur(grey, 5) - f.blur(grey, 1)
    patina = f.step(0.42, 0.8, 0.42 + 3.0 * hollow - 0.9 * (grey - 0.4) + 0.045 * f.noise(rgb, 4, 642) + 0.04 * f.noise(rgb, 1.4, 643))
    return f.mix(out, f.ramp(metal + 0.16, "#0a201e", "#256456", "#59aa92", "#b4e0cc"), 0.85 * patina)


@effect("wood carving")
def wood_carving(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.tone(f.luma(smooth), 0.6)
    chips = f.strokes(f.flow(smooth, 5, np.radians(20), 0.002), 3.0, 7, 651)
    height = f.posterise(grey, 4, 0.4)
    light = f.relief(f.blur(height, 1.0), 3.4) + f.relief(f.blur(height, 2.8), 3.5) + f.relief(chips, 0.16)
    shade = np.clip(0.24 + 0.5 * grey + 0.6 * light + 0.03 * timber(rgb, 652) + 0.6 * f.detail(rgb)[..., 0], 0, 1)
    out = f.ramp(shade, "#1c0d05", "#54290f", "#94562a", "#c98a4e", "#efc48c", "#fff0cf")
    return out * (1 - 0.35 * f.blur(f.outline(smooth, 1.8, 0.06), 0.7))[..., None]


@effect("wood burning")
def wood_burning(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.25)
    board = np.clip(f.rgb_of("#e3bd86") * (1 + 0.085 * timber(rgb, 661))[..., None], 0, 1)
    lines = f.step(0.2, 0.6, f.blur(np.maximum(f.ink(rgb, 1.1, 0.14, 18), 0.8 * f.outline(smooth, 1.1, 0.05)), 0.7))
    dots = f.step(-0.1, 0.12, 0.85 * (1 - grey) - 0.16 - 0.7 * (1 - f.dots(rgb, 8)))
    scorch = np.clip(0.55 * f.blur(lines, 2.5) + 0.4 * (1 - grey), 0, 1)
    out = f.mix(board, board * f.rgb_of("#b0692c"), np.clip(1.1 * scorch, 0, 1))
    out = f.mix(out, f.rgb_of("#6a3413"), 0.62 * dots * f.step(0.68, 0.5, grey))
    return f.mix(out, f.rgb_of("#1e0d05"), 0.93 * lines)


# --- ceramics -----------------------------------------------------------------------------------------------------------------


@effect("azulejo")
def azulejo(rgb):
    smooth = f.wobble(f.kuwahara(rgb, 3), 0.6)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.25)
    stroke = f.strokes(f.flow(smooth, 5, np.radians(40), 0.002), 1.6, 6, 671)
    out = f.ramp(np.clip(f.posterise(grey, 4, 0.35) + 0.045 * stroke, 0, 1), "#10246e", "#2348a8", "#7fa2d8", "#dfe8f2", "#f7f8f4")
    out = f.mix(out, f.rgb_of("#0c1a5c"), 0.9 * f.step(0.2, 0.6, f.blur(f.ink(rgb, 1.2, 0.14, 18), 0.6)))
    # Four tiles meet in a yellow diamond at every second crossing.
    v, u = lattice(rgb, 64)
    reach = 64 - np.abs(u) - np.abs(v)
    out = f.mix(out, f.rgb_of("#1d3f9c"), f.step(11.2, 10.4, reach))
    out = f.mix(out, f.rgb_of("#f2b632"), f.step(8.0, 7.2, reach))
    v, u = lattice(rgb, 32)
    pillow = 1 + 0.05 * f.step(10, 16, -np.minimum(u, v)) - 0.12 * f.step(10, 16, np.maximum(u, v))
    gloss = f.step(2.0, 0.6, np.abs(u + v + 17)) * f.step(15, 12, np.maximum(np.abs(u), np.abs(v)))
    out = f.mix(out * pillow[..., None], np.ones(3, np.float32), 0.3 * gloss)
    return f.mix(out, f.rgb_of("#8f8776"), 0.9 * joints(rgb, 32, 1.0))


@effect("blue and white porcelain")
def blue_and_white_porcelain(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55), 1.3)
    out = wash(f.ramp(f.posterise(grey**0.75, 5, 0.5), "#0e1e86", "#2a4cc0", "#7f9fe6", "#e4edf8", "#fbfdff"), 0.95, 0.8, 681)
    v, u = lattice(rgb, 16, stagger=True)
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    blossom = f.step(0.7, -0.5, r - 4.9 - 0.9 * np.cos(6 * angle)) * f.step(1.3, 2.1, r)
    blossom *= 1 - 0.6 * f.step(0.35, 0.8, -np.cos(6 * angle)) * f.step(2.4, 3.2, r)
    vine = f.step(0.22, 0.06, np.abs(f.noise(rgb, 5, 682))) * f.step(6.2, 7.0, r)
    out = f.mix(out, f.rgb_of("#e8f0ff"), 0.66 * np.maximum(blossom, 0.7 * vine) * f.step(0.4, 0.22, grey))
    lines = f.along(f.ink(rgb, 1.1, 0.14, 20), f.flow(smooth, 3), 3)
    out = f.mix(out, f.rgb_of("#0a146a"), 0.92 * lines)
    glaze = f.step(0.55, 1.0, f.stripes(rgb, 1, 1, 0.05, 683)) * f.step(-0.2, 0.9, f.stripes(rgb, 2, -3, 0.1, 684))
    return f.screen(out * f.rgb_of("#f4f9fc"), 0.3 * f.blur(glaze, 1.0))


MEANDER = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 0],
        [1, 0, 0, 0, 0, 0, 1, 0],
        [1, 0, 1, 1, 1, 0, 1, 0],
        [1, 0, 1, 0, 1, 0, 1, 0],
        [1, 0, 1, 0, 0, 0, 1, 0],
        [1, 0, 1, 1, 1, 1, 1, 0],
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ],
    np.float32,
)


@effect("greek vase")
def greek_vase(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = keyed(rgb)
    fired = f.rgb_of("#c9652e") * (1 + 0.05 * f.noise(rgb, (1.2, 8.0), 691))[..., None]
    out = f.mix(fired, f.rgb_of("#e6a566"), 0.85 * f.step(0.76, 0.79, grey))
    black = np.maximum(f.step(0.46, 0.43, grey), f.ink(rgb, 1.6, 0.1, 18))
    slip = f.rgb_of("#15100e") * (1 + 0.25 * f.noise(rgb, 4, 692))[..., None]
    out = f.mix(out, slip, black)
    y, x = f.grid_of(rgb)
    key = np.kron(MEANDER, np.ones((2, 2), np.float32))[y.astype(int) % 16, x.astype(int) % 16]
    band = y % 64 < 16
    rules = np.abs(y % 64 - 17.5) < 1.5
    even = f.step(0.1, 0.03, f.blur(f.edges(smooth, 1.5), 2)) * (1 - black)
    out = f.mix(out, slip, np.clip(key * band + rules, 0, 1) * f.step(0.2, 0.7, even))
    incised = f.step(0.25, 0.6, f.blur(f.outline(1 - smooth, 1.2, 0.05), 0.6)) * black
    return f.mix(out, f.rgb_of("#e39a5a"), 0.9 * incised)


# --- paper --------------------------------------------------------------------------------------------------------------------


@effect("crumpled paper")
def crumpled_paper(rgb):
    y, x = f.grid_of(rgb)
    shade, dx, dy = (np.zeros_like(x) for _ in range(3))
    for spacing, weight, seed in ((64 / 3, 1.0, 701), (64 / 7, 0.45, 702)):
        label = f.triangles(rgb, spacing, 0.45, seed, snap=False)
        centre = f.cell_means(np.stack([y, x], -1), label, int(label.max()) + 1)[label]
        turn = 2 * np.pi / 64 * (17 * centre[..., 0] + 23 * centre[..., 1])
        # Every facet is a tilted plane, lit by its tilt and curving towards its folds.
        slope = ((x - centre[..., 1]) * np.cos(turn) + (y - centre[..., 0]) * np.sin(turn)) / spacing
        shade += weight * (0.7 * np.sin(turn + 0.8) + 0.9 * slope)
        dx, dy = dx + weight * 1.6 * np.cos(turn), dy + weight * 1.6 * np.sin(turn)
    printed = f.warp(rgb, f.blur(dx, 1.0), f.blur(dy, 1.0))
    faded = 0.27 + 0.85 * f.saturate(f.recolour(printed, f.contrast(f.tone(f.luma(printed), 0.4), 1.1)), 0.75)
    folds = f.step(0.2, 0.7, np.abs(shade - f.blur(shade, 1.6)))
    out = faded * f.rgb_of("#fdf6e8") * (1 + 0.23 * f.blur(shade, 0.5))[..., None]
    return f.mix(out, f.rgb_of("#fffaf0"), 0.4 * folds) * f.paper(rgb, 0.02)
