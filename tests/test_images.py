"""Pictures of every kind a user may hand over become 8-bit sRGB; what cannot is refused in one sentence."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin

from stylemamba.errors import StyleMambaError
from stylemamba.images import load_image, load_image_and_alpha, load_images, load_in_turn


@pytest.fixture
def pixels() -> np.ndarray:
    """A picture without symmetry, (H, W, C)."""
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_path_bytes_and_open_file_give_the_same_picture(tmp_path, pixels):
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    with open(path, "rb") as file:
        pictures = [load_image(path), load_image(str(path)), load_image(path.read_bytes()), load_image(file)]
    for picture in pictures:
        assert picture.mode == "RGB" and np.array_equal(np.asarray(picture), pixels)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    "convert",
    [
        lambda p: p,
        lambda p: p.astype(np.float32) / 255,
        lambda p: p.astype(np.float64) / 255,
        lambda p: p.astype(np.uint16) * 257,
    ],
    ids=["uint8", "float32", "float64", "uint16"],
)
def test_arrays_are_channels_last(pixels, convert, batch):
    array = convert(pixels)
    picture = load_image(array[None] if batch else array)
    assert np.array_equal(np.asarray(picture), pixels)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_tensors_are_channels_first(pixels, dtype, batch):
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    if dtype != torch.uint8:
        tensor = (tensor.float() / 255).to(dtype)
    tensor.requires_grad_(dtype != torch.uint8)
    picture = load_image(tensor[None] if batch else tensor)
    assert np.array_equal(np.asarray(picture), pixels)


def test_grey_arrays_and_tensors_become_rgb(pixels):
    grey = pixels[..., 0]
    for source in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(np.asarray(load_image(source)), np.repeat(grey[..., None], 3, -1))


def test_a_batch_becomes_a_list_in_order(pixels):
    batch = np.stack([pixels, 255 - pixels])
    for source in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2), list(batch), [Image.fromarray(item) for item in batch]):
        pictures = load_images(source)
        assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), batch)


def test_exif_orientation_is_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    Image.fromarray(pixels).save(tmp_path / "phone.png", exif=exif)
    picture = load_image(tmp_path / "phone.png")
    assert np.array_equal(np.asarray(picture), np.rot90(pixels, -1))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_a_scan_that_lies_on_its_side_is_turned(tmp_path, pixels, mode):
    """Uncompressed and in one strip, as scanners write it: Pillow maps such a file into memory, with its sides swapped."""
    scan = Image.fromarray(pixels).convert("RGB" if mode == "RGBA" else "L" if mode == "I;16" else mode)
    scan = Image.fromarray(np.asarray(scan, np.uint16) * 257) if mode == "I;16" else scan.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    scan.save(tmp_path / "scan.tif", exif=exif)
    expected = np.asarray(load_image(scan))
    assert np.array_equal(np.asarray(load_image(tmp_path / "scan.tif")), np.rot90(expected, -1))


def test_photos_of_a_list_are_read_when_their_turn_comes(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    count, photos = load_in_turn([tmp_path / "a.png", tmp_path / "gone.png"])
    assert count == 2 and np.array_equal(next(photos), pixels)
    with pytest.raises(StyleMambaError, match="gone.png"):
        next(photos)


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch, pixels):
    def load(self):
        raise MemoryError

    Image.fromarray(pixels).save(tmp_path / "huge.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(StyleMambaError, match="huge.png needs more memory"):
        load_image(tmp_path / "huge.png")


def test_transparency_is_laid_on_white_and_kept_beside(pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :3] = 0
    picture, kept = load_image_and_alpha(Image.fromarray(np.dstack([pixels, alpha])))
    assert np.array_equal(np.asarray(kept), alpha)
    assert (np.asarray(picture)[:, :3] == 255).all() and np.array_equal(np.asarray(picture)[:, 3:], pixels[:, 3:])


def test_what_is_half_transparent_keeps_its_colours_beside_its_alpha(pixels):
    both = Image.fromarray(np.dstack([pixels, np.full(pixels.shape[:2], 51, np.uint8)]))
    assert np.array_equal(np.asarray(load_image_and_alpha(both)[0]), pixels)
    assert np.abs(np.asarray(load_image(both)) - (0.2 * pixels + 0.8 * 255)).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_opaque_picture_has_no_alpha(pixels, mode):
    assert load_image_and_alpha(Image.fromarray(pixels).convert(mode))[1] is None


def test_palette_transparency_is_seen(tmp_path, pixels):
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "logo.gif", transparency=0)
    alpha = load_image_and_alpha(tmp_path / "logo.gif")[1]
    assert alpha is not None and alpha.getextrema()[0] == 0


def test_16_bit_grey_keeps_its_shades(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "scan.png")
    grey = np.asarray(load_image(tmp_path / "scan.png"))[..., 0]
    assert np.array_equal(grey, (ramp / 257).round().astype(np.uint8))


def test_a_transparent_shade_of_16_bit_grey_is_seen(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "scan.png", transparency=int(ramp[0, 1]))
    picture, alpha = load_image_and_alpha(tmp_path / "scan.png")
    assert np.argwhere(np.asarray(alpha) != 255).tolist() == [[0, 1]]
    assert [picture.getpixel(place) for place in ((0, 0), (1, 0))] == [(0, 0, 0), (255, 255, 255)]


def png(width: int, depth: int, row: bytes, shade: int) -> bytes:
    """A grey PNG of one row, of which one shade is transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, 1, depth, 0, 0, 0, 0)
    pixels = chunk(b"tRNS", struct.pack(">H", shade)) + chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "file, alpha",
    [
        (png(2, 1, b"\x40", 1), [255, 0]),
        (png(2, 1, b"\x40", 0), [0, 255]),
        (png(4, 2, b"\x1b", 3), [255, 255, 255, 0]),
        (png(4, 2, b"\x1b", 1), [255, 0, 255, 255]),
        (png(4, 4, b"\x0f\x73", 7), [255, 255, 0, 255]),
        (png(4, 8, b"\x00\xff\x7f\x03", 255), [255, 0, 255, 255]),
    ],
)
def test_a_transparent_shade_of_less_than_a_byte_is_seen(file, alpha):
    assert np.asarray(load_image_and_alpha(file)[1]).ravel().tolist() == alpha


@pytest.mark.parametrize("mode", ["L", "LA", "La"])
def test_a_profile_of_grey_holds_beside_transparency(mode):
    picture = Image.new("L", (2, 1), 128)
    picture.info["icc_profile"] = _linear_grey()
    if mode != "L":
        picture.putalpha(Image.new("L", (2, 1), 255))
        picture = picture.convert(mode)
        picture.info["icc_profile"] = _linear_grey()
    assert np.asarray(load_image(picture)).ravel().tolist() == [188] * 6


def test_print_colours_become_rgb(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "print.jpg")  # no cyan, all magenta and yellow: red
    red, green, blue = load_image(tmp_path / "print.jpg").getpixel((1, 1))
    assert red > 200 and green < 60 and blue < 60


def test_another_colour_profile_is_converted_to_srgb():
    picture = Image.new("RGB", (4, 4), (200, 30, 30))
    picture.info["icc_profile"] = _profile_with_swapped_primaries()
    red, green, _ = load_image(picture).getpixel((0, 0))
    assert green > red


def test_a_linear_profile_is_converted_whatever_its_name():
    picture = Image.new("RGB", (4, 4), (55, 55, 55))
    picture.info["icc_profile"] = _linear_srgb()
    assert load_image(picture).getpixel((0, 0)) == pytest.approx((128,) * 3, abs=1)


def test_srgb_is_left_as_it_is(pixels):
    picture = Image.fromarray(pixels)
    picture.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(np.asarray(load_image(picture)), pixels)


def test_a_damaged_profile_and_damaged_exif_do_not_cost_the_picture(pixels):
    picture = Image.fromarray(pixels)
    picture.info["icc_profile"] = b"nothing of the kind"
    picture.info["exif"] = b"Exif\x00\x00garbage"
    assert np.array_equal(np.asarray(load_image(picture)), pixels)


def test_the_callers_picture_is_left_alone(pixels):
    picture = Image.fromarray(pixels)
    load_image(picture).putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(picture), pixels)


def test_a_large_picture_gives_no_warning(tmp_path, monkeypatch, pixels):
    Image.fromarray(pixels).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(tmp_path / "large.png").size == (7, 5)


def _message(source) -> str:
    with pytest.raises(StyleMambaError) as caught:
        load_image(source)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text


def test_missing_folder_empty_and_other_files_are_named(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("not a picture")
    for name, words in {"gone.png": "no such file", "empty.jpg": "empty", "notes.txt": "not a picture", ".": "folder"}.items():
        message = _message(tmp_path / name)
        assert str(tmp_path / name) in message and words in message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_are_named(tmp_path, suffix, kept):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, Image.registered_extensions()[suffix])
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * kept)])
    assert str(path) in _message(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, pixels):
    Image.fromarray(pixels).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "too large" in _message(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), np.inf, np.float32), "NaN or infinite"),
        (torch.full((3, 4, 4), float("nan")), "NaN"),
        (np.full((4, 4, 3), 200.0), "200"),
        (np.full((4, 4, 3), -1.0), "scale them to 0..1"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "int32"),
        (np.zeros((4, 4, 2), np.uint8), "(4, 4, 2)"),
        (np.zeros((3, 5, 6), np.uint8), "looks like (channels, height, width)"),
        (torch.zeros(5, 6, 3), "looks like (height, width, channels)"),
        (np.zeros(7, np.uint8), "(7,)"),
        (torch.zeros(1, 1, 3, 4, 4), "(1, 1, 3, 4, 4)"),
        (np.zeros((0, 4, 3), np.uint8), "zero size"),
        (torch.zeros(3, 4, 0), "zero size"),
        (Image.new("RGB", (0, 3)), "zero size"),
        (np.zeros((2, 4, 4, 3), np.uint8), "batch of 2"),
        (b"GIF89a", "damaged|not a picture"),
        (None, "NoneType"),
        (3.5, "float"),
    ],
)
def test_bad_values_get_one_sentence(source, words):
    message = _message(source)
    assert any(word in message for word in words.split("|")), message


def test_lists_say_which_item_is_bad(pixels):
    with pytest.raises(StyleMambaError, match="image 1 of the list"):
        load_images([pixels, pixels * np.nan])
    with pytest.raises(StyleMambaError, match="empty"):
        load_images([])


def test_a_small_overshoot_of_resampling_is_clipped():
    assert load_image(np.full((2, 2, 3), 1.05)).getpixel((0, 0)) == (255, 255, 255)


def _profile_with_swapped_primaries() -> bytes:
    """The sRGB profile with the red and the green column's tags exchanged: numbers for red then mean green."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tmp_").replace(b"gXYZ", b"rXYZ").replace(b"tmp_", b"gXYZ")


def _linear_srgb() -> bytes:
    """The sRGB profile, by its name too, with straight lines for curves: each becomes a power (function 0) of 1."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.find(b"para\0\0\0\0")
    while at >= 0:
        profile[at + 8 : at + 16] = bytes([0, 0, 0, 0, 0, 1, 0, 0])
        at = profile.find(b"para\0\0\0\0", at + 1)
    return bytes(profile)


def _linear_grey() -> bytes:
    """A profile of grey whose curve is a straight line."""
    white = struct.pack(">iii", *(round(value * 2**16) for value in (0.9642, 1, 0.8249)))
    bodies = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256),
    }
    table, data, begin = b"", b"", 132 + 12 * len(bodies)
    for name, body in bodies.items():
        table += name + struct.pack(">II", begin + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I4sI4s4s4s", begin + len(data), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(bodies)) + table + data
