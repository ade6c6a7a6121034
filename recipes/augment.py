"""What is done to pictures before the image tower sees them, so that it knows a style by every patch and in any light and colours."""

import torch
import torch.nn.functional as F
from einops import rearrange


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise, blur, colour and erased patches on (B, 3, H, W) in 0..1, each for a part of the batch."""
    rand = lambda *shape: torch.rand(*shape, generator=generator, device=images.device)
    count, _, height, width = images.shape
    gain = 1 + 0.3 * (rand(count, 3, 1, 1) - 0.5)
    images = images * gain + 0.15 * (rand(count, 1, 1, 1) - 0.5)
    small = F.interpolate(F.avg_pool2d(images, 2), (height, width), mode="bilinear", align_corners=False)
    images = torch.where(rand(count, 1, 1, 1) < 0.3, small, images)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    images = images + noise * 0.08 * rand(count, 1, 1, 1) * (rand(count, 1, 1, 1) < 0.5)
    keep = F.interpolate((rand(count, 1, 5, 5) > 0.25 * (rand(count, 1, 1, 1) < 0.5)).float(), (height, width))
    return (images * keep + 0.5 * (1 - keep)).clamp(0, 1)


def recoloured(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(B, 3, H, W) in 0..1, each with its channels in any order, mixed with one another, some of them inverted, lighter or darker."""
    rand = lambda *shape: torch.rand(*shape, generator=generator, device=images.device)
    count = len(images)
    order = rand(count, 3).argsort(1)
    mixing = torch.eye(3, device=images.device)[order] + 0.6 * (rand(count, 3, 3) - 0.5)
    mixing = mixing * torch.where(rand(count, 1, 1) < 0.15, -1.0, 1.0)
    images = torch.einsum("bij,bjhw->bihw", mixing, images - 0.5) + 0.5
    return images.clamp(0, 1) ** (2.0 ** (2 * rand(count, 1, 1, 1) - 1))


def shuffle(images: torch.Tensor, patch: int, shares: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Puts each picture's patches in any order, and ``shares`` (B, 1) of them from the picture two before it in the batch."""
    side = images.shape[3] // patch
    patches = rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)
    order = torch.rand(patches.shape[:2], generator=generator, device=images.device).argsort(1)
    patches = patches.gather(1, order[..., None].expand_as(patches))
    other = torch.rand(patches.shape[:2], generator=generator, device=images.device) < shares
    patches = torch.where(other[..., None], patches.roll(2, 0), patches)
    return rearrange(patches, "b (h w) (c p q) -> b c (h p) (w q)", h=side, p=patch, q=patch)
