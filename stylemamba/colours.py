"""The colours of a style picture, and giving them to a stylised photo."""

import torch

from .detail import BAND, as_floats

SHARE = 0.5  # of the way to the style picture's colours: all of it turns a white wall brown
LARGEST_GAIN = 2.5  # of a contrast in colour; more would turn the noise of a grey photo into colour
FAINTEST = 1e-5  # variance that counts as none


def palette_of(picture: torch.Tensor, share: torch.Tensor | float = 1.0) -> torch.Tensor:
    """The colours of a picture: (1, 3, H, W), in 0..1 or uint8 -> (4, 4), float32 on the CPU, the mean of (1, r, g, b) times itself.

    The sum of several pictures' palettes by weight is the palette of their mixture, the top left number being the sum of the weights.

    Args:
        share: what each pixel weighs, (1, 1, H, W), or one number for all.
    """
    total = torch.zeros(4, 4, dtype=torch.float64)
    for rows in _bands(picture):
        pixels = as_floats(picture[:, :, rows]).float().flatten(2)[0]
        # Around the band's mean: sums of millions of nearly equal numbers would lose what an even picture's colours vary by.
        centre = pixels.mean(1, keepdim=True)
        pixels = torch.cat([torch.ones_like(pixels[:1]), pixels - centre])
        weighed = pixels * (share[:, :, rows].to(pixels).flatten(2)[0] if torch.is_tensor(share) else share)
        back = torch.eye(4, dtype=torch.float64)
        back[1:, :1] = centre.cpu().double()
        total += back @ (weighed @ pixels.T).cpu().double() @ back.T
    return (total / (picture.shape[2] * picture.shape[3])).float()


def recoloured(picture: torch.Tensor, palette: torch.Tensor, amount: torch.Tensor | float = 1.0) -> torch.Tensor:
    """A picture whose colours go half of the way to a palette's, in their mean and in how they vary together.

    The map is linear, the one of least change between two normal distributions (Pitie and Kokaram, "The linear Monge-Kantorovitch linear
    colour mapping for example-based colour transfer", CVMP 2007).

    Args:
        picture: (1, 3, H, W), in 0..1 or uint8; it is returned as it came where nothing changes.
        palette: (4, 4) as from `palette_of`; its weight says how much of the style is a picture's.
        amount: 0 to 1, one number or (1, 1, H, W): a mask. Only where it is not 0 are the picture's own colours counted.

    Returns:
        (1, 3, H, W) as the picture is: in 0..1, or uint8.
    """
    own = palette_of(picture, amount)
    if not own[0, 0] > 0 or not palette[0, 0] > 0:
        return picture
    (mean, covariance), (wanted_mean, wanted) = (_mean_and_covariance(moments) for moments in (own, palette))
    root = _power(covariance, 0.5)
    inverse = _power(covariance, -0.5)
    gain = inverse @ _power(root @ wanted @ root, 0.5) @ inverse
    gain = _power(gain, 1, LARGEST_GAIN) - torch.eye(3, dtype=gain.dtype)
    share, device = SHARE * float(palette[0, 0]), picture.device
    shift = (wanted_mean - mean - gain @ mean).float().to(device)[:, None, None]
    gain, bands = gain.float().to(device), []
    for rows in _bands(picture):
        pixels = as_floats(picture[:, :, rows]).float()
        change = share * (torch.einsum("dc,bchw->bdhw", gain, pixels) + shift)
        band = (pixels + change * (amount[:, :, rows].to(pixels) if torch.is_tensor(amount) else amount)).clamp_(0, 1)
        bands.append(band.to(picture.dtype) if picture.is_floating_point() else band.mul_(255).round_().byte())
    return torch.cat(bands, 2)


def _bands(picture: torch.Tensor) -> list[slice]:
    return [slice(top, top + BAND) for top in range(0, picture.shape[2], BAND)]


def _mean_and_covariance(palette: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    moments = palette.double().cpu() / float(palette[0, 0])
    mean = moments[0, 1:]
    return mean, moments[1:, 1:] - mean[:, None] * mean + FAINTEST * torch.eye(3, dtype=mean.dtype)


def _power(matrix: torch.Tensor, exponent: float, largest: float | None = None) -> torch.Tensor:
    """Of a symmetric positive matrix, its eigenvalues limited to ``largest``."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp(min=1e-12, max=largest) ** exponent) @ vectors.T
