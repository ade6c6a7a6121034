"""Peak memory of stylising one photo, libraries and model included, each size in a process of its own.

    python benchmarks/memory.py [--sizes 1024 2048 4096] [--strength 1] [--resolution PIXELS] [--model FOLDER] [--whole]

Prints the resident set's peak in GiB (Linux, macOS). --whole turns tiling off.
"""

import argparse
import multiprocessing
import resource
import sys
import time


def peak_gib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def stylise(size: int, strength: float, resolution: int | None, model: str | None, whole: bool, results) -> None:
    import numpy as np
    from PIL import Image

    from stylemamba import StyleMambaPipeline

    pipe = StyleMambaPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    if whole:
        pipe.disable_tiling()
    # A flat sky over something detailed, in the photo's full size.
    sky = np.linspace(120, 220, size // 2)[:, None, None] * np.array([0.7, 0.85, 1.0])
    photo = np.empty((size, size, 3), np.uint8)
    photo[: size // 2] = sky
    photo[size // 2 :] = np.random.default_rng(0).integers(0, 256, (size - size // 2, size, 3), np.uint8)
    photo = Image.fromarray(photo)
    pipe(photo.resize((64, 64)), "an oil painting")
    loaded = peak_gib()
    started = time.perf_counter()
    pipe(photo, "an oil painting", strength=strength, resolution=resolution)
    results.put((loaded, peak_gib(), time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--resolution", type=int, help="of the style; by default the photo's own size")
    parser.add_argument("--model", help="a folder made by save_pretrained; by default the bundled model")
    parser.add_argument("--whole", action="store_true", help="turn tiling off")
    arguments = parser.parse_args()
    print("   px    before, GiB   peak, GiB   seconds", flush=True)
    context = multiprocessing.get_context("spawn")
    for size in arguments.sizes:
        results = context.Queue()
        process = context.Process(
            target=stylise, args=(size, arguments.strength, arguments.resolution, arguments.model, arguments.whole, results)
        )
        process.start()
        process.join()
        if process.exitcode:
            print(f"{size:5}    failed, exit code {process.exitcode}")
        else:
            print("{:5} {:14.2f} {:11.2f} {:9.1f}".format(size, *results.get()), flush=True)


if __name__ == "__main__":
    main()
