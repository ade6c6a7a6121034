"""Pictures of any kind in, 8-bit sRGB pictures out."""

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from .errors import StyleMambaError

ImageSource = Union[str, os.PathLike, bytes, BinaryIO, Image.Image, np.ndarray, "torch.Tensor"]  # noqa: F821 - torch is not imported here

OVERSHOOT = 0.25  # a resized float picture may ring a little beyond 0..1; more than this is another value range
GREY_SHADES = {"L;2": 4, "L;4": 16}  # of PNGs with less than a byte a pixel
DEPTH_16 = 65535


def load_image(source: ImageSource, name: str | None = None) -> Image.Image:
    """One picture as 8-bit RGB, upright (EXIF orientation applied), in sRGB, transparency laid on white.

    Args:
        source: a path, encoded bytes or an open binary file, a PIL image, a numpy array (H, W), (H, W, C) or (1, H, W, C), or a tensor
            (H, W), (C, H, W) or (1, C, H, W), with C = 1, 3 or 4; floats in 0..1, uint8 in 0..255, uint16 in 0..65535.
        name: what an error calls the picture; its path by default.

    Raises:
        StyleMambaError: no such file, not a picture, truncated, of zero size, too large, of a wrong shape or value range, NaN.
    """
    return on_white(*load_image_and_alpha(source, name))


def load_image_and_alpha(source: ImageSource, name: str | None = None) -> tuple[Image.Image, Image.Image | None]:
    """The picture as `load_image` gives it, but white only where nothing of it is visible, and its transparency as an 8-bit greyscale image
    of the same size, None where there is none."""
    if isinstance(source, Image.Image):
        name = name or getattr(source, "filename", "") or "the image"
        return _split_alpha(_decode(source, name), name)
    if isinstance(source, (str, os.PathLike)):
        name = name or os.fspath(source) or "an empty name"
        return _split_alpha(_open(_checked_path(source, name), name), name)
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if hasattr(source, "read"):
        name = name or getattr(source, "name", None) or "the image"
        return _split_alpha(_open(source, str(name)), str(name))
    pictures = _from_array(source, name or "the image")
    if len(pictures) != 1:
        raise StyleMambaError(f"{name or 'the image'} is a batch of {len(pictures)}; one picture is wanted here.")
    return _split_alpha(pictures[0], name or "the image")


def load_images(source: ImageSource | Sequence[ImageSource]) -> list[Image.Image]:
    """One picture, a list of pictures or a batch, (B, H, W, C) arrays and (B, C, H, W) tensors among them, as a list; see `load_image`."""
    return [*load_in_turn(source)[1]]


def load_in_turn(source: ImageSource | Sequence[ImageSource]) -> tuple[int, Iterator[Image.Image]]:
    """How many pictures there are, and `load_images` one by one, so that a folder of photos need not fit into memory."""
    if isinstance(source, (list, tuple)):
        if not source:
            raise StyleMambaError("the list of images is empty; give at least one image.")
        named = (None if isinstance(item, (str, os.PathLike)) else f"image {index} of the list" for index, item in enumerate(source))
        return len(source), map(load_image, source, named)
    if isinstance(source, (str, os.PathLike, bytes, Image.Image)) or hasattr(source, "read"):
        return 1, iter([load_image(source)])
    pictures = _from_array(source, "the image")
    return len(pictures), (on_white(*_split_alpha(picture, "the image")) for picture in pictures)


def on_white(picture: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """A picture whose transparency shows white paper."""
    return picture if alpha is None else Image.composite(picture, Image.new("RGB", picture.size, "white"), alpha)


def status(path: str | os.PathLike, complaint: str) -> os.stat_result | None:
    """What is at a path, None where nothing is.

    Raises:
        StyleMambaError: which begins with ``complaint``, where that cannot be told: in a folder that may not be entered, or of a name that
            is too long or a link to itself.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StyleMambaError(f"{complaint} ({_reason(error)}); check the path and its permissions.") from error


def _checked_path(path: str | os.PathLike, name: str) -> Path:
    found = status(path, f"{name} cannot be read")
    if found is None:
        raise StyleMambaError(f"{name}: no such file; check the path.")
    if stat.S_ISDIR(found.st_mode):
        raise StyleMambaError(f"{name} is a folder; give an image file.")
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        raise StyleMambaError(f"{name} is an empty file; give an image file.")
    return Path(path)


def _open(file: Path | BinaryIO, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow's hard limit, twice as high, still holds
            # Never by its path: Pillow maps an uncompressed TIFF into memory then, and takes the sides of one that lies on its side for
            # those that it has upright.
            with file.open("rb") if isinstance(file, Path) else contextlib.nullcontext(file) as stream, Image.open(stream) as picture:
                return _decode(picture, name)
    except UnidentifiedImageError as error:
        raise StyleMambaError(f"{name} is not a picture that can be read; give a PNG, JPEG, WebP or TIFF file.") from error
    except StyleMambaError:
        raise
    except Image.DecompressionBombError as error:
        raise StyleMambaError(f"{name} is too large (more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels); scale it down first.") from error
    except OSError as error:
        raise StyleMambaError(f"{name} cannot be read ({_reason(error)}); check the file and its permissions.") from error
    except Exception as error:  # a damaged header may raise anything inside a decoder
        raise StyleMambaError(f"{name} is damaged ({_reason(error)}); give a complete image file.") from error


def _decode(picture: Image.Image, name: str) -> Image.Image:
    """The first frame's pixels, upright; always a new image, the caller's stays untouched."""
    if 0 in picture.size:
        raise StyleMambaError(f"{name} has zero size ({picture.width} x {picture.height}); give a picture of at least 1 x 1 pixels.")
    shades = GREY_SHADES.get(_raw_mode(picture))
    try:
        picture.load()
    except MemoryError as error:
        raise StyleMambaError(f"{name} needs more memory than there is; scale it down first.") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error ...
        raise StyleMambaError(f"{name} is damaged or truncated ({_reason(error)}); give a complete image file.") from error
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception:  # unreadable EXIF data must not cost the user the picture
        upright = picture.copy()
    if shades and isinstance(shade := upright.info.get("transparency"), int):
        upright.info["transparency"] = shade * 255 // (shades - 1)  # Pillow brings the pixels to 0..255, and not what this is of them
    return upright


def _raw_mode(picture: Image.Image) -> str | None:
    """How a PNG's pixels lie in its file; known until they are loaded."""
    tile = getattr(picture, "tile", None)
    return tile[0][3] if picture.format == "PNG" and tile else None


def _split_alpha(picture: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        shade = picture.info.get("transparency")  # of a PNG: the one that is transparent, which Pillow converts in 8 bits alone
        alpha = None if shade is None else Image.fromarray((np.asarray(picture) != shade).astype(np.uint8) * 255)
        picture = _deep_grey_to_rgb(picture, name)
    else:
        picture = picture.convert("LA") if picture.mode == "La" else picture  # Pillow makes nothing else of it
        seen = picture.has_transparency_data
        alpha = picture.convert("RGBA").getchannel("A") if seen else None
        # Grey stays grey, as its profile is one of grey.
        picture = _to_srgb(picture.convert("L" if picture.mode in ("L", "LA") else "RGBA") if seen else picture)
    if alpha is None or alpha.getextrema()[0] == 255:
        return picture, None
    # Not laid on white as a whole: soft edges would be whitened here and once more where the result is shown.
    return on_white(picture, alpha.point(lambda value: 255 * (value > 0))), alpha


def _deep_grey_to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Greyscale of 16 bits, 32 bits or floats: Pillow's own conversion would clip it to white."""
    values = np.asarray(picture)
    if picture.mode == "F":
        values = _floats_to_uint8(values, name)
    else:
        values = (np.clip(values, 0, DEPTH_16) / (DEPTH_16 / 255)).round().astype(np.uint8)
    return Image.fromarray(values).convert("RGB")


def _to_srgb(picture: Image.Image) -> Image.Image:
    """RGB in sRGB: the model knows nothing of wide-gamut or print profiles."""
    profile = picture.info.get("icc_profile")
    if picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if picture.mode != "RGB" or not _is_srgb(source):
                picture = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged or mismatched profile: take the numbers as they are
            pass
    picture = picture.convert("RGB")
    picture.info.clear()
    return picture


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether a profile leaves RGB as it is, but for rounding. Its name would not tell: there is linear sRGB as well."""
    levels = np.linspace(0, 255, 6).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    seen = ImageCms.profileToProfile(Image.fromarray(colours), profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.abs(np.asarray(seen).astype(int) - colours).max() <= 2


def _from_array(source: Any, name: str) -> list[Image.Image]:
    """(B, H, W, C), (H, W, C) and (H, W) arrays, (B, C, H, W), (C, H, W) and (H, W) tensors, as PIL images."""
    is_tensor = hasattr(source, "detach")
    if is_tensor:
        tensor = source.detach().cpu()
        values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        layout, other = "(channels, height, width)", "(height, width, channels)"
    elif isinstance(source, np.ndarray):
        values = source
        layout, other = "(height, width, channels)", "(channels, height, width)"
    else:
        raise StyleMambaError(f"{name} is a {type(source).__name__}; give a path, a PIL image, a numpy array or a torch tensor.")

    shape = tuple(values.shape)
    if values.ndim == 2:
        values = values[None, ..., None]
    elif values.ndim in (3, 4):
        values = values[None] if values.ndim == 3 else values
        channels_last = np.moveaxis(values, 1, -1)
        if is_tensor:
            values, channels_last = channels_last, values
        if values.shape[-1] not in (1, 3, 4):
            hint = f"; this one looks like {other}" if channels_last.shape[-1] in (1, 3, 4) else ""
            raise StyleMambaError(f"{name} has shape {shape}; give {layout} with 1, 3 or 4 channels, with or without a batch{hint}.")
    else:
        raise StyleMambaError(f"{name} has shape {shape}; give {layout} with 1, 3 or 4 channels, with or without a batch.")
    if not values.size:
        raise StyleMambaError(f"{name} has zero size (shape {shape}); give a picture of at least 1 x 1 pixels.")

    if np.issubdtype(values.dtype, np.floating):
        values = _floats_to_uint8(values, name)
    elif values.dtype == np.uint16:
        values = (values / (DEPTH_16 / 255)).round().astype(np.uint8)
    elif values.dtype != np.uint8:
        raise StyleMambaError(f"{name} holds {values.dtype}; give floats in 0..1, uint8 in 0..255 or uint16 in 0..65535.")
    return [Image.fromarray(np.ascontiguousarray(v[..., 0] if v.shape[-1] == 1 else v)) for v in values]


def _floats_to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise StyleMambaError(f"{name} has NaN or infinite values; give floats in 0..1.")
    low, high = float(values.min()), float(values.max())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise StyleMambaError(f"{name} has values from {low:.4g} to {high:.4g}; scale them to 0..1.")
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def _reason(error: Exception) -> str:
    """An exception's message in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
