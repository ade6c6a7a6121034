"""SigLIP as the style encoder."""

import contextlib
import threading

import pytest
import torch
from transformers import Siglip2Config, Siglip2Model

from stylemamba import StyleEncoder, StyleMambaError


@pytest.fixture
def encoder(tiny_pipeline):
    return StyleEncoder(tiny_pipeline.style_encoder, tiny_pipeline.tokenizer)


def test_embeddings_are_unit_vectors_of_one_width(encoder):
    texts, images = encoder.encode_text(["a mosaic", "night"]), encoder.encode_image(torch.rand(3, 3, 40, 56))
    assert texts.shape == (2, 16) and images.shape == (3, 16)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))


def test_text_is_the_mean_over_templates(encoder):
    one, two = (encoder.encode_text(["fog"], (template,)) for template in ("{}", "{} style"))
    expected = torch.nn.functional.normalize(one + two, dim=-1)
    torch.testing.assert_close(encoder.encode_text(["fog"], ("{}", "{} style")), expected)


def test_image_embedding_has_a_gradient_to_every_pixel(encoder):
    images = torch.rand(1, 3, 48, 40, requires_grad=True)
    encoder.encode_image(images).square().cumsum(1).sum().backward()
    assert images.grad.isfinite().all() and (images.grad != 0).float().mean() > 0.99


@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_text_is_refused(encoder, text):
    with pytest.raises(StyleMambaError, match="empty"):
        encoder.encode_text([text])


@pytest.mark.parametrize("text", ["🔥", "вогонь"])
def test_text_of_which_nothing_is_known_is_refused(encoder, text):
    with pytest.raises(StyleMambaError, match=text):
        encoder.encode_text(["a mosaic", text])


def test_text_that_is_no_text_is_named(encoder):
    for text, complaint in ((b"ink", "The prompt is a bytes"), ("caf\udce9", r"'caf\\udce9' is not valid UTF-8")):
        with pytest.raises(StyleMambaError, match=complaint):
            encoder.encode_text([text])


def test_threads_share_a_tokenizer(encoder):
    """How it pads is kept in it."""
    tokenizer, begun = encoder.tokenizer, threading.Barrier(2, timeout=0.3)

    def one_at_a_time(*args, **kwargs):
        with contextlib.suppress(threading.BrokenBarrierError):
            begun.wait()  # another thread comes here meanwhile only where nothing keeps it
            met.append(1)
        return tokenizer(*args, **kwargs)

    met, one_at_a_time.all_special_ids = [], tokenizer.all_special_ids
    threads = [threading.Thread(target=StyleEncoder(encoder.model, one_at_a_time).encode_text, args=(["ink"],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not met


def test_the_end_of_a_long_text_that_is_not_read_is_told(encoder, caplog):
    encoder.encode_text(["a mosaic"])
    assert not caplog.records
    encoder.encode_text(["a mosaic of glass and stone"])
    assert "a mosaic of glass and stone" in caplog.text and "the first 16" in caplog.text


def test_wrong_image_shape_is_named(encoder):
    with pytest.raises(StyleMambaError, match=r"\(1, 4, 8, 8\)"):
        encoder.encode_image(torch.rand(1, 4, 8, 8))


def test_siglip2_naflex_checkpoints_work(tiny_pipeline):
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tiny_pipeline.tokenizer),
        "max_position_embeddings": 16,
        "projection_size": 16,
        "bos_token_id": 1,
        "eos_token_id": 1,
        **size,
    }
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config={"num_patches": 16, "patch_size": 8, **size})).eval()
    encoder = StyleEncoder(model, tiny_pipeline.tokenizer)
    images = torch.rand(2, 3, 50, 30, requires_grad=True)
    features = encoder.encode_image(images)
    assert features.shape == encoder.encode_text(["ink", "snow"]).shape == (2, 16)
    features[:, 0].sum().backward()
    assert images.grad.abs().sum() > 0
