"""Styles at a resolution of their own: the picture is made small, and the photo's detail is laid over its enlargement."""

import torch
import torch.nn.functional as F

RADIUS = 2  # of the window, in pixels of the small picture
EPSILON = 1e-4  # contrasts of less than a hundredth are too faint to say what the style does with contrasts
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def scaled_down(photo: torch.Tensor, resolution: int) -> torch.Tensor:
    """A photo (B, 3, H, W) in 0..1, its shorter side being ``resolution`` pixels."""
    height, width = photo.shape[2:]
    scale = resolution / min(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(photo, size, mode="bicubic", antialias=True, align_corners=False).clamp_(0, 1)


def restore_detail(styled: torch.Tensor, small: torch.Tensor, photo: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """The stylised picture of a scaled-down photo, at the photo's own size and with its detail.

    Where the style keeps, softens or inverts the contrasts of the small photo, it does the same to the detail that scaling down has lost:
    the local linear model of the guided filter (He, Sun and Tang, ECCV 2010; at low resolution as in arXiv 1505.00996) gives the gain,
    and the detail is the photo's luminance less that of the enlarged small photo. What the model does not explain, the strokes, stays.

    Args:
        styled: (B, 3, h, w), the picture made of ``small``.
        small: (B, 3, h, w) in 0..1, the scaled-down photo.
        photo: (B, 3, H, W) in 0..1.
        strength: of the style; what it leaves of the photo below 1 is taken from the photo as it is, colours and all.

    Returns:
        (B, 3, H, W); values may leave 0..1 a little.
    """
    size, light, kept = photo.shape[2:], _luminance(small), max(0, 1 - strength)
    styled = styled - kept * small
    mean = _window_mean(light)
    variance = (_window_mean(light * light) - mean * mean).clamp_(min=0)
    covariance = _window_mean(light * styled) - mean * _window_mean(styled)
    gain = covariance / (variance + EPSILON)
    detail = _luminance(photo) - F.interpolate(light, size, mode="bicubic", align_corners=False)
    # A gain beyond 2 is chance: it would turn the noise of a flat area into a texture.
    gain = F.interpolate(gain.clamp_(-2, 2), size, mode="bilinear", align_corners=False)
    return F.interpolate(styled, size, mode="bicubic", align_corners=False).addcmul(gain, detail).add(photo, alpha=kept)


def _luminance(picture: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bchw,c->bhw", picture, picture.new_tensor(LUMA))[:, None]


def _window_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean over the window around every pixel, which ends at the picture's border."""
    return F.avg_pool2d(values, 2 * RADIUS + 1, stride=1, padding=RADIUS, count_include_pad=False)
