#!/usr/bin/env python3
"""Scores and losses of kindling beside Transformers and PEFT: the same base, new head, adapter, rows, order and settings, no dropout.

    python benches/scores_against_peft.py KINDLING BASE TRAIN.jsonl VALID.jsonl OUT [--epochs N] [--max-length N] [--learning-rate X]

Rows are `tokens` with `tags` (token classification) or a `text` with a number as its `label` (regression). Needs torch, transformers, peft, and
seqeval or scipy.
"""
import argparse, json, subprocess
from pathlib import Path
import peft, torch, transformers as T

BATCH = 16


def read(file):
    return [json.loads(line) for line in open(file)]


def prepare(a, ner, labels):
    """Base, head and adapter with their first values, for both sides."""
    head = dict(num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)}) if ner else dict(
        num_labels=1, problem_type="regression")
    auto = T.AutoModelForTokenClassification if ner else T.AutoModelForSequenceClassification
    tokenizer = T.AutoTokenizer.from_pretrained(a.base)
    model = auto.from_pretrained(a.base, dtype=torch.float32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **head)
    model.save_pretrained(a.out / "base"), tokenizer.save_pretrained(a.out / "base")
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="TOKEN_CLS" if ner else "SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.0,
                                                       target_modules=a.target_modules, modules_to_save=["classifier"]))
    model.save_pretrained(a.out / "start")
    return tokenizer, model


def kindling(a, ner):
    (a.out / "run.toml").write_text(f'''output_dir = "{a.out}/run"
[model]
path = "{a.out}/base"
task = "{"token-classification" if ner else "regression"}"
[adapter]
init_from = "{a.out}/start"
[data]
train = "{a.train}"
valid = "{a.valid}"
max_length = {a.max_length}
[train]
epochs = {a.epochs}
batch_size = {BATCH}
learning_rate = {a.learning_rate}
schedule = "constant"
shuffle = false
''')
    subprocess.run([a.kindling, "train", a.out / "run.toml", "--overwrite", "--quiet"], check=True)
    lines = read(a.out / "run/metrics.jsonl")
    return [l["loss"] for l in lines if l["event"] == "step"], [l for l in lines if l["event"] == "eval"][-1]


def encode(a, tokenizer, rows, labels):
    options = dict(truncation=True, max_length=a.max_length, padding=True, return_tensors="pt")
    if not labels:
        return tokenizer([r["text"] for r in rows], **options), torch.tensor([[float(r["label"])] for r in rows])
    encoded = tokenizer([r["tokens"] for r in rows], is_split_into_words=True, **options)
    targets = torch.full_like(encoded["input_ids"], -100)
    for i, row in enumerate(rows):
        words = encoded.word_ids(i)
        for j, word in enumerate(words):
            if word is not None and word != words[j - 1]:
                targets[i, j] = labels.index(row["tags"][word])
    return encoded, targets


def peer(a, tokenizer, model, labels):
    rows, losses, found = read(a.train), [], []
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=a.learning_rate, weight_decay=0.01)
    model.train()
    for first in list(range(0, len(rows), BATCH)) * a.epochs:
        encoded, targets = encode(a, tokenizer, rows[first : first + BATCH], labels)
        loss = model(**encoded, labels=targets).loss
        loss.backward(), torch.nn.utils.clip_grad_norm_(parameters, 1.0), optimizer.step(), optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    rows = read(a.valid)
    with torch.inference_mode():
        for first in range(0, len(rows), 32):
            encoded, targets = encode(a, tokenizer, rows[first : first + 32], labels)
            found += list(zip(targets.tolist(), model(**encoded).logits.tolist()))
    return losses, found


def scores(found, labels):
    if not labels:
        from scipy.stats import pearsonr, spearmanr
        truth, predicted = zip(*[(t[0], p[0]) for t, p in found])
        return dict(pearson=pearsonr(truth, predicted).statistic, spearman=spearmanr(truth, predicted).statistic)
    from seqeval.metrics import f1_score, precision_score, recall_score
    name = lambda row: labels[max(range(len(labels)), key=row.__getitem__)]
    truth = [[labels[t] for t in ts if t >= 0] for ts, _ in found]
    predicted = [[name(p) for t, p in zip(ts, ps) if t >= 0] for ts, ps in found]
    return dict(f1=f1_score(truth, predicted), precision=precision_score(truth, predicted), recall=recall_score(truth, predicted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kindling", "base", "train", "valid", "out"):
        parser.add_argument(name, type=lambda path: Path(path).resolve())
    parser.add_argument("--epochs", type=int, default=2), parser.add_argument("--max-length", type=int, default=48)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--target-modules", nargs="+", default=["query", "key", "value", "dense"])
    a = parser.parse_args()
    torch.manual_seed(1), a.out.mkdir(parents=True, exist_ok=True)
    labels = sorted({tag for row in read(a.train) for tag in row.get("tags", [])})
    tokenizer, model = prepare(a, bool(labels), labels)
    theirs, found = peer(a, tokenizer, model, labels)
    ours, evaluation = kindling(a, bool(labels))
    print("largest difference of a loss, first 20 steps:", max(abs(x - y) for x, y in zip(ours[:20], theirs)))
    for key, value in scores(found, labels).items():
        print(f"{key:10} kindling {evaluation[key]:.4f}  PEFT {value:.4f}")
