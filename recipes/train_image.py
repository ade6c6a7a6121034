"""Stage 6: the image tower. It learns to place a picture at the sentence of its style, robustly, so that its gradient points at the style.

The text tower stays as it is. Pictures are real artworks, photos, and the styles' pictures of stage 4. So few artworks teach little from
scratch, and are soon learned by heart. So the tower learns what an ImageNet network knows, of ever new crops: a linear head on its output,
thrown away afterwards, learns SqueezeNet's statistics, and instead of the art styles' labels the tower learns how likely a linear probe on
the statistics finds each of them, in photos and effects as well (Hinton et al., arXiv 1503.02531); a picture is judged by a probe that
did not learn from it, or its likelihoods would be its label. A third of the pictures have other colours than their own and teach only this.
A style is in every patch, wherever it lies, and a motif is not: in three steps of four the tower sees half of a picture's patches, in any
order, and some of another picture's among them (Yun et al., arXiv 1905.04899). Augmentation: blur, noise, colour, erased patches, and for
half of each batch an adversarial perturbation of the pixels (fast gradient sign, Goodfellow et al., arXiv 1412.6572). A tenth of the
artworks is watched, not learned; ``watched.txt`` names them, and an earlier run's is to be copied when its tower is trained on.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import augment, recoloured, shuffle
from choose_artworks import ARTISTS
from data import read_folder
from make_targets import slug
from perceptual import SqueezeNetFeatures
from precision import mixed, muon
from probe import TAPS, rows_of, statistics
from resuming import Together
from safetensors.torch import load_file, save_file
from schedule import Schedule
from sentences import vocabulary, word_it
from transformers import AutoTokenizer, SiglipModel

from stylemamba import StyleEncoder, checkpoint
from stylemamba.image_files import replacing

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
FOLDS = 4  # probes, each of which leaves out a part of the pictures and judges it
SIDE = 256  # px, to which pictures are squeezed, as the encoder squeezes a whole picture
SEEN, KEPT = 3, 6000  # how often a crop is seen, and among how many
BY_NAME = 0.25  # weight of the labels of real pictures, of which there are few


def pooled_output(tower: torch.nn.Module, images: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What the tower gives (B, E) for pictures (B, 3, H, W) in 0..1 when it sees only the patches at these places."""
    tokens = tower.embeddings(2 * images - 1)[:, places]
    return tower.head(tower.post_layernorm(tower.encoder(inputs_embeds=tokens).last_hidden_state))


class Pictures:
    """Labelled pictures: each label is a style of the vocabulary, an artwork's style label, or a photo.

    ``pixels`` (N, 3, SIDE, SIDE) are uint8; ``all_rows`` lists those of each label, ``rows`` without those that are only ``watched`` (N,);
    ``told`` are the labels of `TOLD` that there are.
    """

    def __init__(self, photos: str, art: str, targets: list[Path], watched: Path):
        artists = {artist: style for style, artist in ARTISTS.items()}
        works = [p for p in read_folder(art) if p.style not in LEFT_OUT]
        if not watched.exists():
            names = sorted(p.path.name for p in works)
            chosen = np.random.default_rng(0).permutation(names)[: len(names) // 10]
            with replacing(watched) as partial:
                partial.write_text("\n".join(chosen) + "\n", encoding="utf-8")
        aside = set(watched.read_text(encoding="utf-8").split("\n"))
        pixels, pools, watching = [], {}, []

        def add(picture: torch.Tensor, labels: list[str], watched: bool = False):
            for label in labels:
                pools.setdefault(label, []).append(len(pixels))
            if picture.shape[1:] != (SIDE, SIDE):
                small = F.interpolate(picture[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
                picture = small[0].round().clamp(0, 255).byte()
            pixels.append(picture)
            watching.append(watched)

        for photo in read_folder(photos):
            add(photo.load(), ["photo"])
        for work in works:
            # An artist's pictures show the movement as well.
            # No set: its order changes from run to run.
            styles = dict.fromkeys([SAME.get(work.style, work.style.lower()), artists.get(work.artist)])
            add(work.load(), [style for style in styles if style], work.path.name in aside)
        self.real = [label for label, rows in pools.items() if label != "photo" and len(rows) >= MOVEMENT]
        if not self.real:
            raise SystemExit(f"{art} has no style with {MOVEMENT} artworks to learn from; add some.")
        for style in vocabulary():
            for path in (folder / f"{slug(style['name'])}.npz" for folder in targets):
                if path.exists():
                    with np.load(path) as file:
                        for picture in file["pictures"]:
                            add(torch.from_numpy(picture).permute(2, 0, 1), [style["name"]])
        self.pixels, self.watched, self.labels = torch.stack(pixels), torch.tensor(watching), list(pools)
        self.all_rows = list(pools.values())
        self.rows = [np.array([row for row in rows if not watching[row]], dtype=int) for rows in self.all_rows]
        self.folds = torch.arange(len(pixels)) * 2654435761 % 2**32 // 2**8 % FOLDS  # scattered by Knuth's multiplicative hash
        # Every probe leaves out a fold, and must know the style from another one.
        rows = dict(zip(self.labels, self.rows))
        self.told = [style for style in TOLD if style in rows and len(self.folds[rows[style]].unique()) > 1]
        if len(self.told) < 2:
            raise SystemExit(f"Too few pictures show {', '.join(TOLD)}: add artworks of two of them to {art}, or make their targets.")

    def related(self) -> torch.Tensor:
        """(labels, labels), True where an artwork has both: the one is no mistake for the other."""
        own = [set(rows) for rows in self.all_rows]
        shared = torch.tensor([[bool(a & b) for b in own] for a in own])
        return shared & ~torch.eye(len(own), dtype=torch.bool)


def cut(pictures: torch.Tensor, size: int, least: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crops (B, 3, size, size) in 0..1 of pictures (B, 3, H, W), uint8, half of them mirrored, a third whole, and the others' sides
    between ``least`` (B,) of the picture's and all of it, one side up to a third longer than the other."""
    count, device = len(pictures), pictures.device
    rand = lambda: torch.rand(count, generator=generator, device=device)
    side = torch.where(rand() < 0.35, 1.0, least + (1 - least) * rand())
    wide, high = ((side * 0.75 ** (rand() * (side < 1))) for _ in range(2))
    mirror = torch.where(rand() < 0.5, -1.0, 1.0)
    zero = torch.zeros(count, device=device)
    where = [mirror * wide, zero, (2 * rand() - 1) * (1 - wide), zero, high, (2 * rand() - 1) * (1 - high)]
    grid = F.affine_grid(torch.stack(where, 1).unflatten(1, (2, 3)), (count, 3, 2 * size, 2 * size), align_corners=False)
    # Twice as fine as asked for: sampling does not smooth what lies between.
    return F.avg_pool2d(F.grid_sample(pictures.float() / 255, grid, padding_mode="border", align_corners=False), 2)


class Teacher(torch.nn.Module):
    """What SqueezeNet's statistics say of pictures: their leading principal components, and how likely they show each of some styles.

    Its tensors are fitted by `fit`, once.
    """

    def __init__(self, squeezenet: str, size: int, styles: int):
        super().__init__()
        self.features, self.size = SqueezeNetFeatures(squeezenet, TAPS).to(memory_format=torch.channels_last), size
        width = sum(2 * channels for channels in self.features.channels)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("axes", torch.zeros(width, WIDTH))
        self.register_buffer("probes", torch.zeros(FOLDS, width + 1, styles))

    @torch.no_grad()
    def forward(self, images: torch.Tensor, folds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, H, W) in 0..1 and which probe did not learn from each -> (B, WIDTH) of unit variance, (B, styles)."""
        with mixed(images.device):  # half of the time on a CPU that has it, and within .004
            rows = statistics(self.features, images.contiguous(memory_format=torch.channels_last), self.size).float()
        rows = (rows - self.mean) / self.deviation
        found = torch.einsum("bw,fws->bfs", rows, self.probes[:, :-1]) + self.probes[:, -1]
        return rows @ self.axes, found[torch.arange(len(rows)), folds].softmax(1)

    @torch.no_grad()
    def fit(self, pictures: Pictures, times: int, generator: torch.Generator) -> None:
        """Measures ``times`` crops of every artwork, and one of every other picture."""
        from sklearn.linear_model import LogisticRegression

        styles = [pictures.labels.index(style) for style in pictures.told]
        labels = torch.full((len(pictures.pixels),), -1)
        for index in styles:
            labels[pictures.rows[index]] = index
        real = np.unique(np.concatenate([pictures.rows[pictures.labels.index(label)] for label in pictures.real]))
        seen = torch.from_numpy(np.concatenate([np.arange(len(labels)), *[real] * (times - 1)]))
        rows, device = [], self.mean.device
        for at in range(0, len(seen), 64):
            own = pictures.pixels[seen[at : at + 64]].to(device)
            crops = cut(own, self.size, torch.full((len(own),), 0.5, device=device), generator)
            rows.append(statistics(self.features, crops, self.size).cpu())
        rows = torch.cat(rows)
        self.mean, self.deviation = rows.mean(0).to(device), (rows.std(0) + 1e-4).to(device)
        rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-4)
        some = rows[torch.randperm(len(rows))[:8000]]
        _, values, axes = torch.linalg.svd(some, full_matrices=False)
        self.axes = (axes[:WIDTH].T * (len(some) ** 0.5 / values[:WIDTH])).to(device)
        told, folds, right = labels[seen] >= 0, pictures.folds[seen], 0
        for fold in range(FOLDS):
            others, own = told & (folds != fold), told & (folds == fold)
            probe = LogisticRegression(C=0.001, class_weight="balanced", max_iter=300).fit(rows[others], labels[seen[others]])
            place, (weights, biases) = [probe.classes_.tolist().index(index) for index in styles], rows_of(probe)
            self.probes[fold] = torch.from_numpy(np.concatenate([weights[place].T, biases[None, place]])).to(self.probes)
            ranks = probe.predict_proba(rows[own])[:, place].argsort(1)[:, -3:]
            right += (labels[seen[own]].numpy()[:, None] == np.array(styles)[ranks]).any(1).sum()
        print(f"the probes find the style of {right / told.sum():.0%} of the crops among three", flush=True)


class Crops:
    """Ever new crops of the pictures, and what the teacher says of them. It takes longer than the tower, so each crop is seen `SEEN` times.

    A third of them are in foreign colours and do not answer for their names.
    """

    def __init__(self, pictures: Pictures, teacher: Teacher, device: torch.device):
        self.pictures, self.teacher, self.device = pictures, teacher, device
        self.pixels, self.folds = pictures.pixels.to(device), pictures.folds.to(device)
        self.real = [pictures.labels.index(label) for label in pictures.real]
        self.learned = [index for index, own in enumerate(pictures.rows) if len(own)]  # all of a label's few pictures may be watched
        self.kept, self.count = [], 0

    @torch.no_grad()
    def fresh(self, count: int, rng: np.random.Generator, generator: torch.Generator) -> list[torch.Tensor]:
        """Crops (count, 3, size, size), uint8, their labels, the labels' weights, and the teacher's statistics and likelihoods."""
        labels = rng.choice(self.learned, count)
        labels[::2] = rng.choice(self.real, len(labels[::2]))  # half from the labels with many real pictures
        chosen = torch.from_numpy(np.array([rng.choice(self.pictures.rows[label]) for label in labels])).to(self.device)
        labels, is_real = (torch.from_numpy(each).to(self.device) for each in (labels, np.isin(labels, self.real)))
        foreign = torch.arange(count, device=self.device) % 3 == 2
        images = cut(self.pixels[chosen], self.teacher.size, torch.where(is_real, 0.4, 0.6), generator)
        images = torch.where(foreign[:, None, None, None], recoloured(images, generator), images)
        weight = torch.where(is_real, BY_NAME, 1.0) * ~foreign
        return [(255 * images).round().byte(), labels, weight[:, None], *self.teacher(images, self.folds[chosen])]

    def draw(self, count: int, rng: np.random.Generator, generator: torch.Generator) -> list[torch.Tensor]:
        """As `fresh`, in any order; most of them were drawn before."""
        made = self.fresh(count // SEEN if self.kept else count, rng, generator)
        if not self.kept:
            self.kept = [own.new_empty(KEPT, *own.shape[1:]) for own in made]
        filled, size = min(self.count, KEPT), len(made[0])
        old = torch.randint(max(filled, 1), (count - size,), generator=generator, device=self.device)
        order = torch.randperm(count, generator=generator, device=self.device)
        batch = [torch.cat([own, kept[old]])[order] for own, kept in zip(made, self.kept, strict=True)]
        rows = (self.count + torch.arange(size, device=self.device)) % KEPT
        for own, kept in zip(made, self.kept, strict=True):
            kept[rows] = own
        self.count += size
        return batch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument("--targets", required=True, nargs="+", type=Path, help="folders made by make_targets.py")
    parser.add_argument("--siglip", required=True, help="folder made by train_text.py, or an earlier one of this stage")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--squeezenet", required=True)
    parser.add_argument("--out", default="runs/image")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="it ends when it has run so long, at the latest")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epsilon", type=float, default=3 / 255, help="largest size of the adversarial perturbation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    out, device = Path(args.out), torch.device(args.device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    model = SiglipModel.from_pretrained(args.siglip).to(device, torch.float32)
    model.text_model.requires_grad_(False)
    encoder = StyleEncoder(model, AutoTokenizer.from_pretrained(args.tokenizer))
    tower, size = model.vision_model, model.config.vision_config.image_size
    rng = np.random.default_rng(args.seed)

    pictures = Pictures(args.photos, args.art, args.targets, out / "watched.txt")
    names = pictures.labels
    print(f"{len(names)} labels: {', '.join(f'{k} {len(v)}' for k, v in zip(names, pictures.rows))}", flush=True)
    teacher = Teacher(args.squeezenet, size, len(pictures.told)).to(device)
    if not (out / "teacher.safetensors").exists():
        teacher.fit(pictures, 4, torch.Generator(device).manual_seed(args.seed))
        save_file({name: value.contiguous() for name, value in teacher.named_buffers(recurse=False)}, out / "teacher.part")
        (out / "teacher.part").rename(out / "teacher.safetensors")
    teacher.load_state_dict(load_file(out / "teacher.safetensors", device.type), strict=False)
    crops, related = Crops(pictures, teacher, device), pictures.related().to(device)
    patch = model.config.vision_config.patch_size
    every = torch.arange((size // patch) ** 2, device=device)

    wordings = {s["name"]: [s["name"], *s["wordings"]] for s in vocabulary()}
    with torch.no_grad():  # (labels, sentences, E): a style's name, wordings and paraphrases, or templates where these are few
        bank = torch.stack(
            [encoder.encode_text([word_it(w[i % len(w)], rng) if i >= len(w) else w[i] for i in range(WORDINGS)])
             for w in (wordings.get(label, [f"a {label}", label, f"{label} style"]) for label in names)]
        ).to(device)  # fmt: skip
    centre = F.normalize(bank.mean(1), dim=-1)
    told = bank[[names.index(style) for style in pictures.told], 0]

    head = torch.nn.Linear(model.config.vision_config.hidden_size, WIDTH).to(device)
    scale = torch.nn.Parameter(torch.tensor(30.0, device=device).log())
    parts = torch.nn.ModuleDict({"tower": tower, "head": head, "ema": copy.deepcopy(tower).requires_grad_(False)})
    parts.register_parameter("scale", scale)
    matrices = [p for n, p in tower.named_parameters() if p.dim() == 2 and n.startswith("encoder.") and n.endswith("weight")]
    rest = [p for p in tower.parameters() if all(p is not m for m in matrices)]
    groups = [{"params": [*rest, *head.parameters()]}, {"params": [scale], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.05)
    orthogonal = muon(matrices, device, weight_decay=0.05)
    start, saved = checkpoint.load(out / "checkpoint.safetensors", {"parts": parts}, Together(optimizer, orthogonal))

    @torch.no_grad()
    def found(watched: bool) -> list[float]:
        """How often an artwork's style is the nearest and among the three nearest of those told, of the styles that have such artworks."""
        parts.ema.eval()
        shares = []
        for place, style in enumerate(pictures.told):
            own = [row for row in pictures.all_rows[names.index(style)] if bool(pictures.watched[row]) == watched][:120]
            if not own:
                continue
            images = F.interpolate(crops.pixels[own].float() / 255, (size, size), mode="bilinear", antialias=True, align_corners=False)
            near = F.normalize(parts.ema(pixel_values=2 * images - 1).pooler_output, dim=-1) @ told.T
            order = near.argsort(1, descending=True)
            shares.append([(order[:, :n] == place).any(1).float().mean().item() for n in (1, 3)])
        return np.mean(shares, 0).round(3).tolist()

    def export() -> None:
        made = copy.deepcopy(model)
        made.vision_model.load_state_dict(parts.ema.state_dict())
        made.save_pretrained(out / "siglip")

    schedule = Schedule(args.steps, args.minutes, saved.get("spent", 0.0))
    then, log = time.time(), []
    for step in range(start, start if schedule.over else args.steps):
        rng = np.random.default_rng((args.seed, step))
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**32)))
        rate, last = schedule(step)
        for group in optimizer.param_groups + orthogonal.param_groups:
            group["lr"] = args.lr * rate
        rand = lambda *shape: torch.rand(*shape, generator=generator, device=device)
        images, labels, weight, known, likely = crops.draw(args.batch, rng, generator)
        images = augment(images.float() / 255, generator)
        said = bank[labels, torch.from_numpy(rng.integers(WORDINGS, size=args.batch)).to(device)]
        wanted = [F.one_hot(labels, len(names)).float(), said, known, likely, weight]
        excused, places = related[labels], every
        if step % 4:
            shares = 0.5 * rand(args.batch, 1) * (rand(args.batch, 1) < 0.4)
            images = shuffle(images, patch, shares, generator)
            wanted = [torch.lerp(own, own.roll(2, 0), shares) for own in wanted]
            excused = excused | (excused.roll(2, 0) & (shares > 0))
            places = every[torch.randperm(len(every), generator=generator, device=device)[: len(every) // 2]]
        excused = excused & (wanted[0] == 0)
        # Half of the time against the labels' centres, a quarter against their names, a quarter against one wording of each.
        classes = centre if rng.random() < 0.5 else bank[:, 0 if rng.random() < 0.5 else int(rng.integers(WORDINGS))]

        def loss_of(images, excused, labels, said, known, likely, weight):
            with mixed(device):
                pooled = pooled_output(tower, images, places)
            pooled = pooled.float()
            embedding = F.normalize(pooled, dim=-1)
            sharp = scale.exp().clamp(max=60) * embedding
            logits = sharp @ classes.T - 50.0 * excused
            named = F.cross_entropy(logits, labels, reduction="none") + 1 - (embedding * said).sum(-1)
            taught = [F.cross_entropy(sharp @ told.T, likely), F.mse_loss(head(pooled), known)]
            return (weight[:, 0] * named).mean() + 2 * taught[0] + 1.5 * taught[1], torch.stack([*taught, named.mean()]).detach()

        half = args.batch // 2
        attacked = images[:half].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss_of(attacked, excused[:half], *(each[:half] for each in wanted))[0], attacked)
        epsilon = args.epsilon * rand(half, 1, 1, 1)
        attacked = (attacked + epsilon * gradient.sign()).clamp(0, 1).detach()
        loss, terms = loss_of(torch.cat([attacked, images[half:]]), excused, *wanted)
        for each in (optimizer, orthogonal):
            each.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        for each in (optimizer, orthogonal):
            each.step()
        with torch.no_grad():
            for mean, live in zip(parts.ema.parameters(), tower.parameters()):
                mean.lerp_(live, 1 - min(0.996, (1 + step) / (10 + step)))
        log.append(terms)
        if (step + 1) % 50 == 0:
            likely, known, named = torch.stack(log).mean(0).tolist()
            row = {"step": step + 1, "likely": likely, "known": known, "named": named, "s_per_step": (time.time() - then) / len(log)}
            print(json.dumps({key: round(float(value), 3) for key, value in row.items()}), flush=True)
            then, log = time.time(), []
        if (step + 1) % 400 == 0 or last:
            info = {"spent": schedule.spent}
            checkpoint.save(out / "checkpoint.safetensors", step + 1, {"parts": parts}, Together(optimizer, orthogonal), info)
            export()
            print(json.dumps({"learned, top 1 and 3": found(False), "watched, top 1 and 3": found(True)}), flush=True)
            then = time.time()
        if last:
            break
    export()  # once more: it may have been stopped after its last checkpoint


if __name__ == "__main__":
    main()
