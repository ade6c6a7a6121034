"""StyleMamba: any photo in the style that a sentence describes.

Everything is imported on first use, so that ``import stylemamba`` costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

_EXPORTS = {
    "StyleMambaPipeline": "stylemamba.pipeline",
    "StyleMambaPipelineOutput": "stylemamba.pipeline",
    "StyleMambaFusion": "stylemamba.fusion",
    "StyleEncoder": "stylemamba.style_encoder",
    "StyleMambaError": "stylemamba.errors",
    "selective_scan": "stylemamba.scan",
    "ssd_scan": "stylemamba.ssd",
}

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str):
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
