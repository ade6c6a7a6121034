"""Stage 7: puts the trained parts together as the bundled model, in fp16, with its model card."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from sentences import vocabulary
from transformers import AutoTokenizer, SiglipModel

from stylemamba import StyleMambaFusion, StyleMambaPipeline

LIMIT = 24_000_000  # bytes, everything together
# Styles whose texture is scattered in the bundle: what has no lattice to keep and nothing large that a patch's border would cut. They are
# trained with the texture that repeats, as their targets do.
SCATTERED = {
    "watercolor", "ink wash", "chinese ink painting", "pastel", "crayon", "woodcut", "linocut", "stained glass", "embroidery",
    "paper cut", "clay", "marble", "gold relief", "low poly", "ukiyo-e", "pointillism", "cubism", "abstract expressionism",
    "vintage poster", "fire", "snow", "frozen", "rain", "autumn", "underwater", "starry night sky", "sepia", "vintage film",
    "black and white", "cyanotype", "infrared", "polaroid", "dementor", "horror", "dreamlike", "chalkboard", "gouache", "fresco",
    "batik", "felt", "bronze", "wood carving", "wood burning", "blue and white porcelain", "scratchboard", "risograph", "spray stencil",
    "crumpled paper", "sand drawing", "moonlight", "thunderstorm", "sandstorm", "cherry blossom", "lava", "smoke", "bleach bypass",
    "daguerreotype", "night vision", "glitch", "matrix code", "malevich", "miro", "rousseau", "renaissance", "picasso",
    "hokusai", "hiroshige", "art nouveau",
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", default="runs/vae/vae")
    parser.add_argument("--siglip", default="runs/image/siglip")
    parser.add_argument("--tokenizer", default="runs/text/tokenizer")
    parser.add_argument("--fusion", default="runs/fusion/fusion")
    parser.add_argument("--card", default=Path(__file__).with_name("MODEL_CARD.md"), type=Path)
    parser.add_argument("--out", default=Path(__file__).parent.parent / "stylemamba" / "bundled", type=Path)
    args = parser.parse_args()
    out = args.out.resolve()  # a link stays a link
    if out.exists() and not (out.is_dir() and ((out / "model_index.json").exists() or not any(out.iterdir()))):
        parser.error(f"{args.out} holds something else than a model, and would be replaced; name a new folder with --out")

    names = [style["name"] for style in vocabulary()]  # a row of the bank each
    scattered = sorted(names.index(name) for name in SCATTERED)
    pipe = StyleMambaPipeline(
        vae=AutoencoderKL.from_pretrained(args.vae),
        fusion=StyleMambaFusion.from_pretrained(args.fusion, scattered_styles=scattered),
        style_encoder=SiglipModel.from_pretrained(args.siglip),
        tokenizer=AutoTokenizer.from_pretrained(args.tokenizer),
    ).to(torch.float16)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=out.parent) as beside:
        made = Path(beside, "model")
        put_together(pipe, made, args.card)
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
        print(f"{args.out}: {size / 1e6:.2f} MB")
        if size > LIMIT:
            raise SystemExit(f"The bundle has {size} bytes; at most {LIMIT} may be committed.")
        earlier = Path(beside, "earlier")
        try:
            if out.exists():
                out.replace(earlier)
            made.replace(out)
        except BaseException:
            if earlier.exists() and not out.exists():  # or it would go with the folder beside
                earlier.replace(out)
            raise


def put_together(pipe: StyleMambaPipeline, out: Path, card: Path) -> None:
    """Writes the model and its card to a new folder, with nothing that others have no use for."""
    pipe.save_pretrained(out)
    for path in out.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        for key in ("_name_or_path", "local_files_only"):  # where the parts lay while training says nothing to others
            content.pop(key, None)
        if path.name == "model_index.json":
            content["tokenizer"][1] = "PreTrainedTokenizerFast"  # its name in every version of transformers
            for part in content.values():
                if isinstance(part, list) and part[0].startswith("stylemamba"):
                    part[0] = "stylemamba.fusion"
        # The tokenizer's vocabulary is the largest text: no white space there.
        indent = None if path.name == "tokenizer.json" else 2
        separators = (",", ":") if indent is None else None
        path.write_text(json.dumps(content, ensure_ascii=False, indent=indent, separators=separators) + "\n", encoding="utf-8")
    if card.exists():
        shutil.copy(card, out / "README.md")
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes for its owner alone; a wheel keeps the mode


if __name__ == "__main__":
    main()
