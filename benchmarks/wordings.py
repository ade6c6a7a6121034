"""How well sentences are understood: is the style that a sentence asks for the nearest one?

    PYTHONPATH=recipes python benchmarks/wordings.py [MODEL ...] [--missed]

Without a model's folder it asks the bundled one. `wordings.json` was written apart from the training texts, before any model was asked: for
every style four English and two Chinese wordings (``known``; most of them do not name it), misspelt names, requests for two styles at once,
what the vocabulary has no word for, with the styles that would be fair answers (``outside``), the terms and phrases that people type into
filter apps and image generators (``asked``), and longer prompts as written for these (``prompts``). A fair answer to the last two may be a
photo as it is. Of ``outside`` and ``asked`` training knows some texts by themselves, labelled apart from these, as it would miss the
commonest wishes otherwise; they are told apart. No other training text is the same as one of these.
"""

import argparse
import json
import re
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from sentences import PHOTO, is_chinese, meanings, vocabulary

from stylemamba import StyleMambaPipeline


def plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


@torch.no_grad()
def figures(pipe: StyleMambaPipeline, asked: dict, missed: list[str]) -> dict[str, str]:
    """Shares by title; the sentences whose nearest style is not the one asked for are added to ``missed``."""
    names, found = [style["name"] for style in vocabulary()], {}
    keys = pipe.encode_prompt([*names, PHOTO])

    def nearest(texts: list[str], kinds: list[str]) -> list[list[str]]:
        near = torch.cat([pipe.encode_prompt(texts[at : at + 100]) for at in range(0, len(texts), 100)]) @ keys[: len(kinds)].T
        return [[kinds[i] for i in row] for row in near.topk(3).indices.tolist()]

    def among(title: str, wanted: list[tuple[str, list[str]]], kinds: list[str]) -> None:
        """Whether one of the wanted styles is nearest, or among the nearest three."""
        near = nearest([text for text, _ in wanted], kinds)
        first, three = (
            sum(bool({*styles} & {*row[:n]}) for (_, styles), row in zip(wanted, near, strict=True)) / len(wanted) for n in (1, 3)
        )
        found[f"{title} ({len(wanted)})"] = f"{first:.0%} / {three:.0%}"
        missed.extend(f"{text}: {row[0]} (not {', '.join(styles)})" for (text, styles), row in zip(wanted, near) if row[0] not in styles)

    known = [(text, [style]) for style, texts in asked["known"].items() for text in texts]
    among("known styles, English", [(text, style) for text, style in known if not is_chinese(text)], names)
    among("known styles, Chinese", [(text, style) for text, style in known if is_chinese(text)], names)
    among("misspelt names", [(text, [style]) for style, texts in asked["misspelt"].items() for text in texts], names)
    wordings = [text for style in vocabulary() for text in (style["name"], *style["wordings"], *style["zh_wordings"])]
    trained = {plain(text) for text in [*wordings, *(text for text, _ in meanings())]}
    for title, kind, kinds in (("outside the vocabulary", "outside", names), ("what people ask for", "asked", [*names, PHOTO])):
        for more, knows in (("training has the text", True), ("others", False)):
            among(f"{title}, {more}", [(t, styles) for t, styles in asked[kind].items() if (plain(t) in trained) == knows], kinds)
    among("prompts of 8 to 22 words", [*asked["prompts"].items()], [*names, PHOTO])
    no_look = [(text, styles) for kind in ("asked", "prompts") for text, styles in asked[kind].items() if styles == [PHOTO]]
    among("of these two, what asks for no look", no_look, [*names, PHOTO])
    near, both = nearest([*asked["pairs"]], names), [{*styles} for styles in asked["pairs"].values()]
    shares = [sum(styles <= {*row[:n]} for styles, row in zip(both, near)) / len(near) for n in (2, 3)]
    found[f"two styles at once: both among the nearest 2 / 3 ({len(near)})"] = f"{shares[0]:.0%} / {shares[1]:.0%}"
    looks = (pipe.fusion.bank.sharpness * pipe.encode_prompt([*asked["pairs"]]) @ pipe.fusion.bank.keys[: len(names)].T).softmax(-1)
    lesser = [min(row[names.index(style)].item() for style in styles) for row, styles in zip(looks, both)]
    found["of two styles, the lesser one's share of the look"] = f"{sum(lesser) / len(lesser):.2f}"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="folders; without any, the bundled model")
    parser.add_argument("--missed", action="store_true", help="prints the sentences that are taken for another style as well")
    args = parser.parse_args()
    asked = json.loads(Path(__file__).with_name("wordings.json").read_text(encoding="utf-8"))
    rows, missed = {}, {}
    for model in args.models or [None]:
        pipe = StyleMambaPipeline.from_pretrained(*([model] if model else []))
        rows[model or "bundled"] = figures(pipe, asked, missed.setdefault(model or "bundled", []))
    table = Table("nearest / among the nearest three", *rows)
    for title in next(iter(rows.values())):
        table.add_row(title, *(row[title] for row in rows.values()))
    Console(width=160).print(table)
    if args.missed:
        for model, texts in missed.items():
            print(model, *texts, sep="\n  ")


if __name__ == "__main__":
    main()
