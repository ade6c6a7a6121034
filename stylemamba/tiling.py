"""Large photos in overlapping tiles: memory stays flat, and the picture is the one that the whole photo at once would give.

(But for a photo without any contrast, such as an all black one, whose colours may be others.)

Three things reach beyond a tile, and each is met in its own way:

- The VAE's convolutions reach a few latent pixels far. Its tiles overlap by more than that and are cut without a trace.
- The VAE's group norms take mean and variance over the whole picture. These are estimated beforehand and hold for every tile, see
  `_AsOne`.
- The fusion's scans reach as far as their states last (`mixer.REACH`); what is left of them at an overlap's end is far below what a
  picture shows. Its tiles begin at multiples of the fusion's phase period and are faded into each other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode, _len_torch_function_stack, _pop_mode

from .detail import as_floats, restore_lost
from .fusion import PHASE_PERIOD

if TYPE_CHECKING:
    from .pipeline import StyleMambaPipeline

TILE = 1024  # pixels a side, overlaps included
MARGIN = 16  # latent pixels on each side, and more for tokens larger than 2 x 2; neighbours overlap by twice that
SAMPLES = 448  # windows that tell the group norms' moments with tiles of that size and a VAE of factor 4, the memory of a tile together
SAMPLE = 12  # latent pixels a side
RIM = 2  # of these on each side, which the padding at a window's border has touched most and which do not count
RIDGE = 0.2  # how much the windows' weights resist; see `_calibrated`
MISS = 0.04  # of a standard deviation, that the estimates may be off; the bundled model's pictures are 50 dB apart then
BLOCK = 2**14  # pixels whose moments are summed at once: what a processor's cache holds


def stylise_in_tiles(
    pipe: "StyleMambaPipeline",
    photo: torch.Tensor,
    style: torch.Tensor,
    strength: float,
    generator: torch.Generator | None,
    latent_only: bool,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The stylised picture (1, 3, H, W). With a ``generator`` the VAE's noise is not the same as without tiles.

    Args:
        photo: uint8 (1, 3, H, W).
        style: (1, E).
        strength, generator: as in the pipeline's call.
        latent_only: return the stylised latents (1, C, h, w) instead.
        dtype: of the picture: float, then in 0..1, or uint8.
    """
    with _without_vae_tiles(pipe) as pipe:
        scale = pipe.vae_scale_factor
        grid = _Grid(pipe, *(-(-length // scale) for length in photo.shape[2:]))
        latents = _encode(pipe, photo, grid, generator)
        if strength == 0 and latent_only:
            return latents
        styled = _fuse(pipe, latents, grid, style, strength)
        if latent_only:
            return styled
        decode, decode_unstyled = _decoder(pipe, styled, grid), _decoder(pipe, latents, grid)

        # Channels last, as Pillow has them: it takes such an array as it is.
        picture = torch.empty(photo.shape, dtype=dtype, device=photo.device, memory_format=torch.channels_last)
        for tile in _until_right(grid, decode, decode_unstyled):
            pixels, seen = (maker(tile).clamp_(0, 1) for maker in (decode, decode_unstyled))
            pixels = restore_lost(pixels, seen, _pixels(photo, tile, scale), max(0, 1 - strength))
            pixels = tile.core_of(pixels).clamp_(0, 1)
            if dtype == torch.uint8:
                pixels = pixels.mul_(255).round_()
            target = picture[..., _scaled(tile.rows.core, scale), _scaled(tile.columns.core, scale)]
            target.copy_(pixels[..., : target.shape[2], : target.shape[3]])  # less what the photo was padded by
        return picture


# The three steps one by one, for those who keep the latents between them. ``side`` is a tile's, in pixels, and smaller tiles take less
# memory; ``before_tile`` is called before every tile, and what it raises ends the work.


def encode_in_tiles(
    pipe: "StyleMambaPipeline", photo: torch.Tensor, side: int | None = None, before_tile: Callable[[], None] | None = None
) -> torch.Tensor:
    """`StyleMambaPipeline.encode_images` for one photo (1, 3, H, W) in 0..1, of any height and width."""
    with _without_vae_tiles(pipe) as pipe:
        scale = pipe.vae_scale_factor
        return _encode(pipe, photo, _Grid(pipe, *(-(-length // scale) for length in photo.shape[2:]), side, before_tile), None)


def fuse_in_tiles(
    pipe: "StyleMambaPipeline",
    latents: torch.Tensor,
    style: torch.Tensor,
    strength: float,
    side: int | None = None,
    before_tile: Callable[[], None] | None = None,
) -> torch.Tensor:
    """`StyleMambaPipeline.fuse` for the latents (1, C, h, w) of one photo."""
    return _fuse(pipe, latents, _Grid(pipe, *latents.shape[2:], side, before_tile), style, strength)


def decode_in_tiles(
    pipe: "StyleMambaPipeline", latents: torch.Tensor, side: int | None = None, before_tile: Callable[[], None] | None = None
) -> torch.Tensor:
    """`StyleMambaPipeline.decode_latents` for the latents (1, C, h, w) of one photo; the picture is put together on the CPU."""
    with _without_vae_tiles(pipe) as pipe:
        grid, scale = _Grid(pipe, *latents.shape[2:], side, before_tile), pipe.vae_scale_factor
        decode = _decoder(pipe, latents, grid)
        picture = torch.empty(1, 3, *(length * scale for length in latents.shape[2:]))
        for tile in _until_right(grid, decode):
            picture[..., _scaled(tile.rows.core, scale), _scaled(tile.columns.core, scale)] = tile.core_of(decode(tile)).to(picture)
        return picture


@contextmanager
def _without_vae_tiles(pipe: "StyleMambaPipeline") -> Iterator["StyleMambaPipeline"]:
    """The pipeline, but without diffusers' slicing and tiling of the VAE, which would split the calls that share their group norms here.

    A copy that shares all weights: other threads may be using the VAE as it is set. But where a method was put in another's place, such as
    a compiled one, that is of the VAE itself, which is set then for as long as it takes.
    """
    vae = getattr(pipe.vae, "_orig_mod", pipe.vae)  # a compiled module would set its original
    if vars(vae).keys() & {"encode", "decode"} or vars(pipe).keys() & {"encode_images", "decode_latents"}:
        before = {name: getattr(vae, name, False) for name in ("use_slicing", "use_tiling")}
        vae.use_slicing = vae.use_tiling = False
        try:
            yield pipe
        finally:
            for name, value in before.items():
                setattr(vae, name, value)
        return
    pipe, vae = copy(pipe), copy(vae)
    vae.use_slicing = vae.use_tiling = False
    vars(pipe)["vae"] = vae
    yield pipe


class _Span(NamedTuple):
    """A tile along one axis, in latent pixels."""

    window: slice  # with its margins
    core: slice  # without; the cores of all tiles make up the axis


class _Tile(NamedTuple):
    rows: _Span
    columns: _Span

    def window_of(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[..., self.rows.window, self.columns.window]

    def core_of(self, result: torch.Tensor) -> torch.Tensor:
        """The core's part of what was computed from the window, in any resolution."""
        scale = result.shape[2] // (self.rows.window.stop - self.rows.window.start)
        rows, columns = (_scaled(slice(core.start - window.start, core.stop - window.start), scale) for window, core in self)
        return result[..., rows, columns]


class _Grid:
    """The tiles of latents of that size, and the windows that tell the group norms' moments."""

    def __init__(self, pipe, height: int, width: int, side: int | None = None, before_tile: Callable[[], None] | None = None):
        self.height, self.width, self.before_tile = height, width, before_tile
        side = side or TILE
        period = PHASE_PERIOD * pipe.fusion.config.patch_size
        # The VAE reaches as far as its convolutions in latent pixels, the fusion as far as its scans in tokens.
        self.margin = MARGIN * max(pipe.fusion.config.patch_size, 2) // 2
        # No shorter than an overlap, or more than two tiles would meet in one.
        step = max((side // pipe.vae_scale_factor - 2 * self.margin) // period, -(-2 * self.margin // period)) * period
        self.tiles = [_Tile(*pair) for pair in product(_spans(height, step, self.margin), _spans(width, step, self.margin))]
        samples = SAMPLES * (4 * side) ** 2 // (pipe.vae_scale_factor * TILE) ** 2
        self.samples = list(_samples(height, width, max(samples, 1)))

    def __iter__(self) -> Iterator[_Tile]:
        for tile in self.tiles:
            if self.before_tile:
                self.before_tile()
            yield tile


def _spans(length: int, step: int, margin: int) -> list[_Span]:
    """Windows that begin at multiples of ``step`` and overlap by twice the margin."""
    spans = []
    for start in range(0, max(length - 2 * margin, 1), step):
        stop = min(start + step + 2 * margin, length)
        spans.append(_Span(slice(start, stop), slice(start + margin if start else 0, stop if stop == length else stop - margin)))
    return spans


def _scaled(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


def _pixels(photo: torch.Tensor, tile: _Tile, scale: int) -> torch.Tensor:
    """The photo (uint8, or float in 0..1) under a tile's window, float in 0..1, padded where the latents reach beyond the photo."""
    rows, columns = (_scaled(span.window, scale) for span in tile)
    pixels = photo[..., rows, columns]
    pixels = as_floats(pixels)
    bottom, right = (part.stop - part.start - length for part, length in zip((rows, columns), pixels.shape[2:]))
    return F.pad(pixels, (0, right, 0, bottom), mode="replicate")


def _encode(pipe, photo: torch.Tensor, grid: _Grid, generator: torch.Generator | None) -> torch.Tensor:
    # Tile by tile to where the VAE is, as all that is known of the tiles is to be there: a large photo may wait elsewhere.
    window_of = lambda tile: _pixels(photo, tile, pipe.vae_scale_factor).to(pipe.vae_device)
    encode = _AsOne(lambda pixels: pipe.encode_images(pixels, generator), window_of, grid)
    latents = None
    for tile in _until_right(grid, encode):
        window = encode(tile)
        if latents is None:
            latents = window.new_empty(1, window.shape[1], grid.height, grid.width)
        latents[..., tile.rows.core, tile.columns.core] = tile.core_of(window)
    return latents


def _fuse(pipe, latents: torch.Tensor, grid: _Grid, style: torch.Tensor, strength: float) -> torch.Tensor:
    styled = torch.zeros_like(latents)
    for tile in grid:
        window = pipe.fuse(tile.window_of(latents), style, strength, tuple(span.window.start for span in tile))
        rows, columns = (_fade(span.window, length, grid.margin, window) for span, length in zip(tile, latents.shape[2:]))
        tile.window_of(styled).add_(window * rows[:, None] * columns)
    return styled


def _fade(window: slice, length: int, margin: int, like: torch.Tensor) -> torch.Tensor:
    """Weights that rise over the overlap with the tile before and fall over that with the next; where two meet they add up to 1.

    The outermost third of a margin, which the refinement's convolutions pad, counts for nothing.
    """
    weights = torch.ones(window.stop - window.start, dtype=like.dtype, device=like.device)
    padded = margin // 3
    ramp = torch.arange(2 * margin, dtype=like.dtype, device=like.device) + 0.5
    ramp = ((ramp - padded) / (2 * (margin - padded))).clamp(0, 1)
    if window.start > 0:
        weights[: 2 * margin] *= ramp
    if window.stop < length:
        weights[-2 * margin :] *= 1 - ramp
    return weights


def _decoder(pipe, latents: torch.Tensor, grid: _Grid) -> "_AsOne":
    """A function from a tile to its window of the decoded picture."""
    return _AsOne(pipe.decode_latents, lambda tile: tile.window_of(latents), grid)


class _Moments(NamedTuple):
    """Of a group norm's input: float32 (groups,) each."""

    mean: torch.Tensor
    variance: torch.Tensor


class _AsOne:
    """From a tile to what ``function`` makes of its window, with the moments that its group norms would meet in the whole picture.

    The moments of a norm depend on the norms before it, so one pass over the tiles cannot find them all. They are estimated from windows
    spread over the picture, weighted so that they stand for all of it, and normalised together. While the tiles are made, the moments that
    they have are summed up: should the estimate be too far off, the tiles are made again with a better one (see `missed`).
    """

    def __init__(self, function: Callable, window_of: Callable[[_Tile], torch.Tensor], grid: _Grid):
        self.function, self.window_of = function, window_of
        self.samples = torch.cat([window_of(tile) for tile in grid.samples])
        area, whole = 0, 0.0
        for tile in grid.tiles:
            core = tile.core_of(window_of(tile))
            whole = whole + _texture(core)[0] * core[0, 0].numel()
            area += core[0, 0].numel()
        self.weights = _calibrated(_texture(_middle(self.samples)), whole / area)
        self.estimate = self._look()
        self.area, self.sums, self.corrected = 0, [], False

    def _look(self, misses: list[tuple[_Moments, _Moments]] | None = None) -> "_GroupNorms":
        seen = _GroupNorms(core_of=_middle, weights=self.weights, misses=misses)
        seen.during(self.function, self.samples)
        return seen

    def __call__(self, tile: _Tile) -> torch.Tensor:
        seen = _GroupNorms(given=self.estimate.used, core_of=None if self.corrected else tile.core_of)
        result = seen.during(self.function, self.window_of(tile))
        rows, columns = (span.core.stop - span.core.start for span in tile)
        powers = [torch.stack([mean, variance + mean**2]) * rows * columns for mean, variance in seen.measured]
        self.sums = [total + power for total, power in zip(self.sums, powers)] if self.sums else powers
        self.area += rows * columns
        return result

    def missed(self) -> bool:
        """After a call for every tile: whether the estimate was so far off that they must be made again, with what has been learned.

        By how much an estimate misses hardly depends on those before it, so this corrects a second estimate, which is taken as it is.
        """
        if self.corrected:
            return False
        whole = [_Moments(mean, (square - mean**2).clamp(min=0)) for mean, square in (total / self.area for total in self.sums)]
        if _miss(self.estimate.measured, whole) < MISS:
            return False
        self.estimate, self.corrected = self._look(list(zip(self.estimate.measured, whole))), True
        return True


def _until_right(grid: _Grid, *makers: _AsOne) -> Iterator[_Tile]:
    """The tiles for the makers to make; all of them once more should one of the makers have missed."""
    while True:
        yield from grid
        if not any([maker.missed() for maker in makers]):  # a list, as each is to learn
            return


def _miss(estimated: list[_Moments], right: list[_Moments]) -> float:
    """How far estimates are off, in standard deviations: root mean square over all norms and their groups."""
    off = []
    for one, other in zip(estimated, right):
        deviation = other.variance.sqrt() + 1e-6
        off += [(one.mean - other.mean) / deviation, one.variance.sqrt() / deviation - 1]
    return torch.cat(off).square().mean().sqrt().item() if off else 0.0  # a VAE may have no group norms


def _texture(images: torch.Tensor) -> torch.Tensor:
    """What is cheap to know of all of (B, C, H, W), and what a network's moments go along with: (B, 4 * C), means over the pixels.

    Of the values, their squares, and the sizes and squares of the differences of neighbours.
    """

    def mean(x):
        return x.sum((2, 3)) / max(x[0, 0].numel(), 1)  # a single row has no differences downwards

    images = images.float()
    down, right = (images.diff(dim=dim) for dim in (2, 3))
    differences = [mean(down.abs()) + mean(right.abs()), mean(down.square()) + mean(right.square())]
    return torch.cat([mean(images), mean(images.square()), *differences], dim=1)


def _calibrated(samples: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Weights (N,), 1 in all and as even as can be, with which the means of the samples (N, K) meet those of the whole picture (K,).

    Source: the calibration estimator of survey sampling (Deville and Saerndal 1992), with a ridge, as few samples cannot meet everything.
    """
    apart = (samples - whole) / samples.std(0, correction=0).clamp(min=1e-6)
    among = apart.T @ apart / len(apart) + RIDGE * torch.eye(len(whole), device=apart.device)
    weights = (1 - apart @ torch.linalg.solve(among, apart.mean(0))).clamp(min=0)
    return weights / weights.sum()


def _samples(height: int, width: int, count: int) -> Iterator[_Tile]:
    """About ``count`` windows spread evenly over latents of that size."""
    rows = min(max(round((count * height / width) ** 0.5), 1), count)

    def spread(length: int, count: int) -> list[_Span]:
        size = min(SAMPLE, length)
        return [_Span(*[slice(start, start + size)] * 2) for start in torch.linspace(0, length - size, count).round().int().tolist()]

    return (_Tile(*pair) for pair in product(spread(height, rows), spread(width, count // rows)))


def _middle(samples: torch.Tensor) -> torch.Tensor:
    """Samples (N, C, h, w) in any resolution without their rims."""
    top, left = (length * RIM // SAMPLE for length in samples.shape[2:])
    return samples[:, :, top : samples.shape[2] - top, left : samples.shape[3] - left]


class _GroupNorms(TorchFunctionMode):
    """While it is active, group norms use the moments given, or else those that their input's core has over the whole batch.

    ``measured`` holds the core's moments and ``used`` those used, call by call. ``weights`` are the samples' shares of those measured.
    ``misses`` are pairs of earlier estimates and what turned out to be right, by which measured moments are corrected.
    """

    def __init__(
        self,
        given: list[_Moments] | None = None,
        core_of: Callable[[torch.Tensor], torch.Tensor] | None = None,
        weights: torch.Tensor | None = None,
        misses: list[tuple[_Moments, _Moments]] | None = None,
    ):
        super().__init__()
        self.given, self.core_of, self.weights, self.misses = given, core_of, weights, misses
        self.measured: list[_Moments] = []
        self.used: list[_Moments] = []

    def during(self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """``function(x)`` with the mode active, and not after it, though a Ctrl-C may come before ``with`` is entered or as it is left."""
        depth = _len_torch_function_stack()
        try:
            with self:
                return function(x)
        finally:
            while _len_torch_function_stack() > depth:
                _pop_mode()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return (self._group_norm if function is F.group_norm else function)(*args, **(kwargs or {}))

    def _group_norm(self, x, num_groups, weight=None, bias=None, eps=1e-5):
        call = len(self.used)
        if self.core_of:
            # An attention's norm sees its pixels in one row; those are taken with their margin.
            self.measured.append(_moments(self.core_of(x) if x.dim() == 4 else x, num_groups, self.weights))
        moments = self.given[call] if self.given else self.measured[call]
        if self.misses:
            moments = _corrected(moments, *self.misses[call], eps)
        self.used.append(moments)

        # With known moments a group norm is one multiplication and addition a channel.
        mean, scale = (m.repeat_interleave(x.shape[1] // num_groups) for m in (moments.mean, (moments.variance + eps).rsqrt()))
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        shift, scale = (m.to(x.dtype).view(-1, *[1] * (x.dim() - 2)) for m in (shift, scale))
        return torch.addcmul(shift, x, scale)


def _moments(x: torch.Tensor, num_groups: int, weights: torch.Tensor | None) -> _Moments:
    """Over the batch too, of whose (N, C, ...) each has its weight."""
    # Sums as products with a vector, block by block: that reads memory in order, which with channels last takes `torch.var_mean`
    # twice as long, and never copies the whole.
    pixels = x.movedim(1, -1).flatten(1, -2)
    count, each = pixels.shape[:2]
    shares = x.new_ones(count) / count if weights is None else weights
    shift = pixels[:, :: max(each // 1024, 1)].float().mean((0, 1))  # near the mean, so that the squares stay small
    sums = torch.zeros(2, len(shift), device=x.device)
    for block, share in zip(pixels.flatten(0, 1).split(BLOCK), (shares.float() / each).repeat_interleave(each).split(BLOCK)):
        block = block.float() - shift
        sums += torch.stack([share @ block, share @ block.square_()])
    offsets, squares = sums
    means, variances = (m.view(num_groups, -1) for m in (shift + offsets, squares - offsets**2))
    mean = means.mean(1)
    return _Moments(mean, (variances + (means - mean[:, None]) ** 2).mean(1))


def _corrected(found: _Moments, estimated: _Moments, right: _Moments, eps: float) -> _Moments:
    growth = (found.variance + eps) / (estimated.variance + eps)
    return _Moments(found.mean + (right.mean - estimated.mean) * growth.sqrt(), growth * (right.variance + eps) - eps)
