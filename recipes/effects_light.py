"""More procedural renderings for ``effects.EFFECTS``: light and weather, film stocks and prints, screens and signals.

Importing this file registers them. They keep to the rules of ``effects``: deterministic, no look farther than about 64 px, textures
that repeat every 64 px; structure is 4 to 16 px coarse where the look allows, because the model sees a picture in 8-px tokens.
"""

from collections.abc import Callable
from functools import cache

import filters as f
import numpy as np
from effects import effect, flakes

# --- shared pieces ------------------------------------------------------------------------------------------------------------


def open_air(rgb: np.ndarray) -> np.ndarray:
    """0..1: how even the surroundings are (skies, walls, water), so that an added motif covers no faces and outlines."""
    return f.step(0.13, 0.02, f.blur(f.edges(rgb, 1.5), 5))


def phase(like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel within its 64-px period, as maps in 0..1."""
    y, x = f.grid_of(like)
    return (y % f.PERIOD) / f.PERIOD, (x % f.PERIOD) / f.PERIOD


def by_row(like: np.ndarray, height: int, seed: int) -> np.ndarray:
    """A number in -1..1 for each band of ``height`` rows, the same in every period."""
    table = np.random.default_rng(seed).uniform(-1, 1, f.PERIOD // height).astype(np.float32)
    y, _ = f.grid_of(like)
    return table[(y.astype(int) // height) % len(table)]


@cache
def _tile(texture: Callable[..., np.ndarray], *settings: float) -> np.ndarray:
    blank = np.zeros((3 * f.PERIOD, 3 * f.PERIOD, 3), np.float32)
    return texture(blank, *settings)[f.PERIOD : 2 * f.PERIOD, f.PERIOD : 2 * f.PERIOD]


def repeated(like: np.ndarray, texture: Callable[..., np.ndarray], *settings: float) -> np.ndarray:
    """A map that ``texture(like, *settings)`` makes without regard to the photo, made once for all photos and repeated."""
    return f.tiled(_tile(texture, *settings), like)


def streaks(like: np.ndarray, degrees: float, width: float, length: int, seed: int) -> np.ndarray:
    """Straight ``filters.strokes``; 0 degrees is to the right, 90 down."""
    return f.strokes(f.straight(like, degrees), width, length, seed)


def petals(like: np.ndarray, spacing: float, length: float, width: float, seed: int) -> np.ndarray:
    """Cover (0..1) of ovals strewn at random angles, in one cell of four none."""
    points = f.seeds(like, spacing, 0.4, seed)
    label, _ = f.cells(like, points, spacing)
    y, x = f.grid_of(like)
    turn = np.pi * f.cell_values(label, points, spacing, seed + 1)
    dy, dx = (points.reshape(-1, 2)[label, i] - c for i, c in ((0, y), (1, x)))
    u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    return f.step(1.15, 0.8, np.abs(u / length) ** 1.7 + np.abs(v / width) ** 1.5) * (petal_shade(like, spacing, seed) > 0.25)


def petal_shade(like: np.ndarray, spacing: float, seed: int) -> np.ndarray:
    """A number in 0..1 for each of the ``petals``."""
    points = f.seeds(like, spacing, 0.4, seed)
    label, _ = f.cells(like, points, spacing)
    return 0.5 + 0.5 * f.cell_values(label, points, spacing, seed + 2)


def sparks(like: np.ndarray, spacing: float, seed: int) -> np.ndarray:
    """Stars with four 7-px rays."""
    points = f.seeds(like, spacing, 0.42, seed)
    label, _ = f.cells(like, points, spacing)
    dy, dx = (np.abs(points.reshape(-1, 2)[label, i] - c) for i, c in enumerate(f.grid_of(like)))
    return np.clip(f.step(7, 0, dx + 6 * dy) + f.step(7, 0, dy + 6 * dx) + f.step(2.6, 1.0, np.hypot(dx, dy)), 0, 1)


def seams(like: np.ndarray, spacing: float, seed: int) -> np.ndarray:
    """Distance from the borders between irregular cells, about px."""
    return f.cells(like, f.seeds(like, spacing, 0.42, seed), spacing)[1]


def scan_lines(like: np.ndarray, dark: float) -> np.ndarray:
    """Multiplier of the dark half of a screen's lines, 8 px apart: half as far, and the VAE turns them into an even tone."""
    y, _ = f.grid_of(like)
    return (1 - dark * (y % 8 >= 4))[..., None].astype(np.float32)


# --- light and weather --------------------------------------------------------------------------------------------------------


@effect("moonlight")
def moonlight(rgb):
    grey = f.tone(f.luma(rgb), 0.45)
    lit = f.contrast(grey + f.relief(f.blur(grey, 1.5), 1.6), 1.15)
    out = f.ramp(lit**1.35, "#04080e", "#132029", "#37505f", "#7f9ca4", "#d8ece6")
    shine = f.step(0.55, 0.95, grey)[..., None] * f.rgb_of("#d8f6ee")
    return f.screen(out, 0.25 * f.blur(shine, 3) * out + 0.22 * f.blur(shine, 11))


@effect("sunset")
def sunset(rgb):
    grey = f.tone(f.luma(rgb), 0.4)
    y, _ = f.grid_of(rgb)
    clouds = f.noise(rgb, (3.5, 11), 601) * open_air(rgb)
    sky = f.contrast(grey, 1.1) + 0.09 * clouds
    out = f.ramp(sky, "#1a0630", "#5a1458", "#c4284e", "#ff6a2a", "#ffb13c", "#ffe98c")
    out = f.mix(out, f.saturate(rgb, 1.3) * f.rgb_of("#ff9a7c"), 0.3)
    return f.screen(out, 0.55 * f.blur(out * f.step(0.6, 0.95, grey)[..., None], 9) * f.rgb_of("#ff5a3c"))


def lightning(like: np.ndarray) -> np.ndarray:
    """A jagged bolt with a branch in each period: distance from it in px."""
    y, x = f.grid_of(like)
    row, column = y % f.PERIOD, x % f.PERIOD
    turns = np.array([0, 8, 16, 24, 32, 40, 48, 64])
    main = np.interp(row, turns, [30, 38, 29, 36, 26, 33, 24, 20])
    branch = np.interp(row, turns, [90, 90, 29, 40, 42, 54, 56, 56])
    return np.minimum(np.abs(column - main) + 20 * (row > 50), np.abs(column - branch) + 20 * ((row < 16) | (row > 44))).astype(np.float32)


@effect("thunderstorm")
def thunderstorm(rgb):
    air = open_air(rgb)
    grey = f.contrast(f.tone(f.luma(rgb), 0.5), 1.25)
    clouds = f.noise(rgb, (5, 8), 611) + 0.5 * f.noise(rgb, 3, 612)
    dark = np.clip(0.85 * grey + 0.1 * clouds * air + 0.6 * f.detail(rgb, 1, 4)[..., 0], 0, 1)
    out = f.ramp(dark, "#06070e", "#1c2032", "#454c66", "#868ba6", "#d8daf0")
    out = f.mix(out, f.saturate(rgb, 0.5) * 0.6, 0.15)
    bolt = lightning(rgb) + 0.6 * f.noise(rgb, 2, 613)
    flash = air * f.step(2.2, 0.6, bolt)
    glow = f.step(16, 0, np.abs(bolt))[..., None] * f.rgb_of("#8a86ff") * (0.45 * air[..., None])
    return f.mix(f.screen(out, glow), f.rgb_of("#fdfbff"), flash)


@effect("sandstorm")
def sandstorm(rgb):
    soft = f.mix(rgb, f.along(rgb, f.straight(rgb, 8), 5), 0.5)
    grey = f.contrast(f.tone(f.luma(soft), 0.5), 1.35)
    out = f.ramp(grey, "#341a06", "#82501c", "#bf8a44", "#dcb474", "#f0d8a4")
    dust = repeated(rgb, streaks, 8, 2.6, 14, 621)
    veil = np.clip(0.28 + 0.13 * dust + 0.09 * f.noise(rgb, (5, 12), 622), 0, 0.75)
    out = f.mix(out, f.rgb_of("#d9a95e"), veil)
    return out * (1 + 0.05 * repeated(rgb, streaks, 8, 0.9, 8, 623))[..., None] + f.detail(rgb, 0.5)


@effect("blue hour")
def blue_hour(rgb):
    grey = f.tone(f.luma(rgb), 0.4)
    out = f.ramp(grey, "#081040", "#16308c", "#3c62cc", "#86a0ee", "#d6dcff")
    out = f.mix(out, rgb * f.rgb_of("#4060d8"), 0.2)
    local = grey - f.blur(grey, 7)
    warm = f.step(0.0, 0.2, rgb[..., 0] - rgb[..., 2])
    window = np.clip(f.step(0.1, 0.22, local + 0.08 * warm) * f.step(0.4, 0.7, grey), 0, 1)
    out = f.mix(out, f.ramp(grey, "#8a3c10", "#ff9a2c", "#ffd98a"), 0.9 * window)
    return f.screen(out, 0.8 * f.blur(window[..., None] * f.rgb_of("#ff9428"), 5))


@effect("candlelight")
def candlelight(rgb):
    grey = f.tone(f.luma(rgb), 0.35)
    y, x = f.grid_of(rgb)
    dy, dx = (y - 8) % 64 - 32, x % 64 - 32
    pool = np.exp(-(dx**2 + dy**2) / (2 * 19**2)).astype(np.float32)
    lit = grey * (0.58 + 0.45 * pool)
    out = f.ramp(lit, "#080301", "#3a1404", "#96400a", "#e88a24", "#ffd27a", "#fff3cc")
    out = f.mix(out, rgb * f.rgb_of("#c46a24"), 0.12)
    narrow = 3.4 * np.clip((dy + 9) / 9, 0, 1) * np.sqrt(np.clip((5 - dy) / 5, 0, 1)) + 0.01
    flame = f.step(1.2, 0.7, np.abs(dx) / narrow) * (dy > -9) * (dy < 5)
    glow = np.exp(-(dx**2 + (dy + 1) ** 2) / (2 * 6.5**2))
    out = f.screen(out, 0.5 * glow[..., None] * f.rgb_of("#ff8a20"))
    return f.mix(out, f.rgb_of("#fff2b4"), 0.95 * flame)


@effect("cherry blossom")
def cherry_blossom(rgb):
    grey = f.tone(f.luma(rgb), 0.4)
    leaf = f.step(-0.04, 0.12, rgb[..., 1] - np.maximum(rgb[..., 0] * 0.92, rgb[..., 2]))
    spring = f.mix(f.saturate(rgb, 0.9), f.ramp(grey, "#5a2c48", "#c4688e", "#f6a6c0", "#ffd6e0", "#fff8f8"), 0.55)
    bloom = f.ramp(grey + 0.08 * f.noise(rgb, 3, 631), "#8a3060", "#e8709c", "#ffa8c6", "#ffe4ec")
    out = f.mix(spring, bloom, 0.8 * leaf)
    out = f.screen(out, 0.25 * f.blur(out * f.step(0.5, 0.9, grey)[..., None], 6))
    for spacing, length, width, seed in ((16, 3.2, 2.2, 633), (32, 6.0, 4.0, 637)):
        pink = f.ramp(repeated(rgb, petal_shade, spacing, seed), "#f0709c", "#ff9cbc", "#ffd8e4")
        out = f.mix(out, pink, 0.92 * repeated(rgb, petals, spacing, length, width, seed))
    return out


@effect("aurora")
def aurora(rgb):
    air = f.blur(open_air(rgb), 2)
    grey = f.contrast(f.tone(f.luma(rgb), 0.5), 1.3, 0.45)
    grey = grey * (1 - 0.45 * air * grey)
    land = f.ramp(grey**1.3, "#01050c", "#06202c", "#1a6058", "#62b898", "#d6ffe8")
    y, x = f.grid_of(rgb)
    wave = 11 * np.sin(2 * np.pi * x / 64) + 5 * np.sin(4 * np.pi * x / 64 + 1.2)
    high = ((52 + wave - y) % 64) / 64
    rays = 0.75 + 0.25 * np.sin(2 * np.pi * (x / 8 + 0.4 * np.sin(2 * np.pi * x / 64)))
    curtain = f.step(0.0, 0.07, high) * (1 - high) ** 1.5 * rays
    hue = f.ramp(high, (0.0, "#b8ffb0"), (0.15, "#30ff8c"), (0.45, "#18c8a8"), (0.75, "#7040e0"), (1.0, "#b030c0"))
    return f.screen(land, np.clip(1.15 * curtain * (0.12 + 0.88 * air), 0, 1)[..., None] * hue)


@effect("galaxy")
def galaxy(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = f.contrast(f.tone(f.luma(smooth), 0.55) + f.detail(rgb, 0.6)[..., 0], 1.25)
    gas = f.strokes(f.flow(smooth, 5, f.waves(rgb), 0.004), 3.5, 7, 641)
    density = np.clip(0.92 * grey + 0.07 * gas, 0, 1)
    violet = f.ramp(density, "#03010c", "#1c0a4a", "#6420a8", "#c83cc0", "#f48cd0", "#ffe0f4")
    teal = f.ramp(density, "#01030e", "#081c50", "#105cb0", "#28a0dc", "#80dcf8", "#e4fbff")
    out = f.mix(violet, teal, f.step(-0.2, 1.2, f.noise(rgb, 9, 642) + 3 * (smooth[..., 2] - smooth[..., 0])))
    out = f.screen(out, 0.15 * f.blur(out * f.step(0.5, 0.9, grey)[..., None], 6))
    return f.screen(out, np.maximum(repeated(rgb, sparks, 32, 644), 0.8 * repeated(rgb, flakes, 16, 1.2, 645)))


@effect("lava")
def lava(rgb):
    smooth = f.kuwahara(rgb, 4)
    grey = f.contrast(f.tone(f.luma(smooth), 0.6) + f.detail(rgb, 0.6)[..., 0], 1.4)
    border = repeated(rgb, seams, 16, 651) + 0.5 * f.noise(rgb, 1.6, 652)
    crust = 0.12 + 0.45 * grey + 0.05 * f.noise(rgb, 2, 653) + f.relief(f.blur(grey, 1.2), 0.8)
    rock = f.ramp(crust / 0.5, "#060404", "#221816", "#54423a", "#8c7260")
    crack = f.step(2.4, 0.0, border) * (0.35 + 0.65 * f.step(0.1, 0.6, grey))
    heat = np.clip(0.45 * crack + 0.75 * f.step(0.3, 1.0, grey), 0, 1)
    heat = np.maximum(heat, 0.6 * f.step(0.12, 0.5, f.edges(smooth, 1.5)))
    molten = f.ramp(heat, "#2a0400", "#8e0e00", "#f23c00", "#ff8a08", "#ffd23a", "#fff6b0")
    out = f.mix(rock, molten, f.step(0.08, 0.4, heat))
    return f.screen(out, 0.5 * f.blur(molten * f.step(0.3, 0.8, heat)[..., None], 5) * f.rgb_of("#ff4a08"))


@effect("smoke")
def smoke(rgb):
    smooth = f.kuwahara(rgb, 3)
    prior = f.flow(smooth, 5, f.waves(rgb, 8), 0.02)
    grey = f.contrast(f.tone(f.luma(smooth), 0.6), 1.3)
    drift = f.blur(grey, 3)
    wisps = f.strokes(prior, 2.8, 10, 661)
    density = 0.5 * grey + 0.45 * drift + 0.11 * wisps * (0.4 + grey) + 0.9 * f.detail(rgb)[..., 0]
    return f.ramp(np.clip(density + 0.03, 0, 1), "#0c0d10", "#2e3136", "#71757b", "#b6b9bc", "#f4f4f2")


# --- film and print -----------------------------------------------------------------------------------------------------------


@effect("high key")
def high_key(rgb):
    grey = f.tone(f.luma(rgb), 0.3)
    pale = f.recolour(f.saturate(rgb, 0.75), 1 - (1 - grey) ** 2.2)
    out = 0.42 + 0.62 * f.mix(pale, f.ramp(grey, "#4a4c58", "#b8bac6", "#ffffff"), 0.25)
    out = f.screen(out, 0.45 * f.blur(out * f.step(0.35, 0.8, grey)[..., None], 7))
    return out + 1.2 * f.detail(rgb, 0.5, 4)


@effect("technicolor")
def technicolor(rgb):
    dense = f.contrast(rgb, 1.15, 0.45)
    strips = dense @ np.array([[1.75, -0.3, -0.3], [-0.5, 1.55, -0.25], [-0.25, -0.25, 1.55]], np.float32)
    rich = f.vivid(np.clip(strips, 0, 1), 1.35, 0.85)
    red, green, blue = (f.step(low, high, rich[..., i]) for i, (low, high) in enumerate(((-0.02, 0.88), (-0.05, 1.0), (-0.08, 1.0))))
    rich = np.stack([red, green, 0.05 + 0.85 * blue], -1)
    glow = f.blur(rich * f.step(0.6, 0.95, f.luma(rich))[..., None], 5)
    return f.screen(rich * f.rgb_of("#fff4dc"), 0.18 * glow)


@effect("bleach bypass")
def bleach_bypass(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.35), 1.05) + 0.5 * f.detail(rgb, 1.0, 4)[..., 0]
    silver = np.clip(grey, 0, 1)[..., None]
    faded = f.saturate(rgb, 0.6)
    overlay = np.where(silver < 0.5, 2 * silver * faded, 1 - 2 * (1 - silver) * (1 - faded))
    steel = f.ramp(silver[..., 0], "#040607", "#3c464a", "#8e9692", "#dcdcd0", "#fffff8")
    return f.mix(np.clip(overlay, 0, 1), steel, 0.4) * (1 + 0.03 * f.noise(rgb, 1.2, 671))[..., None]


@effect("cross process")
def cross_process(rgb):
    hard = f.contrast(f.saturate(rgb, 1.35), 1.2)
    out = np.stack([f.step(0.05, 0.95, hard[..., 0]), f.step(-0.12, 0.85, hard[..., 1]), 0.3 + 0.25 * hard[..., 2]], -1)
    grade = f.ramp(f.tone(f.luma(rgb), 0.3), "#002a3c", "#0c6e58", "#8cb83c", "#f2ec4a", "#ffffa0")
    return f.mix(out, grade, 0.4)


@effect("daguerreotype")
def daguerreotype(rgb):
    grey = f.contrast(f.tone(f.luma(f.blur(rgb, 0.6)), 0.5), 1.4)
    out = f.ramp(grey, "#14161c", "#3e424c", "#7e8288", "#b8b8b2", "#e4e0d2")
    tarnish = f.noise(rgb, 9, 681) + 0.5 * f.noise(rgb, 4, 682)
    out = f.mix(out, f.ramp(grey, "#3a2410", "#a8783c", "#e8cc94"), 0.42 * f.step(0.5, 1.8, tarnish))
    out = f.mix(out, f.ramp(grey, "#0c2038", "#3c6890", "#b4cce0"), 0.42 * f.step(-0.5, -1.8, tarnish))
    polish = 0.03 * f.noise(rgb, (0.9, 9), 683)
    spots = repeated(rgb, flakes, 32, 1.8, 684)
    return f.mix(out * (1 + polish)[..., None], f.rgb_of("#201a16"), 0.65 * spots)


@effect("duotone")
def duotone(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.4), 1.45)
    return f.ramp(grey, "#16118a", "#ff8a3c")


@effect("teal and orange")
def teal_and_orange(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.25), 1.25)
    warmth = 1.2 * (rgb[..., 0] - rgb[..., 2]) + 0.5 * (grey - 0.55)
    teal = f.ramp(grey, "#011418", "#064a58", "#1c8a98", "#8cd4d4", "#f0fffa")
    orange = f.ramp(grey, "#1c0a04", "#8a3c14", "#ea8434", "#ffc488", "#fff4e0")
    split = f.mix(teal, orange, f.step(-0.12, 0.4, warmth))
    return f.mix(split, f.contrast(rgb, 1.15), 0.22)


@effect("hand-tinted photo")
def hand_tinted_photo(rgb):
    grey = f.contrast(f.tone(f.luma(rgb), 0.35), 1.1)
    out = f.ramp(grey, "#26231f", "#78736c", "#c2bdb2", "#faf5ea")
    wash = f.vivid(f.blur(f.kuwahara(rgb, 4), 2), 4, 0.8)
    chroma = wash - f.luma(wash)[..., None]
    tints = np.stack([f.rgb_of(c) for c in ("#f47c8c", "#f4cc58", "#7cc070", "#68b0e4", "#f4b08c")])
    axes = tints - f.luma(tints)[:, None]
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    share = np.exp(30 * (chroma @ axes.T))
    tint = (share / share.sum(-1, keepdims=True)) @ tints
    strength = f.step(0.03, 0.25, np.linalg.norm(chroma, axis=-1))
    coloured = np.clip(tint * (0.12 + 1.25 * grey)[..., None], 0, 1)
    return f.mix(out, coloured, 0.85 * strength) * f.paper(rgb, 0.025)


# --- screens and signals ------------------------------------------------------------------------------------------------------


@effect("vhs")
def vhs(rgb):
    row, _ = phase(rgb)
    tracking = f.step(0.72, 0.76, row) * f.step(0.92, 0.88, row)
    tear = 2.0 * by_row(rgb, 4, 701) * tracking + 6 * tracking + 0.6 * by_row(rgb, 2, 702)
    moved = f.warp(rgb, tear, np.zeros_like(tear))
    grey = f.luma(f.mix(moved, f.along(moved, f.straight(rgb, 0), 2), 0.7))
    chroma = f.saturate(rgb, 1.7) - f.luma(rgb)[..., None]
    chroma = f.along(f.warp(chroma, tear - 5, np.zeros_like(tear)), f.straight(rgb, 0), 8)
    ghost = f.warp(grey, np.full_like(grey, -6), np.zeros_like(grey))
    out = (0.1 + 0.8 * grey + 0.2 * (ghost - grey))[..., None] + 1.25 * chroma
    out = out * np.array([1.0, 0.92, 1.06], np.float32) * scan_lines(rgb, 0.16)
    hiss = f.step(0.9, 1.8, f.noise(rgb, (0.7, 3.0), 703)) * (0.9 * tracking + 0.06)
    return f.mix(np.clip(out, 0, 1), f.rgb_of("#f4f4ff"), np.clip(hiss + 0.12 * tracking, 0, 0.9))


@effect("glitch")
def glitch(rgb):
    slip = by_row(rgb, 8, 711)
    slip = 14 * np.sign(slip) * f.step(0.45, 1.0, np.abs(slip))
    still = np.zeros_like(slip)
    hard = f.contrast(rgb, 1.15)
    split = np.stack([f.warp(hard[..., i], slip + gap, still) for i, gap in enumerate((6, 0, -6))], -1)
    y, x = f.grid_of(rgb)
    table = np.random.default_rng(712).uniform(0, 1, (8, 4))
    cell = table[(y.astype(int) // 8) % 8, (x.astype(int) // 16) % 4]
    grey = f.luma(f.blocks(split, 8))
    broken = f.ramp(grey, "#1400a0", "#ff00a8", "#00f0ff", "#fff200")
    out = f.mix(split, broken, 0.85 * (cell > 0.93))
    out = f.mix(out, 1 - out, 1.0 * ((cell < 0.04) & (y % 8 < 6)))
    return out * scan_lines(rgb, 0.12)


@effect("hologram")
def hologram(rgb):
    smooth = f.kuwahara(rgb, 3)
    grey = np.clip(f.tone(f.luma(smooth), 0.65) + 1.2 * f.detail(rgb)[..., 0], 0, 1)
    bent = f.warp(grey, 1.8 * by_row(rgb, 4, 721) * (np.abs(by_row(rgb, 16, 722)) > 0.5), np.zeros_like(grey))
    edge = f.step(0.08, 0.45, f.edges(smooth, 1.3))
    row, _ = phase(rgb)
    beam = 0.8 + 0.3 * np.sin(2 * np.pi * 2 * row)
    light = (0.1 + 0.72 * bent) * beam + 0.42 * edge
    out = f.ramp(light, "#010818", "#043468", "#0a88d0", "#4cdcff", "#e4ffff")
    return f.screen(out, 0.6 * f.blur(edge[..., None] * f.rgb_of("#10a0ff"), 4)) * scan_lines(rgb, 0.42)


@effect("x-ray")
def x_ray(rgb):
    smooth = f.kuwahara(rgb, 2)
    grey = f.tone(f.luma(smooth), 0.6)
    edge = f.step(0.05, 0.5, f.edges(smooth, 1.6))
    dense = 0.62 * (1 - f.contrast(grey, 1.3)) + 0.5 * f.blur(edge, 0.8) - 1.1 * f.detail(rgb)[..., 0]
    out = f.ramp(0.75 * dense + 0.25 * f.blur(dense, 3), "#01050a", "#10242f", "#48707f", "#a6c8d0", "#f2ffff")
    return f.screen(out, 0.25 * f.blur(out * f.step(0.5, 0.9, dense)[..., None], 5))


@effect("night vision")
def night_vision(rgb):
    grey = f.contrast(f.tone(f.luma(f.blur(rgb, 0.8)), 0.6), 1.3)
    light = grey + 0.45 * f.blur(f.step(0.6, 1.0, grey), 6) + 0.07 * f.noise(rgb, 1.4, 731)
    return f.ramp(np.clip(0.9 * light, 0, 1), "#000a02", "#04380c", "#12942a", "#5cf050", "#dcffc0") * scan_lines(rgb, 0.16)


@effect("game boy")
def game_boy(rgb):
    block = f.blocks(f.contrast(f.tone(f.luma(rgb), 0.6) + f.detail(rgb, 0.8, 5)[..., 0], 1.5)[..., None], 4)[..., 0]
    y, x = (c.astype(int) for c in f.grid_of(rgb))
    bayer = np.array([[-0.375, 0.125], [0.375, -0.125]], np.float32)[(y // 4) % 2, (x // 4) % 2]
    shade = np.clip(np.round(3 * block + 0.55 * bayer), 0, 3).astype(int)
    out = np.stack([f.rgb_of(c) for c in ("#0f380f", "#306230", "#8bac0f", "#c4d42a")])[shade]
    return f.mix(out, f.rgb_of("#8bac0f"), 0.1 * ((y % 4 == 3) | (x % 4 == 3)))


@cache
def _glyphs() -> np.ndarray:
    """A 64-px square of 8 x 8 invented signs, each of a few 1-px strokes in a 6 x 7 px field."""
    random = np.random.default_rng(741)
    sheet = np.zeros((f.PERIOD, f.PERIOD), np.float32)
    for cell in range(64):
        sign = np.zeros((8, 8), np.float32)
        for kind in random.choice(7, 4, replace=False):
            if kind < 3:
                sign[(1, 3, 6)[kind], 1:6] = 1
            elif kind < 6:
                top = random.integers(0, 3)
                sign[top : top + 5, (1, 3, 5)[kind - 3]] = 1
            else:
                sign[range(2, 7), range(5, 0, -1)] = 1
        r, c = divmod(cell, 8)
        sheet[8 * r : 8 * r + 8, 8 * c : 8 * c + 8] = sign
    return sheet


@effect("matrix code")
def matrix_code(rgb):
    grey = f.contrast(np.clip(f.tone(f.luma(f.kuwahara(rgb, 3)), 0.7) + f.detail(rgb, 0.8)[..., 0], 0, 1), 1.5)
    y, x = f.grid_of(rgb)
    start = np.random.default_rng(742).permutation(8)[(x.astype(int) // 8) % 8]
    fall = ((y // 8 - start) % 8) / 7
    glyph = f.blur(f.tiled(_glyphs(), rgb), 0.45) * 1.5
    edge = f.step(0.1, 0.5, f.edges(rgb, 1.4))
    light = glyph * np.clip(0.12 + 0.95 * grey + 0.3 * edge, 0, 1) * (0.5 + 0.5 * fall)
    base = 0.4 * grey**1.3 + 0.2 * edge
    out = f.ramp(np.clip(base + 0.85 * light, 0, 1), "#000300", "#013a0c", "#05a028", "#30ff60", "#d8ffd8")
    return f.mix(out, f.rgb_of("#e8ffe8"), np.clip(0.9 * glyph * (fall == 1) * f.step(0.25, 0.6, grey), 0, 1))
