"""Stage 5: the fusion. It learns to turn a photo's latents into those of the style's picture, the sentence being the condition.

With --decoder the VAE's decoder learns along: strokes and dots as the fusion asks for them, and photos as before. The encoder stays.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from critic import Critic, gradient_ratio
from diffusers import AutoencoderKL
from effects import LOOSE
from effects_masters import ALONE
from effects_paint import LATENT
from make_targets import PAIRS, SIZE, slug
from perceptual import SqueezeNetFeatures
from picture_losses import TERMS, PictureLosses
from PIL import Image
from precision import mixed, muon
from probe import StyleProbe
from resuming import Together, beginning, whole
from safetensors.torch import load_file
from schedule import Schedule
from sentences import PLAIN, join, vocabulary, word_it, word_sentences
from transformers import AutoTokenizer, SiglipModel

from stylemamba import StyleEncoder, StyleMambaFusion, checkpoint
from stylemamba.detail import restore_lost
from stylemamba.noise import NOISE_PERIOD, NoiseField

TEXTURE_SIZE = 0.3  # standard deviation of the first textures
TILE = 64  # px: the effects' textures repeat with it, so crops start at its multiples
# How often a style is drawn, most being 1. A style that others outweigh is forgotten, the plainest as well: version 18 drew some of these
# twenty times as often as a blueprint, which lost its lines and its blue.
SHARES = dict.fromkeys(("cubism", "pointillism", "abstract expressionism", "charcoal", "low poly", *ALONE, *LOOSE), 1.5)
SHARES |= dict.fromkeys(("halftone", "comic book", "newsprint", "risograph", "engraving", "lichtenstein", "ukiyo-e", "naive art"), 2.0)
SHARES |= dict.fromkeys(("blueprint", "cartoon", "anime", "graffiti", "sepia", "neon", "cyberpunk", "vaporwave", "hologram", "glitch"), 2.0)
SHARES |= dict.fromkeys(("pop art", "tapestry", "paper cut", "art deco poster", "vintage poster", "pixel art"), 4.0)  # new or hardest
COMBINED = 0.2  # how often several styles are asked for at once
REBUILT = 10.0  # weight of what the decoder makes of photos' and targets' own latents
CRITIC = 0.3  # how large the critic's gradient is beside all other losses'


class PlacedNoise(NoiseField):
    """The noise of a batch whose pictures have ``places`` of their own, rows and columns in latent pixels."""

    places: list[tuple[int, int]] | None = None

    def forward(self, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """(B, channels, height, width), or without the batch where no places are given."""
        if self.places is None:
            return super().forward(height, width, origin)
        return torch.stack([super(PlacedNoise, self).forward(height, width, place) for place in self.places])


class Pairs:
    """Random crops of photos and of their pictures in a style, and embeddings of sentences that ask for the style."""

    def __init__(self, folders: list[Path], encoder: StyleEncoder, wordings: int, makers: dict, seed: int):
        photos = [np.load(folder / "photos.npy", mmap_mode="r") for folder in folders]
        self.photos, firsts = np.concatenate(photos), np.cumsum([0, *map(len, photos)])  # each folder's first row

        def read(name: str) -> dict:
            """A file's arrays, those of all folders one after another."""
            files = [dict(np.load(folder / f"{name}.npz")) for folder in folders]
            for file, first in zip(files, firsts):
                file["index"] = file["index"] + first
            return {key: np.concatenate([file[key] for file in files]) for key in files[0]}

        self.styles, self.index, self.pictures, self.embeddings, self.labels = [], [], [], [], []
        for style in vocabulary():
            if not (folders[0] / f"{slug(style['name'])}.npz").exists():
                continue
            made = read(slug(style["name"]))
            self.index.append(made["index"])
            self.pictures.append(made["pictures"])
            rng = np.random.default_rng((seed, len(self.styles)))
            plain = [style["name"], style["zh"], *style["wordings"]]
            texts = plain + style["zh_wordings"]
            texts += [word_it(plain[0] if i % 3 == 0 else plain[2 + rng.integers(len(plain) - 2)], rng) for i in range(wordings)]
            self.embeddings.append(encode(encoder, texts))
            self.styles.append(style["name"])
            self.labels.append(makers.get(style["name"], {}).get("label"))
        # A teacher's strokes know no tile, unless an effect that does lies under them.
        drawn = {name for name, of in makers.items() if any(m["effect"] or m.get("mixed") for m in of["makers"])}
        taught = {name for name in self.styles if name in makers} - drawn
        self.free = taught | LOOSE & set(self.styles)
        # These effects' strokes lie where the noise says: they can be asked for to the pixel.
        self.stroked = self.free - taught
        self.share = np.array([SHARES.get(name, 1.0) for name in self.styles])
        self.share /= self.share.sum()
        rng = np.random.default_rng(seed)
        self.pairs = None
        if (folders[0] / f"{PAIRS}.npz").exists():
            self.pairs = read(PAIRS)
            named = [[name for name in names if name] for names in self.pairs["names"] for _ in range(3)]
            texts = [join(rng.permutation(names).tolist(), rng) for names in named]
            self.pairs["embeddings"] = encode(encoder, texts).unflatten(0, (-1, 3))
        self.plain = encode(encoder, list(PLAIN))
        words = sorted(
            {w for s in vocabulary() for t in (s["name"], *s["wordings"]) for w in t.lower().split() if w.isalpha() and len(w) > 3}
        )
        self.others = encode(encoder, word_sentences(2000, words, rng))

    def batch(self, count: int, size: int, rng: np.random.Generator):
        """(photos, pictures) as (count, 3, size, size), uint8, embeddings (count, E), the names of the art styles (None elsewhere),
        which pictures are loosely drawn, and the places in the noise where all lie.

        One in 40 asks for the photo itself, one in five for several styles at once.
        """
        drawn = []
        for style in rng.choice(len(self.styles), count, p=self.share):
            kind = rng.random()
            if kind < COMBINED and self.pairs:
                row = rng.integers(len(self.pairs["index"]))
                embedding = self.pairs["embeddings"][row, rng.integers(3)]
                drawn.append((self.pairs["index"][row], self.pairs["pictures"][row], embedding, None, TILE))
                continue
            index, picture, embedding, label, tile = self.draw(style, rng)
            if kind > 1 - 1 / 40:
                picture, embedding, label, tile = self.photos[index], self.plain[rng.integers(len(self.plain))], None, TILE
            drawn.append((index, picture, embedding, label, tile))
        return self.stack(drawn, size, rng)

    def draw(self, style: int, rng: np.random.Generator):
        """One of the style's pictures: its photo's index, the picture, a sentence's embedding, the art style's name, and what its crops
        start at the multiples of."""
        row, pool = rng.integers(len(self.index[style])), self.embeddings[style]
        # The first entries are the name and its plain wordings: what most people type.
        embedding = pool[rng.integers(min(7, len(pool))) if rng.random() < 0.5 else rng.integers(len(pool))]
        # Any offset where no tile is, or a pattern in the tokens' grid would cost nothing.
        tile = LATENT if self.styles[style] in self.stroked else 1 if self.styles[style] in self.free else TILE
        return self.index[style][row], self.pictures[style][row], embedding, self.labels[style], tile

    def stack(self, drawn: list[tuple], size: int, rng: np.random.Generator):
        """Crops of what was drawn, as `batch` returns them."""
        photos, pictures, embeddings, places = [], [], [], []
        for index, picture, embedding, _, tile in drawn:
            if rng.random() < 0.5:
                # A sentence that no training saw lies beside those that it did: it must still ask for the nearest style.
                other = self.others[rng.integers(len(self.others))]
                embedding = F.normalize(embedding + rng.uniform(0, 0.6) * other, dim=0)
            top, left = tile * rng.integers((SIZE - size) // tile + 1, size=2)
            crop = np.s_[top : top + size, left : left + size]
            photos.append(self.photos[index][crop])
            pictures.append(picture[crop])
            embeddings.append(embedding)
            # What a teacher painted knows nothing of the noise.
            places.append(tuple(rng.integers(NOISE_PERIOD, size=2)) if tile == 1 else (top // LATENT, left // LATENT))
        labels, tiles = [label for _, _, _, label, _ in drawn], torch.tensor([tile for *_, tile in drawn])
        stack = lambda images: torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return stack(photos), stack(pictures), torch.stack(embeddings), labels, tiles == 1, places


@torch.no_grad()
def encode(encoder: StyleEncoder, texts: list[str]) -> torch.Tensor:
    return torch.cat([encoder.encode_text(texts[at : at + 200]) for at in range(0, len(texts), 200)]).cpu()


@torch.no_grad()
def depicted(features: SqueezeNetFeatures, photos: np.ndarray, device) -> torch.Tensor:
    """(photos, C): the last tap's features of photos (P, H, W, 3), uint8, averaged over all places."""
    found = []
    for at in range(0, len(photos), 32):
        batch = torch.from_numpy(photos[at : at + 32]).to(device).permute(0, 3, 1, 2).float() / 255
        with mixed(device):
            found.append(features(batch)[-1].mean((2, 3)).float())
    return torch.cat(found)


def missed(pairs: Pairs, fusion: StyleMambaFusion, encode_images, device, style: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``count`` photos, and what the fusion's latents of them lack to those of the style's pictures."""
    photos = np.stack([pairs.photos[i] for i in pairs.index[style][:count]])
    photos, pictures = (torch.from_numpy(p).to(device).permute(0, 3, 1, 2).float() / 255 for p in (photos, pairs.pictures[style][:count]))
    with mixed(device):
        source, wanted = encode_images(torch.cat([photos, pictures])).chunk(2)
        return photos, (wanted - fusion(source, pairs.embeddings[style][0].to(device))).float()


def shared_texture(latents: torch.Tensor, period: int) -> torch.Tensor:
    """(B, C, h, w) -> (C, period, period): what they have in common, tile over tile."""
    return latents.unflatten(3, (-1, period)).unflatten(2, (-1, period)).mean((0, 2, 4))


@torch.no_grad()
def first_textures(pairs: Pairs, fusion: StyleMambaFusion, encode_images, device, count: int = 10) -> None:
    """Starts the bank's textures as what a style's targets have in common, tile over tile, and the fusion does not make yet.

    They are written in the leading principal components of all styles' textures, which become the weights of the grain.
    """
    bank, period = fusion.bank, fusion.bank.textures.shape[-1]
    channels = min(bank.textures.shape[1], fusion.config.latent_channels)
    found = torch.zeros(len(pairs.styles), fusion.config.latent_channels, period, period, device=device)
    for style, name in enumerate(pairs.styles):
        if name in pairs.free:
            continue
        found[style] = shared_texture(missed(pairs, fusion, encode_images, device, style, count)[1], period)
    values = found.permute(0, 2, 3, 1).flatten(0, 2)
    _, _, axes = torch.linalg.svd(values - values.mean(0), full_matrices=False)
    axes = axes[:channels]
    scale = TEXTURE_SIZE / (values @ axes.T).std()
    bank.textures[: len(found), :channels] = torch.einsum("schw,ac->sahw", found, axes) * scale
    fusion.refine.grain.weight[:, :channels] = axes.T[:, :, None, None] / scale
    kept = 1 - (values - values @ axes.T @ axes).square().sum() / values.square().sum()
    print(f"first textures: standard deviation {values.std():.3f}, of which {kept:.0%} are kept", flush=True)


@torch.no_grad()
def new_textures(pairs: Pairs, fusion: StyleMambaFusion, encode_images, device, names: list[str], count: int = 24) -> None:
    """As `first_textures`, of some styles of an earlier fusion, whose weights of the grain stay."""
    bank, period = fusion.bank, fusion.bank.textures.shape[-1]
    to_channels = torch.linalg.pinv(fusion.refine.grain.weight[:, :, 0, 0])
    for style in (pairs.styles.index(name) for name in names):
        bank.textures[style], bank.values[style] = 0, 0
        shared = shared_texture(missed(pairs, fusion, encode_images, device, style, count)[1], period)
        bank.textures[style] = torch.einsum("ac,chw->ahw", to_channels, shared - shared.mean((1, 2), keepdim=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", required=True, nargs="+", type=Path, help="folders made by make_targets.py, each of another seed")
    parser.add_argument("--artworks", required=True, type=Path, help="folder made by choose_artworks.py")
    parser.add_argument("--vae", required=True)
    parser.add_argument("--siglip", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--init", help="folder of an earlier fusion of the same sizes to start from")
    parser.add_argument("--anew", nargs="*", default=[], help="styles whose targets are others than the earlier fusion's: new textures")
    parser.add_argument("--out", default="runs/fusion", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="it ends when it has run so long, at the latest")
    parser.add_argument("--batch", type=int, default=12, help="crops of 128 px a step; every second step takes a quarter as many of 256 px")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--decoder", type=float, default=0.0, help="learning rate of the VAE's decoder, which otherwise stays as it is")
    parser.add_argument("--wordings", type=int, default=48)
    parser.add_argument("--config", type=json.loads, default={}, help="config values of the fusion, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    known = {style["name"] for style in vocabulary() if (args.targets[0] / f"{slug(style['name'])}.npz").exists()}
    if unknown := sorted({*args.anew} - known):
        parser.error(f"--anew: {args.targets[0]} has no targets of {', '.join(unknown)}; name styles that it has, as the vocabulary does")

    out, device = args.out, torch.device(args.device)
    path = out / "checkpoint.safetensors"
    began = beginning(path, init=whole(args.init), anew=", ".join(sorted({*args.anew})), decoder="RATE" if args.decoder else "")
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    vae = AutoencoderKL.from_pretrained(args.vae).to(device, torch.float32, memory_format=torch.channels_last).requires_grad_(False).eval()
    siglip = SiglipModel.from_pretrained(args.siglip).to(device, torch.float32).eval()
    encoder = StyleEncoder(siglip, AutoTokenizer.from_pretrained(args.tokenizer))
    makers = json.loads((args.artworks / "makers.json").read_text(encoding="utf-8"))
    pairs = Pairs(args.targets, encoder, args.wordings, makers, args.seed)
    probe = StyleProbe.load(args.artworks / "probe.npz", args.squeezenet).to(device)
    print(f"{len(pairs.styles)} styles: {', '.join(pairs.styles)}", flush=True)

    style_dim = siglip.config.vision_config.hidden_size
    config = {"latent_channels": vae.config.latent_channels, "style_dim": style_dim, "known_styles": len(pairs.styles), **args.config}
    fusion, ema = (StyleMambaFusion(**config).to(device) for _ in range(2))
    ema.requires_grad_(False)
    fusion.noise = PlacedNoise().to(device)
    if args.init:
        # What an earlier fusion lacks keeps its initialisation; what it has must fit.
        earlier = load_file(Path(args.init) / "diffusion_pytorch_model.safetensors")
        earlier |= {n: v[: config["known_styles"]] for n, v in earlier.items() if n.startswith("bank.")}
        found = fusion.load_state_dict(earlier, strict=False)
        assert not found.unexpected_keys, f"{args.init} is not a fusion of this version: {found.unexpected_keys}"
    # The last tap is for what is depicted.
    features = SqueezeNetFeatures(args.squeezenet, taps=(0, 3, 5, 7, 12)).to(device, memory_format=torch.channels_last)
    tokens = fusion.config.patch_size * 2 ** (len(vae.config.block_out_channels) - 1)  # px
    critic = Critic(features.channels, style_dim, [tokens / stride for stride in features.strides]).to(device)
    # Muon for the blocks' matrices: at equal steps it gets further than AdamW, which takes the rest. Each style's own vector and texture
    # are seen rarely, hence their rates; the keys are right from the start.
    rates = {"bank.keys": 0.1, "bank.values": 6.0, "bank.textures": 3.0}
    matrices = {n: p for n, p in fusion.named_parameters() if n.startswith("blocks.") and n.endswith(".weight") and p.dim() == 2}
    rest = [p for n, p in fusion.named_parameters() if n not in rates and n not in matrices]
    groups = [{"params": rest, "rate": 1.0}, *({"params": [fusion.get_parameter(n)], "rate": r} for n, r in rates.items())]
    optimizers = [
        torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0),
        muon([{"params": [*matrices.values()], "rate": 1.0}], device, weight_decay=0.01),
    ]
    shown, states = vae, {"fusion": fusion, "ema": ema, "critic": critic}
    if args.decoder:
        shown = copy.deepcopy(vae).to(memory_format=torch.contiguous_format)
        decoder = [*vae.decoder.requires_grad_().parameters(), *vae.post_quant_conv.requires_grad_().parameters()]
        group = {"params": decoder, "rate": args.decoder / args.lr}
        optimizers.append(torch.optim.AdamW([group], betas=(0.9, 0.99), weight_decay=1e-4))
        states |= {"vae": vae, "shown": shown}
    critics = torch.optim.AdamW(critic.parameters(), lr=2e-3, betas=(0.5, 0.98), weight_decay=0.01)
    encode_images = lambda x: vae.encode(2 * x - 1).latent_dist.mode() * vae.config.scaling_factor
    if not path.exists():
        if not fusion.refine.grain.weight.any():  # an earlier fusion's bank is kept: its keys say which style each row is
            with torch.no_grad():
                fusion.bank.keys[: len(pairs.styles)] = torch.stack([pool[0] for pool in pairs.embeddings]).to(device)
            first_textures(pairs, fusion, encode_images, device)
        new_textures(pairs, fusion, encode_images, device, args.anew)
        fusion.bank.looseness.copy_(torch.tensor([name in pairs.free for name in pairs.styles]))
        ema.load_state_dict(fusion.state_dict())
    start, saved = checkpoint.load(path, states, Together(*optimizers, critics))

    decode = lambda z, vae=vae: vae.decode(z / vae.config.scaling_factor).sample / 2 + 0.5
    losses = PictureLosses(features, probe, tokens, content=1.6, others=depicted(features, pairs.photos, device))
    ratio = saved.get("ratio", 0.0)  # grows from here: a critic that knows nothing yet is not heard
    schedule = Schedule(args.steps, args.minutes, saved.get("spent", 0.0))

    def export() -> None:
        ema.save_pretrained(out / "fusion")
        if args.decoder:
            shown.save_pretrained(out / "vae")

    then, log = time.time(), []
    for step in range(start, start if schedule.over else args.steps):
        rng = np.random.default_rng((args.seed, step))
        rate, last = schedule(step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.lr * rate * group["rate"]
        large = step % 2 == 1
        count, size = (max(1, args.batch // 4), 256) if large else (args.batch, 128)
        photos, pictures, style, labels, painted, fusion.noise.places = pairs.batch(count, size, rng)
        photos, pictures = (t.to(device, memory_format=torch.channels_last).float() / 255 for t in (photos, pictures))
        style, painted = style.to(device), painted.to(device)
        with mixed(device):
            with torch.no_grad():
                source, target = encode_images(torch.cat([photos, pictures])).float().chunk(2)
            latents = fusion(source, style)
            made = decode(latents)
            with torch.set_grad_enabled(args.decoder > 0):
                rebuilt = decode(torch.cat([target, source])).float()
        missed_by = 2 * (rebuilt - torch.cat([pictures, photos]))  # as the VAE's own training has it, of pixels in -1..1
        decoded, seen_photos = rebuilt.detach().chunk(2)
        # As the pipeline shows it, and the target as well, or the critic would tell it by what the decoder cannot draw.
        made, decoded = (restore_lost(picture.float(), seen_photos, photos, faint=0) for picture in (made, decoded))
        decoded = decoded.clamp(0, 1)
        latent = (latents.float() - target).abs().mean((1, 2, 3))
        seen = losses.look(made, pictures, photos)
        loss, terms = losses(made, pictures, photos, seen, latent, labels, painted, whole=large)
        with mixed(device):
            complaint = critic.complaint(seen[0], seen[2], style)
        if step % 20 == 0:
            ratio += 0.1 * (gradient_ratio(loss, complaint, made) - ratio)
        loss = loss + CRITIC * ratio * complaint
        if args.decoder:
            loss = loss + REBUILT * (missed_by.abs().mean() + 2 * missed_by.square().mean())
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(fusion.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            keep = min(0.998, (step + 1) / (step + 10))
            torch._foreach_lerp_([*ema.parameters()], [*fusion.parameters()], 1 - keep)
            torch._foreach_lerp_([*shown.parameters()], [*vae.parameters()], 1 - keep)
        with mixed(device):
            with torch.no_grad():
                real = features(decoded)
            errs = critic.own_loss([x.detach() for x in seen[0]], real, seen[2], style)
        critics.zero_grad()
        errs.backward()
        critics.step()
        log.append(torch.cat([terms, torch.stack([complaint.detach(), errs.detach(), missed_by.detach().square().mean()])]))
        if (step + 1) % 50 == 0:
            means = torch.stack(log).nanmean(0).tolist()
            row = dict(zip((*TERMS, "complaint", "critic", "rebuilt"), means), s_per_step=(time.time() - then) / len(log))
            print(json.dumps({"step": step + 1, **{key: round(value, 4) for key, value in row.items()}}), flush=True)
            then, log = time.time(), []
        if (step + 1) % 100 == 0 or last:
            info = {"ratio": ratio, "spent": schedule.spent, **began}
            checkpoint.save(path, step + 1, states, Together(*optimizers, critics), info)
            export()
        if (step + 1) % 500 == 0 or last:
            sheet(pairs, ema, encode_images, lambda z: decode(z, shown), out / "sheet.png", device)
        if last:
            break
    export()  # once more: it may have been stopped after its last checkpoint


@torch.no_grad()
def sheet(pairs: Pairs, fusion, encode_images, decode, path: Path, device, size: int = 128) -> None:
    """A row a style: photo, what was wanted, what was made."""
    rows = []
    for style, index in enumerate(pairs.index):
        photo = torch.from_numpy(pairs.photos[index[0]].copy()).permute(2, 0, 1)[None].float().to(device) / 255
        wanted = torch.from_numpy(pairs.pictures[style][0].copy()).permute(2, 0, 1)[None].float() / 255
        source = encode_images(photo)
        made = decode(fusion(source, pairs.embeddings[style][:1].to(device)))
        made = restore_lost(made, decode(source), photo).clamp(0, 1).cpu()
        rows.append(torch.cat([photo.cpu(), wanted, made], 3))
    columns = 5
    height = -(-len(rows) // columns)
    rows += [torch.ones_like(rows[0])] * (columns * height - len(rows))
    image = torch.cat([torch.cat(rows[at * height : (at + 1) * height], 2) for at in range(columns)], 3)
    image = F.interpolate(image, scale_factor=size / SIZE, mode="area")[0]
    Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
