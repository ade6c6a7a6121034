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
from precision import mixed
from resuming import beginning, whole
from schedule import Schedule
from sentences import PHOTO, ZH_TEMPLATES, Sentences, is_chinese, meanings, vocabulary, word_sentences
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, SiglipConfig, SiglipModel

from stylemamba import StyleEncoder, StyleMambaPipeline, checkpoint
from stylemamba.image_files import replacing
from stylemamba.refinement import StyleBank

LENGTH = 32  # tokens
EMBEDDING = 192
TOKENS = 25950  # at most; of the teacher's vocabulary, which is ordered by frequency, what is rarer is spelled by its pieces
LETTERS = {"ß": "ss", "ø": "o", "ł": "l", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
LOOKS = 0.3  # weight of the styles' shares of the look, beside the cosine to where they lie
KINDS = {"styles": 0.8, "words": 0.13, "captions": 0.07}  # how often sentences of each kind are drawn
NEIGHBOURS, SHARPNESS = 12, 20.0  # how many known texts, and how sharply by cosine, say what any words mean


def build_siglip(vocab_size: int) -> SiglipModel:
    text = dict(vocab_size=vocab_size, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
                max_position_embeddings=LENGTH, projection_size=EMBEDDING, pad_token_id=0, bos_token_id=2, eos_token_id=2)  # fmt: skip
    vision = dict(hidden_size=EMBEDDING, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, image_size=160, patch_size=16)
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


def build_tokenizer(teacher_vocab: dict[str, int]) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The teacher's word pieces that spell English, and the characters of the Chinese texts; with the rows to copy (-1: none)."""
    texts = [t for s in vocabulary() for t in (s["name"], *s["wordings"], *s["zh_wordings"])] + [t for t, _ in meanings()]
    english = [
        t
        for t, row in sorted(teacher_vocab.items(), key=lambda item: item[1])
        if re.fullmatch(r"(##)?[a-z]{1,}|(##)?[0-9]{1,2}|[^\w\s]", t) and t.isascii()
    ]
    said = {word for text in texts for word in re.findall("[a-z]+", text.lower())}
    english.sort(key=lambda t: t not in said)  # a stable sort: what is said about styles first, then the most frequent
    chinese = sorted(
        {c for t in texts for c in t if "\u4e00" <= c <= "\u9fff"}
        | {c for t in ZH_TEMPLATES for c in t if not c.isascii()}
        | set("和的里，")
    )
    tokens = ["[PAD]", "[UNK]", "[SEP]", *english[: TOKENS - 3 - len(chinese)], *chinese]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    # Letters that lose no accent to become others: without this a whole word would be unknown for one of them.
    others = [normalizers.Replace(*pair) for pair in LETTERS.items()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(lowercase=True), *others])
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
        with mixed(device):
            hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][..., None].float()
        out[torch.from_numpy(rows)] = ((hidden * mask).sum(1) / mask.sum(1)).cpu()
    return F.normalize(out, dim=-1)


@torch.no_grad()
def nearest_meanings(found: torch.Tensor, known: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The styles (N, S) by weight that the sentence encoder would guess for embeddings (N, E), from those (M, E) of texts whose
    styles (M, S) are known; little in all where none is near."""
    guessed = []
    for some in found.split(2000):
        near, rows = (some @ known.T).topk(NEIGHBOURS, dim=1)
        trust = (SHARPNESS * (near - near[:, :1])).exp()
        guess = (trust / trust.sum(1, keepdim=True))[:, None] @ weights[rows]
        guessed.append(guess[:, 0] * ((near[:, :1] - 0.3) / 0.4).clamp(0, 1))
    return torch.cat(guessed)


@torch.no_grad()
def as_now(earlier: StyleMambaPipeline, sentences: list[str], batch: int = 500) -> torch.Tensor:
    """What an earlier model's text tower makes of sentences, as they are."""
    encode = StyleEncoder(earlier.style_encoder, earlier.tokenizer).encode_text
    return torch.cat([encode(sentences[at : at + batch], ("{}",)) for at in range(0, len(sentences), batch)])


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


def drawn_by_kind(counts: dict[str, int]) -> np.ndarray:
    """How often each sentence is drawn, those of a kind alike, where there are so many of each; kinds without any leave their share to the
    others."""
    each = np.concatenate([np.full(count, KINDS[kind] / max(count, 1)) for kind, count in counts.items()])
    return each / each.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentence-encoder", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--photos", required=True)
    parser.add_argument("--art", required=True)
    parser.add_argument(
        "--align",
        help="an earlier model's folder: the styles' names keep its embeddings, so that its fusion and image tower still fit",
    )
    parser.add_argument("--without", help="a JSON list of texts to leave out, to see how well they are understood unseen")
    parser.add_argument("--out", default="runs/text")
    parser.add_argument("--sentences", type=int, default=250000, help="about styles")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    out, device = Path(args.out), torch.device(args.device)
    began = beginning(out / "checkpoint.safetensors", align=whole(args.align))
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    teacher_tokenizer = AutoTokenizer.from_pretrained(args.sentence_encoder)
    tokenizer, rows = build_tokenizer(teacher_tokenizer.get_vocab())
    words = [t for t in tokenizer.get_vocab() if re.fullmatch("[a-z]{3,}", t)]

    drawn = Sentences(json.loads(Path(args.without).read_text(encoding="utf-8")) if args.without else ())
    styled = [drawn.draw(rng) for _ in range(args.sentences)]
    captions = sorted({p.caption for p in read_folder(args.photos) + read_folder(args.art) if p.caption})
    plain = word_sentences(40000, sorted(words), rng) + captions
    texts = [(text, {name: 1.0}) for name, own in drawn.english.items() for text in own]
    texts += [(text, meaning) for text, meaning in drawn.others if not is_chinese(text)]
    kinds = [*drawn.names, PHOTO]
    meaning_of = lambda meanings: torch.tensor([[meaning.get(kind, 0.0) for kind in kinds] for meaning in meanings])

    asked = [*kinds, *plain, *(text for text, _ in texts)]
    cache = out / f"teacher-{hashlib.sha1(json.dumps([args.sentence_encoder, *asked]).encode()).hexdigest()[:12]}.pt"
    out.mkdir(parents=True, exist_ok=True)
    if cache.exists():
        taught = torch.load(cache, weights_only=True)
    else:
        taught = sentence_embeddings(asked, args.sentence_encoder, device)
        with replacing(cache) as partial:
            torch.save(taught, partial)
    guessed = nearest_meanings(taught[len(kinds) :][: len(plain)], taught[-len(texts) :], meaning_of([m for _, m in texts]))
    if args.align:
        earlier = StyleMambaPipeline.from_pretrained(args.align)
        names, own = earlier.encode_prompt(kinds), as_now(earlier, plain)
        keys = earlier.fusion.bank.sharpness.data.float() * earlier.fusion.bank.keys.data.float()
    else:  # principal components of the names: the directions in which styles differ
        mean = taught[: len(kinds)].mean(0)
        _, _, basis = torch.linalg.svd(taught[: len(kinds)] - mean, full_matrices=True)
        names, own = F.normalize((taught[: len(kinds) + len(plain)] - mean) @ basis[:EMBEDDING].T, dim=-1).split([len(kinds), len(plain)])
        keys = StyleBank(EMBEDDING, 1, 1, 1, 1).sharpness.data * names
    # What asks for several styles lies between their names; a plain sentence has its own meaning, the less the surer the styles are that it
    # calls to mind.
    shares = meaning_of([m for _, m in styled])
    targets = F.normalize(torch.cat([shares @ names, (1 - guessed.sum(1, keepdim=True)) * own + guessed @ names]), dim=-1)
    # A photo as it is has no key in the bank: its sentences shall be for the bank what "a photo" is.
    keys, own_look = keys[: len(drawn.names)], (keys[: len(drawn.names)] @ names[-1]).softmax(0)
    shares = torch.cat([shares, torch.zeros_like(guessed)])
    shares, keys = shares[:, :-1] + shares[:, -1:] * own_look, keys.to(device)
    sentences = [text for text, _ in styled] + plain
    probability = drawn_by_kind({"styles": len(styled), "words": 40000, "captions": len(plain) - 40000})
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
        with mixed(device):
            pooled = student(input_ids=tokens[index].to(device)).pooler_output
        embedding = F.normalize(pooled.float(), dim=-1)
        target = targets[index].to(device)
        # The cosine to the target, the targets' similarities between the batch's sentences, and what the fusion's bank will make of it.
        cosine = (embedding * target).sum(-1)
        looks = -(shares[index].to(device) * (embedding @ keys.T).log_softmax(-1)).sum(-1)
        loss = (1 - cosine).mean() + 2 * (embedding @ embedding.T - target @ target.T).square().mean() + LOOKS * looks.mean()
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
            checkpoint.save(out / "checkpoint.safetensors", step + 1, {"model": model}, optimizer, began)
    model.save_pretrained(out / "siglip")
    tokenizer.save_pretrained(out / "tokenizer")


if __name__ == "__main__":
    main()
