"""How long the package and the command line take to start, beside what Python and the libraries take by themselves.

    python benchmarks/startup.py [--quick] [--model FOLDER]

Each line is the least CPU time of several fresh processes (user and system), files in the cache. --quick fails unless what StyleMamba
adds keeps loose bounds.
"""

import argparse
import os
import subprocess
import sys
import tempfile

from PIL import Image

LIBRARIES = "from diffusers import AutoencoderKL, DiffusionPipeline; from transformers import SiglipModel"


def cpu_seconds(*arguments: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="a folder made by save_pretrained; by default the bundled model")
    parser.add_argument("--quick", action="store_true", help="check loose bounds on ratios, for continuous integration")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo, picture = os.path.join(folder, "photo.png"), os.path.join(folder, "picture.png")
        Image.linear_gradient("L").convert("RGB").save(photo)  # 256 x 256
        model = ["--model", arguments.model] if arguments.model else []
        cases = {
            "python alone": ["-c", "pass"],
            "import stylemamba": ["-c", "import stylemamba"],
            "stylemamba --help": ["-m", "stylemamba", "--help"],
            "import torch": ["-c", "import torch"],
            "import of the libraries": ["-c", LIBRARIES],
            "stylemamba stylize, first picture": ["-m", "stylemamba", "stylize", photo, "-s", "fire", "-o", picture, *model],
        }
        rounds = [
            {name: cpu_seconds(*command) for name, command in cases.items()} for _ in range(1 if arguments.quick else arguments.rounds)
        ]
    times = {name: min(measured[name] for measured in rounds) for name in cases}
    for name, value in times.items():
        print(f"{name:36} {value:6.2f} s {value / times['import of the libraries']:6.2f} x the libraries", flush=True)
    if arguments.quick:
        if times["stylemamba --help"] > times["import torch"]:
            sys.exit("too slow: --help takes longer than importing torch")
        if times["stylemamba stylize, first picture"] > 3 * times["import of the libraries"]:
            sys.exit("too slow: the first picture takes more than three times what the libraries do")


if __name__ == "__main__":
    main()
