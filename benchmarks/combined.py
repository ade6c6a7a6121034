"""Two styles in one sentence: does the picture show both?

    PYTHONPATH=recipes python benchmarks/combined.py --coco COCO --art ART [--photos PHOTOS] [--cache FOLDER] [--sheet FILE] [MODEL ...]

`quality.py`'s judge looks at four lights in each of eight media and movements, asked for as "a mosaic in fog", and says how often both
styles are the first two, or among the first three, of its twenty; so it does for what the training asks for (``targets``, one effect over
the other, `recipes/combinations.py`). Without a model's folder the bundled one is asked. On COCO photos, or, for models in the making, on
those of PHOTOS that `recipes/data.py` sets aside.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from combinations import laid
from data import read_folder
from PIL import Image
from quality import SIDE, content_maps, quality_judge, remember, tensor, with_effect
from sheet import contact_sheet, digest_of, spread, square
from torchmetrics.functional.image import structural_similarity_index_measure

from stylemamba import StyleMambaPipeline
from stylemamba.image_files import find_images
from stylemamba.judge import Judge

COUNT = 12  # photos
LIGHTS = {"night": "at night", "fog": "in fog", "snow": "in the snow", "sepia": "in sepia"}
MEDIA = {
    "mosaic": "a mosaic", "stained glass": "stained glass", "watercolor": "a watercolor", "pixel art": "pixel art",
    "charcoal": "a charcoal drawing", "impressionism": "an impressionist painting", "ukiyo-e": "an ukiyo-e print", "pop art": "pop art",
}  # fmt: skip
ASKED = [(light, medium) for medium in MEDIA for light in LIGHTS]


def both_seen(judge: Judge, make, photos: list[Image.Image], candidates: np.ndarray, rows: np.ndarray) -> tuple[dict, list]:
    """Figures of one maker's pictures, and a picture of each combination."""
    places, ssim, own, shown = [], [], [], []
    for light, medium in ASKED:
        pictures = make(photos, light, medium)
        statistics, _ = judge.features(pictures)
        order = np.argsort(-judge.scores(statistics), axis=1)
        lesser = [max(list(row).index(judge.styles.index(style)) for style in (light, medium)) for row in order]
        places += lesser
        ssim += structural_similarity_index_measure(tensor(pictures), tensor(photos), data_range=1.0, reduction="none").tolist()
        maps = torch.from_numpy(content_maps(judge, pictures)).float()
        own += ((maps @ candidates.T).argmax(1).numpy() == rows).tolist()
        shown.append(pictures[len(shown) % len(pictures)])
    places = np.array(places)
    figures = {"both are the first two": (places < 2).mean(), "among the first three": (places < 3).mean()}
    return figures | {"ssim": np.mean(ssim), "own source, by place": np.mean(own)}, shown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folders; without any, the bundled model")
    parser.add_argument("--coco", required=True, help="folder of COCO photos")
    parser.add_argument("--art", required=True, help="folder of labelled art with index.csv")
    parser.add_argument("--photos", help="folder of photos with index.csv, for models in the making")
    parser.add_argument("--cache", type=Path, help="folder where what doesn't depend on the model is kept for the next run")
    parser.add_argument("--sheet", type=Path, help="writes a sheet: a picture of each combination by each maker")
    args = parser.parse_args()

    args.cache = args.cache and args.cache / digest_of(args.coco, args.art)
    coco = find_images([args.coco])
    judge = quality_judge(coco, args.art, COUNT, args.cache)
    paths = [photo.path for photo in read_folder(args.photos, train=False)] if args.photos else coco
    chosen = spread(paths, COUNT)
    photos, rows = [square(path, SIDE) for path in chosen], np.array([paths.index(path) for path in chosen])
    every = remember(
        args.cache,
        f"maps-{digest_of(args.photos) if args.photos else 'coco'}",
        lambda: {"maps": content_maps(judge, [square(path, SIDE) for path in paths])},
    )
    candidates = torch.from_numpy(every["maps"]).float()

    def targets(photos, light, medium):
        one, two = laid([light, medium])
        return [with_effect(with_effect(photo, one), two) for photo in photos]

    makers = {"targets": targets}
    for model in args.models or [None]:
        pipe = StyleMambaPipeline.from_pretrained(*([model] if model else []))
        pipe.set_progress_bar_config(disable=True)
        makers[model or "bundled"] = lambda photos, light, medium, pipe=pipe: pipe(photos, f"{MEDIA[medium]} {LIGHTS[light]}").images
    shown = {}
    for title, make in makers.items():
        figures, pictures = both_seen(judge, make, photos, candidates, rows)
        print(f"{title}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()), flush=True)
        for combination, picture in zip(ASKED, pictures, strict=True):
            shown.setdefault(f"{' + '.join(combination)} ({', '.join(makers)})", []).append(picture)
    if args.sheet:
        contact_sheet(shown).save(args.sheet)


if __name__ == "__main__":
    main()
