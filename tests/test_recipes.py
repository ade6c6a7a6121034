"""The training recipes: the critic learns what tells targets from pictures, and leads the fusion there; likeness is of structure."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "recipes")


@pytest.fixture
def critic(recipes):
    import critic

    return critic


def features(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(4, channels, side, side, generator=generator) for channels, side in ((6, 16), (10, 8))]


def test_the_critic_knows_nothing_and_learns(critic):
    torch.manual_seed(0)
    photos, style = features(0), torch.nn.functional.normalize(torch.ones(4, 5), dim=1)
    made, targets = [x + 0.1 for x in photos], [x + 0.6 for x in photos]
    model = critic.Critic([6, 10], 5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    assert model.own_loss(made, targets, photos, style).item() == pytest.approx(2, abs=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        errs = model.own_loss(made, targets, photos, style)
        errs.backward()
        optimizer.step()
    assert errs < 0.5
    for x in made:
        x.requires_grad_()
    complaint = model.complaint(made, photos, style)
    complaint.backward()
    with torch.no_grad():
        assert model.complaint(targets, photos, style) < complaint - 1
        assert all((x.grad * (target - x)).sum() < 0 for x, target in zip(made, targets)), "it leads away from the targets"


def test_the_critic_asks_what_photo_and_style_it_is_of(critic):
    """The same picture is a target of one photo and one style, and not of others: it must be told which."""
    torch.manual_seed(0)
    style = torch.eye(5)[:4]
    model = critic.Critic([6, 10], 5).eval()  # the power iterations rest, so that nothing but the input differs
    pictures, photos = features(0), features(1)
    told = model.complaint(pictures, photos, style)
    assert not torch.isclose(told, model.complaint(pictures, features(2), style), atol=1e-4)
    assert not torch.isclose(told, model.complaint(pictures, photos, style.flip(0)), atol=1e-4)


def test_gradient_ratio(critic):
    x = torch.ones(3, requires_grad=True)
    assert critic.gradient_ratio(6 * x.sum(), 2 * x.sum(), x) == pytest.approx(3)


def test_likeness_is_of_structure_and_not_of_light():
    from perceptual import likeness

    generator = torch.Generator().manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12, generator=generator), 96, mode="bicubic").clamp(0.1, 0.9)
    noise = 0.1 * torch.randn(photo.shape, generator=generator)
    assert likeness(photo - 0.1, photo).item() == pytest.approx(1, abs=1e-3), "a darker picture is as alike"
    assert likeness(photo + noise, photo) < 0.9
    assert likeness(photo + 2 * noise, photo) < likeness(photo + noise, photo) - 0.1
    assert likeness(1 - photo, photo) < 0, "a negative is the opposite"
