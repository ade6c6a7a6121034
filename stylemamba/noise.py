"""What breaks the sameness of a flat area: a fixed field of noise that the fusion can grow strokes from."""

import numpy as np
import torch
from torch import nn

NOISE_PERIOD = 128  # latent pixels
BLURS = (0.7, 0.7, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0)  # standard deviation, in latent pixels, of each channel's blur


class NoiseField(nn.Module):
    """Noise of several grain sizes over the picture; the same in every call, so that tiles fit together and a video does not flicker.

    A network that sees the same everywhere does the same everywhere: without noise, strokes on a flat area can only repeat, as in a weave
    (texture networks, arXiv 1603.03417, take noise for the same reason).
    """

    channels = len(BLURS)

    def __init__(self):
        super().__init__()
        # NumPy promises that this generator's stream never changes, so the field need not be saved.
        white = np.random.RandomState(0).standard_normal((len(BLURS), NOISE_PERIOD, NOISE_PERIOD))
        squares = np.fft.fftfreq(NOISE_PERIOD)[:, None] ** 2 + np.fft.fftfreq(NOISE_PERIOD) ** 2
        blurs = np.exp(-2 * (np.pi * np.array(BLURS)[:, None, None]) ** 2 * squares)
        field = np.fft.ifft2(np.fft.fft2(white) * blurs).real  # blurred by way of its spectrum, so that its borders meet
        field = (field - field.mean((1, 2), keepdims=True)) / field.std((1, 2), keepdims=True)
        self.register_buffer("field", torch.from_numpy(field.astype(np.float32)), persistent=False)

    def forward(self, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """(channels, height, width) of mean 0 and deviation 1, from that row and column on."""
        rows, columns = (
            (torch.arange(length, device=self.field.device) + start) % NOISE_PERIOD for length, start in zip((height, width), origin)
        )
        return self.field[:, rows][:, :, columns]
