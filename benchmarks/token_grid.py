"""How visible the grid of the fusion's tokens is in pictures."""

import numpy as np
from scipy.ndimage import uniform_filter


def token_grid(pictures: np.ndarray, period: int) -> float:
    """How strong a pattern of ``period`` px repeats in pictures (N, H, W, 3) in 0..1: its standard deviation in 1/255.

    The mean of all tiles after what is coarser than 9 px has been taken away; a photo has about 1.
    """
    fine = pictures - uniform_filter(pictures, (1, 9, 9, 1))
    n, size = len(pictures), pictures.shape[1] // period * period
    tiles = fine[:, :size, :size].reshape(n, size // period, period, size // period, period, 3)
    return float(tiles.mean((1, 3)).std((1, 2, 3)).mean() * 255)
