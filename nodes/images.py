"""IMAGEs as the model takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def check_images(name: str, images: torch.Tensor) -> None:
    """Refuses an IMAGE (B, H, W, C) that shows nothing.

    Raises:
        StyleMambaError: which calls the input by ``name``.
    """
    from stylemamba import StyleMambaError

    name = name.replace("_", " ")
    if not images.numel():
        raise StyleMambaError(f"The input '{name}' holds no image; connect at least one.")
    if images.shape[-1] not in (1, 3, 4):
        raise StyleMambaError(f"The input '{name}' has {images.shape[-1]} channels; give 1 (grey), 3 (RGB) or 4 (RGBA).")
    if not all(image.isfinite().all() for image in images):
        raise StyleMambaError(f"The input '{name}' has NaN or infinite values; give another image, or mend the node that makes it.")


def photo_to_rgb(images: torch.Tensor) -> torch.Tensor:
    """IMAGE (B, H, W, 1, 3 or 4) -> (B, 3, H, W) in 0..1, for a picture that keeps its transparency: white only where nothing is visible.

    Soft edges keep their colours, as they would be whitened here and once more where the result is shown.
    """
    colours, alpha = _colours_and_alpha(images)
    return colours.where(alpha > 0, 1.0) if alpha.shape[1] else colours


def picture_to_rgb(images: torch.Tensor) -> torch.Tensor:
    """IMAGE (B, H, W, 1, 3 or 4) -> (B, 3, H, W) in 0..1, for a picture that is only looked at: its transparency laid on white."""
    colours, alpha = _colours_and_alpha(images)
    return colours.new_ones(()).lerp(colours, alpha) if alpha.shape[1] else colours


def _colours_and_alpha(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 3, H, W), and (B, 1, H, W) or, where there is no transparency, (B, 0, H, W)."""
    images = images.movedim(-1, 1).float().clamp(0, 1)
    return images[:, :3].expand(-1, 3, -1, -1), images[:, 3:]
