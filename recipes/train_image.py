"""Stage 6: the image tower. It learns to place a picture at the sentence of its style, robustly, so that its gradient points at the style.

The text tower stays as it is. So few artworks teach little from scratch: besides, a linear head on the tower's output learns what an
ImageNet network's statistics say of the picture; it is thrown away afterwards. Pictures are real artworks, photos, and the styles' pictures
of stage 4. Augmentation: crops, blur, noise, colour, erased patches, and for half of the steps an adversarial perturbation of the pixels
(fast gradient sign, Goodfellow et al. 2014).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from choose_artworks import ARTISTS
from data import random_crop, read_folder
from make_targets import slug
from perceptual import SqueezeNetFeatures
from probe import TAPS, statistics
from sentences import vocabulary, word_it
from transformers import AutoTokenizer, SiglipModel

from stylemamba import StyleEncoder, checkpoint

# Labels of the artworks that the vocabulary calls otherwise.
SAME = {
    "Chinese Ink Painting": "chinese ink painting", "Sketch": "pencil sketch", "Pencil Sketch": "pencil sketch",
    "Abstract Art": "kandinsky", "Palette Knife Oil Painting": "palette knife", "Stained Glass": "stained glass",
    "Ink Wash": "ink wash", "Etching": "engraving", "Romanticism": "turner", "Fire texture": "fire", "Poster": "vintage poster",
    "Painting (mixed styles)": "oil painting",
}  # fmt: skip
LEFT_OUT = {
    "Texture",
    "Pattern",
    "Collage",
    "Newsprint",
    "Photomosaic",
    "style",
    "Digital Art",
    "Japanese Painting",
    "Modernism",
    "Ink Drawing",
}


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise, blur, colour and erased patches on (B, 3, H, W) in 0..1, each for a part of the batch."""
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    count, _, height, width = images.shape
    gain = 1 + 0.3 * (rand(count, 3, 1, 1) - 0.5)
    images = images * gain + 0.15 * (rand(count, 1, 1, 1) - 0.5)
    small = F.interpolate(F.avg_pool2d(images, 2), (height, width), mode="bilinear", align_corners=False)
    images = torch.where(rand(count, 1, 1, 1) < 0.3, small, images)
    images = images + torch.randn(images.shape, generator=generator) * 0.08 * rand(count, 1, 1, 1) * (rand(count, 1, 1, 1) < 0.5)
    keep = F.interpolate((rand(count, 1, 5, 5) > 0.25 * (rand(count, 1, 1, 1) < 0.5)).float(), (height, width))
    return (images * keep + 0.5 * (1 - keep)).clamp(0, 1)


class Pictures:
    """Labelled pictures: each label is a style of the vocabulary, an artwork's style label, or a photo."""

    def __init__(self, photos: str, art: str, targets: Path):
        names, artists = [s["name"] for s in vocabulary()], {artist: style for style, artist in ARTISTS.items()}
        self.pools: dict[str, list] = {"photo": [p.load() for p in read_folder(photos)]}
        for picture in read_folder(art):
            if picture.style in LEFT_OUT:
                continue
            work = picture.load()
            # An artist's pictures show the movement as well.
            for style in {SAME.get(picture.style, picture.style.lower()), artists.get(picture.artist)} - {None}:
                self.pools.setdefault(style, []).append(work)
        self.real = [style for style, works in self.pools.items() if len(works) >= 20]
        for name in names:
            path = targets / f"{slug(name)}.npz"
            if path.exists():
                with np.load(path) as file:
                    self.pools.setdefault(name, []).extend(torch.from_numpy(file["pictures"]).permute(0, 3, 1, 2))
        self.labels = list(self.pools)

    def batch(self, count: int, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(count, 3, size, size) in 0..1 and the labels' indices; half from the labels with many real pictures, half from all."""
        labels, images = rng.integers(len(self.labels), size=count), []
        labels[::2] = [self.labels.index(style) for style in rng.choice(self.real, len(labels[::2]))]
        for label in labels:
            pool = self.pools[self.labels[label]]
            crop = int(rng.integers(144, 257))
            image = random_crop(pool[rng.integers(len(pool))], crop, rng)[None].float() / 255
            images.append(F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False))
        return torch.cat(images), torch.from_numpy(labels)


class Statistics(torch.nn.Module):
    """Pictures (B, 3, H, W) -> the leading principal components (B, width) of their SqueezeNet statistics, of unit variance."""

    width = 128

    def __init__(self, squeezenet: str, pictures: Pictures, size: int, rng: np.random.Generator):
        super().__init__()
        self.features, self.size = SqueezeNetFeatures(squeezenet, TAPS), size
        rows = torch.cat([self.measure(pictures.batch(32, size, rng)[0]) for _ in range(20)])
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("scale", rows.std(0) + 1e-4)
        _, values, axes = torch.linalg.svd((rows - self.mean) / self.scale, full_matrices=False)
        self.register_buffer("axes", axes[: self.width].T * (len(rows) ** 0.5 / values[: self.width]))

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return statistics(self.features, images, 128)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return ((self.measure(images) - self.mean) / self.scale) @ self.axes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--targets", required=True)
    parser.add_argument("--siglip", required=True, help="folder made by train_text.py")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--out", default="runs/image")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epsilon", type=float, default=3 / 255, help="size of the adversarial perturbation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    out, device = Path(args.out), torch.device(args.device)
    torch.manual_seed(args.seed)
    model = SiglipModel.from_pretrained(args.siglip).to(device, torch.float32)
    model.text_model.requires_grad_(False)
    encoder = StyleEncoder(model, AutoTokenizer.from_pretrained(args.tokenizer))
    pictures = Pictures(args.photos, args.art, Path(args.targets))
    print(f"{len(pictures.labels)} labels: {', '.join(f'{k} {len(v)}' for k, v in pictures.pools.items())}", flush=True)

    wordings = {s["name"]: [s["name"], *s["wordings"]] for s in vocabulary()}
    rng = np.random.default_rng(args.seed)
    with torch.no_grad():  # (labels, sentences, E): a style's name, wordings and paraphrases, or templates where these are few
        bank = torch.stack(
            [encoder.encode_text([word_it(w[i % len(w)], rng) if i >= len(w) else w[i] for i in range(16)])
             for w in (wordings.get(label, [f"a {label}", label, f"{label} style"]) for label in pictures.labels)]
        ).to(device)  # fmt: skip
    centre = F.normalize(bank.mean(1), dim=-1)

    tower = model.vision_model
    size = model.config.vision_config.image_size
    known = Statistics(args.squeezenet, pictures, size, rng).to(device)
    head = torch.nn.Linear(model.config.vision_config.hidden_size, known.width).to(device)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=args.lr, betas=(0.9, 0.98), weight_decay=0.05)
    start, _ = checkpoint.load(out / "checkpoint.safetensors", {"tower": tower, "head": head}, optimizer)
    then, log = time.time(), []
    for step in range(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        optimizer.param_groups[0]["lr"] = args.lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / args.steps)))
        images, labels = pictures.batch(args.batch, size, rng)
        images, labels = augment(images, generator).to(device), labels.to(device)
        sentence = bank[labels, torch.from_numpy(rng.integers(bank.shape[1], size=len(labels))).to(device)]

        def loss_of(images):
            with torch.autocast(device.type, torch.bfloat16):
                pooled = tower(pixel_values=2 * images - 1).pooler_output
            embedding = F.normalize(pooled.float(), dim=-1)
            logits = 20 * embedding @ centre.T
            loss = F.cross_entropy(logits, labels, label_smoothing=0.05) + (1 - (embedding * sentence).sum(-1)).mean()
            return loss + 0.5 * F.mse_loss(head(pooled.float()), wanted), logits

        wanted = known(images)
        if step % 2:
            images.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss_of(images)[0], images)
            images = (images + args.epsilon * gradient.sign()).clamp(0, 1).detach()
        loss, logits = loss_of(images)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        log.append([loss.item(), (logits.argmax(-1) == labels).float().mean().item()])
        if (step + 1) % 50 == 0:
            loss, accuracy = np.mean(log, 0)
            row = {"step": step + 1, "loss": loss, "accuracy": accuracy, "s_per_step": (time.time() - then) / len(log)}
            print(json.dumps({key: round(float(value), 3) for key, value in row.items()}), flush=True)
            then, log = time.time(), []
        if (step + 1) % 250 == 0 or step + 1 == args.steps:
            checkpoint.save(out / "checkpoint.safetensors", step + 1, {"tower": tower, "head": head}, optimizer)
            model.save_pretrained(out / "siglip")


if __name__ == "__main__":
    main()
