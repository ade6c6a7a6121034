"""Start-up stays light: what a command does not need is not imported. Checked by modules, not by the clock."""

import subprocess
import sys

import pytest

import stylemamba

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL")


def _imported_after(code: str) -> set[str]:
    """Which of the heavy packages are in ``sys.modules`` after ``code`` has run in a fresh interpreter."""
    report = f"import sys\n{code}\nprint('|'.join(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(filter(None, done.stderr.strip().splitlines()[-1].split("|"))) if done.stderr.strip() else set()


def test_importing_the_package_imports_nothing_heavy():
    assert _imported_after("import stylemamba") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["stylize", "--help"], ["--version"], ["styles"], ["stylize", "gone.jpg"]])
def test_help_and_mistakes_import_no_torch(arguments):
    loaded = _imported_after(f"from stylemamba.cli import main\nmain({arguments!r})")
    assert not loaded & {"torch", "diffusers", "transformers"}


def test_every_public_name_resolves():
    for name in stylemamba.__all__:
        assert getattr(stylemamba, name) is not None
        assert name in dir(stylemamba)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = stylemamba.no_such_thing
