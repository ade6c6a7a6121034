"""The progress bar with its live preview; the place where Cancel takes effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

PREVIEW_SIZE = 512  # px, longer side


class Progress:
    """Counts to ``total``. Every call of `update` raises ComfyUI's InterruptProcessingException once the user has pressed Cancel."""

    def __init__(self, total: int):
        from comfy.utils import ProgressBar

        self.bar, self.total, self.done = ProgressBar(total), total, 0
        self.check()

    def update(self, preview: Image.Image | None = None) -> None:
        self.check()
        self.done += 1
        if preview and 2 * PREVIEW_SIZE * min(preview.size) <= max(preview.size):
            preview = None  # of its shorter side no pixel would be left, and that error ends ComfyUI
        self.bar.update_absolute(self.done, self.total, preview and ("JPEG", preview, PREVIEW_SIZE))

    @staticmethod
    def check() -> None:
        from comfy import model_management

        model_management.throw_exception_if_processing_interrupted()
