"""Training on a style with parts of the paper's size: peak memory and seconds a step.

    python benchmarks/full_size.py [--sizes 128 256] [--batch 1] [--steps 3] [--threads 1] [--device cpu]

The parts have the sizes of Stable Diffusion's AutoencoderKL (84 million parameters), of google/siglip-base-patch16-224 (203 million) and of
the default fusion, with random weights: time and memory do not depend on what the weights are, and nothing has to be downloaded. Each size
runs in a process of its own. On the CPU memory is the resident set's peak, libraries included, and with one thread seconds are CPU time; on
a GPU they are what torch allocated at most and time on the clock. The first step is not counted.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import time


def build(device: str):
    """A pipeline of full size with random weights; the tokenizer knows letters only, the text tower's table has SigLIP's 32,000 entries."""
    from diffusers import AutoencoderKL
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel

    from stylemamba import StyleMambaPipeline

    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
    )
    siglip = SiglipModel(SiglipConfig())  # the default config is the base model's
    vocabulary = {token: index for index, token in enumerate(["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz "])}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    pipe = StyleMambaPipeline.from_components(vae.eval(), siglip.eval(), tokenizer)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def measure(size: int, args, results) -> None:
    import numpy as np
    import torch
    from PIL import Image

    torch.set_num_threads(args.threads)
    pipe = build(args.device)
    gpu = torch.device(args.device).type == "cuda"
    clock = time.process_time if args.threads == 1 and not gpu else time.perf_counter
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
    # macOS counts bytes, Linux KiB.
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)  # noqa: E731
    loaded, ends = peak(), []

    def look(step: int, info: dict) -> None:
        if gpu:
            torch.cuda.synchronize()
        ends.append(clock())

    options = {"batch_size": args.batch, "size": size, "parameters": "all", "callback": look}
    pipe.train_on_style("an oil painting", [photo], num_train_steps=args.steps + 1, **options)
    steps = [after - before for before, after in zip(ends, ends[1:])]
    most = torch.cuda.max_memory_allocated() / 2**30 if gpu else peak()
    counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (pipe.vae, pipe.style_encoder, pipe.fusion)]
    results.put((counts, loaded, most, statistics.median(steps)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    for size in args.sizes:
        results = context.Queue()
        process = context.Process(target=measure, args=(size, args, results))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{size} px failed")
        counts, loaded, most, seconds = results.get()
        parts = ", ".join(f"{name} {count:.1f} M" for name, count in zip(("VAE", "SigLIP", "fusion"), counts))
        print(f"{size} px, batch {args.batch}: {loaded:.1f} GiB loaded, {most:.1f} GiB peak, {seconds:.1f} s a step ({parts})", flush=True)


if __name__ == "__main__":
    main()
