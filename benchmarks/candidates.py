"""Models in the making, one line each: what weights are chosen by before one of them is judged by `quality.py`.

    PYTHONPATH=recipes python benchmarks/candidates.py --photos PHOTOS --art ART --coco COCO --cache /tmp/quality MODEL MODEL ...

Twelve of the photos that `recipes/data.py` sets aside, in the twenty styles, by the same judge; so nothing is chosen by the photos that the
published figures are of. (The COCO photos only teach the judge the effects, as in `quality.py`.) A picture's own photo is looked for among
all photos, also those learned from, of which there are more than of COCO's. Below each line, for each style: of twelve pictures, how many
are named right | how many have their own photo as the nearest.

With ``--watched`` (``watched.txt`` of recipes/train_image.py) also by a picture: artworks that the image tower did not learn, and the
effects on other photos.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from data import read_folder
from PIL import Image
from quality import ART, SIDE, confusion, content_maps, judged_figures, look_at, quality_judge, remember, with_effect
from sheet import digest_of, spread, square
from train_image import SAME

from stylemamba import StyleMambaPipeline
from stylemamba.image_files import find_images

COUNT = 12  # photos
OTHERS = 40  # one of so many photos shows an effect


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folders made by save_pretrained or recipes/bundle.py")
    parser.add_argument("--photos", required=True, help="folder of photos with index.csv")
    parser.add_argument("--art", required=True, help="folder of labelled art with index.csv")
    parser.add_argument("--coco", required=True, help="folder of COCO photos")
    parser.add_argument("--watched", type=Path, help="names of artworks that the image tower did not learn")
    parser.add_argument("--cache", type=Path, help="folder where what doesn't depend on the model is kept for the next run")
    args = parser.parse_args()

    args.cache = args.cache and args.cache / digest_of(args.coco, args.art)
    judge = quality_judge(find_images([args.coco]), args.art, COUNT, args.cache)
    aside, learned = ([photo.path for photo in read_folder(args.photos, train=train)] for train in (False, True))
    photos, rows = [square(path, SIDE) for path in spread(aside, COUNT)], np.array([aside.index(path) for path in spread(aside, COUNT)])

    def measure():
        shown = [square(path, SIDE) for path in (*aside, *learned)]
        return {"content": judge.features(shown)[1], "maps": content_maps(judge, shown)}

    every = remember(args.cache, f"photos-aside-and-learned-{digest_of(args.photos)}", measure)
    candidates = torch.from_numpy(every["content"]).float().T
    works = {}
    if args.watched:
        names = set(args.watched.read_text(encoding="utf-8").split("\n"))
        watched = [work for work in read_folder(args.art) if work.path.name in names]
        works = {style: [w.path for w in watched if SAME.get(w.style, w.style.lower()) == style] for style in ART}
    others = [photo.path for photo in read_folder(args.photos)][::OTHERS]

    for model in args.models:
        pipe = StyleMambaPipeline.from_pretrained(model)
        pipe.set_progress_bar_config(disable=True)

        def by_name(photos, style, pipe=pipe):
            return pipe(photos, style).images

        def by_a_picture(photos, style, pipe=pipe):
            if style in ART:
                shown = [Image.open(path).convert("RGB") for path in spread(works[style], len(photos))]
            else:
                shown = [with_effect(square(path, SIDE), style) for path in spread(others, len(photos))]
            return [pipe(photo, style_image=shown[i % len(shown)]).images[0] for i, photo in enumerate(photos)]

        for title, make in {"by name": by_name, **({"by a picture": by_a_picture} if works else {})}.items():
            found = look_at(judge, make, photos, pipe.vae_scale_factor * pipe.fusion.config.patch_size)
            figures = judged_figures(judge, found, rows, every)
            print(f"{model}, {title}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()), flush=True)
            own = (torch.from_numpy(found["content"]).float() @ candidates).argmax(1).numpy() == rows[found["source"]]
            named = {style: line.split("/")[0] for style, line in confusion(judge, found).items()}
            print("    " + ", ".join(f"{style} {named[style]}|{own[found['asked'] == style].sum()}" for style in named), flush=True)


if __name__ == "__main__":
    main()
