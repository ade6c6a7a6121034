"""Shared fixtures: a pipeline of the real classes, a few thousand random parameters, built without any download."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a hub

import pytest


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory) -> str:
    """A folder that `StyleMambaPipeline.from_pretrained` loads: random weights, the fusion's output not zero, so that styles differ."""
    import torch

    folder = tmp_path_factory.mktemp("tiny-model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make_tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def tiny_pipeline(tiny_model_dir):
    """A fresh `StyleMambaPipeline` for each test, so that a loaded or trained style does not leak."""
    from stylemamba import StyleMambaPipeline

    pipe = StyleMambaPipeline.from_pretrained(tiny_model_dir)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_tiny_pipeline():
    import torch
    from diffusers import AutoencoderKL
    from transformers import SiglipConfig, SiglipModel, SiglipTextConfig, SiglipVisionConfig

    from stylemamba import StyleMambaFusion, StyleMambaPipeline

    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    tokenizer = make_tiny_tokenizer()
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = SiglipTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=16,
        projection_size=16,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
        **size,
    )
    siglip = SiglipModel(
        SiglipConfig(text_config=text.to_dict(), vision_config=SiglipVisionConfig(image_size=32, patch_size=16, **size).to_dict())
    )
    fusion = StyleMambaFusion(latent_channels=4, style_dim=16, hidden_size=32, depth=1, d_state=4, head_dim=8)
    for parameter in fusion.parameters():  # a fresh fusion returns its input exactly
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # more, and a strength of 0.05 is no small change of so many layers
    return StyleMambaPipeline(vae=vae.eval(), fusion=fusion.eval(), style_encoder=siglip.eval(), tokenizer=tokenizer)


def make_tiny_tokenizer(characters: str = "abcdefghijklmnopqrstuvwxyz0123456789 ,.-'"):
    """One token a character."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["<pad>", "<eos>", "<unk>", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
