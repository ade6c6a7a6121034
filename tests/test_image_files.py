"""Which files are read, what results are called, and how they are written."""

import os
from pathlib import Path

import pytest
from PIL import Image, features

from stylemamba import StyleMambaError
from stylemamba.image_files import check_size, find_images, name_outputs, slug, write_image


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_photo_by_two_names_is_one():
    os.mkdir("in")
    for name in ("a.png", "in/b.png"):
        Image.new("RGB", (2, 2)).save(name)
    os.symlink("in", "link")
    assert find_images(["a.png", "./a.png", "in/../a.png", "in", "link/b.png", "-"]) == ["a.png", "in/b.png", "-"]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_a_folder_gives_what_can_be_read_from_a_file():
    os.mkdir("in")
    Image.new("RGB", (2, 2)).save("in/phone.AVIF", "AVIF")
    assert find_images(["in"]) == ["in/phone.AVIF"]


def test_photos_that_cannot_be_read_are_not_passed_over_in_silence(caplog):
    os.mkdir("in")
    for name in ("in/a.png", "in/b.HEIC", "in/c.heic", "in/.d.heic", "in/notes.txt"):
        Image.new("RGB", (2, 2)).save(name, "PNG")
    assert find_images(["in"]) == ["in/a.png"]
    (record,) = caplog.records
    assert record.getMessage() == "In in, what cannot be read is left out: b.HEIC, c.heic; save it as JPEG."


def test_names_that_some_systems_take_for_one_get_numbers():
    images = ["a/IMG.jpg", "b/img.jpg", "a/caf\u00e9.png", "b/cafe\u0301.png"]
    made = name_outputs(images, "out/", "fire", many=True)
    assert [os.path.basename(name) for name in made] == ["IMG-fire.png", "img-fire-2.png", "caf\u00e9-fire.png", "cafe\u0301-fire-2.png"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A Monet painting!", "a-monet-painting"),
        ("🔥", "1f525"),
        ("!?", "21-3f"),
        ("x" * 60, "x" * 48),
        ("一幅印象派的风景画在黄昏的时候" * 3, "一幅印象派的风景画在黄昏的时候一幅印象派的风景画"),
    ],
)
def test_a_sentence_as_a_part_of_a_name(text, name):
    assert slug(text) == name


@pytest.mark.parametrize("stem", ["照" * 75, "n" * 251])
def test_a_long_name_is_cut_so_that_it_can_be_written(stem):
    label = slug("一幅印象派的风景画在黄昏的时候" * 3)
    outputs = name_outputs([f"{stem}.png", f"{stem}.jpg"], None, label, many=True)
    assert len(set(outputs)) == 2 and all(label in name and name.startswith(stem[:20]) for name in outputs)
    for name in outputs:
        write_image(Image.new("RGB", (2, 2)), None, name)
    assert sorted(os.listdir()) == sorted(outputs)


def test_the_longest_name_can_be_written():
    name = "n" * 251 + ".png"
    write_image(Image.new("RGB", (2, 2)), None, name)
    assert os.listdir() == [name]


def test_a_replaced_file_keeps_who_may_read_it():
    for name, mode in (("private.png", 0o600), ("shared.png", 0o664)):
        Path(name).touch()
        os.chmod(name, mode)
        write_image(Image.new("RGB", (2, 2)), None, name)
        assert os.stat(name).st_mode & 0o777 == mode and os.path.getsize(name)


def test_a_link_into_a_folder_that_there_is_not_is_refused():
    os.symlink("nowhere/x.png", "x.png")
    with pytest.raises(StyleMambaError, match="nowhere does not exist; make it first"):
        name_outputs(["a.png"], "x.png", "fire", many=False)


def test_a_link_to_itself_is_replaced_by_a_result():
    os.symlink("loop.png", "loop.png")
    write_image(Image.new("RGB", (2, 2)), None, "loop.png")
    assert Image.open("loop.png").size == (2, 2)


@pytest.mark.parametrize(("output", "limit"), [("a.webp", 16383), ("a.jpg", 65500)])
def test_the_largest_picture_of_a_file_type_can_be_written_and_no_larger_one(output, limit):
    check_size((limit, 1), output)
    write_image(Image.new("RGB", (limit, 1)), None, output)
    with pytest.raises(StyleMambaError, match=f"{output} cannot hold 1 x {limit + 1} pixels.*write a PNG"):
        check_size((1, limit + 1), output)
    check_size((1, limit + 1), "a.png")
