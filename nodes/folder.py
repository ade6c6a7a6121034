"""All photos of a folder, one after another."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from comfy_api.v0_0_2 import io

from stylemamba.folders import walk

from .choices import mistake, path_of
from .progress import Progress
from .ranges import in_range
from .values import CATEGORY, advanced

INPUT = "input"
LIMIT, SKIP = dict(min=1, max=10000), dict(min=0, max=1000000)


class StyleMambaLoadFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="StyleMambaLoadFolder",
            display_name="Load Folder of Photos",
            category=CATEGORY,
            description=(
                "Loads the photos of a folder, of any sizes. The nodes behind it work through them one at a time; Train on Style takes "
                "them all together."
            ),
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=list(_folders()),
                    default=INPUT,
                    tooltip=(
                        "ComfyUI's input folder, or a folder in it. Photos in folders further down are not taken. Press R for new folders."
                    ),
                ),
                io.Int.Input(
                    "limit",
                    default=50,
                    **LIMIT,
                    tooltip="At most so many photos, by name. They are all kept in memory at once; a large photo takes 0.3 GB.",
                ),
                advanced(
                    io.Int.Input(
                        "skip",
                        default=0,
                        **SKIP,
                        optional=True,
                        tooltip="Passes over so many photos first: with limit 50, run 0, 50, 100 and so on for a long folder.",
                    )
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", is_output_list=True, tooltip="The photos, upright and in their own sizes, transparency kept."
                ),
                io.String.Output(
                    display_name="names",
                    is_output_list=True,
                    tooltip="Their file names without ending, for Save Image's filename_prefix.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder=None):
        return mistake(_folder, folder)

    @classmethod
    def fingerprint_inputs(cls, folder, limit, skip=0):
        # ComfyUI gives None here for what another node will say: then any of the photos may be meant.
        folders = _folders().values() if folder is None else [_folder(folder)]
        first, count = (0, sys.maxsize) if limit is None or skip is None else (skip, limit)
        paths = [path for each in folders for path in _photos(each)[first : first + count]]
        return [(path, os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in paths]

    @classmethod
    def execute(cls, folder, limit, skip=0) -> io.NodeOutput:
        from stylemamba import StyleMambaError

        in_range("limit", limit, LIMIT)
        in_range("skip", skip, SKIP)
        paths = _photos(_folder(folder))[skip : skip + limit]
        if not paths:
            raise StyleMambaError(f"The folder '{folder}' holds no photos after the first {skip}; lower skip, or choose another folder.")
        progress, images = Progress(len(paths)), []
        for path in paths:
            images.append(_load(path))
            progress.update()
        return io.NodeOutput(images, [Path(path).stem for path in paths])


def _folders() -> dict[str, Path]:
    """Name -> path of ComfyUI's input folder and of all folders in it."""
    import folder_paths

    root = Path(folder_paths.get_input_directory())
    found = {INPUT: root}
    for folder, subfolders, _ in walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in subfolders:
            path = Path(folder, name)
            found[f"{INPUT}/{path.relative_to(root).as_posix()}"] = path
    return found


def _folder(name: str) -> Path:
    return path_of(name, _folders(), f"There is no folder '{name}' in ComfyUI's input folder; make it there and put photos into it.")


def _photos(folder: Path) -> list[str]:
    from stylemamba import StyleMambaError
    from stylemamba.image_files import find_images

    try:
        return find_images([str(folder)])
    except StyleMambaError:  # raised for a folder without pictures, whose whole path is none of a web page's business
        return []


def _load(path: str):
    """IMAGE (1, H, W, 3), or (1, H, W, 4) with transparency."""
    import numpy as np
    import torch

    from stylemamba.images import load_image_and_alpha

    photo, alpha = load_image_and_alpha(path, Path(path).name)
    if alpha is not None:
        photo.putalpha(alpha)
    return torch.from_numpy(np.array(photo)).float()[None] / 255
