"""SigLIP as the style encoder: sentences and pictures -> unit embeddings of one space."""

import logging
import threading

import torch
import torch.nn.functional as F
from einops import rearrange
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .errors import StyleMambaError
from .resizing import resized

logger = logging.getLogger(__name__)
TOKENIZING = threading.Lock()  # how a tokenizer pads is kept in itself, where threads would change it for each other

# Averaged over, as CLIPstyler averages over ImageNet templates: what is common to all of them is the style.
TEMPLATES = ("{}", "{} style", "a picture in {} style", "make it look like {}")


class StyleEncoder:
    """Texts and images to unit embeddings with transformers' `SiglipModel` (or the NaFlex `Siglip2Model`) and its tokenizer.

    Not a module: it holds no weights, so a pipeline can make one whenever it needs it.

    Args:
        model: any SigLIP or SigLIP 2 checkpoint.
        tokenizer: the checkpoint's tokenizer.
        mean, std: the image normalisation; every published SigLIP checkpoint uses 0.5 and 0.5.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mean: float = 0.5, std: float = 0.5):
        self.model, self.tokenizer, self.mean, self.std = model, tokenizer, mean, std

    def encode_text(self, texts: list[str], templates: tuple[str, ...] = TEMPLATES) -> torch.Tensor:
        """The unit embedding (B, E) of each text: the mean over the templates' unit embeddings, normalised again.

        What is beyond the encoder's length is not read, which a warning says.

        Raises:
            StyleMambaError: when a text is empty or no text, or nothing in it is known to the tokenizer.
        """
        for text in texts:
            if not isinstance(text, str):
                raise StyleMambaError(f"The prompt is a {type(text).__name__}; give a sentence, such as 'a watercolor painting'.")
            if not text.strip():
                raise StyleMambaError("The prompt is empty; describe a style in a few words, for example 'a watercolor painting'.")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise StyleMambaError(f"The prompt {text!r} is not valid UTF-8; type it again, or save its file as UTF-8.") from error
        texts, length = [text.strip() for text in texts], self.model.config.text_config.max_position_embeddings
        sentences = [template.replace("{}", text) for text in texts for template in templates]
        with TOKENIZING:
            each = self.tokenizer(texts, verbose=False)["input_ids"]
            # SigLIP is trained with every text padded to the full length and has no attention mask.
            tokens = self.tokenizer(sentences, padding="max_length", truncation=True, max_length=length, return_tensors="pt")["input_ids"]
        for text, own in zip(texts, each):
            if not {*own} - {*self.tokenizer.all_special_ids}:
                raise StyleMambaError(
                    f"The style encoder knows no word of the prompt {text!r}; describe a style in others, English ones for example."
                )
            if len(own) > length:
                logger.warning("The prompt %r has %d tokens, of which the first %d are read; shorten it.", text, len(own), length)
        features = F.normalize(self.model.text_model(input_ids=tokens.to(self.model.device)).pooler_output.float(), dim=-1)
        return F.normalize(features.unflatten(0, (len(texts), len(templates))).mean(1), dim=-1)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """The unit embedding (B, E) of RGB images (B, 3, H, W) in 0..1, of any size; differentiable with respect to the images."""
        if images.dim() != 4 or images.shape[1] != 3:
            raise StyleMambaError(f"The style encoder takes RGB images (B, 3, H, W) but got {tuple(images.shape)}.")
        vision = self.model.config.vision_config
        patch = vision.patch_size
        naflex = hasattr(vision, "num_patches")
        size = int(vision.num_patches**0.5) * patch if naflex else vision.image_size
        pixels = images  # a picture of the right size would come out of the interpolation unchanged, but its way back takes time
        if images.shape[2:] != (size, size):
            pixels = resized(images, (size, size))
        pixels = ((pixels - self.mean) / self.std).to(self.model.dtype)
        if naflex:  # SigLIP 2 NaFlex takes patches and their grid instead of pixels
            grid = torch.full((len(images), 2), size // patch, device=pixels.device)
            patches = rearrange(pixels, "b c (h p) (w q) -> b (h w) (p q c)", p=patch, q=patch)
            mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=pixels.device)
            output = self.model.vision_model(patches, mask, grid)
        else:
            output = self.model.vision_model(pixel_values=pixels)
        return F.normalize(output.pooler_output.float(), dim=-1)
