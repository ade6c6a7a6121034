"""The losses pull where they should, refuse what does not fit, and have the gradients they say."""

import pytest
import torch
from torch.autograd import gradcheck

from stylemamba.errors import StyleMambaError
from stylemamba.losses import (
    ContentLoss,
    GlobalDirectionalLoss,
    MaskedDirectionalLoss,
    SecondOrderDirectionalLoss,
    TokenGridLoss,
    TotalVariationLoss,
    random_masks,
)


def randn(*shape, seed=0):
    """fp64, requires a gradient."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestGlobalDirectionalLoss:
    @pytest.mark.parametrize("direction", [(5,), (3, 5)])
    def test_smoke(self, direction):
        loss = GlobalDirectionalLoss()(randn(3, 5), randn(3, 5, seed=1), randn(*direction, seed=2))
        assert loss.shape == () and 0 <= loss <= 2

    @pytest.mark.parametrize("step, expected", [(1.0, 0.0), (3.0, 0.0), (-1.0, 2.0)])
    def test_along_and_opposite(self, step, expected):
        content, direction = randn(3, 5), randn(5, seed=1)
        loss = GlobalDirectionalLoss()(content + step * direction, content, direction)
        torch.testing.assert_close(loss.item(), expected, rtol=0, atol=1e-3)

    def test_across(self):
        direction, across = torch.eye(5, dtype=torch.float64)[:2]
        content = randn(3, 5)
        assert GlobalDirectionalLoss()(content + across, content, direction).item() == pytest.approx(1)

    def test_one_direction_a_picture(self):
        content, directions = randn(3, 5), randn(3, 5, seed=1)
        assert GlobalDirectionalLoss()(content + directions, content, directions) < 1e-3
        assert GlobalDirectionalLoss()(content + directions, content, directions.roll(1, 0)) > 0.1

    def test_length_of_the_text_direction_does_not_matter(self):
        features, content, direction = randn(3, 5), randn(3, 5, seed=1), randn(5, seed=2)
        torch.testing.assert_close(*(GlobalDirectionalLoss()(features, content, scale * direction) for scale in (1, 100)))

    def test_no_movement(self):
        """An untrained fusion moves nothing: the first step must lead along the text's direction."""
        features = randn(3, 5)
        direction = randn(5, seed=1).detach()
        loss = GlobalDirectionalLoss()(features, features.detach().clone(), direction)
        assert loss.item() == 1
        (grad,) = torch.autograd.grad(loss, features)
        assert torch.cosine_similarity(-grad, direction.expand(3, -1)).min() > 0.999 and grad.abs().max() < 1e3

    def test_gradcheck(self):
        assert gradcheck(GlobalDirectionalLoss(), (randn(3, 5), randn(3, 5, seed=1), randn(5, seed=2)))

    @pytest.mark.parametrize(
        "stylised, content, direction, words",
        [
            ((3, 5), (2, 5), (5,), "features"),
            ((5,), (5,), (5,), "features"),
            ((3, 5), (3, 5), (4,), "direction"),
            ((3, 5), (3, 5), (1, 5), "direction"),
        ],
    )
    def test_exception(self, stylised, content, direction, words):
        with pytest.raises(StyleMambaError, match=words):
            GlobalDirectionalLoss()(randn(*stylised), randn(*content), randn(*direction))


def flatten_encoder(images):
    """A differentiable encoder that sees every pixel."""
    return images.flatten(1)


class TestMaskedDirectionalLoss:
    def inputs(self, batch=2, height=8, width=10):
        return randn(batch, 3, height, width), randn(batch, 3, height, width, seed=1), randn(3 * height * width, seed=2).detach()

    def test_smoke(self):
        loss = MaskedDirectionalLoss(flatten_encoder)(*self.inputs())
        assert loss.shape == () and 0 <= loss <= 2

    def test_encoder_sees_grey_outside_and_the_same_region_of_both(self):
        seen = []
        loss = MaskedDirectionalLoss(lambda images: seen.append(images) or images.flatten(1), num_masks=3)
        stylised, content, direction = self.inputs()
        loss(stylised, content, direction)
        shown_content, shown_stylised = seen
        masks = shown_stylised != 0.5
        assert masks.shape == (6, 3, 8, 10) and masks.any(dim=(1, 2, 3)).all() and not masks.all(dim=(1, 2, 3)).any()
        assert torch.equal(masks, shown_content != 0.5)
        for shown, picture in ((shown_stylised, stylised), (shown_content, content)):
            assert torch.equal(shown[masks], picture.repeat(3, 1, 1, 1)[masks])

    def test_sees_a_change_only_inside_of_the_masks(self):
        loss = MaskedDirectionalLoss(flatten_encoder, num_masks=1)
        stylised, content, direction = self.inputs()
        masks = random_masks(2, 8, 10, loss.area, seeded()).expand(-1, 3, -1, -1)
        (grad,) = torch.autograd.grad(loss(stylised, content, direction, generator=seeded()), stylised)
        assert torch.equal(grad != 0, masks)

    def test_generator_makes_it_reproducible(self):
        loss, inputs = MaskedDirectionalLoss(flatten_encoder), self.inputs()
        assert loss(*inputs, generator=seeded()) == loss(*inputs, generator=seeded()) != loss(*inputs, generator=seeded(1))

    def test_masks_may_be_drawn_beforehand(self):
        loss, inputs = MaskedDirectionalLoss(flatten_encoder), self.inputs()
        assert loss(*inputs, masks=loss.draw(inputs[0].shape, seeded())) == loss(*inputs, generator=seeded())

    def test_movement_along_the_direction(self):
        """A picture that changes along the direction everywhere does so in every region."""
        direction = torch.ones(240, dtype=torch.float64)
        content = randn(2, 3, 8, 10).detach()
        inside = MaskedDirectionalLoss(flatten_encoder, area=(1, 1))
        assert inside(content + 1, content, direction) < 1e-3
        assert inside(content - 1, content, direction) > 1.999

    def test_gradcheck(self):
        stylised, content, direction = self.inputs(height=4, width=5)
        loss = MaskedDirectionalLoss(flatten_encoder)
        assert gradcheck(lambda x: loss(x, content.detach(), direction, generator=seeded()), stylised)

    def test_content_gets_no_gradient(self):
        stylised, content, direction = self.inputs()
        MaskedDirectionalLoss(flatten_encoder)(stylised, content, direction).backward()
        assert stylised.grad is not None and content.grad is None

    def test_encoder_stays_outside(self):
        assert not list(MaskedDirectionalLoss(torch.nn.Linear(2, 2)).state_dict())

    def test_exception(self):
        stylised, content, direction = self.inputs()
        with pytest.raises(StyleMambaError, match="one shape"):
            MaskedDirectionalLoss(flatten_encoder)(stylised, content[:1], direction)
        with pytest.raises(StyleMambaError, match="area"):
            MaskedDirectionalLoss(flatten_encoder, area=(0.5, 1.5))
        with pytest.raises(StyleMambaError, match="num_masks"):
            MaskedDirectionalLoss(flatten_encoder, num_masks=0)

    @pytest.mark.parametrize("height, width", [(64, 64), (40, 100), (101, 33)])
    def test_masks_are_rectangles_of_the_area(self, height, width):
        masks = random_masks(200, height, width, (0.2, 0.6), seeded())
        assert masks.shape == (200, 1, height, width) and masks.dtype == torch.bool
        rows, columns = masks.any(3).sum(2).squeeze(), masks.any(2).sum(2).squeeze()
        assert torch.equal(rows * columns, masks.sum((1, 2, 3)))
        parts = masks.double().mean((1, 2, 3))
        assert 0.18 < parts.min() < 0.24 and 0.56 < parts.max() < 0.62
        seen = masks.any(0).squeeze()
        assert seen.any(0).all() and seen.any(1).all()  # up to every edge

    @pytest.mark.parametrize("height, width", [(1, 1), (1, 9), (9, 1)])
    def test_masks_of_tiny_pictures(self, height, width):
        assert random_masks(20, height, width, (0.01, 1.0), seeded()).any(dim=(1, 2, 3)).all()


class TestSecondOrderDirectionalLoss:
    def run(self, losses, weight="adaptive", module=None):
        """The second-order loss of each iteration while the features move steadily."""
        module = module or SecondOrderDirectionalLoss(weight)
        return [module(randn(3, 5, seed=step), torch.tensor(loss)).item() for step, loss in enumerate(losses)]

    def test_smoke(self):
        first, second = self.run([1.0, 0.9])
        assert first == 0 and second != 0

    def test_rewards_movement_while_improving(self):
        assert max(self.run([1.0, 0.9, 0.8, 0.7, 0.65, 0.6])[1:]) < 0

    def test_damps_movement_after_an_overshoot(self):
        values = self.run([1.0, 0.9, 0.8, 0.7, 1.1])
        assert values[-2] < 0 < values[-1]

    def test_rests_when_nothing_changes(self):
        assert self.run([0.5, 0.5, 0.5]) == [0, 0, 0]

    def test_bounded(self):
        """The weight lies in -1..1 whatever the losses do, so the value lies within the squared movement."""
        squared = self.run([1e-9, 1e9, -1e9, 0.0, 1e-30], weight=1.0)
        values = self.run([1e-9, 1e9, -1e9, 0.0, 1e-30])
        assert all(abs(value) <= limit * (1 + 1e-6) for value, limit in zip(values, squared)) and max(values) > 0 > min(values)

    def test_scale_of_the_loss_does_not_matter(self):
        losses = [1.0, 0.9, 0.85, 0.9, 0.7]
        assert self.run(losses) == pytest.approx(self.run([1000 * loss for loss in losses]), rel=1e-4)

    @pytest.mark.parametrize("weight", [2.0, -0.5])
    def test_constant(self, weight):
        features = [randn(3, 5, seed=step).mean(0) for step in range(3)]
        expected = [0.0] + [weight * (b - a).square().sum().item() for a, b in zip(features, features[1:])]
        assert self.run([1.0, 0.5, 0.7], weight) == pytest.approx(expected)

    def test_gradient_leads_away_from_the_last_features_while_improving(self):
        module = SecondOrderDirectionalLoss()
        before, now = randn(1, 5), randn(1, 5, seed=1)
        module(before, torch.tensor(1.0))
        module(now, torch.tensor(0.9)).backward()
        assert before.grad is None
        torch.testing.assert_close(torch.cosine_similarity(-now.grad, (now - before).detach()), torch.ones(1, dtype=torch.float64))

    def test_batches_of_other_sizes(self):
        module = SecondOrderDirectionalLoss()
        module(randn(1, 5).expand(4, 5), torch.tensor(1.0))
        assert module(randn(1, 5), torch.tensor(0.5)).item() == pytest.approx(0)

    def test_gradcheck(self):
        def function(movement):
            module = SecondOrderDirectionalLoss()
            module(randn(2, 5), torch.tensor(1.0))
            return module(movement, torch.tensor(0.9))

        assert gradcheck(function, randn(3, 5, seed=1))

    @pytest.mark.parametrize("stop", [0, 1, 2, 4])
    def test_resume(self, stop):
        """A state loaded into a new module continues as if nothing had stopped."""
        losses = [1.0, 0.9, 0.8, 0.95, 0.7, 0.75]
        steps = [(randn(3, 5, seed=step), torch.tensor(loss)) for step, loss in enumerate(losses)]
        whole = SecondOrderDirectionalLoss()
        expected = [whole(*step).item() for step in steps]
        before, after = torch.nn.ModuleDict({"x": SecondOrderDirectionalLoss()}), torch.nn.ModuleDict({"x": SecondOrderDirectionalLoss()})
        values = [before["x"](*step).item() for step in steps[:stop]]
        after.load_state_dict(before.state_dict())
        assert values + [after["x"](*step).item() for step in steps[stop:]] == expected

    def test_exception(self):
        with pytest.raises(StyleMambaError, match="adaptive"):
            SecondOrderDirectionalLoss("dynamic")
        module = SecondOrderDirectionalLoss()
        with pytest.raises(StyleMambaError, match="batch, features"):
            module(randn(5), torch.tensor(1.0))
        module(randn(3, 5), torch.tensor(1.0))
        with pytest.raises(StyleMambaError, match="batch, 5"):
            module(randn(3, 4), torch.tensor(1.0))


class TestContentLoss:
    def test_smoke(self):
        loss = ContentLoss()(randn(2, 3, 4, 5), randn(2, 3, 4, 5, seed=1))
        assert loss.shape == () and 0 < loss < 4

    def test_colour_and_contrast_are_free_and_structure_is_not(self):
        latents = randn(2, 3, 8, 8)
        scale, shift = torch.rand(2, 3, 1, 1) + 0.5, torch.randn(2, 3, 1, 1)
        assert ContentLoss()(scale * latents + shift, latents) < 1e-6
        assert ContentLoss()(-latents, latents).item() == pytest.approx(4, abs=1e-3)
        assert ContentLoss()(latents.roll(1, 3), latents) > 1

    def test_flat_channel(self):
        latents = torch.ones(1, 2, 4, 4, requires_grad=True)
        loss = ContentLoss()(latents, torch.ones(1, 2, 4, 4))
        loss.backward()
        assert loss == 0 and latents.grad.isfinite().all()

    def test_features(self):
        pictures = randn(2, 3, 4, 5)
        pool = torch.nn.AvgPool2d(2)
        torch.testing.assert_close(ContentLoss(pool)(pictures, -pictures), ContentLoss()(pool(pictures), -pool(pictures)))

    def test_gradcheck(self):
        assert gradcheck(ContentLoss(), (randn(2, 2, 3, 4), randn(2, 2, 3, 4, seed=1)))

    @pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 60)])
    def test_exception(self, shape):
        with pytest.raises(StyleMambaError, match="one shape"):
            ContentLoss()(randn(2, 3, 4, 5), randn(*shape))


class TestTotalVariationLoss:
    def test_smoke(self):
        assert TotalVariationLoss()(randn(2, 3, 4, 5)) > 0

    @pytest.mark.parametrize("size", [(4, 5), (1, 1)])
    def test_constant_picture(self, size):
        assert TotalVariationLoss()(torch.full((2, 3, *size), 0.7)) == 0

    def test_by_hand(self):
        picture = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])
        assert TotalVariationLoss()(picture).item() == pytest.approx((0 + 2 + 1 + 3) / 4)

    def test_gradcheck(self):
        assert gradcheck(TotalVariationLoss(), randn(2, 2, 3, 4))

    def test_exception(self):
        with pytest.raises(StyleMambaError, match="batch, channels"):
            TotalVariationLoss()(randn(3, 4, 5))


class TestTokenGridLoss:
    @pytest.mark.parametrize("shape", [(2, 3, 7, 8), (1, 3, 8, 8)])
    def test_exception(self, shape):
        with pytest.raises(StyleMambaError, match="H and W at least 8"):
            TokenGridLoss(8)(randn(*shape), randn(2, 3, *shape[2:]))

    def test_only_what_is_new_and_repeats_counts(self):
        before, loss = randn(2, 3, 32, 40), TokenGridLoss(8)
        tile = torch.zeros(8, 8)
        tile[0] = 0.8  # a line in every token
        assert loss(before, before) == 0
        assert loss(before + 0.3, before) < 1e-6  # another colour is no grid
        assert loss(before + tile.repeat(4, 5), before).item() == pytest.approx((0.7 + 7 * 0.1) / 8, abs=1e-5)
        once = torch.zeros(32, 40)
        once[:8, :8] = tile
        assert loss(before + once, before).item() == pytest.approx((0.7 + 7 * 0.1) / 8 / 20, abs=1e-5)

    def test_a_token_that_is_cut_off_is_left_out(self):
        before = randn(1, 3, 19, 17)
        changed = before.clone()
        changed[:, :, 16:] += 1
        assert TokenGridLoss(8)(changed, before) == 0
