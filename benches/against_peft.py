#!/usr/bin/env python3
"""kindling beside PyTorch, Transformers and PEFT on the CPU, alternately, with the same checkpoint, data, order and settings.

    python benches/against_peft.py make bert-base|bert-base-bf16|gpt2|qwen2-0.5b DIR    a checkpoint of that size with random weights, and texts
    python benches/against_peft.py run KINDLING ROOT [CASE...]           ROOT holds those directories under their names

`run` prints a table in Markdown: medians of the repetitions with their spread, and the ratios. Needs torch, transformers, peft.
"""
import argparse, importlib.metadata, json, os, platform, random, statistics, subprocess, sys, tempfile, time
from pathlib import Path

WORDS = "the a of river stone light house quiet green old new runs falls keeps under over near small letter night door".split()

# What is adapted, sequences in a batch, tokens in each.
TRAINING = {
    "bert-qv": ("bert-base", "lora", ["query", "value"], 8, 128, "float32"),
    "bert-qv-bf16": ("bert-base-bf16", "lora", ["query", "value"], 8, 128, "bfloat16"),
    "bert-all": ("bert-base", "lora", "all-linear", 8, 128, "float32"),
    "bert-qv-dora": ("bert-base", "dora", ["query", "value"], 8, 128, "float32"),
    "bert-all-dora": ("bert-base", "dora", "all-linear", 8, 128, "float32"),
    "bert-ia3": ("bert-base", "ia3", ["key", "value", "output.dense"], 8, 128, "float32"),
    "bert-all-pissa": ("bert-base", "pissa", "all-linear", 8, 128, "float32"),
    "bert-all-olora": ("bert-base", "olora", "all-linear", 8, 128, "float32"),
    "bert-bitfit": ("bert-base", "bitfit", None, 8, 128, "float32"),
    "bert-houlsby": ("bert-base", "houlsby", None, 8, 128, "float32"),
    "bert-pfeiffer": ("bert-base", "pfeiffer", None, 8, 128, "float32"),
    "bert-last-2": ("bert-base", "last", None, 8, 128, "float32"),
    "bert-full": ("bert-base", "full", None, 8, 128, "float32"),
    "gpt2": ("gpt2", "lora", ["c_attn"], 4, 128, "float32"),
    "qwen": ("qwen2-0.5b", "lora", ["q_proj", "v_proj"], 2, 256, "float32"),
    "qwen-int8": ("qwen2-0.5b", "lora", ["q_proj", "v_proj"], 2, 256, "float32"),
    "qwen-nf4": ("qwen2-0.5b", "lora", ["q_proj", "v_proj"], 2, 256, "float32"),
}
GENERATION = {"generate-gpt2": "gpt2", "generate-qwen": "qwen2-0.5b", "generate-qwen-int8": "qwen2-0.5b", "generate-qwen-nf4": "qwen2-0.5b"}
# Cases in which kindling quantises the base, in generation with its output layer; the peer has it in f32.
QUANTISED = {case: dtype for case in [*TRAINING, *GENERATION] for dtype in ("int8", "nf4") if case.endswith(dtype)}
# Cases that PEFT has no method for.
ALONE = ["bert-houlsby", "bert-pfeiffer"]
PREDICTION = {"predict-1000": 1000, "predict-1": 1}
CASES = [*TRAINING, *GENERATION, *PREDICTION]


def texts(count, low, high, seed):
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high))) for _ in range(count)]


def make(size, directory):
    import torch, transformers as T
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    torch.manual_seed(1)
    corpus = texts(200, 5, 40, 1) + ["abcdefghijklmnopqrstuvwxyz " * 3]
    if size.startswith("bert"):
        inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.Whitespace()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        inner.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
        inner.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(t, inner.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
        tokenizer = T.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]",
                                              cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", model_max_length=512)
        model = T.BertForSequenceClassification(T.BertConfig(num_labels=2))
    else:
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        inner.train_from_iterator(corpus, trainers.BpeTrainer(
            vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        tokenizer = T.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>", pad_token="<|endoftext|>",
                                              model_max_length=1024)
        ids = dict(bos_token_id=0, eos_token_id=0)
        model = T.GPT2LMHeadModel(T.GPT2Config(**ids)) if size == "gpt2" else T.Qwen2ForCausalLM(T.Qwen2Config(
            hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
            vocab_size=151936, max_position_embeddings=2048, tie_word_embeddings=True, **ids))
    if size.endswith("bf16"):
        model.to(torch.bfloat16)
    model.save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    with open(directory / "data.jsonl", "w") as file:
        for i, text in enumerate(texts(512, 400, 420, 2)):
            file.write(json.dumps({"text": text, "label": i % 2} if size.startswith("bert") else {"text": text}) + "\n")


def child(command):
    """Seconds, peak resident bytes and standard output of a process."""
    start = time.time()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.stdout.read().decode(), process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: {errors}")
    return time.time() - start, usage.ru_maxrss * 1024, output


# ---- kindling

def adapter(method, targets):
    """The configuration's lines of `[adapter]`."""
    bottleneck = 'method = "adapter"\nreduction_factor = 16\nplacement = '
    lines = {"full": 'method = "full"', "last": 'method = "full"\nlast_layers = 2\ntrain_embeddings = false', "bitfit": 'method = "bitfit"',
             "houlsby": bottleneck + '"houlsby"', "pfeiffer": bottleneck + '"pfeiffer"', "ia3": 'method = "ia3"'}
    starts = {"pissa": 'init = "pissa_niter_4"\ndropout = 0.0', "olora": 'init = "olora"\ndropout = 0.0', "dora": "use_dora = true\ndropout = 0.1"}
    text = lines.get(method) or "r = 8\nalpha = 16.0\n" + starts.get(method, "dropout = 0.1")
    return text + (f"\ntarget_modules = {json.dumps(targets)}" if targets else "")


def kindling_training(binary, root, case, steps, threads):
    size, method, targets, batch, length, dtype = TRAINING[case]
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "run.toml"
        task = 'task = "sequence-classification"\nlabels = ["0", "1"]' if size.startswith("bert") else 'task = "causal-lm"'
        config.write_text(f'''output_dir = "{scratch}/run"
[model]
path = "{root / size}/model"
dtype = "{QUANTISED.get(case, "auto")}"
{task}
[adapter]
{adapter(method, targets)}
[data]
train = "{root / size}/data.jsonl"
text = "text"
max_length = {length}
[train]
max_steps = {steps}
batch_size = {batch}
learning_rate = 2e-4
schedule = "constant"
shuffle = false
checkpoint_every = 1000000
compute = "{"bf16" if dtype == "bfloat16" else "f32"}"
''')
        _, peak, _ = child([binary, "train", config, "--quiet", "--threads", threads])
        lines = [json.loads(line) for line in open(f"{scratch}/run/metrics.jsonl")]
    seconds = sorted(line["step_seconds"] for line in lines if line["event"] == "step")[: steps - 2]
    return batch * length / statistics.median(seconds), peak


def kindling_generation(binary, root, case, threads):
    model = root / GENERATION[case] / "model"
    dtype = ["--set", f"model.dtype={QUANTISED[case]}", "--set", "model.quantize_output=true"] if case in QUANTISED else []
    def run(count):
        seconds, peak, output = child([binary, "generate", "--model", model, *dtype, "--prompt", prompt(), "--max-new-tokens", count,
                                       "--json", "--threads", threads])
        return seconds, peak, len(json.loads(output)["token_ids"])
    (first, _, one), (whole, peak, all_of_them) = run(1), run(129)
    return (all_of_them - one) / (whole - first), peak


def kindling_prediction(binary, root, case, threads, file):
    seconds, peak, output = child([binary, "predict", "--model", root / "bert-base/model", "--input", file, "--threads", threads])
    assert len(output.splitlines()) == PREDICTION[case]
    return seconds, peak


# ---- the peer, each in a process of its own

def prompt():
    return " ".join(texts(1, 32, 32, 3)[0].split()[:24])


def peer_training(root, case, steps, threads):
    import torch, transformers as T, peft
    torch.manual_seed(0), torch.set_num_threads(threads)
    size, method, targets, batch, length, dtype = TRAINING[case]
    classifies = size.startswith("bert")
    auto = T.AutoModelForSequenceClassification if classifies else T.AutoModelForCausalLM
    tokenizer = T.AutoTokenizer.from_pretrained(root / size / "model")
    model = auto.from_pretrained(root / size / "model", dtype=getattr(torch, dtype))
    if method in ("lora", "dora", "pissa", "olora"):
        start = {"pissa": "pissa_niter_4", "olora": "olora"}.get(method)
        model = peft.get_peft_model(model, peft.LoraConfig(
            task_type="SEQ_CLS" if classifies else "CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.0 if start else 0.1,
            target_modules=targets, fan_in_fan_out=size == "gpt2", use_dora=method == "dora", init_lora_weights=start or True))
    if method in ("bitfit", "last"):
        last = ("bert.encoder.layer.10.", "bert.encoder.layer.11.", "bert.pooler.", "classifier.")
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name.startswith(last if method == "last" else "classifier.") or method == "bitfit" and name.endswith(".bias")
    if method == "ia3":
        model = peft.get_peft_model(model, peft.IA3Config(
            task_type="SEQ_CLS", target_modules=targets, feedforward_modules=["output.dense"]))
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.01)
    rows, seconds = [json.loads(line) for line in open(root / size / "data.jsonl")], []
    for step in range(steps):
        part = [rows[(step * batch + i) % len(rows)] for i in range(batch)]
        start = time.time()
        inputs = tokenizer([r["text"] for r in part], truncation=True, max_length=length, padding=True, return_tensors="pt")
        labels = torch.tensor([r["label"] for r in part]) if classifies else inputs["input_ids"].clone()
        inputs.pop("token_type_ids", None)
        model(**inputs, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0), optimizer.step(), optimizer.zero_grad()
        seconds.append(time.time() - start)
    print(batch * inputs["input_ids"].shape[1] / statistics.median(sorted(seconds)[: steps - 2]))


def peer_generation(root, case, threads):
    import torch, transformers as T
    torch.set_num_threads(threads)
    path = root / GENERATION[case] / "model"
    tokenizer, model = T.AutoTokenizer.from_pretrained(path), T.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    inputs = tokenizer(prompt(), return_tensors="pt")
    with torch.inference_mode():
        def run(count):
            start = time.time()
            model.generate(**inputs, do_sample=False, max_new_tokens=count, min_new_tokens=count, pad_token_id=0)
            return time.time() - start
        run(4)
        print(128 / (run(129) - run(1)))


def peer_prediction(root, case, threads, file):
    import torch, transformers as T
    torch.set_num_threads(threads)
    tokenizer = T.AutoTokenizer.from_pretrained(root / "bert-base/model")
    model = T.AutoModelForSequenceClassification.from_pretrained(root / "bert-base/model", dtype=torch.float32).eval()
    rows = [json.loads(line)["text"] for line in open(file)]
    with torch.inference_mode():
        for first in range(0, len(rows), 32):
            inputs = tokenizer(rows[first : first + 32], padding=True, truncation=True, return_tensors="pt")
            inputs.pop("token_type_ids", None)
            probabilities = model(**inputs).logits.softmax(-1)
            for row in probabilities.tolist():
                print(json.dumps({"probabilities": row}))


# ---- both

def run(arguments):
    # Nothing large is imported here: a process begins with the peak memory of the one that starts it.
    version = importlib.metadata.version
    root = arguments.root.resolve()
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    print(f"{cpu}, {arguments.threads} threads; torch {version('torch')}, transformers {version('transformers')}, "
          f"peft {version('peft')}; medians of {arguments.repetitions}, smallest to largest in brackets\n")
    print("| | kindling | peer | ratio | memory | peer's | ratio |\n|---|---|---|---|---|---|---|", flush=True)
    for case in arguments.cases or CASES:
        ours, theirs = [], []
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts(PREDICTION.get(case, 0), 5, 45, 4))
            file.flush()
            for _ in range(arguments.repetitions):
                peer = [sys.executable, __file__, "peer", root, case, "--steps", arguments.steps, "--threads", arguments.threads,
                        "--file", file.name]
                if case in TRAINING:
                    ours.append(kindling_training(arguments.kindling, root, case, arguments.steps, arguments.threads))
                elif case in GENERATION:
                    ours.append(kindling_generation(arguments.kindling, root, case, arguments.threads))
                else:
                    ours.append(kindling_prediction(arguments.kindling, root, case, arguments.threads, file.name))
                if case in ALONE:
                    continue
                seconds, peak, output = child(peer)
                theirs.append((seconds if case in PREDICTION else float(output.splitlines()[-1]), peak))
        unit = "s" if case in PREDICTION else "tokens/s"
        def cell(values):
            digits = 2 if unit == "s" else 1 if values[0] < 100 else 0
            low, middle, high = min(values), statistics.median(values), max(values)
            return f"{middle:.{digits}f} {unit} ({low:.{digits}f}-{high:.{digits}f})"
        (our_speed, our_memory), (their_speed, their_memory) = zip(*ours), zip(*theirs) if theirs else ((), ())
        def ratio(ours, theirs):
            return f"{statistics.median(ours) / statistics.median(theirs):.2f}" if theirs else ""
        def megabytes(values):
            return f"{statistics.median(values) / 1e6:.0f} MB" if values else ""
        speeds = [their_speed, our_speed] if unit == "s" else [our_speed, their_speed]
        print(f"| {case} | {cell(our_speed)} | {cell(their_speed) if theirs else 'none'} | {ratio(*speeds) if theirs else ''} | "
              f"{megabytes(our_memory)} | {megabytes(their_memory)} | {ratio(our_memory, their_memory)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_make = commands.add_parser("make")
    of_make.add_argument("size", choices=["bert-base", "bert-base-bf16", "gpt2", "qwen2-0.5b"])
    of_make.add_argument("directory", type=Path)
    of_run, of_peer = commands.add_parser("run"), commands.add_parser("peer")
    of_run.add_argument("kindling", type=Path)
    for each in (of_run, of_peer):
        each.add_argument("root", type=Path)
        each.add_argument("cases", nargs="*" if each is of_run else 1, metavar="CASE", help=", ".join(CASES))
        each.add_argument("--steps", type=int, default=12)
        each.add_argument("--threads", type=int, default=2)
        each.add_argument("--repetitions", type=int, default=5)
        each.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "make":
        arguments.directory.mkdir(parents=True, exist_ok=True)
        return make(arguments.size, arguments.directory)
    if arguments.command == "run":
        return run(arguments)
    case, root, threads = arguments.cases[0], arguments.root, arguments.threads
    if case in TRAINING:
        peer_training(root, case, arguments.steps, threads)
    elif case in GENERATION:
        peer_generation(root, case, threads)
    else:
        peer_prediction(root, case, threads, arguments.file)


if __name__ == "__main__":
    main()
