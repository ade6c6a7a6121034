"""The quick mode of the scan, speed and startup benchmarks, one after the other, for continuous integration.

    python benchmarks/quick.py

Compares ratios with loose bounds, never times, and fails if one is missed. Takes under a minute on a machine with nothing else to do.
"""

import subprocess
import sys
from pathlib import Path

COMMANDS = (["scan.py"], ["speed.py", "--threads", "1"], ["startup.py"])


def main() -> None:
    missed = []
    for script, *options in COMMANDS:
        print(f"\n== {script} --quick", flush=True)
        if subprocess.run([sys.executable, Path(__file__).with_name(script), "--quick", *options]).returncode:
            missed.append(script)
    if missed:
        sys.exit(f"\nmissed their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
