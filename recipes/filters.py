"""Building blocks of the procedural effects: smoothing, flow, lines, colour, cells and repeating textures.

Pictures are float32 (H, W, 3) RGB in 0..1 and maps are float32 (H, W). Everything looks no farther than about 64 px around a pixel,
and every texture repeats with a period of ``PERIOD`` px from the top-left pixel on, so that a convolutional network can learn an effect.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import Delaunay
from skimage import color

PERIOD = 64


# --- scalars and tone ---------------------------------------------------------------------------------------------------------


def step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Smooth step: 0 where ``x`` <= low, 1 where ``x`` >= high (falls instead of rising when low > high)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """``a`` where the weight is 0, ``b`` where it is 1; a map as weight serves all three channels, and so does a grey ``a`` or ``b``."""
    a, b, weight = (x[..., None] if np.ndim(x) == 2 else x for x in (a, b, weight))
    return a + (b - a) * weight


def luma(rgb: np.ndarray) -> np.ndarray:
    """Brightness (Rec. 601 luma) of a picture."""
    return (rgb @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a map or picture."""
    sigmas = (sigma, sigma, 0) if x.ndim == 3 else sigma
    return ndimage.gaussian_filter(x.astype(np.float32), sigmas, mode="nearest", truncate=3)


def tone(grey: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Brightness with its local mean and contrast (over some 50 px) drawn towards a well-exposed picture's."""
    mean = blur(grey, 18)
    spread = np.sqrt(np.maximum(blur(grey * grey, 18) - mean * mean, 0)) + 0.08
    return np.clip(grey + strength * (0.5 + 0.22 * (grey - mean) / spread + 0.45 * (mean - 0.5) - grey), 0, 1)


def posterise(grey: np.ndarray, levels: int, softness: float = 0.3) -> np.ndarray:
    """Brightness in ``levels`` flat steps; ``softness`` is the width of the riser as a share of a step."""
    scaled = np.clip(grey, 0, 1) * (levels - 1)
    whole = np.floor(scaled)
    return (whole + step(0.5 - softness / 2, 0.5 + softness / 2, scaled - whole)) / (levels - 1)


# --- colour -------------------------------------------------------------------------------------------------------------------


def rgb_of(code: str) -> np.ndarray:
    """A colour such as ``"#ffcc00"`` as float32 (3,) in 0..1."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def ramp(grey: np.ndarray, *stops: tuple[float, str] | str) -> np.ndarray:
    """Colour by brightness: through the given colours, evenly spaced, or at the given positions."""
    pairs = [(i / (len(stops) - 1), s) if isinstance(s, str) else s for i, s in enumerate(stops)]
    positions = [p for p, _ in pairs]
    colours = np.stack([rgb_of(c) for _, c in pairs])
    return np.stack([np.interp(grey, positions, colours[:, i]) for i in range(3)], -1).astype(np.float32)


def saturate(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Colour away from (> 1) or towards (< 1) grey of the same luma."""
    grey = luma(rgb)[..., None]
    return np.clip(grey + (rgb - grey) * amount, 0, 1)


def vivid(rgb: np.ndarray, amount: float, limit: float = 0.75) -> np.ndarray:
    """Strengthens dull colours more than those that are vivid already, so that nothing turns lurid."""
    grey = luma(rgb)[..., None]
    chroma = rgb - grey
    size = np.abs(chroma).max(-1, keepdims=True)
    return np.clip(grey + chroma * (limit * np.tanh(amount * size / limit) / (size + 1e-4)), 0, 1)


def recolour(rgb: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """The picture with another brightness, its colour kept."""
    return np.clip(rgb * ((grey + 0.02) / (luma(rgb) + 0.02))[..., None], 0, 1)


def contrast(x: np.ndarray, amount: float, centre: float = 0.5) -> np.ndarray:
    """Values spread away from ``centre``."""
    return np.clip(centre + (x - centre) * amount, 0, 1)


def screen(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Light added to light (never above 1)."""
    a, b = (x[..., None] if x.ndim == 2 else x for x in (a, b))
    return 1 - (1 - a) * (1 - b)


def palette(rgb: np.ndarray, colours: Sequence[str], softness: float = 6.0, light: float = 1.0, chroma: float = 1.6) -> np.ndarray:
    """The nearest of a fixed set of colours, in Lab; ``softness`` (Lab units) blends where two are about equally near.

    ``light`` and ``chroma`` weigh the distance's two parts.
    """
    weights = np.array([light, chroma, chroma], np.float32)
    codes = np.stack([rgb_of(c) for c in colours])
    lab = color.rgb2lab(rgb).astype(np.float32) * weights
    targets = color.rgb2lab(codes[None])[0].astype(np.float32) * weights
    distance = np.sqrt(((lab[..., None, :] - targets) ** 2).sum(-1))
    share = np.exp((distance.min(-1, keepdims=True) - distance) / softness)
    return ((share / share.sum(-1, keepdims=True)) @ codes).astype(np.float32)


# --- repeating textures -------------------------------------------------------------------------------------------------------


def tiled(texture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A square texture repeated from the top-left pixel to the size of ``like``."""
    h, w = like.shape[:2]
    return np.tile(texture, (-(-h // len(texture)), -(-w // len(texture))))[:h, :w]


@cache
def _noise(down: float, across: float, seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((PERIOD, PERIOD))
    smooth = ndimage.gaussian_filter(white, (down, across), mode="wrap")
    # Without coarse blobs, whose repetition would catch the eye.
    smooth -= ndimage.gaussian_filter(white, (2.2 * down, 2.2 * across), mode="wrap")
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


def noise(like: np.ndarray, sigma: float | tuple[float, float], seed: int = 0) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1; ``sigma`` is the size of its grains in px (a pair: down, across)."""
    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    return tiled(_noise(down, across, seed), like)


def grid_of(like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel, as float32 maps."""
    y, x = np.mgrid[: like.shape[0], : like.shape[1]]
    return y.astype(np.float32), x.astype(np.float32)


def stripes(like: np.ndarray, rows: int, columns: int, wobble: float = 0.0, seed: int = 0) -> np.ndarray:
    """A sine wave (-1..1) of so many periods down and across each 64 px; ``wobble`` bends it by so many periods."""
    y, x = grid_of(like)
    phase = (rows * y + columns * x) / PERIOD
    return np.sin(2 * np.pi * (phase + (wobble * noise(like, 6, seed) if wobble else 0))).astype(np.float32)


def dots(like: np.ndarray, period: float) -> np.ndarray:
    """A screen of dots at 45 degrees as a threshold map in 0..1: ``grey < dots`` gives round dots that grow with darkness.

    It repeats every ``period`` px, and neighbouring dots are 0.7 of that apart: below some 5 px the VAE turns them into an even tone.
    """
    y, x = grid_of(like)
    wave = (np.cos(2 * np.pi * (x + 0.5) / period) * np.cos(2 * np.pi * (y + 0.5) / period)).astype(np.float32)
    return 0.5 + 0.5 * np.sign(wave) * np.abs(wave) ** 0.8


def paper(like: np.ndarray, amount: float = 0.05, seed: int = 1) -> np.ndarray:
    """Multiplier of paper grain around 1."""
    return (1 + amount * (0.6 * noise(like, 1.0, seed) + 0.4 * noise(like, 3.0, seed + 1)))[..., None]


def canvas(like: np.ndarray, amount: float = 0.05) -> np.ndarray:
    """Multiplier of a woven canvas (4-px threads) around 1."""
    y, x = grid_of(like)
    weave = np.where((x // 4 + y // 4) % 2 == 0, np.sin(np.pi * (x % 4 + 0.5) / 4), np.sin(np.pi * (y % 4 + 0.5) / 4)) - 0.64
    return (1 + amount * 2 * weave)[..., None].astype(np.float32)


# --- flow ---------------------------------------------------------------------------------------------------------------------


def flow(rgb: np.ndarray, sigma: float = 4.0, prior: np.ndarray | float | None = None, weight: float = 0.002) -> np.ndarray:
    """Unit direction (H, W, 2: x, y) along the edges, from the smoothed structure tensor.

    ``prior`` is an angle in radians (a number or a map) that the direction takes where the picture is even; ``weight`` is its pull.
    """
    grey = luma(rgb)
    gx = ndimage.gaussian_filter(grey, 1.2, order=(0, 1), mode="nearest")
    gy = ndimage.gaussian_filter(grey, 1.2, order=(1, 0), mode="nearest")
    even, odd = blur(gx * gx - gy * gy, sigma), blur(2 * gx * gy, sigma)
    if prior is not None:
        even, odd = even - weight * np.cos(2 * np.asarray(prior)), odd - weight * np.sin(2 * np.asarray(prior))
    angle = 0.5 * np.arctan2(odd, even) + np.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)


def waves(like: np.ndarray, swing: float = 9.0) -> np.ndarray:
    """A repeating angle map of rolling waves some ``swing`` px high, as the prior of ``flow``: the streamlines of sines in sines."""
    y, x = (2 * np.pi / PERIOD * c for c in grid_of(like))
    scale = 2 * np.pi / PERIOD * swing
    phase = x + 0.9 * np.sin(y)
    across = 1 + scale * (np.cos(phase) * 0.9 * np.cos(y) + 0.4 * np.cos(2 * y - x) * 2)
    down = -scale * (np.cos(phase) - 0.4 * np.cos(2 * y - x))
    return np.arctan2(down, across).astype(np.float32)


def straight(like: np.ndarray, degrees: float) -> np.ndarray:
    """The same direction everywhere; 0 is to the right, 90 is down."""
    angle = np.radians(degrees)
    return np.broadcast_to(np.array([np.cos(angle), np.sin(angle)], np.float32), (*like.shape[:2], 2)).copy()


def _sample(values: torch.Tensor, x: torch.Tensor, y: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    h, w = values.shape[-2:]
    grid = torch.stack([x * (2 / max(w - 1, 1)) - 1, y * (2 / max(h - 1, 1)) - 1], -1)[None]
    return torch.nn.functional.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=True)


def _tensor(x: np.ndarray) -> torch.Tensor:
    x = x[..., None] if x.ndim == 2 else x
    return torch.from_numpy(np.ascontiguousarray(x, np.float32)).permute(2, 0, 1)[None]


def along(x: np.ndarray, direction: np.ndarray, length: int) -> np.ndarray:
    """Line integral convolution: the mean of a map or picture over ``length`` px both ways along the direction through each pixel."""
    values, field = _tensor(x), _tensor(direction)
    h, w = x.shape[:2]
    y0, x0 = torch.meshgrid(torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32), indexing="ij")
    total, weights = values.clone(), 1.0
    for sign in (1.0, -1.0):
        px, py = x0, y0
        heading = field * sign
        for i in range(1, length + 1):
            px, py = px + heading[0, 0], py + heading[0, 1]
            weight = 0.5 + 0.5 * np.cos(np.pi * i / (length + 1))
            total += weight * _sample(values, px, py)
            weights += weight
            if i < length:
                turn = _sample(field, px, py, "nearest")
                heading = turn * torch.where((turn * heading).sum(1, keepdim=True) < 0, -1.0, 1.0)
    out = (total / weights)[0].permute(1, 2, 0).numpy()
    return out[..., 0] if x.ndim == 2 else out


def strokes(direction: np.ndarray, width: float = 1.6, length: int = 9, seed: int = 5) -> np.ndarray:
    """Brush-hair streaks along a direction, mean about 0 and deviation about 1: repeating noise, smeared along the flow."""
    return along(noise(direction, width, seed), direction, length) * np.sqrt(1 + length / (2.2 * width))


def warp(x: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The picture moved by so many px at each pixel."""
    rows, columns = grid_of(x)
    out = _sample(_tensor(x), torch.from_numpy(columns + dx), torch.from_numpy(rows + dy))[0].permute(1, 2, 0).numpy()
    return out[..., 0] if x.ndim == 2 else out


def wobble(x: np.ndarray, amount: float, size: float = 5, seed: int = 11) -> np.ndarray:
    """Edges made irregular by a repeating displacement of about ``amount`` px."""
    return warp(x, amount * noise(x, size, seed), amount * noise(x, size, seed + 1))


# --- smoothing and lines ------------------------------------------------------------------------------------------------------


@cache
def _sectors(radius: int) -> torch.Tensor:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    fade = np.exp(-(distance**2) / (2 * (radius * 0.6) ** 2)) * (distance <= radius + 0.5)
    kernels = []
    for i in range(8):
        gap = np.abs((angle - i * np.pi / 4 + np.pi) % (2 * np.pi) - np.pi)
        kernel = fade * np.where(distance < 0.5, 1 / 8, np.clip(1 - gap / (np.pi / 4), 0, 1))
        kernels.append(kernel / kernel.sum())
    return torch.from_numpy(np.stack(kernels)[:, None].astype(np.float32))


def kuwahara(rgb: np.ndarray, radius: int = 5, sharpness: float = 8.0) -> np.ndarray:
    """Generalised Kuwahara filter (Papari et al., 2007): eight sector means weighed by how even each sector is. Paint-like flat areas."""
    values = _tensor(np.concatenate([rgb, luma(rgb)[..., None] ** 2], -1))[0][:, None]
    padded = torch.nn.functional.pad(values, (radius,) * 4, mode="replicate")
    means = torch.nn.functional.conv2d(padded, _sectors(radius))
    grey = 0.299 * means[0] + 0.587 * means[1] + 0.114 * means[2]
    spread = (means[3] - grey * grey).clamp_min(0).sqrt()
    weight = (1 + 40 * spread) ** -sharpness
    return ((means[:3] * weight).sum(1) / weight.sum(0)).permute(1, 2, 0).numpy()


def abstraction(rgb: np.ndarray, radius: int = 5, rounds: int = 1, length: int = 0, sigma: float = 3.0) -> np.ndarray:
    """Kuwahara rounds, then smoothing along the edges: areas grow flat and their outlines flow."""
    for _ in range(rounds):
        rgb = kuwahara(rgb, radius)
    return along(rgb, flow(rgb, sigma), length) if length else rgb


def outline(rgb: np.ndarray, sigma: float = 1.2, threshold: float = 0.04, sensitivity: float = 1.0) -> np.ndarray:
    """Ink on the dark side of edges, 0..1 (1 is ink): a difference of Gaussians against the local contrast, so faint edges count too."""
    grey = luma(rgb)
    wide = blur(grey, sigma * 1.8)
    edge = wide - blur(grey, sigma)
    local = np.sqrt(np.maximum(blur((grey - wide) ** 2, 12), 0))
    strength = sensitivity * edge / (0.35 + 4 * local)
    return step(threshold * 0.4, threshold * 1.2, strength)


def ink(rgb: np.ndarray, sigma: float = 1.2, level: float = 0.35, edge: float = 12.0, sharp: float = 12.0) -> np.ndarray:
    """XDoG (Winnemoeller et al., 2012): 1 where black ink lies, in lines and in filled darks below ``level``."""
    grey = tone(luma(rgb), 0.5)
    narrow, wide = blur(grey, sigma), blur(grey, sigma * 1.6)
    sharpened = narrow + edge * (narrow - wide)
    return np.clip(-np.tanh(sharp * np.minimum(sharpened - level, 0)), 0, 1)


def detail(rgb: np.ndarray, amount: float = 1.0, size: float = 3.0) -> np.ndarray:
    """Brightness detail finer than ``size`` px, around 0: added to a rendering it brings back eyes, mouths and rigging."""
    grey = luma(rgb)
    return (amount * (blur(grey, 0.7) - blur(grey, size)))[..., None]


def edges(rgb: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Gradient size over all channels, about 0..1."""
    size = sum(ndimage.gaussian_gradient_magnitude(rgb[..., i], sigma, mode="nearest") ** 2 for i in range(3))
    return np.clip(np.sqrt(size) * sigma * 2.2, 0, 1)


def relief(height: np.ndarray, amount: float = 1.0) -> np.ndarray:
    """Light from the top left on a height map, around 0."""
    gy, gx = np.gradient(height)
    return (amount * (gx + gy)).astype(np.float32)


# --- cells --------------------------------------------------------------------------------------------------------------------


@cache
def _layout(spacing: float, jitter: float, seed: int) -> np.ndarray:
    n = round(PERIOD / spacing)
    return (np.random.default_rng(seed).uniform(-jitter, jitter, (n, n, 2)) * spacing).astype(np.float32)


def seeds(like: np.ndarray, spacing: float, jitter: float = 0.3, seed: int = 0) -> np.ndarray:
    """Points (rows, columns, 2: y, x) of a jittered lattice that repeats; one lattice cell more than the picture on every side."""
    h, w = like.shape[:2]
    rows, columns = (np.arange(-1, int(np.ceil(size / spacing)) + 1) for size in (h, w))
    n = round(PERIOD / spacing)
    offset = _layout(spacing, jitter, seed)[np.ix_(rows % n, columns % n)]
    y = (rows[:, None] + 0.5) * spacing + offset[..., 0]
    x = (columns[None] + 0.5) * spacing + offset[..., 1]
    return np.stack([y, x], -1).astype(np.float32)


def cells(rgb: np.ndarray, points: np.ndarray, spacing: float, colour: float = 0.0, rounds: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Which point each pixel belongs to (flat index) and how far it is from its cell's border (about px).

    Nearest of the points around by distance; ``colour`` > 0 adds the colour difference (superpixels that follow edges, Achanta et al.,
    2012: SLIC), with the cells' mean colours taken anew for each of ``rounds``.
    """
    h, w = rgb.shape[:2]
    y, x = grid_of(rgb)
    base_r, base_c = (y // spacing).astype(int) + 1, (x // spacing).astype(int) + 1
    columns = points.shape[1]
    flat_points = points.reshape(-1, 2)
    smooth = blur(rgb, 1.0) if colour else rgb
    shades = _at(smooth, flat_points)
    reach = range(-1, 2) if colour else range(-2, 3)
    for turn in range(rounds):
        best = np.full((h, w), np.inf, np.float32)
        second = best.copy()
        label = np.zeros((h, w), int)
        for dr in reach:
            for dc in reach:
                index = np.clip(base_r + dr, 0, len(points) - 1) * columns + np.clip(base_c + dc, 0, columns - 1)
                distance = ((flat_points[index, 0] - y) ** 2 + (flat_points[index, 1] - x) ** 2) / spacing**2
                if colour:
                    distance = distance + colour * ((smooth - shades[index]) ** 2).sum(-1)
                fresh = (index != label) | (best == np.inf)
                second = np.where(fresh, np.minimum(second, np.maximum(distance, best)), second)
                label = np.where(distance < best, index, label)
                best = np.minimum(best, distance)
        if turn < rounds - 1:
            shades = cell_means(rgb, label, len(flat_points))
    border = (np.sqrt(second) - np.sqrt(best)) * spacing * 0.5
    return label, border.astype(np.float32)


def _at(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    r = np.clip(points[:, 0].round().astype(int), 0, rgb.shape[0] - 1)
    c = np.clip(points[:, 1].round().astype(int), 0, rgb.shape[1] - 1)
    return rgb[r, c]


def cell_means(rgb: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    """Mean colour (count, 3) of each cell's pixels."""
    flat = label.ravel()
    size = np.maximum(np.bincount(flat, minlength=count), 1)
    return np.stack([np.bincount(flat, rgb[..., i].ravel(), count) / size for i in range(rgb.shape[-1])], -1).astype(np.float32)


def fill(rgb: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Every cell in its mean colour."""
    return cell_means(rgb, label, int(label.max()) + 1)[label]


def cell_borders(label: np.ndarray, width: float = 1.0) -> np.ndarray:
    """1 on the borders between cells, blurred and sharpened to lines of about ``2 * width`` px."""
    edge = np.zeros(label.shape, np.float32)
    edge[:, 1:] = label[:, 1:] != label[:, :-1]
    edge[1:] = np.maximum(edge[1:], label[1:] != label[:-1])
    return step(0.12, 0.3, blur(edge, width))


def cell_values(label: np.ndarray, points: np.ndarray, spacing: float, seed: int = 0) -> np.ndarray:
    """A number in -1..1 for each cell, the same in every period."""
    n = round(PERIOD / spacing)
    table = np.random.default_rng(seed).uniform(-1, 1, (n, n)).astype(np.float32)
    rows, columns = points.shape[:2]
    return table[np.ix_((np.arange(rows) - 1) % n, (np.arange(columns) - 1) % n)].ravel()[label]


def triangles(rgb: np.ndarray, spacing: float, jitter: float = 0.3, seed: int = 0, snap: bool = True) -> np.ndarray:
    """Triangle index of each pixel: Delaunay over a repeating lattice whose points ``snap`` to the strongest edge close by."""
    points = seeds(rgb, spacing, jitter, seed).reshape(-1, 2)
    h, w = rgb.shape[:2]
    edge = edges(blur(rgb, 1.0), 1.5)
    reach = spacing * 0.36
    offsets = np.mgrid[-3:4, -3:4].reshape(2, -1).T * (reach / 3)
    tried = points[:, None] + offsets[None]
    inside = np.clip(tried, 0, [h - 1, w - 1]).round().astype(int)
    score = edge[inside[..., 0], inside[..., 1]] - 0.02 * np.hypot(*offsets.T) / reach
    moved = points + offsets[score.argmax(1)] if snap else points
    y, x = grid_of(rgb)
    return Delaunay(moved).find_simplex(np.stack([y, x], -1).reshape(-1, 2)).reshape(h, w)


def blocks(rgb: np.ndarray, size: int) -> np.ndarray:
    """Mean colour of each ``size`` x ``size`` block (edge blocks may be cut)."""
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]] // size
    return fill(rgb, y * (x.max() + 1) + x)
