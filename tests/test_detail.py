import numpy as np
import pytest
import torch
from synthetic import synthetic_photo

from stylemamba import StyleMambaPipeline, detail
from stylemamba.detail import restore_detail, restore_lost, scaled_down


@pytest.fixture
def photo():
    return torch.from_numpy(np.array(synthetic_photo(121, 90))).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def small(photo):
    return scaled_down(photo, 40)


def distance(a, b):
    return (a - b).abs().mean().item() * 255


def test_the_shorter_side_gets_the_resolution(photo):
    assert scaled_down(photo, 40).shape == (1, 3, 40, 54)
    assert scaled_down(photo.transpose(2, 3), 40).shape == (1, 3, 54, 40)
    assert scaled_down(photo[:, :, :1], 32).shape[2] == 32


def test_a_style_of_colour_keeps_the_detail(photo, small):
    """Darker, inverted, grey: what was done to the small photo is done to the large one."""
    blurred = torch.nn.functional.interpolate(small, photo.shape[2:], mode="bicubic")
    for style in (lambda x: x, lambda x: 0.2 + 0.5 * x, lambda x: 1 - x, lambda x: x.mean(1, keepdim=True).expand_as(x)):
        restored = restore_detail(style(small), small, photo)
        assert distance(restored, style(photo)) < 0.5 * distance(style(blurred), style(photo))


def test_a_style_without_contrasts_gets_none(photo, small):
    flat = torch.full_like(small, 0.4)
    assert distance(restore_detail(flat, small, photo), 0.4) < 0.1


def test_strokes_are_left_as_they_are(photo, small):
    torch.manual_seed(0)
    strokes = torch.rand_like(small)
    enlarged = torch.nn.functional.interpolate(strokes, photo.shape[2:], mode="bicubic")
    assert distance(restore_detail(strokes, small, photo), enlarged) < distance(
        photo, torch.nn.functional.interpolate(small, photo.shape[2:])
    )


def test_a_faint_style_keeps_the_photo(photo, small):
    assert distance(restore_detail(small, small, photo, strength=0), photo) < 1e-3
    half = restore_detail(0.5 * small + 0.5 * (1 - small), small, photo, strength=0.5)
    assert distance(half, torch.full_like(photo, 0.5)) < 0.35 * distance(photo, restore_detail(torch.zeros_like(small), small, photo))


def test_bands_bytes_and_the_whole_give_one_picture(photo, small, monkeypatch):
    styled = (1 - small).roll(1, 1)
    whole = restore_detail(styled, small, photo, strength=0.8)
    monkeypatch.setattr(detail, "BAND", 17)
    assert torch.allclose(restore_detail(styled, small, photo, strength=0.8), whole, atol=1e-5)
    as_bytes = restore_detail(styled, small, (photo * 255).round().byte(), strength=0.8)
    assert as_bytes.dtype == torch.uint8 and distance(as_bytes / 255, whole) < 0.51
    enlarged = torch.nn.functional.interpolate(small, photo.shape[2:], mode="bicubic").clamp(0, 1)
    assert torch.allclose(restore_detail(small, small, enlarged), enlarged, atol=0.02)


def test_gradients_flow_to_the_style(small, photo):
    styled = small.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: restore_detail(x, small.double(), photo.double())[:, :, ::7, ::7], styled, fast_mode=True)


@pytest.fixture
def seen(photo):
    """What a VAE leaves of the photo: no fine detail."""
    return torch.nn.functional.avg_pool2d(photo, 3, stride=1, padding=1, count_include_pad=False)


def test_what_the_vae_lost_comes_back_as_the_style_treats_contrasts(photo, seen):
    for style in (lambda x: x, lambda x: 0.2 + 0.5 * x, lambda x: 1 - x, lambda x: x.mean(1, keepdim=True).expand_as(x)):
        assert distance(restore_lost(style(seen), seen, photo), style(photo)) < 0.6 * distance(style(seen), style(photo))
    assert distance(restore_lost(torch.full_like(seen, 0.4), seen, photo), 0.4) < 0.1
    assert distance(restore_lost(seen, seen, photo, kept=1), photo) < 1e-3


def test_faint_noise_of_the_networks_goes_and_strokes_stay(photo, seen):
    torch.manual_seed(0)
    noise = torch.randn_like(seen)
    left = lambda amount: distance(restore_lost(seen + amount * noise, seen, photo), restore_lost(seen, seen, photo)) / (255 * amount)
    assert left(0.002) < 0.5 * left(0.2)
    assert left(0.2) > 0.9 * noise.abs().mean()


def test_noise_is_shrunk_by_the_styles_share(photo, seen):
    """What a tenth of the style draws is a tenth as strong, and no more of it is noise."""
    torch.manual_seed(0)
    noise = 0.03 * torch.randn_like(seen)
    whole, tenth = (restore_lost(seen + share * noise, seen, photo, kept=1 - share) - photo for share in (1, 0.1))
    assert distance(10 * tenth, whole) < 0.02 * distance(whole, 0)


def test_photo_that_is_kept_comes_back_to_the_last_bit(photo, seen):
    assert torch.equal(restore_lost(seen, seen, photo, kept=1), photo)


def test_a_mask_keeps_the_photo_where_it_says(photo, seen):
    kept = torch.zeros_like(photo[:, :1])
    kept[:, :, :, :50] = 1
    restored = restore_lost(torch.where(kept > 0, seen, 1 - seen), seen, photo, kept)
    assert distance(restored[..., :45], photo[..., :45]) < 1e-3
    assert distance(restored[..., 55:], 1 - photo[..., 55:]) < 0.6 * distance(1 - seen[..., 55:], 1 - photo[..., 55:])


def test_a_photographic_style_keeps_the_photos_detail():
    """Lines of one pixel, which the VAE blurs, in sepia."""
    photo = np.full((128, 128, 3), 200, np.uint8)
    photo[16:112:6, 16:112] = photo[16:112, 16:112:6] = 60
    pipe = StyleMambaPipeline.from_pretrained()
    made = np.asarray(pipe(photo, "sepia").images[0], float).mean(2)[24:104, 24:104]
    decoded = pipe.decode_latents(pipe(photo, "sepia", output_type="latent").images)
    decoded = 255 * decoded.mean(1)[0].detach().numpy()[24:104, 24:104]
    grid = photo.mean(2)[24:104, 24:104]
    correlation = [np.corrcoef(grid.ravel(), picture.ravel())[0, 1] for picture in (decoded, made)]
    assert 1 - correlation[1] < 0.5 * (1 - correlation[0])


def test_gradients_flow_through_what_was_lost(photo, seen):
    styled = seen.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: restore_lost(x, seen.double(), photo.double())[:, :, ::7, ::7], styled, fast_mode=True)
