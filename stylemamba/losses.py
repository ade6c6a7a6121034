"""The losses that move a picture towards a sentence while its content stays.

The three directional losses are those of the StyleMamba paper (arXiv 2405.05027). It names them and says what they are for; their
constants are not public, so each docstring says what is this project's interpretation. Features are an image encoder's embeddings (B, E).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor, nn

from .errors import StyleMambaError

# What SigLIP subtracts from every pixel: to the encoder a grey region is as empty as its input can be.
GREY = 0.5


class GlobalDirectionalLoss(nn.Module):
    """How far the picture's features moved in another direction than the text's: ``1 - cos(stylised - content, text_direction)``.

    Source: the directional loss of StyleGAN-NADA (arXiv 2108.00946), taken up by CLIPstyler (arXiv 2112.00374) and by StyleMamba.
    Interpretation: a fusion starts as the identity, where the direction of no movement is undefined; the length of a movement d counts as
    ``sqrt(|d|^2 + eps^2)``, so that the loss there is 1 and its gradient points along the text's direction with length 1 / eps.

    Args:
        eps: a movement that is short against the length of unit embeddings.
    """

    def __init__(self, eps: float = 1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, stylised_features: Tensor, content_features: Tensor, text_direction: Tensor) -> Tensor:
        """The mean over the batch, in 0..2.

        Args:
            stylised_features: (B, E).
            content_features: (B, E).
            text_direction: (E,), or (B, E) for one text a picture; of any length but zero.
        """
        if stylised_features.dim() != 2 or stylised_features.shape != content_features.shape:
            raise StyleMambaError(
                "The features of stylised and content pictures must both be (batch, features), "
                f"but are {tuple(stylised_features.shape)} and {tuple(content_features.shape)}."
            )
        if text_direction.shape not in (stylised_features.shape, stylised_features.shape[1:]):
            raise StyleMambaError(
                f"The text direction must be {tuple(stylised_features.shape[1:])} or {tuple(stylised_features.shape)} like the features, "
                f"but is {tuple(text_direction.shape)}."
            )
        movement = stylised_features - content_features
        length = torch.sqrt(movement.square().sum(-1) + self.eps**2)
        along = (movement * F.normalize(text_direction, dim=-1)).sum(-1)
        return (1 - along / length).mean()


class MaskedDirectionalLoss(nn.Module):
    """The global directional loss of random regions: ``1 - cos(E(m * stylised) - E(m * content), text_direction)`` with a random mask m.

    Source: StyleMamba's masked directional loss, which asks of every part of the picture what the global loss asks of the whole, as
    CLIPstyler's patch loss does with crops. Interpretation: a mask is a rectangle of random size, shape and place, the same for both
    pictures, and outside of it both show the same grey. So the difference of their features can only come from the region, which keeps
    its size and place in the picture. (The content photo outside would let the encoder see mostly an unchanged picture.)

    Args:
        encode_image: images (B, 3, H, W) in 0..1 -> features (B, E).
        area: least and greatest part of the picture that a mask leaves visible.
        num_masks: masks for each picture.
    """

    def __init__(self, encode_image: Callable[[Tensor], Tensor], area: tuple[float, float] = (0.2, 0.6), num_masks: int = 2):
        super().__init__()
        if not 0 < area[0] <= area[1] <= 1:
            raise StyleMambaError(f"The masks' area must be two rising parts of the picture in 0..1, but is {area}.")
        if num_masks < 1:
            raise StyleMambaError(f"num_masks must be at least 1, but is {num_masks}.")
        # In a tuple, an encoder that is a module does not become a part of this one and of its checkpoints.
        self._encoder = (encode_image,)
        self.area, self.num_masks = area, num_masks
        self.directional_loss = GlobalDirectionalLoss()

    def forward(
        self,
        stylised: Tensor,
        content: Tensor,
        text_direction: Tensor,
        generator: torch.Generator | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """The mean over pictures and masks, in 0..2; the content picture gets no gradient.

        Args:
            stylised: (B, 3, H, W) in 0..1.
            content: (B, 3, H, W) in 0..1.
            text_direction: (E,), or (B, E) for one text a picture.
            generator: of the masks; the same state gives the same masks.
            masks: what `draw` gave for pictures of this shape, instead of new ones.
        """
        if stylised.dim() != 4 or stylised.shape != content.shape:
            raise StyleMambaError(
                f"Stylised and content pictures must have one shape (batch, 3, height, width), but have {tuple(stylised.shape)} "
                f"and {tuple(content.shape)}."
            )
        (encode,) = self._encoder
        masks = (self.draw(stylised.shape, generator) if masks is None else masks).to(stylised.device)
        stylised, content = (torch.where(masks, images.repeat(self.num_masks, 1, 1, 1), GREY) for images in (stylised, content))
        with torch.no_grad():
            content_features = encode(content)
        if text_direction.dim() == 2:
            text_direction = text_direction.repeat(self.num_masks, 1)
        return self.directional_loss(encode(stylised), content_features, text_direction)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Masks, bool (num_masks * B, 1, H, W), for pictures of a shape (B, 3, H, W); those of one picture lie B apart."""
        return random_masks(self.num_masks * shape[0], *shape[2:], self.area, generator)


def random_masks(count: int, height: int, width: int, area: tuple[float, float], generator: torch.Generator | None = None) -> Tensor:
    """Bool (count, 1, height, width), each true in one rectangle.

    Its part of the picture is uniform in the range ``area``, and so is its place, both up to whole pixels; its height over its width lies
    between half and twice the picture's.
    """
    masks = torch.zeros(count, 1, height, width, dtype=torch.bool)
    device = None if generator is None else generator.device
    for mask, (size, shape, down, right) in zip(masks, torch.rand(count, 4, generator=generator, device=device).tolist()):
        part = area[0] + size * (area[1] - area[0])
        # Not lower than the part of the height at which the full width gives the area.
        rows = min(max(round(height * math.sqrt(part * 2 ** (2 * shape - 1))), round(height * part), 1), height)
        columns = min(max(round(part * height * width / rows), 1), width)
        top, left = round(down * (height - rows)), round(right * (width - columns))
        mask[:, top : top + rows, left : left + columns] = True
    return masks


class SecondOrderDirectionalLoss(nn.Module):
    """Rewards or damps the movement between iterations: ``w_t * |F_t - F_(t-1)|^2``, where no gradient flows to F_(t-1).

    Source: StyleMamba's second-order directional loss, the squared norm of the difference of the image features of consecutive
    iterations under a dynamic weight. A constant positive weight could only slow the movement down.

    Interpretation: F_t is the batch's mean of (stylised - content) features, since single features of consecutive iterations compare only
    where their pictures are the same. The weight follows the improvement i_t of the directional loss l_t over its running mean,

        i_t = mean(l)_(t-1) - l_t,    s_t = running mean of |i|_t,    w_t = -tanh(i_t / s_t),

    so it lies in -1..1, rewards movement while the loss falls, damps it when the loss rises (an overshoot), and knows no scale of its own.
    The running means decay by 0.8 an iteration, enough to tell a trend from the noise of batches.

    The module keeps the last iteration's values in buffers: `state_dict` continues a training where it stopped. The first call returns 0.

    Args:
        weight: ``"adaptive"``, or a constant w for comparisons.
    """

    DECAY = 0.8

    def __init__(self, weight: str | float = "adaptive"):
        super().__init__()
        if weight != "adaptive" and not isinstance(weight, (int, float)):
            raise StyleMambaError(f"weight must be 'adaptive' or a number, but is {weight!r}.")
        self.weight = weight
        self.register_buffer("previous", torch.empty(0))  # F_(t-1), (E,)
        self.register_buffer("mean_loss", torch.empty(0))  # mean(l)_(t-1), one number
        self.register_buffer("mean_improvement", torch.empty(0))  # s_(t-1), one number

    def forward(self, movement: Tensor, directional_loss: Tensor) -> Tensor:
        """One number, attached to the graph of ``movement``.

        Args:
            movement: stylised - content features of this iteration, (B, E); B may change from call to call.
            directional_loss: the global directional loss of this iteration, one number.
        """
        if movement.dim() != 2 or self.previous.numel() not in (0, movement.shape[1]):
            features = self.previous.numel() or "features"
            raise StyleMambaError(f"The movement must be (batch, {features}), but is {tuple(movement.shape)}.")
        current, loss = movement.mean(0), directional_loss.detach().reshape(1)
        first = self.previous.numel() == 0
        squared = (current - (current.detach() if first else self.previous)).square().sum()
        weight = self._adapt(loss) if self.weight == "adaptive" else self.weight
        self.previous = current.detach().clone()
        return weight * squared

    def _adapt(self, loss: Tensor) -> Tensor:
        """w_t; brings the running means up to date."""
        if self.mean_loss.numel() == 0:
            self.mean_loss = loss.clone()
            return torch.zeros_like(loss).squeeze()
        improvement = self.mean_loss - loss
        size = improvement.abs()
        self.mean_improvement = size if self.mean_improvement.numel() == 0 else torch.lerp(size, self.mean_improvement, self.DECAY)
        self.mean_loss = torch.lerp(loss, self.mean_loss, self.DECAY)
        return -torch.tanh(improvement / self.mean_improvement.clamp_min(torch.finfo(loss.dtype).tiny)).squeeze()

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # The buffers are empty until the first calls, so their shapes follow what is loaded.
        for name, buffer in self._buffers.items():
            if prefix + name in state_dict:
                self._buffers[name] = torch.empty_like(state_dict[prefix + name], device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


class ContentLoss(nn.Module):
    """Mean squared difference of normalised latents: of each channel of a picture its mean is subtracted, then its deviation divided out.

    So a channel's mean and deviation, which carry colour and contrast, are free, while its pattern in space is kept: the value is
    ``2 - 2 * correlation``, averaged over channels, in 0..4. Interpretation: the paper names no content loss; CLIPstyler takes the mean
    squared difference of VGG-19 features (conv4_2 and conv5_2), here the latents take their place because they are there already.

    Args:
        features: applied to both arguments first, such as a convolutional network where they are pictures; (B, ...) -> (B, C, h, w).
    """

    def __init__(self, features: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        # In a tuple, a network does not become a part of this module and of its checkpoints.
        self._features = (features,)

    def forward(self, stylised_latents: Tensor, content_latents: Tensor) -> Tensor:
        """The mean over the batch; both (B, C, h, w)."""
        if stylised_latents.dim() != 4 or stylised_latents.shape != content_latents.shape:
            raise StyleMambaError(
                "Stylised and content latents must have one shape (batch, channels, height, width), "
                f"but have {tuple(stylised_latents.shape)} and {tuple(content_latents.shape)}."
            )
        (features,) = self._features
        if features is not None:
            stylised_latents, content_latents = features(stylised_latents), features(content_latents)
        return F.mse_loss(_normalise(stylised_latents), _normalise(content_latents))


def _normalise(latents: Tensor) -> Tensor:
    variance, mean = torch.var_mean(latents, dim=(2, 3), correction=0, keepdim=True)
    return (latents - mean) * torch.rsqrt(variance + 1e-5)


class TotalVariationLoss(nn.Module):
    """Sum of the absolute differences of neighbouring pixels, over the number of values: against noise that pleases the image encoder.

    Source: Rudin, Osher and Fatemi 1992, in the anisotropic form.
    """

    def forward(self, images: Tensor) -> Tensor:
        """The mean over the batch, not below 0; images are (B, C, H, W)."""
        if images.dim() != 4:
            raise StyleMambaError(f"Images must be (batch, channels, height, width), but are {tuple(images.shape)}.")
        down, right = images.diff(dim=2).abs().sum(), images.diff(dim=3).abs().sum()
        return (down + right) / images.numel()


class TokenGridLoss(nn.Module):
    """How much of what the training changed in the pictures repeats from token to token.

    Not of the paper: every token is drawn by the same layers, so the cheapest change that the image encoder takes for a texture is one
    pattern in all tokens, a grid over the whole picture. What repeats is the mean of the change over all tokens, without its mean colour.

    Args:
        period: side of a token, px.
    """

    def __init__(self, period: int):
        super().__init__()
        self.period = period

    def forward(self, pictures: Tensor, before: Tensor) -> Tensor:
        """The mean absolute value, not below 0; pictures and those before any training are (B, 3, H, W), H and W at least a token."""
        p = self.period
        if pictures.shape != before.shape or min(pictures.shape[2:]) < p:
            raise StyleMambaError(
                f"pictures and before must have one shape (B, 3, H, W), H and W at least {p}, "
                f"but are {tuple(pictures.shape)} and {tuple(before.shape)}."
            )
        change = pictures - before
        height, width = (n // p * p for n in change.shape[2:])
        tile = reduce(change[:, :, :height, :width], "b c (h p) (w q) -> b c p q", "mean", p=p, q=p)
        return (tile - tile.mean((2, 3), keepdim=True)).abs().mean()
