"""The colours of a style picture: what a palette holds, and what becomes of a picture that takes it over."""

import pytest
import torch

from stylemamba import colours
from stylemamba.colours import palette_of, recoloured


def noise(seed: int, mean: tuple[float, float, float], spread: float = 0.08, size: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(3) + 0.3 * torch.randn(3, 3, generator=generator)
    pixels = torch.einsum("dc,bchw->bdhw", mixing / mixing.norm(), torch.randn(1, 3, size, size, generator=generator))
    return (torch.tensor(mean)[:, None, None] + spread * pixels).clamp(0, 1)


@pytest.fixture
def whole_way(monkeypatch):
    monkeypatch.setattr(colours, "SHARE", 1.0)


def test_the_whole_way_leads_to_the_palette(whole_way):
    """Mean and covariance, so contrast and the way colours go together as well."""
    picture, style = noise(0, (0.5, 0.4, 0.6)), noise(1, (0.4, 0.6, 0.5))
    assert torch.allclose(palette_of(recoloured(picture, palette_of(style))), palette_of(style), atol=2e-3)
    assert not torch.allclose(palette_of(picture), palette_of(style), atol=2e-2)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_large_even_picture_keeps_the_little_that_it_varies_by(as_bytes):
    """Fog: its millions of pixels, all nearly 230, must not drown their deviation of 2."""
    fog = (230 + 2 * torch.randn(1, 3, 1100, 1800, generator=torch.Generator().manual_seed(0))).round().clamp(0, 255).byte()
    mean, covariance = colours._mean_and_covariance(palette_of(fog if as_bytes else fog.float() / 255))
    exact = fog[0].flatten(1).double() / 255
    assert torch.allclose(mean, exact.mean(1), atol=1e-6)
    assert torch.allclose(covariance - colours.FAINTEST * torch.eye(3, dtype=torch.float64), torch.cov(exact, correction=0), atol=2e-6)


def test_own_colours_change_nothing():
    picture = noise(0, (0.5, 0.4, 0.6))
    assert torch.allclose(recoloured(picture, palette_of(picture)), picture, atol=1e-5)


def test_by_default_and_by_weight_it_goes_a_part_of_the_way():
    picture, style = noise(0, (0.5, 0.4, 0.6)), palette_of(noise(1, (0.3, 0.6, 0.5)))
    mean = lambda x: x.mean((0, 2, 3))  # noqa: E731
    way = style[0, 1:] - mean(picture)
    for share, weight, amount in ((0.5, 1, 1), (0.25, 0.5, 1), (0.1, 1, 0.2)):
        assert torch.allclose(mean(recoloured(picture, weight * style, amount)) - mean(picture), share * way, atol=2e-3)
    assert torch.equal(recoloured(picture, style, 0.0), picture)


def test_palettes_mix_by_weight():
    one, other = noise(0, (0.5, 0.4, 0.6)), noise(1, (0.3, 0.6, 0.5))
    assert torch.allclose(palette_of(torch.cat([one, other], 3)), (palette_of(one) + palette_of(other)) / 2, atol=1e-6)


def test_a_mask_keeps_what_it_leaves_out(whole_way):
    """Neither is the rest changed, nor does it count: the masked part alone takes the palette's colours."""
    picture, style = torch.cat([noise(0, (0.7, 0.3, 0.3)), noise(2, (0.2, 0.2, 0.8))], 3), palette_of(noise(1, (0.4, 0.6, 0.5)))
    mask = torch.zeros(1, 1, 48, 96)
    mask[..., :48] = 1
    made = recoloured(picture, style, mask)
    assert torch.equal(made[..., 48:], picture[..., 48:])
    assert torch.allclose(made[..., :48], recoloured(picture[..., :48], style), atol=1e-4)


def test_bytes_in_bands_are_the_picture_in_floats_at_once(monkeypatch):
    """As from tiles of a large photo."""
    picture, style = (noise(0, (0.5, 0.4, 0.6)) * 255).round().byte(), palette_of(noise(1, (0.4, 0.6, 0.5)))
    at_once = recoloured(picture.float() / 255, style)
    monkeypatch.setattr(colours, "BAND", 7)
    made = recoloured(picture, style)
    assert made.dtype == torch.uint8
    assert (made.float() / 255 - at_once).abs().max() < 0.51 / 255


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_pictures_take_the_colour_and_no_noise(whole_way, value):
    flat = torch.full((1, 3, 16, 16), value)
    made = recoloured(flat, palette_of(noise(1, (0.4, 0.6, 0.5))))
    assert made.isfinite().all()
    assert torch.allclose(made.mean((0, 2, 3)), torch.tensor([0.4, 0.6, 0.5]), atol=0.02)
    assert made.std((2, 3)).max() < 1e-4
    grey = 0.5 + 0.004 * torch.randn(1, 1, 48, 48, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    assert recoloured(grey, palette_of(noise(1, (0.4, 0.6, 0.5), spread=0.2))).std((2, 3)).max() < 0.02, "faint noise became colour"
