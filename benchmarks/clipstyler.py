"""The baseline of `train_speed.py`: CLIPstyler's method, written here from its description (arXiv 2112.00374), for any style encoder.

A U-Net is optimised for one photo and one sentence: Adam, 5e-4 halved every 100 steps, 200 steps; weights patch 9000, direction 500,
content 150, total variation 2e-3. The patch loss asks of 64 random crops, a quarter of the picture's side each and seen in perspective,
what the directional loss asks of the picture; crops whose loss is below 0.7 count as done.

Where this differs from the published setting: the style encoder and its templates are those of the pipeline, the same for both methods; the
picture is smaller, with the crops in proportion; and where VGG19's weights are not at hand, SqueezeNet's features take their place in the
content loss, each map divided by its root mean square over the photo, as their scale is not VGG19's.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, LEARNING_RATE, HALVED_EVERY = 200, 5e-4, 100
PATCH, DIRECTION, CONTENT, TOTAL_VARIATION = 9000, 500, 150, 2e-3
CROPS, CROP_SIDE, DISTORTION, DONE_BELOW = 64, 1 / 4, 0.5, 0.7
SCALE = 20.0  # mean square of the maps that stand in for VGG19's, see `relative`


class Convolutions(nn.Module):
    """Two 3 x 3 convolutions with instance norm, and a 1 x 1 convolution past them."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.past = nn.Conv2d(channels, out, 1)
        layers = []
        for width in (channels, out):
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.InstanceNorm2d(out), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.past(x)


class UNet(nn.Module):
    """A photo (B, 3, H, W) in 0..1 -> a picture in 0..1; H and W are multiples of 8."""

    def __init__(self, width: int = 16):
        super().__init__()
        widths = [width, width, 2 * width, 4 * width]
        self.into = nn.Conv2d(3, width, 1)
        self.first = Convolutions(width, width)
        self.down = nn.ModuleList(Convolutions(before, after) for before, after in zip(widths, widths[1:]))
        self.smaller = nn.ModuleList(nn.Conv2d(after, after, 4, stride=2, padding=1) for after in widths[1:])
        self.middle = Convolutions(4 * width, 8 * width)
        self.up = nn.ModuleList(Convolutions(3 * after, after) for after in reversed(widths[1:]))
        self.last = Convolutions(2 * width, width)
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, photo: Tensor) -> Tensor:
        x = first = self.first(self.into(photo))
        kept = []
        for convolve, shrink in zip(self.down, self.smaller):
            kept.append(convolve(x))
            x = shrink(kept[-1])
        x = self.middle(x)
        for convolve, skip in zip(self.up, reversed(kept)):
            x = convolve(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), skip], 1))
        return torch.sigmoid(self.out(self.last(torch.cat([x, first], 1))))


def perspective_crops(picture: Tensor, count: int, side: int, seen: int, generator: torch.Generator) -> Tensor:
    """Random square crops of ``side`` px of a picture (1, 3, H, W), each in a random perspective, as (count, 3, seen, seen).

    Each corner moves inwards by up to half of half the side; what lies outside of a crop is black.
    """
    height, width = picture.shape[2:]
    place = torch.rand(count, 2, generator=generator) * torch.tensor([width - side, height - side])
    unit = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    moved = unit + (1 - 2 * unit) * torch.rand(count, 4, 2, generator=generator) * DISTORTION / 2
    # The homography that takes the moved corners, where they are seen, to the crop's corners: eight equations a crop.
    (x, y), (u, v) = moved.unbind(-1), unit.expand_as(moved).unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = torch.cat(
        [
            torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1),
            torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1),
        ],
        1,
    )
    matrix = torch.cat([torch.linalg.solve(rows, torch.cat([u, v], 1)), torch.ones(count, 1)], 1).view(count, 3, 3)
    # What is small is drawn and solved on the CPU, whatever the device; what is done for every pixel is done where the picture is.
    matrix, place = matrix.to(picture.device), place.to(picture.device)
    ticks = (torch.arange(seen, device=picture.device) + 0.5) / seen
    grid = torch.stack([ticks.expand(seen, seen), ticks[:, None].expand(seen, seen), torch.ones_like(ticks).expand(seen, seen)], -1)
    crop = torch.einsum("nij,hwj->nhwi", matrix, grid)
    crop = crop[..., :2] / crop[..., 2:]  # where in its crop each seen pixel lies, 0..1
    inside = ((crop >= 0) & (crop <= 1)).all(-1)[:, None]
    there = (place[:, None, None] + crop * side) / torch.tensor([width, height], device=picture.device) * 2 - 1
    sampled = F.grid_sample(picture.expand(count, -1, -1, -1), there, align_corners=False, padding_mode="border")
    return sampled * inside.to(picture)


def clipstyler(
    encode_image: Callable[[Tensor], Tensor],
    target: Tensor,
    source: Tensor,
    features: Callable[[Tensor], list[Tensor]],
    photo: Tensor,
    *,
    seed: int = 0,
    steps: int = STEPS,
    seen: int = 160,
    callback: Callable[[int, Tensor], None] = lambda step, picture: None,
) -> Tensor:
    """Optimises a U-Net for one photo and one sentence and gives the picture (1, 3, H, W) in 0..1.

    Args:
        encode_image: images (B, 3, H, W) in 0..1 -> unit embeddings (B, E).
        target, source: (E,) unit embeddings of the sentence and of "a photo".
        features: of the content loss, images -> feature maps.
        photo: (1, 3, H, W) in 0..1; H and W multiples of 8.
        seen: px, side at which the crops are given to the encoder.
        callback: called after each step with the picture that the step began with.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = UNet().to(photo.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, HALVED_EVERY, gamma=0.5)
    direction = F.normalize(target - source, dim=-1)
    with torch.no_grad():
        content, embedding = features(photo), encode_image(photo)
    side = round(min(photo.shape[2:]) * CROP_SIDE)
    for step in range(1, steps + 1):
        picture = net(photo)
        crops = perspective_crops(picture, CROPS, side, seen, generator)
        off = 1 - F.cosine_similarity(encode_image(crops) - embedding, direction[None])
        losses = (
            PATCH * torch.where(off < DONE_BELOW, 0, off).mean(),
            DIRECTION * (1 - F.cosine_similarity(encode_image(picture) - embedding, direction[None])).mean(),
            CONTENT * sum(F.mse_loss(one, other) for one, other in zip(features(picture), content)),
            TOTAL_VARIATION * (picture.diff(dim=2).norm() + picture.diff(dim=3).norm()),
        )
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
        callback(step, picture.detach())
    with torch.no_grad():
        return net(photo)


def relative(network: Callable[[Tensor], list[Tensor]], photo: Tensor, scale: float = SCALE) -> Callable[[Tensor], list[Tensor]]:
    """The network's maps, each scaled to the mean square ``scale`` over the photo."""
    with torch.no_grad():
        sizes = [math.sqrt(m.square().mean().item() / scale) for m in network(photo)]
    return lambda images: [m / size for m, size in zip(network(images), sizes)]
