#!/usr/bin/env python3
"""The model of scaling in docs/distributed.md against two workers with a delay between them.

    python benches/workers.py KINDLING DIR [--delays 0.5,2,10] [--rate 1000]

KINDLING is an optimised binary with the feature `mpi`; DIR gets a BERT-base with random weights, texts and the runs. Two network
namespaces are the hosts, with `benches/link.py` between them: MS one way, megabits a second. Needs root on Linux, Open MPI and
iproute2, and two cores without other work. Prints a table in Markdown. Of a prediction, what is measured is a micro-batch's time,
by one worker beside another that it has nothing to do with, just before and just after; rate and delay are what the link was told.
"""
import argparse, array, hashlib, json, math, random, re, shlex, shutil, statistics, struct, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMESPACES = ("kindling-delay-a", "kindling-delay-b")
MTU = 9000
# Sequences in a micro-batch, tokens in each, steps, and what is adapted.
CASES = {"8 x 128": (8, 128, 5, "all-linear"), "1 x 64": (1, 64, 40, ["query", "value"])}
MICRO_BATCHES = 2
# Of packing, adding and unpacking, seconds for a parameter; and of TCP's rate what is left for values.
SUMS, LEFT = 7.5e-9, 0.95

CONFIG = """
[model]
path = "model"

[adapter]
r = 8
target_modules = {targets}

[data]
train = "{rows}.jsonl"
max_length = {tokens}

[train]
epochs = 1000
max_steps = {steps}
batch_size = {rows}
grad_accumulation = 2
checkpoint_every = 1000
eval_every = 1000
device = "cpu"
"""


def make(directory):
    """BERT-base with the quickstart's vocabulary."""
    model = directory / "model"
    model.mkdir(parents=True, exist_ok=True)
    small = HERE.parent / "models" / "quickstart"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(small / name, model)
    config = json.loads((small / "config.json").read_text()) | dict(
        architectures=["BertForSequenceClassification"], hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072, dtype="float32")
    (model / "config.json").write_text(json.dumps(config))
    vocabulary = json.loads((small / "tokenizer.json").read_text())["model"]["vocab"]
    write_weights(model / "model.safetensors", shapes(config))
    draw = random.Random(2)
    words = [word for word in vocabulary if word.isalpha()]
    for rows, tokens, *_ in CASES.values():
        with open(directory / f"{rows}.jsonl", "w") as file:
            for row in range(64):
                text = " ".join(draw.choice(words) for _ in range(tokens))
                file.write(json.dumps({"text": text, "label": row % 2}) + "\n")


def shapes(config):
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    dense = lambda name, outputs, inputs: {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}
    norm = lambda name: {f"{name}.weight": [hidden], f"{name}.bias": [hidden]}
    found = {f"bert.embeddings.{name}_embeddings.weight": [rows, hidden] for name, rows in (
        ("word", config["vocab_size"]), ("position", config["max_position_embeddings"]), ("token_type", config["type_vocab_size"]))}
    found |= norm("bert.embeddings.LayerNorm") | dense("bert.pooler.dense", hidden, hidden) | dense("classifier", 2, hidden)
    for layer in (f"bert.encoder.layer.{number}" for number in range(config["num_hidden_layers"])):
        for name in ("query", "key", "value"):
            found |= dense(f"{layer}.attention.self.{name}", hidden, hidden)
        found |= dense(f"{layer}.attention.output.dense", hidden, hidden) | norm(f"{layer}.attention.output.LayerNorm")
        found |= dense(f"{layer}.intermediate.dense", inner, hidden) | dense(f"{layer}.output.dense", hidden, inner)
        found |= norm(f"{layer}.output.LayerNorm")
    return found


def write_weights(path, shapes):
    draw = random.Random(1)
    block = array.array("f", (draw.gauss(0.0, 0.02) for _ in range(1 << 18)))
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name], end = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}, end + size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            count = math.prod(shape)
            if name.endswith("LayerNorm.weight"):
                file.write(array.array("f", [1.0]).tobytes() * count)
                continue
            first = draw.randrange(len(block))
            # The block again and again, from another place for each tensor.
            turned = (block[first:] + block[:first]).tobytes()
            file.write((turned * math.ceil(4 * count / len(turned)))[: 4 * count])


class Link:
    """The two namespaces, and what forwards between them."""

    def __init__(self, delay, rate):
        self.arguments = [*NAMESPACES, "--delay", str(delay), "--rate", str(rate), "--mtu", str(MTU)]

    def __enter__(self):
        remove_namespaces()
        for name in NAMESPACES:
            subprocess.run(["ip", "netns", "add", name], check=True)
        self.process = subprocess.Popen([sys.executable, HERE / "link.py", *self.arguments])
        deadline = time.time() + 10
        while subprocess.run(["ip", "netns", "exec", NAMESPACES[0], "ping", "-qc1", "-W1", "10.78.0.2"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            if time.time() > deadline or self.process.poll() is not None:
                raise SystemExit("there is no link between the namespaces")
        return self

    def round_trip(self):
        """Milliseconds, the median of some pings."""
        said = subprocess.run(["ip", "netns", "exec", NAMESPACES[0], "ping", "-c", "11", "-i", "0.1", "10.78.0.2"],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        return statistics.median(float(found) for found in re.findall(r"time=([\d.]+)", said))

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        remove_namespaces()


def remove_namespaces():
    for name in NAMESPACES:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def train(directory, case, output, command):
    """Seconds of a step, what was said of the exchange, and the hash of the adapter. `command` makes of kindling's one."""
    rows, tokens, steps, targets = CASES[case]
    config = CONFIG.format(rows=rows, tokens=tokens, steps=steps, targets=json.dumps(targets))
    (directory / f"{rows}.toml").write_text(config)
    words = ["train", f"{rows}.toml", "--threads", "1", "--overwrite", "--set", f"output_dir={output}"]
    log = directory / f"{output}.log"
    with open(log, "w") as file:
        done = subprocess.run(command(words), cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    said = log.read_text()
    if done.returncode:
        raise SystemExit(said)
    lines = [json.loads(line) for line in (directory / output / "metrics.jsonl").read_text().splitlines()]
    # The first step warms up.
    seconds = statistics.median([line["step_seconds"] for line in lines if line["event"] == "step"][1:])
    exchange = re.search(r"gradients of a step: (.*)", said)
    adapter = (directory / output / "adapter" / "adapter_model.safetensors").read_bytes()
    return seconds, exchange.group(1) if exchange else "", hashlib.sha256(adapter).hexdigest()


def beside_each_other(kindling, directory, case):
    """As `train`, of two runs of one worker at a time: they share this machine's memory and clock, as the two hosts do."""
    with ThreadPoolExecutor(2) as both:
        runs = [both.submit(train, directory, case, output, lambda words: [kindling, *words]) for output in ("one", "other")]
        (one, _, adapter), (other, _, _) = [run.result() for run in runs]
    return (one + other) / 2, adapter


def parameters(directory, output):
    data = (directory / output / "adapter" / "adapter_model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def on_two_hosts(kindling, directory):
    """A worker in each namespace, started there by an agent in the place of ssh."""
    agent = directory / "agent"
    agent.write_text(f'#!/bin/sh\nshift\nexec ip netns exec {NAMESPACES[1]} unshare --uts sh -c "hostname host-b; $*"\n')
    agent.chmod(0o755)
    network = "10.78.0.0/24"
    launcher = ["timeout", "-k", "5", "300", "mpirun", "--allow-run-as-root", "-n", "2", "--host", "10.78.0.1:1,10.78.0.2:1",
                "--bind-to", "none", "--mca", "plm_rsh_agent", str(agent), "--mca", "oob_tcp_if_include", network,
                "--mca", "btl_tcp_if_include", network, "--mca", "btl", "self,tcp", str(kindling)]
    enter = ["ip", "netns", "exec", NAMESPACES[0], "unshare", "--uts", "sh", "-c"]
    return lambda words: [*enter, "hostname host-a; exec " + shlex.join([*launcher, *words])]


def predicted(micro_batch, count, rate, delay):
    """T(2) of docs/distributed.md, in seconds."""
    sent = 4 * count / 2
    # The busiest worker's micro-batches, and the sums.
    exchange = SUMS * count + 8 * sent * (MICRO_BATCHES / 2 + 1) / (LEFT * rate)
    # To the first worker and back; large messages are announced, asked for and sent: gradients, and their sums.
    return micro_batch * MICRO_BATCHES / 2 + exchange + (2 + 3 + 3) * delay


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kindling", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--delays", default="0.5,2,10", help="milliseconds, one way")
    parser.add_argument("--rate", type=int, default=1000, help="megabits a second")
    parser.add_argument("--cases", default=",".join(CASES), help="sequences x tokens of a micro-batch, with commas between")
    arguments = parser.parse_args()
    kindling, directory = arguments.kindling.resolve(), arguments.directory.resolve()
    if not (directory / "model" / "model.safetensors").exists():
        make(directory)
    rate = arguments.rate * 1e6
    print("| a micro-batch | delay, one way (round trip by ping) | one worker | two | predicted | differs by | exchange |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for case in arguments.cases.split(","):
        before, adapter = beside_each_other(kindling, directory, case)
        count = parameters(directory, "one")
        for delay in map(float, arguments.delays.split(",")):
            with Link(delay, arguments.rate) as link:
                round_trip = link.round_trip()
                step, exchange, other = train(directory, case, "two", on_two_hosts(kindling, directory))
            if other != adapter:
                raise SystemExit(f"the adapters differ, with a delay of {delay} ms")
            # A machine's speed varies with what its neighbours do.
            after, _ = beside_each_other(kindling, directory, case)
            alone = (before + after) / 2
            expected = predicted(alone / MICRO_BATCHES, count, rate, delay / 1e3)
            print(f"| {case}, {count / 1e6:.2f} M parameters | {delay:g} ms ({round_trip:.2f} ms) | {before:.3f}, {after:.3f} s "
                  f"| {step:.3f} s | {expected:.3f} s | {step / expected - 1:+.1%} | {exchange} |", flush=True)
            before = after


main()
