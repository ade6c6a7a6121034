"""The photo's detail, laid over the stylised picture: what the VAE loses of it, and what a style at a resolution of its own does."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .resizing import enlarged_rows, resized

RADIUS = 2  # of the window, in pixels
EPSILON = 1e-4  # contrasts of less than a hundredth are too faint to say what the style does with contrasts
VAE_EPSILON = 1e-3  # and of less than three where a VAE has drawn both pictures, each a little wrong
FAINT = 0.01  # strokes are stronger, and what is fainter is mostly noise: taken out, pictures look as before (recipes/VERSIONS.md)
BAND = 1024  # rows of the picture that are made at a time, so that memory does not grow with it
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def scaled_down(photo: torch.Tensor, resolution: int) -> torch.Tensor:
    """A photo (B, 3, H, W), in 0..1 or uint8, made so small that its shorter side has ``resolution`` pixels; in 0..1."""
    height, width = photo.shape[2:]
    scale = resolution / min(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return torch.cat([resized(as_floats(channel), size) for channel in photo.split(1, 1)], 1).clamp_(0, 1)


def restore_lost(
    styled: torch.Tensor, seen: torch.Tensor, photo: torch.Tensor, kept: torch.Tensor | float = 0.0, faint: float = FAINT
) -> torch.Tensor:
    """The stylised picture with the detail of the photo that the VAE loses, and without the faint noise that the networks leave.

    As in `restore_detail`: what the style does to contrasts nearby, it does to those that the VAE cannot draw. A face in sepia or in oil
    has eyes and teeth again, and what the style covers, such as a mosaic, stays covered. What the photo's contrasts do not explain is a
    stroke where it is strong, and noise where it is faint: that is shrunk, as wavelet coefficients are (Donoho and Johnstone 1994).

    Args:
        styled: (B, 3, H, W), as decoded.
        seen: (B, 3, H, W), the photo, encoded and decoded.
        photo: (B, 3, H, W) in 0..1.
        kept: the share of the photo that the style leaves, a number or (B, 1, H, W); it is taken from the photo as it is, colours and
            all, so that strength 0 is the photo and not its reconstruction.
        faint: how much is so little that half of it goes, at the style's full share; 0 leaves all. (Training does: what is shrunk to
            nothing has no gradient either.)

    Returns:
        (B, 3, H, W); values may leave 0..1 a little.
    """
    light, drawn = _luminance(seen), styled - kept * seen
    fit = _Fit.of(drawn, light)
    picture = drawn + kept * photo + fit.gain(VAE_EPSILON) * _luminance(photo - seen)
    if faint:
        strokes = drawn - fit.mean - fit.gain(EPSILON) * (light - fit.light)
        picture = picture - strokes / (1 + (strokes / (faint * (1 - kept) + 1e-6)) ** 2)
    return picture


def restore_detail(styled: torch.Tensor, small: torch.Tensor, photo: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """The stylised picture of a scaled-down photo, at the photo's own size and with its detail.

    Where the style keeps, softens or inverts the contrasts of the small photo, it does the same to the detail that scaling down has lost:
    the local linear model of the guided filter (He, Sun and Tang, ECCV 2010; at low resolution as in arXiv 1505.00996) gives the gain,
    and the detail is the photo's luminance less that of the enlarged small photo. What the model does not explain, the strokes, stays.

    Args:
        styled: (B, 3, h, w), the picture made of ``small``.
        small: (B, 3, h, w) in 0..1, the scaled-down photo.
        photo: (B, 3, H, W), in 0..1 or uint8.
        strength: of the style; what it leaves of the photo below 1 is taken from the photo as it is, colours and all.

    Returns:
        (B, 3, H, W) as the photo is: in 0..1, or uint8.
    """
    light, kept = _luminance(small), max(0, 1 - strength)
    styled = styled - kept * small
    gain = _Fit.of(styled, light).gain(EPSILON)
    height, width = photo.shape[2:]
    # Enlarged to the photo's width here, and to its height band by band.
    styled, light = (F.interpolate(x, (x.shape[2], width), mode="bicubic", align_corners=False) for x in (styled, light))
    gain = F.interpolate(gain, (gain.shape[2], width), mode="bilinear", align_corners=False)
    bands = []
    for rows in (slice(top, top + BAND) for top in range(0, height, BAND)):
        band = as_floats(photo[:, :, rows]).to(styled)
        larger, before = (enlarged_rows(x, rows, height, "bicubic") for x in (styled, light))
        detail = _luminance(band) - before
        picture = larger.addcmul(enlarged_rows(gain, rows, height, "bilinear"), detail).add(band, alpha=kept).clamp(0, 1)
        bands.append(picture if photo.is_floating_point() else picture.mul_(255).round_().byte())
    return torch.cat(bands, 2)


class _Fit(NamedTuple):
    """What the picture (B, 3, H, W) has to do with ``light`` (B, 1, H, W) in the window around every pixel."""

    mean: torch.Tensor  # of the picture
    light: torch.Tensor  # its mean
    covariance: torch.Tensor
    variance: torch.Tensor  # of light

    @classmethod
    def of(cls, picture: torch.Tensor, light: torch.Tensor) -> "_Fit":
        mean, mean_light = _window_mean(picture), _window_mean(light)
        variance = (_window_mean(light * light) - mean_light * mean_light).clamp_(min=0)
        return cls(mean, mean_light, _window_mean(light * picture) - mean_light * mean, variance)

    def gain(self, epsilon: float) -> torch.Tensor:
        """How much of a change of light the picture follows; contrasts below the root of ``epsilon`` say little about it."""
        # A gain beyond 2 is chance: it would turn the noise of a flat area into a texture.
        return (self.covariance / (self.variance + epsilon)).clamp_(-2, 2)


def as_floats(photo: torch.Tensor) -> torch.Tensor:
    """A photo in 0..1, whether it is so already or uint8."""
    return photo if photo.is_floating_point() else photo.float() / 255


def _luminance(picture: torch.Tensor) -> torch.Tensor:
    # No tensor of the weights: to bring it to a GPU would end a graph's capture.
    red, green, blue = picture.split(1, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _window_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean over the window around every pixel, which ends at the picture's border."""
    return F.avg_pool2d(values, 2 * RADIUS + 1, stride=1, padding=RADIUS, count_include_pad=False)
