"""What lies in ``models/stylemamba`` and in the paths of that name in ``extra_model_paths.yaml``; of one name, the first counts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from stylemamba.folders import walk

FOLDER = "stylemamba"
PIPELINE, PART = "model_index.json", "config.json"  # what a saved model's folder, and that of a part of one, holds
VAES, SIGLIPS = ("AutoencoderKL", "AutoencoderTiny"), ("SiglipModel", "Siglip2Model")


def register_model_folder() -> None:
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER, str(home()))


def home() -> Path:
    """Where styles are saved."""
    import folder_paths

    return Path(folder_paths.models_dir, FOLDER)


def roots() -> list[Path]:
    """All of them, `home` first; ComfyUI has the extra paths before it, as it reads them before it loads any pack."""
    import folder_paths

    return list(dict.fromkeys([home(), *map(Path, folder_paths.get_folder_paths(FOLDER))]))


def model_folders() -> dict[str, Path]:
    """Name -> folder of every saved StyleMambaPipeline."""
    return _named(
        (root, folder) for root, folder, files in _walk() if PIPELINE in files and _class_of(folder / PIPELINE) == "StyleMambaPipeline"
    )


def part_folders(classes: tuple[str, ...]) -> dict[str, Path]:
    """Name -> folder of every single part of one of these classes, as diffusers and transformers save them."""
    return _named((root, folder) for root, folder, files in _walk() if PART in files and _class_of(folder / PART) in classes)


def style_files() -> dict[str, Path]:
    """Name -> file of every style."""
    return _named(
        (root, folder / file)
        for root, folder, files in _walk()
        if not {PIPELINE, PART} & set(files)
        for file in sorted(files)
        if file.endswith(".safetensors") and not file.startswith(".")
    )


def fingerprint(paths: Iterable[Path]) -> list[tuple]:
    """Changes when one of the files, or a file in one of the folders, does."""
    files = [file for path in paths for file in ([path] if path.is_file() else _files_in(path)) if file.is_file()]
    return [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]


def _files_in(folder: Path) -> list[Path]:
    return sorted(Path(inner, name) for inner, _, names in walk(folder) for name in names)


def _walk():
    """(root, folder, file names) of all folders, not entering saved models."""
    for root in roots():
        for folder, subfolders, files in walk(root):
            if PIPELINE in files:
                subfolders.clear()
            yield root, Path(folder), files


def _named(found: Iterable[tuple[Path, Path]]) -> dict[str, Path]:
    """(root, path in it) -> path by name."""
    paths: dict[str, Path] = {}
    for root, path in found:
        paths.setdefault(path.relative_to(root).as_posix(), path)
    return paths


def _class_of(config: Path) -> str | None:
    """Of what diffusers or transformers saved; None where a file does not say, as a damaged one must not cost ComfyUI its list of nodes."""
    with contextlib.suppress(OSError, ValueError, AttributeError, LookupError, TypeError):
        content = json.loads(config.read_text(encoding="utf-8"))
        return content.get("_class_name") or content["architectures"][0]
    return None
