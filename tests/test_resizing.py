"""Resizing gives what torch's own gives, by other means."""

import pytest
import torch
import torch.nn.functional as F

from stylemamba import resizing
from stylemamba.resizing import enlarged_rows, resized


@pytest.mark.parametrize("size", [(7, 11), (40, 9), (64, 80), (23, 31)])
def test_matrices_resize_as_torch_does_with_the_same_gradient(size, monkeypatch):
    pictures = torch.rand(2, 3, 23, 31, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))

    def measured() -> tuple[torch.Tensor, torch.Tensor]:
        own = pictures.clone().requires_grad_()
        made = resized(own, size)
        (made * weights).sum().backward()
        return made.detach(), own.grad

    theirs = measured()
    monkeypatch.setattr(resizing, "_needs_matrices", lambda device: True)
    for ours, wanted in zip(measured(), theirs):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("length, height", [(5, 17), (30, 31), (9, 100), (1, 4), (12, 12)])
def test_rows_of_an_enlargement_are_torchs(mode, length, height):
    picture = torch.rand(1, 2, length, 6, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(picture, (height, 6), mode=mode, align_corners=False)
    bands = [enlarged_rows(picture, slice(top, top + 4), height, mode) for top in range(0, height, 4)]
    torch.testing.assert_close(torch.cat(bands, 2), whole, atol=1e-5, rtol=1e-5)


def test_a_few_rows_of_a_tall_picture_take_little_memory():
    ramp = torch.linspace(0, 1, 10**5)[None, None, :, None]
    rows = enlarged_rows(ramp, slice(500_000, 500_004), 10**6, "bicubic")  # a matrix of all rows would have 10**11 numbers
    torch.testing.assert_close(rows[0, 0, :, 0], torch.full((4,), 0.5), atol=1e-4, rtol=0)
