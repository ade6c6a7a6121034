"""The command line, through its entry point; a few runs in a process of their own where streams matter."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from synthetic import synthetic_photo

import stylemamba
from stylemamba import StyleMambaError, StyleMambaPipeline, checkpoint, cli


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with photo.jpg (48 x 32) and logo.png (24 x 24, transparent at the left) in it."""
    monkeypatch.chdir(tmp_path)
    synthetic_photo(48, 32).save("photo.jpg", quality=95)
    logo = synthetic_photo(24, 24).convert("RGBA")
    alpha = Image.new("L", logo.size, 255)
    alpha.paste(0, (0, 0, 12, 24))
    logo.putalpha(alpha)
    logo.save("logo.png")
    return tmp_path


@pytest.fixture
def run(folder, tiny_model_dir, capsys):
    """Runs a command with the tiny model and gives (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        model = [] if "--model" in arguments or arguments[0] == "styles" else ["--model", tiny_model_dir]
        code = cli.main([*arguments, *model])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def style_file(folder, run) -> Path:
    code, _, err = run("train", "fire", "--images", "photo.jpg", "-o", "fire.safetensors", "--steps", "2")
    assert code == 0, err
    return folder / "fire.safetensors"


def _pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def _process(arguments: list[str], **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(stylemamba.__file__).parents[1])}
    return subprocess.run([sys.executable, "-m", "stylemamba", *arguments], env=environment, timeout=300, **options)


# stylize


def test_one_photo_gets_its_name_and_style_in_the_current_folder(run, folder):
    code, out, err = run("stylize", "photo.jpg", "--style", "A Monet painting!")
    assert (code, out, err) == (0, "photo-a-monet-painting.png\n", "")
    assert Image.open("photo-a-monet-painting.png").size == (48, 32)
    assert np.abs(_pixels("photo-a-monet-painting.png") - _pixels("photo.jpg")).max() > 8  # stylised, not copied


def test_without_a_model_the_bundled_one_is_used(folder, capsys):
    assert cli.main(["stylize", "photo.jpg", "--style", "a charcoal drawing", "-o", "grey.png"]) == 0, capsys.readouterr().err
    colourfulness = [np.ptp(_pixels(name), axis=-1).mean() for name in ("photo.jpg", "grey.png")]
    assert colourfulness[1] < 0.5 * colourfulness[0]


def test_the_sentence_matters(run):
    run("stylize", "photo.jpg", "-s", "fire", "-o", "a.png")
    run("stylize", "photo.jpg", "-s", "a deep blue night", "-o", "b.png")
    assert not np.array_equal(_pixels("a.png"), _pixels("b.png"))


def test_strength_zero_gives_the_photo(run):
    run("stylize", "photo.jpg", "-s", "fire", "--strength", "0", "-o", "same.png")
    assert np.array_equal(_pixels("same.png"), _pixels("photo.jpg"))


@pytest.mark.parametrize(
    ("name", "kind"), [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.JPEG", "JPEG"), ("x.webp", "WEBP"), ("x.tiff", "TIFF"), ("x.bmp", "BMP")]
)
def test_the_name_decides_the_file_type(run, name, kind):
    assert run("stylize", "logo.png", "-s", "fire", "-o", name)[0] == 0
    assert Image.open(name).format == kind


def test_several_photos_go_into_a_folder_that_is_made(run, folder):
    code, out, _ = run("stylize", "photo.jpg", "logo.png", "-s", "fire", "-o", "out")
    assert code == 0
    assert out.splitlines() == [os.path.join("out", "photo-fire.png"), os.path.join("out", "logo-fire.png")]
    assert all(Path(line).is_file() for line in out.splitlines())


def test_a_folder_stands_for_its_pictures(run, folder):
    (folder / "in" / "deeper").mkdir(parents=True)
    for name in ("b.PNG", "a.jpg", "a.png", ".hidden.png", "deeper/c.png"):
        synthetic_photo(16, 16).save(folder / "in" / name)
    (folder / "in" / "notes.txt").write_text("not a picture")
    code, out, _ = run("stylize", "in", "-s", "fire", "-o", "out/")
    assert code == 0
    assert [Path(line).name for line in out.splitlines()] == ["a-fire.png", "a-fire-2.png", "b-fire.png"]


def test_transparency_is_kept_where_the_file_type_has_any(run):
    run("stylize", "logo.png", "-s", "fire", "-o", "kept.png")
    assert np.array_equal(np.asarray(Image.open("kept.png").getchannel("A")), np.asarray(Image.open("logo.png").getchannel("A")))
    assert run("stylize", "logo.png", "-s", "fire", "-o", "opaque.bmp")[0] == 0
    assert (_pixels("opaque.bmp")[:, :12] == 255).all()


def test_soft_edges_are_whitened_only_where_the_file_type_has_no_transparency(run):
    logo = Image.open("logo.png")
    logo.putalpha(Image.linear_gradient("L").resize(logo.size).point(lambda value: max(value, 1)))
    logo.save("soft.png")
    run("stylize", "soft.png", "-s", "fire", "--strength", "0", "-o", "same.png")
    assert np.array_equal(np.asarray(Image.open("same.png")), np.asarray(logo))
    run("stylize", "soft.png", "-s", "fire", "--strength", "0", "-o", "white.bmp")
    white = Image.new("RGBA", logo.size, "white")
    assert np.abs(_pixels("white.bmp") - np.asarray(Image.alpha_composite(white, logo).convert("RGB"))).max() <= 1


def test_a_phones_photo_comes_out_upright(run):
    exif = Image.Exif()
    exif[0x0112] = 6
    synthetic_photo(40, 24).save("phone.jpg", exif=exif)
    run("stylize", "phone.jpg", "-s", "fire", "-o", "upright.png")
    assert Image.open("upright.png").size == (24, 40)


def test_the_seed_makes_a_run_repeatable(run):
    for name, seed in (("a.png", "5"), ("b.png", "5"), ("c.png", "6")):
        assert run("stylize", "photo.jpg", "-s", "fire", "--seed", seed, "-o", name)[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert Path("a.png").read_bytes() != Path("c.png").read_bytes()


def test_the_seed_gives_a_photo_the_same_picture_in_any_company(run):
    run("stylize", "photo.jpg", "-s", "fire", "--seed", "5", "-o", "alone.png")
    run("stylize", "logo.png", "photo.jpg", "-s", "fire", "--seed", "5", "-o", "out/")
    assert np.array_equal(_pixels("alone.png"), _pixels("out/photo-fire.png"))


def test_json_tells_what_was_done(run):
    code, out, err = run("stylize", "photo.jpg", "-s", "fire", "--strength", "0.5", "--seed", "3", "--device", "cpu", "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert (report["style"], report["strength"], report["seed"], report["device"], report["failed"]) == ("fire", 0.5, 3, "cpu", [])
    (image,) = report["images"]
    assert (image["input"], image["output"], image["width"], image["height"]) == ("photo.jpg", "photo-fire.png", 48, 32)


def test_resolution_makes_the_style_smaller_and_the_picture_as_large(run, folder):
    synthetic_photo(96, 70).save(folder / "large.png")
    run("stylize", "large.png", "-s", "fire", "-o", "whole.png")
    code, out, _ = run("stylize", "large.png", "-s", "fire", "-o", "coarse.png", "--resolution", "32", "--json")
    assert code == 0 and json.loads(out)["resolution"] == 32
    assert _pixels("coarse.png").shape == _pixels("whole.png").shape and not np.array_equal(_pixels("coarse.png"), _pixels("whole.png"))


def test_one_bad_photo_does_not_stop_the_others(run, folder):
    (folder / "broken.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:400])
    code, out, err = run("stylize", "broken.jpg", "photo.jpg", "-s", "fire", "-o", "out", "--json")
    report = json.loads(out)
    assert code == 2 and len(err.splitlines()) == 1 and "broken.jpg" in err
    assert [image["input"] for image in report["images"]] == ["photo.jpg"] and Path("out/photo-fire.png").is_file()
    assert [image["input"] for image in report["failed"]] == ["broken.jpg"]


def test_an_earlier_result_is_replaced(run):
    Path("out.png").write_text("an earlier result")
    assert run("stylize", "photo.jpg", "-s", "fire", "-o", "out.png")[0] == 0
    assert Image.open("out.png").size == (48, 32)


def test_a_link_stays_a_link(run, folder):
    (folder / "disk").mkdir()
    os.symlink("disk/out.png", "link.png")
    assert run("stylize", "photo.jpg", "-s", "fire", "-o", "link.png")[0] == 0
    assert os.path.islink("link.png") and Image.open("disk/out.png").size == (48, 32)


def test_stdin_to_stdout(folder, tiny_model_dir):
    done = _process(
        ["stylize", "-", "--style", "fire", "--model", tiny_model_dir], input=(folder / "photo.jpg").read_bytes(), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    picture = Image.open(io.BytesIO(done.stdout))
    assert (picture.format, picture.size) == ("PNG", (48, 32))
    assert sorted(os.listdir()) == ["logo.png", "photo.jpg"]


def test_a_file_to_stdout_and_stdin_to_a_folder(folder, tiny_model_dir):
    done = _process(["stylize", "photo.jpg", "--style", "fire", "--model", tiny_model_dir, "-o", "-"], capture_output=True)
    assert Image.open(io.BytesIO(done.stdout)).size == (48, 32)
    done = _process(["stylize", "-", "--style", "fire", "--model", tiny_model_dir, "-o", "out/"], input=done.stdout, capture_output=True)
    assert done.stdout.decode().split() == [os.path.join("out", "stdin-fire.png")] and Path("out/stdin-fire.png").is_file()


def test_a_photo_by_any_name_is_printed_by_that_name(folder, tiny_model_dir):
    try:
        os.rename(b"photo.jpg", b"caf\xe9.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    done = _process([b"stylize", b"caf\xe9.jpg", b"-s", b"fire", b"--model", os.fsencode(tiny_model_dir)], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\xe9-fire.png\n", b"") and os.path.isfile(b"caf\xe9-fire.png")


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_a_console_without_a_names_signs_costs_no_picture(run, monkeypatch, arguments):
    os.rename("photo.jpg", "照片🔥.jpg")
    console = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    code, _, err = run("stylize", "照片🔥.jpg", "-s", "fire", *arguments)
    assert (code, err) == (0, "") and os.path.isfile("照片🔥-fire.png")
    printed = console.buffer.getvalue().decode("cp1252")
    if arguments:
        assert json.loads(printed)["images"][0]["output"] == "照片🔥-fire.png"
    else:
        assert printed.strip() == r"\u7167\u7247\U0001f525-fire.png"


@pytest.mark.parametrize(("stream", "arguments"), [("stdin", ["-", "-o", "out.png"]), ("stdout", ["photo.jpg", "-o", "-"])])
def test_a_closed_stream_is_one_sentence(run, monkeypatch, stream, arguments):
    monkeypatch.setattr(sys, stream, None)
    code, _, err = run("stylize", *arguments, "-s", "fire")
    assert code == 2 and len(err.splitlines()) == 1 and f"{stream} is closed" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["styles"], ["styles", "--json"], ["--version"], ["--help"]])
def test_words_for_a_full_disk_behind_stdout_are_one_sentence(arguments):
    with open("/dev/full", "wb") as full:
        done = _process(arguments, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "No space left" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence(folder, tiny_model_dir):
    with open("/dev/full", "wb") as full:
        done = _process(
            ["stylize", "photo.jpg", "--style", "fire", "--model", tiny_model_dir, "-o", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "No space left" in done.stderr


# Mistakes: exit code 2, one line on stderr that names the input, nothing on stdout, no new files.

MISTAKES = {
    "missing file": (["gone.jpg", "-s", "fire"], "gone.jpg"),
    "missing file among others": (["photo.jpg", "gone.jpg", "-s", "fire"], "gone.jpg"),
    "not a picture": (["notes.txt", "-s", "fire"], "notes.txt"),
    "truncated": (["cut.jpg", "-s", "fire"], "cut.jpg"),
    "empty file": (["empty.png", "-s", "fire"], "empty.png"),
    "empty folder": (["void", "-s", "fire"], "void"),
    "empty name": (["", "-s", "fire"], "The input is an empty name"),
    "empty name among others": (["photo.jpg", "", "-s", "fire"], "The input is an empty name"),
    "empty output": (["photo.jpg", "-s", "fire", "-o", ""], "--output is an empty name"),
    "empty style picture": (["photo.jpg", "-s", "fire", "--style-image", ""], "--style-image is an empty name"),
    "empty style file": (["photo.jpg", "-s", "fire", "--style-file", ""], "--style-file is an empty name"),
    "empty model": (["photo.jpg", "-s", "fire", "--model", ""], "--model is an empty name"),
    "name too long": (["n" * 300, "-s", "fire"], "cannot be read (File name too long)"),
    "input links to itself": (["loop.png", "-s", "fire"], "loop.png cannot be read"),
    "no style": (["photo.jpg"], "--style"),
    "a share without words": (["photo.jpg", "--style-image", "logo.png", "--style-image-weight", "0"], "--style-image-weight"),
    "a share without a picture": (["photo.jpg", "-s", "fire", "--style-image-weight", "0.5"], "--style-image-weight"),
    "empty style": (["photo.jpg", "-s", "  "], "--style is empty"),
    "two styles": (["photo.jpg", "-s", "fire", "-s", "ice"], "more than once"),
    "strength too high": (["photo.jpg", "-s", "fire", "--strength", "3.5"], "--strength"),
    "strength below zero": (["photo.jpg", "-s", "fire", "--strength", "-1"], "--strength"),
    "strength not a number": (["photo.jpg", "-s", "fire", "--strength", "much"], "--strength"),
    "strength nan": (["photo.jpg", "-s", "fire", "--strength", "nan"], "strength"),
    "negative seed": (["photo.jpg", "-s", "fire", "--seed", "-1"], "--seed"),
    "unknown option": (["photo.jpg", "-s", "fire", "--stile", "ice"], "--stile"),
    "a command's own option": (["photo.jpg", "-s", "fire", "--strength", "4"], "see `stylemamba stylize --help`"),
    "unknown device": (["photo.jpg", "-s", "fire", "--device", "toaster"], "toaster"),
    "absent device": (["photo.jpg", "-s", "fire", "--device", "cuda:77"], "cuda:77"),
    "device without its library": (["photo.jpg", "-s", "fire", "--device", "hpu"], "hpu"),
    "device that nothing backs": (["photo.jpg", "-s", "fire", "--device", "privateuseone"], "privateuseone"),
    "device without numbers": (["photo.jpg", "-s", "fire", "--device", "meta"], "meta"),
    "output name too long": (["photo.jpg", "-s", "fire", "-o", "n" * 300 + ".png"], "cannot be written (File name too long)"),
    "output folder's name too long": (["photo.jpg", "-s", "fire", "-o", "n" * 300 + "/"], "cannot be written (File name too long)"),
    "output links to itself": (["photo.jpg", "-s", "fire", "-o", "loop.png"], "loop.png cannot be written"),
    "one name for several pictures": (["photo.jpg", "logo.png", "-s", "fire", "-o", "two.png"], "two.png names one picture"),
    "too wide for the file type": (["wide.png", "-s", "fire", "-o", "wide.webp"], "WEBP has at most 16383 a side; write a PNG"),
    "output folder missing": (["photo.jpg", "-s", "fire", "-o", "nowhere/out.png"], "nowhere"),
    "output folder's parent missing": (["photo.jpg", "-s", "fire", "-o", "nowhere/deeper/"], "nowhere"),
    "output is a file, inputs are many": (["photo.jpg", "logo.png", "-s", "fire", "-o", "notes.txt"], "notes.txt"),
    "output is a file and named as a folder": (["photo.jpg", "-s", "fire", "-o", "notes.txt/"], "notes.txt/ is a file"),
    "output type unknown": (["photo.jpg", "-s", "fire", "-o", "out.xyz"], "out.xyz"),
    "output is the input": (["photo.jpg", "-s", "fire", "-o", "photo.jpg"], "photo.jpg"),
    "output is the style's picture": (["photo.jpg", "--style-image", "logo.png", "-o", "logo.png"], "logo.png"),
    "output links to the input": (["photo.jpg", "-s", "fire", "-o", "link.png"], "photo.jpg"),
    "a default name is another input": (["photo.jpg", "photo-fire.png", "-s", "fire"], "photo-fire.png"),
    "several pictures to stdout": (["photo.jpg", "logo.png", "-s", "fire", "-o", "-"], "stdout"),
    "json and picture to stdout": (["photo.jpg", "-s", "fire", "-o", "-", "--json"], "--json"),
    "stdin twice": (["-", "-", "-s", "fire", "-o", "void/"], "stdin"),
    "style file beside words": (["photo.jpg", "-s", "fire", "--style-file", "cut.safetensors"], "takes no --style beside it"),
    "style file beside a picture": (["photo.jpg", "--style-image", "logo.png", "--style-file", "cut.safetensors"], "no --style-image"),
    "missing style file": (["photo.jpg", "--style-file", "gone.safetensors"], "gone.safetensors"),
    "alien style file": (["photo.jpg", "--style-file", "alien.safetensors"], "alien.safetensors"),
    "pickled style file": (["photo.jpg", "--style-file", "pickle.pt"], "pickle.pt"),
    "truncated style file": (["photo.jpg", "--style-file", "cut.safetensors"], "cut.safetensors"),
    "missing model": (["photo.jpg", "-s", "fire", "--model", "./gone-model"], "./gone-model: no such folder"),
    "model is a file": (["photo.jpg", "-s", "fire", "--model", "photo.jpg"], "photo.jpg is a file"),
    "model with a damaged part": (["photo.jpg", "-s", "fire", "--model", "damaged"], "damaged"),
    "model is no pipeline": (["photo.jpg", "-s", "fire", "--model", "void"], "void"),
}


@pytest.fixture
def bad_files(folder, tiny_model_dir):
    (folder / "notes.txt").write_text("not a picture")
    (folder / "cut.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:400])
    (folder / "empty.png").touch()
    (folder / "void").mkdir()
    (folder / "link.png").symlink_to("photo.jpg")
    (folder / "loop.png").symlink_to("loop.png")
    Image.new("RGB", (16384, 1)).save(folder / "wide.png")
    synthetic_photo(8, 8).save(folder / "photo-fire.png")
    save_file({"weight": torch.zeros(3)}, folder / "alien.safetensors")
    torch.save({"weight": torch.zeros(3)}, folder / "pickle.pt")
    (folder / "cut.safetensors").write_bytes((folder / "alien.safetensors").read_bytes()[:40])
    shutil.copytree(tiny_model_dir, folder / "damaged")
    (folder / "damaged" / "style_encoder" / "model.safetensors").write_bytes((folder / "cut.safetensors").read_bytes())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(run, folder, bad_files, mistake):
    arguments, named = MISTAKES[mistake]
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code, out, err = run("stylize", *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith("stylemamba: ") and named in err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("model_index.json", "{}"),
        ("model_index.json", "[]"),
        ("fusion/config.json", '{"hidden_size": "wide"}'),
        (
            "style_encoder/config.json",
            '{"text_config": {"num_hidden_layers": 1, "vocab_size": 9}, "vision_config": {"num_hidden_layers": 1}}',
        ),
    ],
)
def test_a_damaged_model_folder_is_one_sentence(run, folder, tiny_model_dir, file, text):
    shutil.copytree(tiny_model_dir, folder / "model")
    (folder / "model" / file).write_text(text)
    code, out, err = run("stylize", "photo.jpg", "-s", "fire", "--model", "model")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "The model model could not be loaded" in err


def test_no_device_file_is_replaced(run):
    code, _, err = run("stylize", "photo.jpg", "-s", "fire", "-o", "/dev/null")
    assert code == 2 and "/dev/null" in err and not os.path.isfile("/dev/null")


def test_a_folder_without_permission_is_named(run, folder, monkeypatch):
    (folder / "locked").mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and allowed(path, mode))  # root may write anywhere
    code, _, err = run("stylize", "photo.jpg", "-s", "fire", "-o", "locked/out.png")
    assert code == 2 and "locked" in err and "not writable" in err


@pytest.mark.parametrize("arguments", [["locked/photo.jpg"], ["photo.jpg", "-o", "locked/out.png"], ["photo.jpg", "-o", "locked/new/"]])
def test_a_folder_that_may_not_be_entered_is_named(run, folder, monkeypatch, arguments):
    look = os.stat

    def refuse(path, *_, **options):
        if "locked" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return look(path, *_, **options)

    monkeypatch.setattr(os, "stat", refuse)  # root may enter any
    code, _, err = run("stylize", *arguments, "-s", "fire")
    assert code == 2 and len(err.splitlines()) == 1 and "locked" in err and "(Permission denied)" in err


def test_a_full_disk_leaves_the_earlier_result_and_no_litter(run, folder, monkeypatch):
    def fill_the_disk(picture, path, *_, **__):
        Path(path).write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path("out.png").write_text("an earlier result")
    before = sorted(os.listdir())
    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    code, out, err = run("stylize", "photo.jpg", "-s", "fire", "-o", "out.png")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "out.png" in err and "No space left" in err
    assert Path("out.png").read_text() == "an earlier result" and sorted(os.listdir()) == before


def test_a_lack_of_memory_names_the_photo(run, monkeypatch):
    def exhaust(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(StyleMambaPipeline, "__call__", exhaust)
    code, _, err = run("stylize", "photo.jpg", "-s", "fire")
    assert code == 2 and "photo.jpg needs more memory" in err
    monkeypatch.setattr(StyleMambaPipeline, "from_pretrained", exhaust)
    code, _, err = run("stylize", "photo.jpg", "-s", "fire")
    assert code == 2 and "The model needs more memory" in err


def test_a_defect_of_the_program_is_not_passed_off_as_the_users_mistake(run, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(StyleMambaPipeline, "__call__", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        run("stylize", "photo.jpg", "-s", "fire")


def test_ctrl_c_says_what_was_finished(run, monkeypatch):
    stylise, calls = StyleMambaPipeline.__call__, []

    def interrupt_the_second(self, *arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return stylise(self, *arguments, **options)

    monkeypatch.setattr(StyleMambaPipeline, "__call__", interrupt_the_second)
    code, out, err = run("stylize", "photo.jpg", "logo.png", "-s", "fire", "-o", "out")
    assert code == 130 and "1 of 2" in err and len(err.splitlines()) == 1
    assert os.listdir("out") == ["photo-fire.png"]


# train


def test_a_trained_style_stylises_without_further_words(run, style_file):
    code, out, err = run("stylize", "photo.jpg", "--style-file", "fire.safetensors", "--json")
    report = json.loads(out)
    assert (code, err, report["style"], report["style_file"]) == (0, "", "fire", "fire.safetensors")
    assert report["images"][0]["output"] == "photo-fire.png"
    run("stylize", "photo.jpg", "-s", "fire", "-o", "untrained.png")
    assert not np.array_equal(_pixels("photo-fire.png"), _pixels("untrained.png"))


def test_a_style_file_is_as_readable_as_any_new_file(style_file, folder):
    (folder / "any").touch()
    assert style_file.stat().st_mode == (folder / "any").stat().st_mode


def test_train_reports_every_step(run):
    code, out, err = run("train", "fire", "--images", ".", "-o", "fire.safetensors", "--steps", "3", "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert (report["prompt"], report["steps"], report["output"]) == ("fire", 3, "fire.safetensors")
    assert [entry["step"] for entry in report["history"]] == [1, 2, 3] and all("total" in entry for entry in report["history"])


def test_the_seed_makes_training_repeatable(run):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run("train", "fire", "--images", "photo.jpg", "-o", f"{name}.safetensors", "--steps", "2", "--seed", seed)[0] == 0
    assert _style_tensors("a.safetensors") == _style_tensors("b.safetensors") != _style_tensors("c.safetensors")


def test_ctrl_c_keeps_the_style_and_resume_ends_where_an_uninterrupted_run_ends(run, monkeypatch):
    train = StyleMambaPipeline.train_on_style

    def interrupt_after_two(self, *arguments, callback, **options):
        def stop(step, info):
            callback(step, info)
            if step == 2:
                raise KeyboardInterrupt

        return train(self, *arguments, callback=stop, **options)

    arguments = ("train", "fire", "--images", "photo.jpg", "--steps", "4")
    with monkeypatch.context() as patch:
        patch.setattr(StyleMambaPipeline, "train_on_style", interrupt_after_two)
        code, out, err = run(*arguments, "-o", "cut.safetensors")
    assert (code, out) == (130, "") and "after 2 steps is in cut.safetensors" in err and len(err.splitlines()) == 1
    assert run("stylize", "photo.jpg", "--style-file", "cut.safetensors")[0] == 0  # what was kept is a valid style

    assert run(*arguments, "-o", "cut.safetensors", "--resume")[0] == 0
    assert run(*arguments, "-o", "whole.safetensors")[0] == 0
    assert _style_tensors("cut.safetensors") == _style_tensors("whole.safetensors")


def test_resume_with_nothing_left_to_do_says_so(run, style_file):
    arguments = ("train", " fire ", "--images", "photo.jpg", "-o", "fire.safetensors", "--resume", "--steps")
    note = "stylemamba: fire.safetensors has 2 steps already; give more than that with --steps.\n"
    assert run(*arguments, "2") == (0, "fire.safetensors\n", note)
    assert run(*arguments, "3") == (0, "fire.safetensors\n", "")


def test_without_resume_training_starts_anew(run, style_file):
    before = _style_tensors("fire.safetensors")
    assert run("train", "fire", "--images", "photo.jpg", "-o", "fire.safetensors", "--steps", "2")[0] == 0
    assert _style_tensors("fire.safetensors") == before


def test_the_earlier_state_stays_until_there_is_another(run, style_file, folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(StyleMambaPipeline, "train_on_style", interrupt)
    code, _, err = run("train", "fire", "--images", "photo.jpg", "-o", "fire.safetensors")
    assert code == 130 and "nothing was written" in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_state_that_finds_no_room_does_not_cost_the_style(run, monkeypatch):
    def fill_the_disk(*_, **__):
        raise StyleMambaError("The training state could not be written; choose a folder that has room.")

    monkeypatch.setattr(checkpoint, "save", fill_the_disk)
    code, out, err = run("train", "fire", "--images", "photo.jpg", "-o", "fire.safetensors", "--steps", "2")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "state could not be written" in err and "the style after 2 steps is in fire.safetensors" in err
    assert run("stylize", "photo.jpg", "--style-file", "fire.safetensors")[0] == 0


TRAINING_MISTAKES = {
    "empty name": (["fire", "--images", "", "-o", "s.safetensors"], "--images is an empty name"),
    "empty text": (["  ", "--images", "photo.jpg", "-o", "s.safetensors"], "style is empty"),
    "no images": (["fire", "-o", "s.safetensors"], "--images"),
    "missing images": (["fire", "--images", "gone", "-o", "s.safetensors"], "gone"),
    "folder without pictures": (["fire", "--images", "void", "-o", "s.safetensors"], "void"),
    "broken picture": (["fire", "--images", "cut.jpg", "-o", "s.safetensors"], "cut.jpg"),
    "output is no safetensors": (["fire", "--images", "photo.jpg", "-o", "s.pt"], "s.pt"),
    "output folder missing": (["fire", "--images", "photo.jpg", "-o", "nowhere/s.safetensors"], "nowhere"),
    "no steps": (["fire", "--images", "photo.jpg", "-o", "s.safetensors", "--steps", "0"], "--steps"),
    "nothing to resume": (["fire", "--images", "photo.jpg", "-o", "s.safetensors", "--resume"], "s.state.safetensors"),
    "alien state": (["fire", "--images", "photo.jpg", "-o", "t.safetensors", "--resume"], "t.state.safetensors"),
    "text in another encoding": (["caf\udce9", "--images", "photo.jpg", "-o", "s.safetensors"], "'caf\\udce9' is not valid UTF-8"),
}


@pytest.mark.parametrize("mistake", TRAINING_MISTAKES)
def test_a_training_mistake_is_one_sentence(run, folder, bad_files, mistake):
    arguments, named = TRAINING_MISTAKES[mistake]
    os.replace("alien.safetensors", "t.state.safetensors")
    before = sorted(os.listdir())
    code, out, err = run("train", *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith("stylemamba: ") and named in err
    assert sorted(os.listdir()) == before


def test_a_style_of_another_model_is_refused(run, style_file, tmp_path_factory, tiny_pipeline):
    other = tmp_path_factory.mktemp("other")
    with torch.no_grad():
        for parameter in tiny_pipeline.fusion.parameters():
            parameter.add_(0.5)
    tiny_pipeline.save_pretrained(other)
    code, _, err = run("stylize", "photo.jpg", "--style-file", "fire.safetensors", "--model", str(other))
    assert code == 2 and "base model" in err and len(err.splitlines()) == 1


# info, styles


def test_info_counts_the_parts(run, tiny_pipeline):
    code, out, _ = run("info", "--json")
    report = json.loads(out)
    counted = sum(p.numel() for part in (tiny_pipeline.vae, tiny_pipeline.fusion, tiny_pipeline.style_encoder) for p in part.parameters())
    assert code == 0 and report["parameters"] == counted
    assert (report["stylemamba"], report["torch"]) == (stylemamba.__version__, torch.__version__)
    code, out, _ = run("info")
    assert code == 0 and f"{counted:,}" in out and "StyleMambaFusion" in out


def test_styles_lists_the_vocabulary(run):
    code, out, _ = run("styles", "--json")
    names = [entry["name"] for entry in json.loads(out)]
    assert code == 0 and len(names) >= 16
    _, out, _ = run("styles")
    assert all(name in out for name in names)


def test_the_version_is_the_packages(run, capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == stylemamba.__version__


def _style_tensors(path: str) -> dict[str, list[float]]:
    from safetensors.torch import load_file

    return {name: value.flatten().tolist() for name, value in load_file(path).items()}


def test_a_picture_gives_the_style_and_words_mix_with_it(run, folder):
    Image.new("RGB", (32, 32), "red").save("red.png")
    for arguments in (
        ["--style-image", "red.png", "-o", "a.png"],
        ["-s", "fire", "-o", "b.png"],
        ["-s", "fire", "--style-image", "red.png", "-o", "c.png"],
    ):
        code, _, err = run("stylize", "photo.jpg", *arguments)
        assert code == 0, err
    a, b, c = (_pixels(f"{name}.png") for name in "abc")
    assert np.abs(a - b).max() > 0 and np.abs(c - a).max() > 0 and np.abs(c - b).max() > 0
    report = json.loads(run("stylize", "photo.jpg", "-s", "fire", "--style-image", "red.png", "--json")[1])
    assert (report["style"], report["style_image"], report["style_image_weight"]) == ("fire", "red.png", 0.5)
    assert report["images"][0]["output"] == "photo-fire-red.png"  # beside the picture of the words alone
    code, _, err = run("stylize", "photo.jpg", "--style-image", "none.png")
    assert code == 2 and "none.png: no such file" in err


def test_progress_is_shown_without_a_stdout(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(sys, "stdout", None)  # as after >&-
    with cli._progress("Stylising", 2) as show:
        show(1, "photo.jpg")
    assert "Stylising" in terminal.getvalue()
