#!/usr/bin/env python3
"""Makes the quickstart's base model: a tiny BERT, pretrained for some minutes by masked language modelling.

    OMP_NUM_THREADS=1 python make.py GLOSSES [--minutes 4.5]

GLOSSES is a text file of the definitions and usage examples of WordNet 3.0, one a line, in the order of its data files:
nouns, verbs, adjectives, adverbs. Every eighth line is read, so that all four are in it, 20,000 in all. Needs torch 2.15
and transformers 5.23. The weights depend on how far a machine gets in the time given, so a second run gives another
model of the same kind.
"""
import argparse
import itertools
import json
import os
import random
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
POSITIONS, BATCH, RATE, LINES, VOCABULARY = 96, 64, 3e-3, 20_000, 1500
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocabulary(texts):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab()


def masked(ids, attention, tokenizer):
    """15 % of the tokens are targets: 80 % of them masked, 10 % replaced at random, 10 % kept."""
    words = attention.bool() & (ids != tokenizer.cls_token_id) & (ids != tokenizer.sep_token_id)
    targets = words & (torch.rand(ids.shape) < 0.15)
    labels = torch.where(targets, ids, -100)
    draw = torch.rand(ids.shape)
    ids = torch.where(targets & (draw < 0.8), tokenizer.mask_token_id, ids)
    noise = torch.randint(len(SPECIAL), len(tokenizer), ids.shape)
    return torch.where(targets & (draw >= 0.8) & (draw < 0.9), noise, ids), labels


def batches(lines, tokenizer):
    """Endless; lines of similar length together, so that little is padding."""
    encoded = sorted(tokenizer(lines, truncation=True, max_length=POSITIONS)["input_ids"], key=len)
    groups = [encoded[at:at + BATCH] for at in range(0, len(encoded), BATCH)]
    while True:
        random.shuffle(groups)
        for group in groups:
            padded = tokenizer.pad({"input_ids": group}, return_tensors="pt")
            ids, labels = masked(padded["input_ids"], padded["attention_mask"], tokenizer)
            yield dict(input_ids=ids, attention_mask=padded["attention_mask"], labels=labels)


def pretrain(model, lines, tokenizer, seconds):
    """AdamW; 200 steps of warm-up, then the rate falls linearly to 0 over the time, not over a number of steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    start, step, average = time.process_time(), 0, None
    for batch in batches(lines, tokenizer):
        left = 1 - (time.process_time() - start) / seconds
        if left <= 0:
            return step, average
        step += 1
        optimizer.param_groups[0]["lr"] = RATE * min(step / 200, 1.0) * left
        labels = batch.pop("labels")
        targets = labels != -100
        # The output layer is as large as the rest of the model, and only the targets need it.
        logits = model.cls(model.bert(**batch).last_hidden_state[targets])
        loss = torch.nn.functional.cross_entropy(logits, labels[targets])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average = loss.item() if average is None else 0.99 * average + 0.01 * loss.item()
        if step % 500 == 0:
            print(f"step {step}: loss {average:.3f}, {1 - left:.0%} of the time", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("glosses", type=Path)
    arguments.add_argument("--minutes", type=float, default=4.5)
    arguments.add_argument("--out", type=Path, default=HERE)
    arguments = arguments.parse_args()
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)

    with arguments.glosses.open(encoding="utf-8") as file:
        lines = [line.strip() for line in itertools.islice(file, 0, 8 * LINES, 8)]
    rows = (HERE / "../../datasets/quickstart/train.jsonl").read_text(encoding="utf-8").splitlines()
    messages = [json.loads(row)["text"] for row in rows]
    # The glosses are some sixty times the messages: repeated, the messages' own words get into the vocabulary.
    vocab = vocabulary(lines + 20 * messages)
    tokenizer = transformers.BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=POSITIONS)

    config = transformers.BertConfig(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=128, max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = transformers.BertForMaskedLM(config).train()
    steps, loss = pretrain(model, lines, tokenizer, arguments.minutes * 60)
    print(f"{steps} steps of {BATCH} lines, loss {loss:.3f}, {sum(p.numel() for p in model.parameters())} parameters")
    # A model this small underfits the glosses, so pretraining has no dropout; on a few hundred texts it helps.
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.1
    tokenizer.backend_tokenizer.no_truncation()  # or the file would carry the length of training
    model.half().save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
