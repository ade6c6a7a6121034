"""Stage 6: the image tower. It learns to place a picture at the sentence of its style, robustly, so that its gradient points at the style.

The text tower stays as it is. Pictures are real artworks, photos, and the styles' pictures of stage 4; their crops are cut, and
SqueezeNet's statistics of them measured, once. So few artworks teach little from scratch, and are soon learned by heart. So the tower
learns what an ImageNet network knows: a linear head on its output, thrown away afterwards, learns those statistics, and instead of the art
styles' labels the tower learns how likely a linear probe on the statistics finds each of them, in photos and effects as well (Hinton et
al., arXiv 1503.02531); a picture is judged by a probe that did not learn from it, or its likelihoods would be its label. A style is in
every patch, wherever it lies, and a motif is not: in three steps of four the tower sees half of a picture's patches, in any order, and
some of another picture's among them (Yun et al., arXiv 1905.04899). Augmentation: blur, noise, colour, erased patches, and for half of
each batch an adversarial perturbation of the pixels (fast gradient sign, Goodfellow et al., arXiv 1412.6572). A tenth of the pictures
is watched, not learned.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import augment, shuffle
from choose_artworks import ARTISTS
from data import random_crop, read_folder
from make_targets import slug
from perceptual import SqueezeNetFeatures
from probe import TAPS, statistics
from safetensors.torch import load_file, save_file
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
WIDTH = 160  # leading principal components of SqueezeNet's statistics that the head learns
WORDINGS = 16
# The art styles with enough artworks for a probe to tell them.
TOLD = (
    "impressionism", "cubism", "fauvism", "ukiyo-e", "pointillism", "pop art", "naive art", "abstract expressionism", "rococo",
    "chinese ink painting",
)  # fmt: skip
MOVEMENT = 20  # artworks that make a label one of real pictures
FOLDS = 4  # probes, each of which leaves out a part of the artworks and judges it


def pooled_output(tower: torch.nn.Module, images: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What the tower gives (B, E) for pictures (B, 3, H, W) in 0..1 when it sees only the patches at these places."""
    tokens = tower.embeddings(2 * images - 1)[:, places]
    return tower.head(tower.post_layernorm(tower.encoder(inputs_embeds=tokens).last_hidden_state))


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
            # No set: its order changes from run to run, and with it what the labels' indices in the crops that are kept would mean.
            for style in dict.fromkeys([SAME.get(picture.style, picture.style.lower()), artists.get(picture.artist)]):
                if style:
                    self.pools.setdefault(style, []).append(work)
        self.real = [style for style, works in self.pools.items() if len(works) >= MOVEMENT]
        for name in names:
            path = targets / f"{slug(name)}.npz"
            if path.exists():
                with np.load(path) as file:
                    self.pools.setdefault(name, []).extend(torch.from_numpy(file["pictures"]).permute(0, 3, 1, 2))
        self.labels = list(self.pools)

    def related(self) -> torch.Tensor:
        """(labels, labels), True where an artwork has both: the one is no mistake for the other."""
        own = [{id(picture) for picture in self.pools[label]} for label in self.labels]
        shared = torch.tensor([[bool(a & b) for b in own] for a in own])
        return shared & ~torch.eye(len(own), dtype=torch.bool)

    def crops(self, size: int, rng: np.random.Generator):
        """Yields crops (3, size, size) in 0..1, their labels' indices and their pictures' numbers: more where pictures are real or few."""
        numbers: dict[int, int] = {}
        for index, (label, pool) in enumerate(self.pools.items()):
            real = label in self.real
            times = 2 if label == "photo" else 10 if real else 3 if len(pool) < 40 else 1
            for picture in times * pool:
                side = min(picture.shape[1:])
                if label != "photo" and rng.random() < 0.2:  # squeezed to a square, as the encoder does with a whole picture
                    image = picture[None].float() / 255
                else:
                    crop = side if rng.random() < 0.35 else int(rng.integers(int((0.4 if real else 0.6) * side), side + 1))
                    image = random_crop(picture, crop, rng)[None].float() / 255
                image = F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)
                yield image[0].clamp(0, 1), index, numbers.setdefault(id(picture), len(numbers))


@torch.no_grad()
def measured_crops(pictures: Pictures, squeezenet: str, size: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """The crops as bytes, their labels, whether they are only watched, the leading principal components (crops, WIDTH) of their
    statistics, of unit variance, and how likely a probe that learned from other pictures, none of them watched, finds the styles TOLD."""
    from sklearn.linear_model import LogisticRegression

    features = SqueezeNetFeatures(squeezenet, TAPS)
    images, labels, numbers, rows = [], [], [], []
    for image, label, number in pictures.crops(size, rng):
        images.append((255 * image).round().byte())
        labels.append(label)
        numbers.append(number)
        rows.append(statistics(features, image[None], size)[0])
    rows = torch.stack(rows)
    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-4)
    some = rows[torch.from_numpy(rng.permutation(len(rows))[:8000])]
    _, values, axes = torch.linalg.svd(some, full_matrices=False)
    known = rows @ (axes[:WIDTH].T * (len(some) ** 0.5 / values[:WIDTH]))
    labels = torch.tensor(labels)
    scattered = torch.tensor(numbers) * 2654435761 % 2**32 // 2**8  # by Knuth's multiplicative hash
    watched, folds = scattered % 10 == 3, scattered // 10 % FOLDS
    styles = [pictures.labels.index(style) for style in TOLD]
    told, likely = torch.isin(labels, torch.tensor(styles)) & ~watched, torch.zeros(len(rows), len(TOLD))
    for fold in range(FOLDS):
        others, own = told & (folds != fold), folds == fold
        probe = LogisticRegression(C=0.001, class_weight="balanced", max_iter=300).fit(rows[others], labels[others])
        likely[own] = torch.from_numpy(probe.predict_proba(rows[own])[:, [probe.classes_.tolist().index(i) for i in styles]]).float()
    own = labels[told, None] == torch.tensor(styles)
    found = own.gather(1, likely[told].argsort(1, descending=True)[:, :3]).any(1)
    print(f"the probes find the style of {found.float().mean():.0%} of the crops among three", flush=True)
    return {"images": torch.stack(images), "labels": labels, "watched": watched, "known": known, "likely": likely}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--targets", required=True)
    parser.add_argument("--siglip", required=True, help="folder made by train_text.py, or an earlier one of this stage")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--out", default="runs/image")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epsilon", type=float, default=3 / 255, help="largest size of the adversarial perturbation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    out, device = Path(args.out), torch.device(args.device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    model = SiglipModel.from_pretrained(args.siglip).to(device, torch.float32)
    model.text_model.requires_grad_(False)
    encoder = StyleEncoder(model, AutoTokenizer.from_pretrained(args.tokenizer))
    tower, size = model.vision_model, model.config.vision_config.image_size
    rng = np.random.default_rng(args.seed)

    pictures = Pictures(args.photos, args.art, Path(args.targets))
    names, real = pictures.labels, [pictures.labels.index(label) for label in pictures.real]
    print(f"{len(names)} labels: {', '.join(f'{k} {len(v)}' for k, v in pictures.pools.items())}", flush=True)
    if not (out / "crops.safetensors").exists():
        save_file(measured_crops(pictures, args.squeezenet, size, rng), out / "crops.part")
        (out / "crops.part").rename(out / "crops.safetensors")
    crops = load_file(out / "crops.safetensors")
    related = pictures.related().to(device)
    del pictures
    watched, patch = crops["watched"], model.config.vision_config.patch_size
    every = torch.arange((size // patch) ** 2)
    rows = [(crops["labels"].eq(index) & ~watched).nonzero()[:, 0].numpy() for index in range(len(names))]
    learned = [index for index, own in enumerate(rows) if len(own)]  # all of a label's few pictures may be watched

    wordings = {s["name"]: [s["name"], *s["wordings"]] for s in vocabulary()}
    with torch.no_grad():  # (labels, sentences, E): a style's name, wordings and paraphrases, or templates where these are few
        bank = torch.stack(
            [encoder.encode_text([word_it(w[i % len(w)], rng) if i >= len(w) else w[i] for i in range(WORDINGS)])
             for w in (wordings.get(label, [f"a {label}", label, f"{label} style"]) for label in names)]
        ).to(device)  # fmt: skip
    centre = F.normalize(bank.mean(1), dim=-1)
    told = bank[[names.index(style) for style in TOLD], 0]

    head = torch.nn.Linear(model.config.vision_config.hidden_size, WIDTH).to(device)
    scale = torch.nn.Parameter(torch.tensor(30.0, device=device).log())
    parts = torch.nn.ModuleDict({"tower": tower, "head": head, "ema": copy.deepcopy(tower).requires_grad_(False)})
    parts.register_parameter("scale", scale)
    matrices = [p for n, p in tower.named_parameters() if p.dim() == 2 and n.startswith("encoder.") and n.endswith("weight")]
    rest = [p for p in tower.parameters() if all(p is not m for m in matrices)]
    groups = [{"params": [*rest, *head.parameters()]}, {"params": [scale], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.05)
    muon = torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    start, _ = checkpoint.load(out / "checkpoint.safetensors", {"parts": parts}, optimizer)
    if checkpoint.load(out / "muon.safetensors", {}, muon)[0] != start:
        muon.state.clear()  # of another step: the training was killed between the two files

    @torch.no_grad()
    def found(which: torch.Tensor) -> float:
        """How often an artwork's style is among the three nearest of those TOLD."""
        parts.ema.eval()
        places = []
        for place, style in enumerate(TOLD):
            own = (crops["labels"].eq(names.index(style)) & which).nonzero()[:120, 0]
            if len(own):
                pooled = parts.ema(pixel_values=2 * crops["images"][own].to(device).float() / 255 - 1).pooler_output
                near = F.normalize(pooled, dim=-1) @ told.T
                places.append((near.argsort(1, descending=True)[:, :3] == place).any(1).float().mean().item())
        return float(np.mean(places))

    then, log = time.time(), []
    for step in range(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups + muon.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / args.steps)))
        labels = rng.choice(learned, args.batch)
        labels[::2] = rng.choice(real, len(labels[::2]))  # half from the labels with many real pictures
        chosen = torch.from_numpy(np.array([rng.choice(rows[label]) for label in labels]))
        images = crops["images"][chosen].float() / 255
        mirrored = torch.from_numpy(rng.random(args.batch) < 0.5)[:, None, None, None]
        images = augment(torch.where(mirrored, images.flip(3), images), generator)
        labels = torch.from_numpy(labels)
        said = bank[labels, torch.from_numpy(rng.integers(WORDINGS, size=args.batch))]
        wanted = [F.one_hot(labels, len(names)).float(), said.cpu(), crops["known"][chosen], crops["likely"][chosen]]
        excused, places = related[labels].cpu(), every
        if step % 4:
            shares = 0.5 * torch.rand(args.batch, 1, generator=generator) * (torch.rand(args.batch, 1, generator=generator) < 0.4)
            images = shuffle(images, patch, shares, generator)
            wanted = [torch.lerp(own, own.roll(2, 0), shares) for own in wanted]
            excused |= excused.roll(2, 0)
            places = every[torch.randperm(len(every), generator=generator)[: len(every) // 2]]
        images, excused = images.to(device), (excused & (wanted[0] == 0)).to(device)
        wanted = [each.to(device) for each in wanted]
        # Half of the time against the labels' centres, a quarter against their names, a quarter against one wording of each.
        classes = centre if rng.random() < 0.5 else bank[:, 0 if rng.random() < 0.5 else int(rng.integers(WORDINGS))]

        def loss_of(images, excused, labels, said, known, likely):
            with torch.autocast(device.type, torch.bfloat16):
                pooled = pooled_output(tower, images, places)
            pooled = pooled.float()
            embedding = F.normalize(pooled, dim=-1)
            sharp = scale.exp().clamp(max=60) * embedding
            logits = sharp @ classes.T - 50.0 * excused
            sentence = 1 - (embedding * said).sum(-1).mean()
            taught = 2 * F.cross_entropy(sharp @ told.T, likely) + 1.5 * F.mse_loss(head(pooled), known)
            return F.cross_entropy(logits, labels) + sentence + taught, logits

        half = args.batch // 2
        attacked = images[:half].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss_of(attacked, excused[:half], *(each[:half] for each in wanted))[0], attacked)
        epsilon = args.epsilon * torch.rand(half, 1, 1, 1, generator=generator).to(device)
        attacked = (attacked + epsilon * gradient.sign()).clamp(0, 1).detach()
        loss, logits = loss_of(torch.cat([attacked, images[half:]]), excused, *wanted)
        for each in (optimizer, muon):
            each.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        for each in (optimizer, muon):
            each.step()
        with torch.no_grad():
            for mean, live in zip(parts.ema.parameters(), tower.parameters()):
                mean.lerp_(live, 1 - min(0.996, (1 + step) / (10 + step)))
        log.append([loss.item(), (logits.argmax(-1).cpu() == labels).float().mean().item()])
        if (step + 1) % 50 == 0:
            loss, accuracy = np.mean(log, 0)
            row = {"step": step + 1, "loss": loss, "accuracy": accuracy, "s_per_step": (time.time() - then) / len(log)}
            print(json.dumps({key: round(float(value), 3) for key, value in row.items()}), flush=True)
            then, log = time.time(), []
        if (step + 1) % 400 == 0 or step + 1 == args.steps:
            print(json.dumps({"learned, top 3": round(found(~watched), 3), "watched, top 3": round(found(watched), 3)}), flush=True)
            checkpoint.save(out / "muon.safetensors", step + 1, {}, muon)
            checkpoint.save(out / "checkpoint.safetensors", step + 1, {"parts": parts}, optimizer)
            made = copy.deepcopy(model)
            made.vision_model.load_state_dict(parts.ema.state_dict())
            made.save_pretrained(out / "siglip")
            then = time.time()


if __name__ == "__main__":
    main()
