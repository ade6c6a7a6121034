"""Stage 2: the text tower.

A small SigLIP text model distilled from a sentence encoder (all-MiniLM-L6-v2), so that it knows more words than styles.
"""

import argparse
import hashlib
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from data import read_folder
from schedule import Schedule
from sentences import ZH_TEMPLATES, chinese_pairs, style_sentences, vocabulary, word_sentences
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, SiglipConfig, SiglipModel

from stylemamba import StyleMambaPipeline, checkpoint

LENGTH = 32  # tokens
EMBEDDING = 192
COMMON = 27500  # rows of the teacher's vocabulary, which is ordered by frequency; what is rarer is spelled by its pieces
NAMED = 0.7  # how far a wording's embedding is drawn to that of the same sentence with the style's name


def build_siglip(vocab_size: int) -> SiglipModel:
    text = dict(vocab_size=vocab_size, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
                max_position_embeddings=LENGTH, projection_size=EMBEDDING, pad_token_id=0, bos_token_id=2, eos_token_id=2)  # fmt: skip
    vision = dict(hidden_size=EMBEDDING, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, image_size=160, patch_size=16)
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


def build_tokenizer(teacher_vocab: dict[str, int]) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The teacher's word pieces that spell English, and the characters of the Chinese style names; with the rows to copy (-1: none)."""
    keep = [
        t
        for t, row in sorted(teacher_vocab.items(), key=lambda item: item[1])
        if row < COMMON and re.fullmatch(r"(##)?[a-z]{1,}|(##)?[0-9]{1,2}|[^\w\s]", t) and t.isascii()
    ]
    chinese = sorted(
        {c for s in vocabulary() for t in s["zh_wordings"] for c in t if "\u4e00" <= c}
        | {c for t in ZH_TEMPLATES for c in t if not c.isascii()}
        | set("和的")
    )
    tokens = ["[PAD]", "[UNK]", "[SEP]", *keep, *chinese]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 2)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]", model_max_length=LENGTH, padding_side="right"
    )
    return fast, [teacher_vocab.get(t, -1) for t in tokens]


@torch.no_grad()
def sentence_embeddings(sentences: list[str], folder: str, device: torch.device, batch: int = 256) -> torch.Tensor:
    """Mean-pooled embeddings of the sentence encoder (count, 384), not normalised."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).to(device).eval()
    order = np.argsort([len(s) for s in sentences])
    out = torch.empty(len(sentences), model.config.hidden_size)
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        inputs = tokenizer([sentences[i] for i in rows], padding=True, truncation=True, max_length=64, return_tensors="pt").to(device)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][..., None].float()
        out[torch.from_numpy(rows)] = ((hidden * mask).sum(1) / mask.sum(1)).cpu()
    return F.normalize(out, dim=-1)


@torch.no_grad()
def rotation_to(folder: str, sentences: list[str], embeddings: torch.Tensor, count: int = 4000) -> torch.Tensor:
    """The rotation (E, E) that brings embeddings nearest to those of an earlier model's text tower (orthogonal Procrustes)."""
    earlier = StyleMambaPipeline.from_pretrained(folder)
    wanted = torch.cat([earlier.encode_prompt(sentences[at : at + 200]) for at in range(0, count, 200)])
    left, _, right = torch.linalg.svd(wanted.T @ embeddings[:count])
    rotation = left @ right
    print(f"aligned: cosine {(wanted * (embeddings[:count] @ rotation.T)).sum(-1).mean():.3f}", flush=True)
    return rotation


@torch.no_grad()
def take_over(model: SiglipModel, tokenizer: PreTrainedTokenizerFast, earlier: StyleMambaPipeline) -> None:
    """Starts from an earlier model's towers; its tokenizer may have known fewer tokens."""
    state = earlier.style_encoder.state_dict()
    name = "text_model.embeddings.token_embedding.weight"
    vectors, known = state.pop(name), earlier.tokenizer.get_vocab()
    model.load_state_dict(state, strict=False)
    table = model.get_parameter(name)
    for token, row in tokenizer.get_vocab().items():
        if token in known:
            table[row] = vectors[known[token]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentence-encoder", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument(
        "--align",
        help="an earlier model's folder: the embeddings are turned to lie where its own lie, so that its fusion can be trained on",
    )
    parser.add_argument("--out", default="runs/text")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    out, device = Path(args.out), torch.device(args.device)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    teacher_tokenizer = AutoTokenizer.from_pretrained(args.sentence_encoder)
    tokenizer, rows = build_tokenizer(teacher_tokenizer.get_vocab())
    words = [t for t in tokenizer.get_vocab() if re.fullmatch("[a-z]{3,}", t)]

    pairs = chinese_pairs(8000, rng)
    captions = sorted({p.caption for p in read_folder(args.photos) + read_folder(args.art) if p.caption})
    styled = style_sentences(30000, rng)
    sentences = [text for text, _ in styled] + word_sentences(40000, sorted(words), rng) + captions + [zh for zh, _ in pairs]
    meanings = sentences[: -len(pairs)] + [en for _, en in pairs] + [named for _, named in styled]
    digest = hashlib.sha1(json.dumps([meanings, NAMED]).encode()).hexdigest()[:12]
    cache = out / f"targets-{digest}.pt"
    out.mkdir(parents=True, exist_ok=True)
    if cache.exists():
        targets = torch.load(cache, weights_only=True)
    else:
        targets = sentence_embeddings(meanings, args.sentence_encoder, device)
        # A wording means its style: the teacher knows the words, but not that these describe what the style is called.
        named = targets[len(sentences) :]
        targets = targets[: len(sentences)]
        targets[: len(styled)] = F.normalize((1 - NAMED) * targets[: len(styled)] + NAMED * named, dim=-1)
        torch.save(targets, cache)
    # Principal components of the style sentences: the directions in which styles differ.
    mean = targets[: len(styled)].mean(0)
    _, _, basis = torch.linalg.svd(targets[: len(styled)] - mean, full_matrices=False)
    targets = F.normalize((targets - mean) @ basis[:EMBEDDING].T, dim=-1)
    if args.align:
        targets = targets @ rotation_to(args.align, sentences[: len(styled)], targets[: len(styled)]).T
    # Styles 50 %, words 25 %, captions 8 %, Chinese 17 %.
    bounds = np.cumsum([0, len(styled), 40000, len(captions), len(pairs)])
    probability = np.concatenate([np.full(b - a, p / (b - a)) for a, b, p in zip(bounds, bounds[1:], (0.5, 0.25, 0.08, 0.17))])
    probability /= probability.sum()
    tokens = tokenizer(sentences, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")["input_ids"]
    print(f"{len(sentences)} sentences, {len(tokenizer)} tokens", flush=True)

    model = build_siglip(len(tokenizer)).to(device)
    with torch.no_grad():  # start from the teacher's own word vectors, reduced to this width
        table = AutoModel.from_pretrained(args.sentence_encoder).get_input_embeddings().weight
        table = table[torch.tensor(rows).clamp(min=0)]
        table = table - table.mean(0)
        _, _, axes = torch.linalg.svd(table, full_matrices=False)
        table = table @ axes[:128].T
        known = torch.tensor(rows) >= 0
        weight = model.text_model.embeddings.token_embedding.weight
        weight[known] = (table / table.std() * 0.05)[known].to(device)
        weight[~known] = torch.randn_like(weight[~known]) * 0.05
    if args.align:
        take_over(model, tokenizer, StyleMambaPipeline.from_pretrained(args.align))
    student = model.text_model
    optimizer = torch.optim.AdamW(student.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    start, _ = checkpoint.load(out / "checkpoint.safetensors", {"model": model}, optimizer)
    schedule, then, log = Schedule(args.steps), time.time(), []
    for step in range(start, args.steps):
        optimizer.param_groups[0]["lr"] = args.lr * schedule(step)[0]
        index = torch.from_numpy(np.random.default_rng((args.seed, step)).choice(len(sentences), args.batch, p=probability))
        with torch.autocast(device.type, torch.bfloat16):
            pooled = student(input_ids=tokens[index].to(device)).pooler_output
        embedding = F.normalize(pooled.float(), dim=-1)
        target = targets[index].to(device)
        # The cosine to the teacher, and the teacher's similarities between the batch's sentences.
        cosine = (embedding * target).sum(-1)
        loss = (1 - cosine).mean() + 2 * (embedding @ embedding.T - target @ target.T).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        log.append(cosine.mean().item())
        if (step + 1) % 100 == 0:
            print(
                json.dumps({"step": step + 1, "cosine": round(np.mean(log), 4), "s_per_step": round((time.time() - then) / len(log), 3)}),
                flush=True,
            )
            then, log = time.time(), []
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            checkpoint.save(out / "checkpoint.safetensors", step + 1, {"model": model}, optimizer)
    model.save_pretrained(out / "siglip")
    tokenizer.save_pretrained(out / "tokenizer")


if __name__ == "__main__":
    main()
