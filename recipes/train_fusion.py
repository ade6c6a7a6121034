"""Stage 4: the fusion. It learns to turn a photo's latents into those of the style's picture, the sentence being the condition."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from einops import reduce
from PIL import Image
from transformers import AutoTokenizer, SiglipModel

from make_targets import SIZE, TEACHER, slug
from perceptual import SqueezeNetFeatures, content_distance, style_distance
from sentences import vocabulary, word_it
from stylemamba import StyleEncoder, StyleMambaFusion, checkpoint

TILE = 64  # px: the effects' textures repeat with it, so crops start at its multiples


class Pairs:
    """Random crops of photos and of their pictures in a style, and embeddings of sentences that ask for the style."""

    def __init__(self, folder: Path, encoder: StyleEncoder, wordings: int, seed: int):
        self.photos = np.load(folder / "photos.npy", mmap_mode="r")
        self.styles, self.index, self.pictures, self.embeddings = [], [], [], []
        for style in vocabulary():
            path = folder / f"{slug(style['name'])}.npz"
            if not path.exists():
                continue
            with np.load(path) as file:
                self.index.append(file["index"])
                self.pictures.append(file["pictures"])
            rng = np.random.default_rng((seed, len(self.styles)))
            own = [style["name"], style["zh"], *style["wordings"]]
            texts = own + [word_it(own[0] if i % 3 == 0 else own[2 + rng.integers(len(own) - 2)], rng) for i in range(wordings)]
            with torch.no_grad():
                self.embeddings.append(encoder.encode_text(texts).cpu())
            self.styles.append(style["name"])
        with torch.no_grad():
            plain = ["a photo", "a photograph", "no style", "leave it as it is", "an unchanged photo", "realistic photo", "原图", "照片"]
            self.plain = encoder.encode_text(plain).cpu()

    def batch(self, count: int, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(photos, pictures) as (count, 3, size, size) in 0..1, and embeddings (count, E). One in 40 asks for the photo itself."""
        photos, pictures, embeddings = [], [], []
        for style in rng.integers(len(self.styles), size=count):
            row = rng.integers(len(self.index[style]))
            # The teacher's strokes know no tile: any offset, or a pattern in the tokens' grid would cost nothing.
            tile = 1 if self.styles[style] in TEACHER else TILE
            top, left = tile * rng.integers((SIZE - size) // tile + 1, size=2)
            crop = np.s_[top : top + size, left : left + size]
            photo = self.photos[self.index[style][row]][crop]
            plain = rng.random() < 1 / 40
            pool = self.plain if plain else self.embeddings[style]
            # The first entries are the name and its plain wordings: what most people type.
            which = rng.integers(min(7, len(pool))) if rng.random() < 0.5 else rng.integers(len(pool))
            photos.append(photo)
            pictures.append(photo if plain else self.pictures[style][row][crop])
            embeddings.append(pool[which])
        stack = lambda images: torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        return stack(photos), stack(pictures), torch.stack(embeddings)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", required=True, help="folder made by make_targets.py")
    parser.add_argument("--vae", required=True)
    parser.add_argument("--siglip", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--out", default="runs/fusion")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=12, help="crops of 128 px a step; every fourth step takes a quarter as many of 256 px")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--wordings", type=int, default=48)
    parser.add_argument("--config", type=json.loads, default={}, help="config values of the fusion, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    out, device = Path(args.out), torch.device(args.device)
    torch.manual_seed(args.seed)
    vae = AutoencoderKL.from_pretrained(args.vae).to(device).requires_grad_(False).eval()
    siglip = SiglipModel.from_pretrained(args.siglip).to(device).eval()
    encoder = StyleEncoder(siglip, AutoTokenizer.from_pretrained(args.tokenizer))
    pairs = Pairs(Path(args.targets), encoder, args.wordings, args.seed)
    print(f"{len(pairs.styles)} styles: {', '.join(pairs.styles)}", flush=True)

    style_dim = siglip.config.vision_config.hidden_size
    fusion = StyleMambaFusion(latent_channels=vae.config.latent_channels, style_dim=style_dim, **args.config).to(device)
    ema = StyleMambaFusion(latent_channels=vae.config.latent_channels, style_dim=style_dim, **args.config).to(device).requires_grad_(False)
    ema.load_state_dict(fusion.state_dict())
    features = SqueezeNetFeatures(args.squeezenet, taps=(0, 3, 5)).to(device)
    decay = [p for n, p in fusion.named_parameters() if p.dim() >= 2 and "phase" not in n]
    rest = [p for n, p in fusion.named_parameters() if not (p.dim() >= 2 and "phase" not in n)]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.98))
    start, _ = checkpoint.load(out / "checkpoint.safetensors", {"fusion": fusion, "ema": ema}, optimizer)

    token = fusion.config.patch_size * 2 ** (len(vae.config.block_out_channels) - 1)  # px
    encode = lambda x: vae.encode(2 * x - 1).latent_dist.mode() * vae.config.scaling_factor
    decode = lambda z: vae.decode(z / vae.config.scaling_factor).sample / 2 + 0.5
    then, log = time.time(), []
    for step in range(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        lr = args.lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / args.steps)))
        for group in optimizer.param_groups:
            group["lr"] = lr
        large = step % 4 == 3
        photos, pictures, style = (t.to(device) for t in pairs.batch(args.batch // 4 if large else args.batch, 256 if large else 128, rng))
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                source, target = encode(torch.cat([photos, pictures])).float().chunk(2)
            latents = fusion(source, style)
            made = decode(latents)
        latents, made = latents.float(), made.float()
        latent = (latents - target).abs().mean()
        pixel = (made - pictures).abs().mean()
        with torch.autocast(device.type, torch.bfloat16):
            wanted = features(pictures)
            got = features(made)
        perceptual, texture = content_distance(got, wanted), style_distance(got, wanted)
        loss = latent + 3 * pixel + 0.15 * perceptual + 0.15 * texture + 5 * grid_distance(made, pictures, token)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(fusion.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            keep = min(0.999, (step + 1) / (step + 10))
            for mean, value in zip(ema.parameters(), fusion.parameters()):
                mean.lerp_(value, 1 - keep)
        log.append([latent.item(), pixel.item(), perceptual.item(), texture.item()])
        if (step + 1) % 50 == 0:
            row = dict(zip(("latent", "pixel", "perceptual", "texture"), np.mean(log, 0)), s_per_step=(time.time() - then) / len(log))
            print(json.dumps({"step": step + 1, **{k: round(float(v), 4) for k, v in row.items()}}), flush=True)
            then, log = time.time(), []
        if (step + 1) % 250 == 0 or step + 1 == args.steps:
            checkpoint.save(out / "checkpoint.safetensors", step + 1, {"fusion": fusion, "ema": ema}, optimizer)
            ema.save_pretrained(out / "fusion")
            sheet(pairs, ema, encode, decode, out / "sheet.jpg", device)


def grid_distance(made: torch.Tensor, wanted: torch.Tensor, period: int) -> torch.Tensor:
    """How much of the difference repeats from token to token: the grid that a loss on texture statistics invites on flat areas."""
    tile = reduce(made - wanted, "b c (h p) (w q) -> b c p q", "mean", p=period, q=period)
    return (tile - tile.mean((2, 3), keepdim=True)).abs().mean()


@torch.no_grad()
def sheet(pairs: Pairs, fusion, encode, decode, path: Path, device, size: int = 128) -> None:
    """A row a style: photo, what was wanted, what was made; two photos each."""
    rows = []
    for style, index in enumerate(pairs.index):
        row = []
        for pick in (0, 1):
            photo = torch.from_numpy(pairs.photos[index[pick]].copy()).permute(2, 0, 1)[None].float().to(device) / 255
            wanted = torch.from_numpy(pairs.pictures[style][pick].copy()).permute(2, 0, 1)[None].float() / 255
            made = decode(fusion(encode(photo), pairs.embeddings[style][:1].to(device))).clamp(0, 1).cpu()
            row += [photo.cpu(), wanted, made]
        rows.append(torch.cat(row, 3))
    half = (len(rows) + 1) // 2
    rows += [torch.ones_like(rows[0])] * (2 * half - len(rows))
    image = torch.cat([torch.cat(rows[:half], 2), torch.cat(rows[half:], 2)], 3)
    image = F.interpolate(image, scale_factor=size / SIZE, mode="area")[0]
    Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path, quality=85)


if __name__ == "__main__":
    main()
