"""Training on a style: a few steps that move the fusion towards a sentence, with the paper's losses."""

import contextlib
import copy
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from . import checkpoint
from .detail import as_floats, restore_lost
from .errors import StyleMambaError
from .graphs import GraphedCalls
from .images import load_in_turn
from .losses import (
    ContentLoss,
    GlobalDirectionalLoss,
    MaskedDirectionalLoss,
    SecondOrderDirectionalLoss,
    TokenGridLoss,
    TotalVariationLoss,
)
from .low_rank import SMALL, add_factors, deltas_from
from .style_encoder import StyleEncoder
from .style_file import EMBEDDING, base_hash, belongs_to, encode_preview

if TYPE_CHECKING:
    from .pipeline import StyleMambaPipeline

SAVE_EVERY = 25  # steps
SAME = 1e-3  # distance of unit embeddings, below which two sentences ask for the same
FEW = 4  # photos that are encoded at once
RATES = {"modulation": 1.0, "low-rank": 0.2, "all": 0.05}  # of the learning rate, by the parameters that are trained
# The style score has settled when the mean of so many steps is not so much above that of as many steps before.
SETTLED_STEPS, SETTLED_RISE = 8, 0.005


@dataclass
class LossWeights:
    """The weight of each loss. The paper does not state its weights; these are this project's."""

    global_direction: float = 1.0
    masked_direction: float = 1.0
    second_order: float = 0.5
    content: float = 0.2
    total_variation: float = 0.05
    token_grid: float = 5.0


def train_on_style(
    pipe: "StyleMambaPipeline",
    prompt: str,
    images: list,
    *,
    num_train_steps: int = 100,
    seed: int = 0,
    callback: Callable[[int, dict], None] | None = None,
    learning_rate: float = 5e-3,
    batch_size: int = 2,
    size: int = 160,
    source_prompt: str = "a photo",
    parameters: str = "modulation",
    weights: LossWeights | None = None,
    style: torch.Tensor | None = None,
    checkpoint_path: str | os.PathLike | None = None,
    resume: bool = True,
    early_stop: bool = True,
    name: str | None = None,
) -> list[dict]:
    """Trains the fusion of ``pipe`` on a style and leaves the result loaded as its style.

    Only a small part of the fusion moves, the biases of its AdaLN modulation and of the style embedding, which keeps the pictures on
    the manifold that the fusion was trained on; an untrained fusion (`StyleMambaPipeline.from_components`) needs more than that.

    Args:
        prompt: the style, a sentence.
        images: photos to train on (whatever `load_images` takes); one is enough, a dozen is better.
        num_train_steps: total steps at most, including those of a checkpoint that is continued.
        seed: the same seed and inputs give the same style (bit by bit on the CPU).
        callback: called after each step as ``callback(step, info)``; ``info`` has ``step``, ``num_train_steps``, ``score``, ``losses``
            (name -> float) and ``preview`` (call it for a PIL image). An exception raised there, or Ctrl-C, ends the training; the style
            trained so far is kept and the exception passed on.
        learning_rate: of AdamW, after a warm-up of five steps, falling to a tenth by a cosine.
        batch_size: crops a step. The first photo is in every one; alone in a batch, it is in every second.
        size: side of the square crops, px, a multiple of the pipeline's ``size_multiple`` and at least a token of the fusion.
        source_prompt: what the photos are, in words.
        parameters: ``"modulation"``; ``"low-rank"``, which moves small parameters as a whole and large matrices by a product of thin ones,
            so that a style file of the default fusion stays below 1 MB; or ``"all"``, whose style files are as large as the fusion.
        weights: of the losses.
        style: (E,) a unit embedding to train towards instead of the prompt's, a picture's for example; or a blend (K, E) of several.
        checkpoint_path: the training's state is kept in this file and continued from it when it exists; a continued training gives what an
            uninterrupted one of as many ``num_train_steps`` gives. With more of them than before, its rate rises to the longer cosine's.
        resume: continues from ``checkpoint_path``; False begins anew, and the file stays as it is until there is a state to replace it.
        early_stop: ends the training when the style score has settled.
        name: of the style, for lists of styles; by default the prompt.

    Returns:
        One dict a step: ``step``, ``score`` (cosine of the batch's first picture's embedding to the style's), ``total`` and each loss.

    Raises:
        StyleMambaError: empty prompt or one that says what the photos are already, no images, settings out of range, losses that are no
            numbers any more, or a checkpoint of another training. The style that was loaded stays then, if no step was trained.
    """
    if not isinstance(prompt, str):
        raise StyleMambaError(f"The prompt is a {type(prompt).__name__}; give one sentence, or an embedding as style.")
    if not isinstance(source_prompt, str) or not source_prompt.strip():
        raise StyleMambaError(f"source_prompt is {source_prompt!r}; say in words what the photos are, such as 'a photo'.")
    if not isinstance(num_train_steps, Integral) or num_train_steps < 1:
        raise StyleMambaError(f"num_train_steps is {num_train_steps!r}; give a whole number of steps, at least one.")
    if parameters not in RATES:
        raise StyleMambaError(f"parameters {parameters!r} is not known; use 'modulation', 'low-rank' or 'all'.")
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise StyleMambaError(f"batch_size is {batch_size!r}; give a whole number of crops a step, at least one.")
    token = pipe.vae_scale_factor * pipe.fusion.config.patch_size
    if not isinstance(size, Integral) or size < token or size % pipe.size_multiple:
        raise StyleMambaError(
            f"size is {size!r}; give crops whose side is at least {token} pixels and a multiple of {pipe.size_multiple}, such as 160."
        )
    if any(hasattr(part, "_hf_hook") for part in (pipe.vae, pipe.fusion, pipe.style_encoder)):
        raise StyleMambaError("An offloaded pipeline cannot be trained; call pipe.remove_all_hooks() and pipe.to(device) before.")
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise StyleMambaError(f"seed is {seed!r}; give a whole number from 0 up, below 2 to the 64th.")
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
        raise StyleMambaError(f"learning_rate is {learning_rate!r}; give a number above 0, such as 0.005.")
    weights = weights or LossWeights()
    if not isinstance(weights, LossWeights) or not all(isinstance(w, Real) and math.isfinite(w) for w in asdict(weights).values()):
        raise StyleMambaError(f"weights must be LossWeights of finite numbers, but are {weights}.")
    if style is not None and not isinstance(style, torch.Tensor):
        raise StyleMambaError(f"style is a {type(style).__name__}; make it with encode_prompt or encode_style_image.")
    # Numbers of numpy's would end the saving as JSON, and fractions the training.
    weights = LossWeights(**{name: float(weight) for name, weight in asdict(weights).items()})
    num_train_steps, batch_size, size, seed, learning_rate = *map(int, (num_train_steps, batch_size, size, seed)), float(learning_rate)
    with torch.inference_mode(False), torch.enable_grad(), _without_style(pipe), _trainable(pipe) as (fusion, siglip):
        if parameters == "modulation" and not fusion.out.weight.any():
            raise StyleMambaError(
                "The fusion is untrained, so its modulation alone changes nothing; "
                "train more with parameters='low-rank' or parameters='all'."
            )
        device = fusion.device
        encoder = StyleEncoder(siglip, pipe.tokenizer)
        with torch.no_grad():
            target, source = encoder.encode_text([prompt, source_prompt])
            if style is not None:
                style = style.detach().clone().to(target)
                whole = style.reshape(-1, style.shape[-1]).sum(0) if style.dim() in (1, 2) else style.new_zeros(1)
                if len(whole) != len(target) or not SAME < whole.norm() < math.inf:
                    raise StyleMambaError(
                        f"The style to train towards must be (E,) or (K, E) with an E of {len(target)}, of finite numbers whose sum over K "
                        f"is not 0, but is {tuple(style.shape)}; make it with encode_prompt or encode_style_image."
                    )
                target = F.normalize(whole, dim=-1)
            if (target - source).norm() < SAME:
                raise StyleMambaError(
                    f"The style {prompt!r} says what the photos are already ({source_prompt!r}), so there is nothing to train towards; "
                    "give another style or source_prompt."
                )
            crops = _crops(*load_in_turn(images), size, batch_size, seed).to(device)
            condition = (pipe.encode_prompt(prompt, source_prompt) if style is None else style[None]).detach().clone().to(device)
        direction = F.normalize(target - source, dim=-1)
        if checkpoint_path is not None:
            checkpoint.prepare(checkpoint_path)

        # Not the pipeline's own: where weights lie in memory changes the last bits, and those of a model as loaded lie anywhere.
        start = copy.deepcopy(fusion)
        trained = _choose_parameters(fusion, parameters, seed)
        rate = learning_rate * RATES[parameters]
        optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
        losses = torch.nn.ModuleDict(
            {
                "global_direction": GlobalDirectionalLoss(),
                "masked_direction": MaskedDirectionalLoss(encoder.encode_image),
                "second_order": SecondOrderDirectionalLoss(),
                "content": ContentLoss(),
                "total_variation": TotalVariationLoss(),
                "token_grid": TokenGridLoss(pipe.vae_scale_factor * fusion.config.patch_size),
            }
        ).to(device)
        # A step calls some thousand small operations, for whose launches a GPU would wait.
        judged = GraphedCalls(_Judged(fusion, pipe.decode_latents, encoder.encode_image, losses, direction))
        recipe = {
            "prompt": prompt,
            "source_prompt": source_prompt,
            "seed": seed,
            "parameters": parameters,
            "size": size,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weights": asdict(weights),
            "target": [round(v, 5) for v in target[:8].tolist()],
            "photos": _digest(crops),
            "base": base_hash(dict(pipe.fusion.named_parameters())),
            # A blend is another condition than its sum.
            **({} if style is None else {"style": [[round(v, 5) for v in row[:8].tolist()] for row in style.reshape(-1, len(target))]}),
        }

        known = {}

        @torch.no_grad()
        def known_of(indices: list[int]) -> tuple[torch.Tensor, ...]:
            """Photos' latents, their embeddings, what the VAE makes of them, and their pictures by the fusion before the training."""
            # Of few photos all at once; of many one by one when a step first needs it, so that nobody waits for the first step or to
            # interrupt. Never as a step happens to need them: how many there are at a time changes the last bits, and a resumed training.
            for group in [[*range(len(crops))]] if len(crops) <= FEW else [[index] for index in indices]:
                if group[0] not in known:
                    own = as_floats(crops[group])
                    latents = pipe.encode_images(own).float()
                    before = start(latents.to(start.dtype), condition.to(start.dtype)).float()
                    seen, untrained = (pipe.decode_latents(z).clamp(0, 1) for z in (latents, before))
                    found = latents, encoder.encode_image(own), seen, restore_lost(untrained, seen, own, faint=0).clamp(0, 1)
                    known.update(zip(group, zip(*found)))
            return tuple(torch.stack(parts) for parts in zip(*(known[index] for index in indices)))

        modules = {"fusion": fusion, "losses": losses}
        history = []
        if resume and checkpoint_path is not None and Path(checkpoint_path).exists():
            # Another training's state may lack what this one trains, so it is told first.
            if not _same_recipe(checkpoint.info_of(checkpoint_path).get("recipe"), recipe):
                raise StyleMambaError(
                    f"{checkpoint_path} is the state of another training (prompt, photos, model or settings differ); name another file."
                )
            _, saved = checkpoint.load(checkpoint_path, modules, optimizer)
            history = saved["history"]

        def preview() -> Image.Image:
            return _preview(pipe, fusion, as_floats(crops[:1]), known_of([0]), condition)

        def save_state():
            if checkpoint_path is not None:
                checkpoint.save(checkpoint_path, len(history), modules, optimizer, {"recipe": recipe, "history": history})

        try:
            while (step := len(history)) < num_train_steps and not (early_stop and has_settled([row["score"] for row in history])):
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1, (step + 1) / 5) * (0.55 + 0.45 * float(np.cos(np.pi * step / num_train_steps)))
                rng = np.random.default_rng((seed, step))
                # The first photo is in every batch: the second-order loss compares consecutive iterations, which needs the same picture.
                drawn = np.append(0, 1 + rng.permutation(len(crops) - 1))
                # Where it fills the batch, the other photos have every second step.
                with_first = batch_size > 1 or step % 2 == 0
                pick = torch.from_numpy(drawn[:batch_size] if with_first else drawn[1:2]).to(device)
                latents, photo_features, seen, untrained = known_of(pick.tolist())
                generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
                masks = losses["masked_direction"].draw(untrained.shape, generator).to(device)
                with _whole_or_not(trained, losses, optimizer, history):
                    picked = as_floats(crops[pick])
                    features, found = judged(latents, condition.to(fusion.dtype), picked, photo_features, seen, untrained, masks)
                    values = dict(zip(_Judged.LOSSES, found))
                    if with_first:
                        anchor = losses["global_direction"](features[:1], photo_features[:1], direction)
                        values["second_order"] = losses["second_order"](features[:1] - photo_features[:1], anchor)
                    else:
                        values["second_order"] = torch.zeros_like(values["content"])
                    total = sum(getattr(weights, name) * value for name, value in values.items())
                    # Not by backward(), which warns of gradients that a graph computed on a stream of its own.
                    for parameter, grad in zip(trained, torch.autograd.grad(total, trained, allow_unused=True)):
                        parameter.grad = grad
                    norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
                    optimizer.step()
                    # Asked for at once: a GPU is waited for at every number.
                    norm, score, *numbers = torch.stack([norm, features[0] @ target, total, *values.values()]).tolist()
                    if not all(map(math.isfinite, (norm, score, *numbers))):
                        raise StyleMambaError(
                            f"Step {step + 1} has no loss that is a number; train with a lower learning_rate than {learning_rate}."
                        )
                    numbers = dict(zip(["total", *values], numbers))
                    history.append({"step": step + 1, "score": score, **numbers})
                if (step + 1) % SAVE_EVERY == 0:
                    save_state()
                if callback is not None:
                    facts = {"step": step + 1, "num_train_steps": num_train_steps, "score": score, "losses": numbers}
                    callback(step + 1, {**facts, "preview": preview})
        finally:
            # Also after an exception: what was trained so far is a valid style.
            if history:
                moved = {name: delta.float() for name, delta in deltas_from(dict(start.named_parameters()), fusion).items()}
                deltas = {name: delta for name, delta in moved.items() if parameters == "all" or delta.any()}
                info = {
                    "name": name or prompt,
                    "prompt": prompt,
                    "source_prompt": source_prompt,
                    **belongs_to(pipe.fusion),
                    "steps": len(history),
                    "seed": seed,
                    "parameters": parameters,
                    "score": history[-1]["score"],
                    "losses": {key: value for key, value in history[-1].items() if key not in ("step", "score")},
                }
                pipe.set_style({**deltas, EMBEDDING: condition[0]}, info)
                save_state()
                # Last: it takes the longest, and may be interrupted once more. A style is valid without it.
                with contextlib.suppress(RuntimeError):  # memory may be what ended the training
                    pipe.style["preview"] = encode_preview(preview())
    return history


class _Judged(torch.nn.Module):
    """A batch's pictures by the fusion, judged: their features (B, E) and `LOSSES`, all that a step asks but for what iterations share.

    Takes the photos' latents, the style, the photos, their features, what the VAE makes of them, their pictures by the untrained fusion,
    and masks. Pictures are judged as the pipeline shows them, with the photo's detail given back.
    """

    LOSSES = ("global_direction", "masked_direction", "content", "total_variation", "token_grid")

    def __init__(self, fusion: torch.nn.Module, decode: Callable, encode: Callable, losses: torch.nn.ModuleDict, direction: torch.Tensor):
        super().__init__()
        self.fusion, self.losses, self._decode, self._encode, self._direction = fusion, losses, decode, encode, direction

    def forward(self, latents, condition, photos, photo_features, seen, untrained, masks) -> tuple[torch.Tensor, torch.Tensor]:
        losses, device, direction = self.losses, latents.device.type, self._direction
        # On a GPU the networks run in bfloat16, which needs no loss scaling as fp16 does; losses and parameters stay in fp32.
        # A captured graph must not know weights by the copies that autocast keeps of them.
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda", cache_enabled=False):
            styled = self.fusion(latents.to(self.fusion.dtype), condition).float()
            pictures = restore_lost(self._decode(styled).clamp(0, 1), seen, photos, faint=0).clamp(0, 1)
            features = self._encode(pictures)
            masked = losses["masked_direction"](pictures, photos, direction, masks=masks)
        values = (
            losses["global_direction"](features, photo_features, direction),
            masked,
            losses["content"](styled, latents),
            losses["total_variation"](pictures),
            losses["token_grid"](pictures, untrained),
        )
        return features, torch.stack(values)


@contextlib.contextmanager
def _whole_or_not(
    trained: list[torch.nn.Parameter], losses: torch.nn.Module, optimizer: torch.optim.Optimizer, history: list[dict]
) -> Iterator[None]:
    """A step that an exception ends, Ctrl-C as well, has changed nothing, or a training that is resumed would be another one."""
    values, steps = [parameter.detach().clone() for parameter in trained], len(history)
    states = {module: copy.deepcopy(module.state_dict()) for module in (losses, optimizer)}
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for parameter, value in zip(trained, values):
                parameter.copy_(value)
        for module, state in states.items():
            module.load_state_dict(state)
        del history[steps:]
        raise


def has_settled(scores: list[float]) -> bool:
    """Whether the style scores of all steps so far have stopped to rise."""
    if len(scores) < 3 * SETTLED_STEPS:
        return False
    before, now = scores[-2 * SETTLED_STEPS : -SETTLED_STEPS], scores[-SETTLED_STEPS:]
    return sum(now) - sum(before) < SETTLED_RISE * SETTLED_STEPS


def _choose_parameters(fusion, parameters: str, seed: int) -> list[torch.nn.Parameter]:
    """The parameters to train; all others are frozen."""
    named = dict(fusion.named_parameters())
    fusion.requires_grad_(False)
    if parameters == "modulation":
        trained = [p for name, p in named.items() if name.endswith("modulation.bias") or name == "condition.0.bias"]
    elif parameters == "low-rank":
        # Small parameters are found first: what add_factors makes is small, too.
        trained = [p for p in named.values() if p.numel() <= SMALL]
        trained += add_factors(fusion, seed)
    else:
        trained = list(named.values())
    for parameter in trained:
        parameter.requires_grad_(True)
    return trained


@contextlib.contextmanager
def _without_style(pipe: "StyleMambaPipeline") -> Iterator[None]:
    """The base fusion; where an exception ends this before another style is loaded, the one before is loaded again."""
    before = None if pipe.style is None else pipe.style_state()
    pipe.unload_style()
    try:
        yield
    finally:
        if before is not None and pipe.style is None:
            pipe.set_style(*before)


@contextlib.contextmanager
def _trainable(pipe):
    """A copy of the fusion to train, in fp32, and the style encoder, with the VAE frozen; weights made under inference mode are made anew.

    In fp16 AdamW's epsilon would be 0, and in bfloat16 most steps too small to change a parameter.
    """
    frozen = [pipe.vae, pipe.style_encoder]
    for module in frozen:
        if any(p.is_inference() for p in module.parameters()):
            for owner in module.modules():
                for tensors in (owner._parameters, owner._buffers):
                    for name, value in tensors.items():
                        if value is not None and value.is_inference():
                            fresh = value.clone()
                            tensors[name] = torch.nn.Parameter(fresh, requires_grad=False) if tensors is owner._parameters else fresh
    needed = [(p, p.requires_grad) for module in frozen for p in module.parameters()]
    for parameter, _ in needed:
        parameter.requires_grad_(False)
    try:
        yield copy.deepcopy(pipe.fusion).float(), pipe.style_encoder
    finally:
        for parameter, flag in needed:
            parameter.requires_grad_(flag)


def _crops(number: int, photos: Iterator[Image.Image], size: int, at_least: int, seed: int) -> torch.Tensor:
    """Square crops (N, 3, size, size), uint8: the middle of every photo, and random ones until there are enough for a varied batch."""
    rng, count = np.random.default_rng(seed), max(4, at_least, number)
    crops, extra = torch.empty(count, 3, size, size, dtype=torch.uint8), number
    for index, photo in enumerate(photos):
        for crop in range(index, count, number):
            middle = crop < number
            scale = size / min(photo.size) * (1.0 if middle else rng.uniform(1.0, 1.6))
            side = min(size / scale, *photo.size)  # of the photo, px
            share = (0.5, 0.5) if middle else rng.uniform(size=2)
            left, top = (s * (n - side) for s, n in zip(share, photo.size))
            square = photo.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
            crops[crop if middle else extra] = torch.from_numpy(np.array(square)).permute(2, 0, 1)
            extra += not middle
    return crops


def _digest(crops: torch.Tensor) -> str:
    """Tells photos from others: of their values in 0..1, as states were saved that know them by these."""
    digest = hashlib.sha256()
    for crop in crops.cpu():
        digest.update(as_floats(crop).numpy().tobytes())
    return digest.hexdigest()[:16]


def _same_recipe(saved: object, recipe: dict) -> bool:
    """Whether a state is of this training; embeddings differ in their last bits from one CPU to another."""
    if not isinstance(saved, dict) or saved.keys() != recipe.keys():
        return False
    near = [key for key in ("target", "style") if key in recipe]
    if any(np.shape(saved[key]) != np.shape(recipe[key]) or not np.allclose(saved[key], recipe[key], atol=SAME) for key in near):
        return False
    return all(saved[key] == recipe[key] for key in recipe.keys() - near)


@torch.no_grad()
def _preview(pipe, fusion, photo, known, style) -> Image.Image:
    """The picture that the pipeline makes of the photo, with its detail given back."""
    latents, _, seen, _ = known
    picture = pipe.decode_latents(fusion(latents.to(fusion.dtype), style.to(fusion.dtype))).clamp(0, 1)
    picture = restore_lost(picture, seen, photo)
    return pipe.image_processor.postprocess(picture.clamp(0, 1), "pil", do_denormalize=[False])[0]
