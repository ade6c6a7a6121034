"""The fusion: what it keeps, what it takes, what it refuses."""

import weakref

import pytest
import torch
import torch.nn.functional as F

from stylemamba import StyleMambaError, StyleMambaFusion
from stylemamba.noise import NOISE_PERIOD, NoiseField
from stylemamba.orders import DIRECTIONS, held, permute, scan_order
from stylemamba.scatter import ScatterField

SMALL = dict(latent_channels=4, style_dim=12, hidden_size=32, depth=2, d_state=4, head_dim=8)


def random_fusion(**config) -> StyleMambaFusion:
    torch.manual_seed(0)
    fusion = StyleMambaFusion(**{**SMALL, **config})
    for parameter in fusion.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return fusion


@pytest.mark.parametrize("ssm", ["ssd", "selective"])
@pytest.mark.parametrize("order", list(DIRECTIONS))
def test_untrained_fusion_returns_its_input_exactly(order, ssm):
    latents = torch.randn(2, 4, 6, 10)
    fusion = StyleMambaFusion(**SMALL, scan_order=order, ssm=ssm)
    assert torch.equal(fusion(latents, torch.randn(2, 12)), latents)


@pytest.mark.parametrize("ssm", ["ssd", "selective"])
@pytest.mark.parametrize("order", list(DIRECTIONS))
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 9)])
def test_any_size_keeps_its_shape(order, ssm, size):
    latents = torch.randn(1, 4, *size)
    out = random_fusion(scan_order=order, ssm=ssm)(latents, torch.randn(1, 12))
    assert out.shape == latents.shape and out.isfinite().all() and not torch.equal(out, latents)


@pytest.mark.parametrize("channels", [3, 16])
def test_any_number_of_latent_channels(channels):
    fusion = random_fusion(latent_channels=channels)
    assert fusion(torch.randn(1, channels, 8, 8), torch.randn(12)).shape == (1, channels, 8, 8)


def test_a_batch_of_several_styles_equals_one_by_one():
    fusion, latents, styles = random_fusion(), torch.randn(3, 4, 8, 6), torch.nn.functional.normalize(torch.randn(3, 12), dim=-1)
    together = fusion(latents, styles)
    alone = torch.cat([fusion(latents[i : i + 1], styles[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_every_direction_reaches_the_whole_picture():
    """With the cross order a change in one corner is seen in the opposite corner, either way; without the scan it is not."""
    fusion, style = random_fusion(scan_order="cross", d_state=8).double(), torch.randn(1, 12).double()
    latents = torch.randn(1, 4, 24, 24).double()  # farther than convolutions reach

    def seen(corner: int) -> float:
        changed = latents.clone()
        changed[:, :, corner, corner] += 5
        return (fusion(changed, style) - fusion(latents, style))[:, :, -1 - corner, -1 - corner].abs().max().item()

    assert min(seen(0), seen(-1)) > 1e-9
    for block in fusion.blocks:
        block.mixer._scan = lambda order, u, *rest: u
    assert max(seen(0), seen(-1)) == 0


def test_orders_that_are_held_outlive_the_cache():
    """A CUDA graph reads them where they lay, and nobody else may still know them."""
    cpu = torch.device("cpu")
    with held() as orders:
        kept = weakref.ref(scan_order("cross", 22, 26, cpu)[0][0])
    forgotten = weakref.ref(scan_order("cross", 23, 26, cpu)[0][0])
    for length in range(3, 43):
        scan_order("cross", length, 5, cpu)
    assert kept() is orders[0][0][0] and forgotten() is None


@pytest.mark.parametrize("ssm", ["ssd", "selective"])
def test_no_state_lasts_for_hundreds_of_tokens(ssm):
    """Else a large picture in tiles would not be the same as at once."""
    fusion, style = random_fusion(ssm=ssm), torch.randn(1, 12)
    for block in fusion.blocks:
        block.mixer.A_log.data.fill_(-3.0)  # by itself it would forget a twentieth in a step of 1
    latents = torch.randn(1, 4, 2, 600)
    changed = latents.clone()
    changed[..., :2] += 5
    seen = (fusion(changed, style) - fusion(latents, style)).abs().amax((0, 1, 2))
    assert seen[:16].max() > 1e-2 and seen[-100:].max() < 1e-5


def test_gradients_reach_every_parameter():
    fusion = random_fusion()
    fusion(torch.randn(1, 4, 8, 8), torch.randn(1, 12)).square().mean().backward()
    assert not [name for name, p in fusion.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@pytest.mark.parametrize("ssm", ["ssd", "selective"])
def test_in_float64_nothing_is_rounded_to_float32(ssm):
    """Differences over 1e-6 tell the gradient to seven digits then, and to none of float32's."""
    fusion, latents = random_fusion(depth=1, ssm=ssm).double(), torch.randn(1, 4, 4, 6).double()
    for style in (torch.randn(1, 12), torch.randn(1, 2, 12)):
        assert torch.autograd.gradcheck(fusion, (latents.requires_grad_(), style.double().requires_grad_()), fast_mode=True)


def test_weights_may_be_kept_in_float8():
    fusion, latents, style = random_fusion(), torch.randn(1, 4, 8, 8), F.normalize(torch.randn(1, 12), dim=-1)
    exact = fusion(latents, style)
    fusion.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert (fusion(latents, style) - exact).std() < 0.2 * (exact - latents).std()


def test_a_style_can_cover_the_photo():
    fusion = StyleMambaFusion(**SMALL)
    torch.nn.init.ones_(fusion.cover_modulation.bias)
    assert not fusion(torch.randn(1, 4, 8, 8), torch.randn(1, 12)).any()


def test_save_and_load_give_the_same_result(tmp_path):
    fusion, latents, style = random_fusion(), torch.randn(1, 4, 8, 8), torch.randn(1, 12)
    fusion.save_pretrained(tmp_path)
    loaded = StyleMambaFusion.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), fusion.parameters(), strict=True))
    # Not bit by bit: where weights lie in memory may change the order in which a convolution adds.
    torch.testing.assert_close(loaded(latents, style), fusion(latents, style), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "latents, style, words",
    [
        ((1, 5, 8, 8), (1, 12), "latents"),
        ((1, 4, 8, 8), (1, 13), "width"),
        ((4, 8, 8), (1, 12), "latents"),
        ((0, 4, 8, 8), (1, 12), r"latents .* got \(0, 4, 8, 8\)"),
        ((3, 4, 8, 8), (2, 12), "2 styles for 3 latents"),
    ],
)
def test_alien_inputs_are_named(latents, style, words):
    with pytest.raises(StyleMambaError, match=words):
        random_fusion()(torch.randn(latents), torch.randn(style))


def test_unknown_order_and_form_are_named():
    with pytest.raises(StyleMambaError, match="spiral"):
        StyleMambaFusion(**SMALL, ssm="ssd", scan_order="spiral")
    with pytest.raises(StyleMambaError, match="s4"):
        StyleMambaFusion(**SMALL, ssm="s4")


SIZES = ("patch_size", "d_state", "expand", "head_dim", "refine_size", "known_styles", "texture_channels", "depth")


@pytest.mark.parametrize("name", SIZES)
def test_impossible_sizes_are_named(name):
    with pytest.raises(StyleMambaError, match=name):
        StyleMambaFusion(**{**SMALL, name: -1})


@pytest.mark.parametrize("name", list(DIRECTIONS))
def test_orders_are_permutations_and_invert(name):
    tokens = torch.randn(2, 15, 4 * DIRECTIONS[name])
    pairs = scan_order(name, 3, 5, torch.device("cpu"))
    assert sum(len(order) for order, _ in pairs) == DIRECTIONS[name]
    for (order, inverse), part in zip(pairs, tokens.chunk(len(pairs), -1), strict=True):
        assert torch.equal(order.flatten(1).sort().values, torch.arange(15).expand(len(order), -1))
        assert torch.equal(permute(permute(part, order.flatten(1), inverse), inverse, order.flatten(1)), part)


def test_every_direction_permutes_its_own_channels():
    order = torch.tensor([[0, 1, 2], [2, 0, 1]])
    inverse = order.argsort(1)
    tokens = torch.arange(12.0).view(1, 3, 4).requires_grad_()
    assert torch.equal(permute(tokens, order, inverse)[0].T, torch.tensor([[0.0, 4, 8], [1, 5, 9], [10, 2, 6], [11, 3, 7]]))
    assert torch.autograd.gradcheck(lambda t: permute(t, order, inverse), tokens.detach().double().requires_grad_())


def test_zigzag_never_jumps():
    (order, _), *_ = scan_order("zigzag", 4, 5, torch.device("cpu"))
    rows, columns = order // 5, order % 5
    assert order.shape == (2, 1, 20) and ((rows.diff().abs() + columns.diff().abs()) == 1).all()


def test_every_row_and_column_of_the_cross_is_a_sequence_each_way():
    (rows, _), (columns, _) = scan_order("cross", 2, 3, torch.device("cpu"))
    assert rows.tolist() == [[[0, 1, 2], [3, 4, 5]], [[2, 1, 0], [5, 4, 3]]]
    assert columns.tolist() == [[[0, 3], [1, 4], [2, 5]], [[3, 0], [4, 1], [5, 2]]]


@pytest.mark.parametrize("ssm", ["ssd", "selective"])
def test_the_end_of_a_row_is_not_seen_at_the_beginning_of_the_next(ssm):
    """It lies at the picture's other side, and in a tile it would be another end."""
    fusion, style = random_fusion(ssm=ssm), torch.randn(1, 12)
    latents = torch.randn(1, 4, 16, 300)
    changed = latents.clone()
    changed[..., -2:] += 5
    seen = (fusion(changed, style) - fusion(latents, style)).abs().amax((0, 1, 2))
    assert seen[-16:].max() > 1e-2 and seen[:50].max() < 1e-5


def test_a_fusion_that_was_used_under_inference_mode_can_be_trained():
    fusion, latents, style = random_fusion(), torch.randn(1, 4, 22, 26), torch.randn(1, 12)
    with torch.inference_mode():
        fusion(latents, style)
    fusion(latents, style).sum().backward()


def known_style_fusion(**config) -> StyleMambaFusion:
    """A fusion with four known styles, the first axes of the embedding space, each with a texture of its own: two on the lattice, the
    third is loose, the fourth scattered."""
    fusion = random_fusion(known_styles=4, texture_channels=2, scattered_styles=[3], **config)
    with torch.no_grad():
        fusion.bank.keys.copy_(torch.eye(12)[:4])
        fusion.bank.looseness[2] = 1
    return fusion


def test_a_sentence_near_a_known_style_is_given_that_style():
    bank = known_style_fusion().bank
    vector, textures, ways = bank(torch.nn.functional.normalize(torch.tensor([[0.9, 0.1] + [0.3] * 10]), dim=-1))
    torch.testing.assert_close(ways, torch.eye(3)[:1], rtol=0, atol=1e-2)
    torch.testing.assert_close(vector[0], bank.values[0], rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(textures[0, 0], bank.textures[0], rtol=1e-2, atol=1e-2)
    assert textures[0, 1].abs().max() < 1e-2


def test_between_two_known_styles_lies_their_blend():
    bank = known_style_fusion().bank
    vector, textures, ways = bank(torch.tensor([[0.5**0.5, 0.0, 0.0, 0.5**0.5] + [0.0] * 8]))
    torch.testing.assert_close(vector[0], bank.values[[0, 3]].mean(0))
    torch.testing.assert_close(textures[0], bank.textures[[0, 3]] / 2)
    torch.testing.assert_close(ways, torch.tensor([[0.5, 0.5, 0.0]]))


def test_a_loose_style_has_no_texture():
    _, textures, ways = known_style_fusion().bank(torch.eye(12)[2:3])
    torch.testing.assert_close(ways, torch.eye(3)[2:], rtol=0, atol=1e-3)
    assert textures.abs().max() < 1e-3


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_styles_by_weight_have_their_share_of_the_look(share):
    """Half way in weights is half way in looks: a style is no switch."""
    fusion, axes = known_style_fusion(), torch.eye(12)[1:3]
    first, second = (fusion.look(axis[None]) for axis in axes)
    between = fusion.look((torch.tensor([[1 - share], [share]]) * axes)[None])
    for a, b, found in zip(first, second, between):
        torch.testing.assert_close(found, torch.lerp(a, b, share))


def test_styles_by_weight_work_in_batches_and_with_weights_of_zero():
    fusion, latents = random_fusion(), torch.randn(2, 4, 8, 6)
    styles = torch.nn.functional.normalize(torch.randn(2, 3, 12), dim=-1) * torch.tensor([0.5, 0.5, 0.0])[:, None]
    together = fusion(latents, styles)
    alone = torch.cat([fusion(latents[i : i + 1], styles[i : i + 1, :2]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fusion(latents, styles[:1]), fusion(latents, styles[:1].expand(2, -1, -1)))
    torch.testing.assert_close(fusion(latents, 2 * styles), together)
    assert fusion(latents, 0 * styles).isfinite().all()


@torch.no_grad()
def without_scans(fusion: StyleMambaFusion) -> StyleMambaFusion:
    """Leaves only the convolutions to act, which see no farther than their kernels."""
    fusion.out.weight.zero_()
    fusion.out.bias.zero_()
    return fusion


def test_a_texture_repeats_from_the_corner_with_its_period():
    fusion = without_scans(known_style_fusion(depth=1))
    with torch.no_grad():
        out = fusion(torch.zeros(1, 4, 64, 56), torch.eye(12)[:1])
    period = fusion.bank.textures.shape[-1]
    inside = out[..., 16:-16, 16:-16]  # the convolutions pad with zeros at the borders; 15 latent pixels see it
    torch.testing.assert_close(inside[..., :-period, :], inside[..., period:, :], rtol=1e-4, atol=1e-5)
    assert inside.std((2, 3)).min() > 0


@torch.no_grad()
def alike(fusion: StyleMambaFusion, style: int, shift: int, size: int = 128) -> float:
    """The correlation of what a style makes of a flat area with the same, so many latent pixels further down."""
    out = fusion(torch.zeros(1, 4, size, size), torch.eye(12)[style : style + 1])[0, :, 8:-8, 8:-8]
    out = out - out.mean((1, 2), keepdim=True)
    return ((out[:, :-shift] * out[:, shift:]).mean() / out.square().mean()).item()


@pytest.mark.parametrize("shift", [8, 16, 32])  # the noise's coarsest grain is some 8 wide
def test_a_loose_style_never_repeats_on_a_flat_area(shift):
    """A lattice shows as a weave on faces and skies."""
    assert alike(known_style_fusion(), 2, shift) < 0.4


@pytest.mark.parametrize("shift", [16, 32, 64])
def test_a_scattered_style_does_not_repeat_and_one_on_the_lattice_does(shift):
    fusion = known_style_fusion()
    assert alike(fusion, 3, shift) < 0.4
    assert alike(fusion, 0, shift) > 0.95


def test_a_scattered_style_that_is_not_in_the_bank_is_refused():
    with pytest.raises(StyleMambaError, match="row 2, but the bank has 2 styles"):
        StyleMambaFusion(**SMALL, known_styles=2, scattered_styles=[0, 2])


def test_patches_of_a_scattered_style_are_parts_of_its_texture():
    fusion = StyleMambaFusion(**SMALL, known_styles=2, texture_channels=2, scattered_styles=[0])
    with torch.no_grad():
        fusion.bank.keys.copy_(torch.eye(12)[:2])
        fusion.bank.textures.normal_()
        fusion.refine.grain.weight.copy_(torch.eye(4)[:, :2, None, None])
        added = fusion(torch.zeros(1, 4, 64, 64), torch.eye(12)[:1])[0, :2]
    tile = fusion.bank.textures[0].flatten(1).T
    distance, place = torch.cdist(added.flatten(1).T, tile).min(1)
    assert distance.max() < 1e-2  # every pixel is one of the texture's
    rows, columns = place.view(64, 64) // 16, place.view(64, 64) % 16
    follows = ((rows[1:] - rows[:-1]) % 16 == 1) & (columns[1:] == columns[:-1])
    assert 0.8 < follows.float().mean() < 0.99  # and its neighbour below is the same, but at a patch's border
    assert (rows % 2 == torch.arange(64)[:, None] % 2).all()  # tokens are moved as a whole


@pytest.mark.parametrize("style", [2, 3], ids=["loose", "scattered"])
def test_a_part_of_the_picture_has_the_noise_and_the_patches_of_its_place(style):
    fusion, style = without_scans(known_style_fusion(depth=1)), torch.eye(12)[style : style + 1]
    latents = torch.randn(1, 4, 64, 80)
    with torch.no_grad():
        whole = fusion(latents, style)
        part = fusion(latents[..., 16:, 32:], style, origin=(16, 32))
        elsewhere = fusion(latents[..., 16:, 32:], style)
    torch.testing.assert_close(part[..., 16:, 16:], whole[..., 32:, 48:], rtol=1e-4, atol=1e-4)
    assert (elsewhere - part).abs().max() > 0.01


def test_the_borders_of_the_field_of_patches_meet():
    """Most tokens at the border are of the same patch as the one across it."""
    moves = ScatterField(8).moves
    for axis in (1, 2):
        assert (moves.select(axis, 0) == moves.select(axis, -1)).all(0).float().mean() > 0.5


def test_the_noise_is_even_and_its_borders_meet():
    field = NoiseField()(NOISE_PERIOD + 1, NOISE_PERIOD)
    torch.testing.assert_close(field[:, 0], field[:, -1])
    inside = field[:, :-1]
    torch.testing.assert_close(inside.mean((1, 2)), torch.zeros(NoiseField.channels), rtol=0, atol=1e-4)
    torch.testing.assert_close(inside.std((1, 2)), torch.ones(NoiseField.channels), rtol=0, atol=1e-3)
    steps = (inside - inside.roll(1, 2)).square().mean(1)  # from one column to the next, the first after the last
    assert (steps[:, 0] < 2 * steps.mean(1)).all()


def test_the_grain_begins_at_the_top_left_corner():
    fusion = StyleMambaFusion(**SMALL, known_styles=2, texture_channels=2)
    latents = torch.randn(1, 4, 20, 35)
    with torch.no_grad():
        fusion.bank.keys.copy_(torch.eye(12)[:2])
        fusion.bank.textures.normal_()
        fusion.refine.grain.weight.copy_(torch.eye(4)[:, :2, None, None])
        added = (fusion(latents, torch.eye(12)[:1]) - latents)[0]
    tile = fusion.bank.textures[0]
    torch.testing.assert_close(added[:2, :16, :16], tile, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(added[:2, 16:, 32:], tile[:, :4, :3], rtol=1e-3, atol=1e-4)


def test_a_picture_is_recognised_as_the_known_styles_it_is_near():
    bank = StyleMambaFusion(**{**SMALL, "style_dim": 64}).bank
    bank.keys.data[:3] = torch.eye(64)[:3]
    bank.values.data[:2] = 1.0
    first, second, unknown = bank.keys.detach()[:3]
    apart = torch.eye(64)[3]  # where no sentence is
    near_first = F.normalize(apart + 0.6 * first + 0.1 * second, dim=0)[None]  # nearer to one sentence than to the other, like neither
    found = bank.recognise(near_first)[0]
    assert near_first[0] @ first < 0.8 < 0.95 < found @ first
    between = bank.recognise(F.normalize(first + second, dim=0)[None])[0]
    assert torch.allclose(between @ first, between @ second, atol=1e-3) and between.norm().item() == pytest.approx(1)
    # A row that no style has is no answer, and a bank without styles gives none.
    assert bank.recognise(unknown[None])[0] @ unknown < 0.9
    bank.values.data.zero_()
    assert torch.equal(bank.recognise(near_first), near_first)
