"""Stage 1: a small AutoencoderKL (factor 4, 8 channels) on photos and art. Resumes from its checkpoint.

With --init the decoder of an earlier one is trained on, with --targets also on what the fusion shall make: edges that no photo has. The
encoder stays, so that a fusion which was trained with it still fits.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from data import random_crop, read_folder
from diffusers import AutoencoderKL
from perceptual import SqueezeNetFeatures, content_distance
from precision import mixed
from resuming import beginning, whole
from schedule import Schedule

from stylemamba import checkpoint

TOKEN = 8  # px


def build() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=256,
    )


def target_crop(pictures: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
    """A crop of one of a style's pictures that begins at a token's corner, as the patterns of the fusion do."""
    picture = pictures[rng.integers(len(pictures))]
    top, left = TOKEN * rng.integers((picture.shape[1] - size) // TOKEN + 1, size=2)
    return picture[:, top : top + size, left : left + size]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--init", help="folder of an earlier VAE whose decoder is to be trained on")
    parser.add_argument("--targets", type=Path, help="folder made by make_targets.py: half of the crops are of its pictures")
    parser.add_argument("--out", default="runs/vae")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.targets and not any(args.targets.glob("*.npz")):
        parser.error(f"--targets: {args.targets} has no targets; name a folder that make_targets.py has made")

    path = Path(args.out) / "checkpoint.safetensors"
    began = beginning(path, init=whole(args.init))
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    images = [p.load() for p in read_folder(args.photos) + read_folder(args.art)]
    targets = []
    for path in sorted(args.targets.glob("*.npz")) if args.targets else ():
        with np.load(path) as file:
            targets.append(torch.from_numpy(file["pictures"]).permute(0, 3, 1, 2))
    print(f"{len(images)} pictures, {sum(map(len, targets))} targets", flush=True)
    vae = (AutoencoderKL.from_pretrained(args.init) if args.init else build()).to(device)
    if args.init:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    features = SqueezeNetFeatures(args.squeezenet, taps=(0, 4, 7)).to(device)
    trained = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    start, _ = checkpoint.load(path, {"vae": vae}, optimizer)
    schedule = Schedule(args.steps)

    log, then = [], time.time()
    for step in range(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        optimizer.param_groups[0]["lr"] = args.lr * schedule(step)[0]
        crops = [random_crop(images[i], args.crop, rng) for i in rng.integers(len(images), size=args.batch)]
        if targets:
            crops[: args.batch // 2] = [target_crop(targets[i], args.crop, rng) for i in rng.integers(len(targets), size=args.batch // 2)]
        batch = torch.stack(crops).to(device).float() / 127.5 - 1
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**32)))
        with mixed(device):
            posterior = vae.encode(batch).latent_dist
            latents = posterior.sample(generator)
            decoded = vae.decode(latents).sample
        decoded = decoded.float()
        # Noise on the latents' scale would be hidden by growing latents; the KL term keeps them near unit size.
        kl = posterior.kl().mean() / latents[0].numel()
        l1 = (decoded - batch).abs().mean()
        l2 = (decoded - batch).square().mean()
        with mixed(device):
            perceptual = content_distance(features(decoded / 2 + 0.5), features(batch / 2 + 0.5)).mean()
        loss = l1 + 2 * l2 + 0.05 * perceptual + 2e-4 * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        log.append((l2.item() / 4, perceptual.item(), kl.item()))
        if (step + 1) % 100 == 0:
            mse, perceptual, kl = np.mean(log, 0)
            row = {
                "step": step + 1,
                "psnr": -10 * np.log10(mse),
                "perceptual": perceptual,
                "kl": kl,
                "s_per_step": (time.time() - then) / len(log),
            }
            print(json.dumps({k: round(float(v), 3) for k, v in row.items()}), flush=True)
            log, then = [], time.time()
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            checkpoint.save(path, step + 1, {"vae": vae}, optimizer, began)

    if not args.init:
        # The scaling factor gives the latents unit variance over the training data, as in latent diffusion.
        rng = np.random.default_rng(args.seed)
        with torch.no_grad():
            batch = torch.stack([random_crop(images[i], args.crop, rng) for i in rng.integers(len(images), size=64)])
            latents = vae.encode(batch.to(device).float() / 127.5 - 1).latent_dist.mode()
        vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    vae.save_pretrained(path.with_name("vae"))
    print(f"scaling factor {vae.config.scaling_factor}")


if __name__ == "__main__":
    main()
