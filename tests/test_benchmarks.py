"""No part has become much slower beside the others: the benchmarks' quick mode, on ratios with loose bounds."""

import subprocess
import sys
from pathlib import Path

import pytest

QUICK = Path(__file__).parents[1] / "benchmarks" / "quick.py"


@pytest.mark.slow
def test_quick_benchmarks():
    done = subprocess.run([sys.executable, QUICK], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
