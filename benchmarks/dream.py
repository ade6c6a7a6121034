"""Does the style encoder's image gradient point at the style? Changes a photo's pixels until the encoder takes it for a sentence's style.

    python benchmarks/dream.py PHOTO SENTENCE [SENTENCE ...] [--model FOLDER] [--steps 100] [-o dream.png]

Saves the photo and the result side by side. A gradient to be trusted leaves strokes and colours of the style, another one noise.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sheet import contact_sheet, square

from stylemamba import StyleEncoder, StyleMambaPipeline


def dream(encoder: StyleEncoder, photo: torch.Tensor, sentence: str, steps: int, seed: int = 0) -> tuple[torch.Tensor, list[float]]:
    """Adam on the pixels of ``photo`` (1, 3, H, W) in 0..1; returns the picture and the cosine to the sentence before each step.

    Each step sees eight random crops, so that what appears is not made for one place and size only.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        wanted = encoder.encode_text([sentence])
    pixels = photo.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=0.01)
    side, seen, cosines = photo.shape[-1], encoder.model.config.vision_config.image_size, []
    for _ in range(steps):
        crops = []
        for _ in range(8):
            size = int(torch.randint(side // 2, side + 1, (), generator=generator))
            top, left = torch.randint(side - size + 1, (2,), generator=generator).tolist()
            crop = pixels[:, :, top : top + size, left : left + size]
            crops.append(F.interpolate(crop, (seen, seen), mode="bilinear", antialias=True, align_corners=False))
        cosine = (encoder.encode_image(torch.cat(crops)) @ wanted.T).mean()
        cosines.append(cosine.item())
        optimizer.zero_grad()
        (-cosine).backward()
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return pixels.detach(), cosines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("sentence", nargs="+")
    parser.add_argument("--model", help="default: the bundled model")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("-o", "--output", type=Path, default="dream.png")
    args = parser.parse_args()

    pipe = StyleMambaPipeline.from_pretrained(args.model)
    encoder = StyleEncoder(pipe.style_encoder.requires_grad_(False), pipe.tokenizer)
    photo = square(args.photo, 256)
    before = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    rows = {}
    for sentence in args.sentence:
        after, cosines = dream(encoder, before, sentence, args.steps)
        label = f"{sentence}: cosine {np.mean(cosines[:5]):.2f} to {np.mean(cosines[-5:]):.2f}"
        rows[label] = [photo, Image.fromarray((after[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))]
        print(label, flush=True)
    contact_sheet(rows, blocks=1).save(args.output)


if __name__ == "__main__":
    main()
