#!/usr/bin/env python3
"""Kills training at random moments, resumes it, and compares the end with that of a run that nobody disturbed, bit for bit.

    python benches/kills.py KINDLING [--kills 1000] [--seed 1]

The run is small (tests/fixtures/parity/bert-cls: dropout, accumulation, evaluations and checkpoints in the middle of epochs). It is killed with
SIGKILL after a random time, some twenty times from its beginning to its end, then another one. Half of the kills wait for a file of the run to
change first, so that they fall into what is written there. Needs nothing but Python.
"""
import argparse, json, random, shutil, subprocess, sys, tempfile, time
from pathlib import Path

FIXTURE = Path(__file__).resolve().parent.parent / "tests/fixtures/parity/bert-cls"
CONFIG = """
[model]
path = "model"
[adapter]
r = 4
dropout = 0.2
[data]
train = "data.jsonl"
valid = "valid.jsonl"
[train]
epochs = {epochs}
batch_size = 3
grad_accumulation = 2
learning_rate = 1e-2
warmup_steps = 3
eval_every = 5
checkpoint_every = 4
device = "cpu"
"""
CLOCK = ("step_seconds", "seconds", "peak_memory_bytes")


def prepare(place, epochs):
    shutil.copytree(FIXTURE / "model", place / "model")
    config = (place / "model/config.json").read_text()
    (place / "model/config.json").write_text(config.replace('dropout_prob": 0.0', 'dropout_prob": 0.1'))
    rows = (FIXTURE / "data.jsonl").read_text()
    (place / "data.jsonl").write_text(rows)
    (place / "valid.jsonl").write_text("".join(rows.splitlines(keepends=True)[::3]))
    (place / "run.toml").write_text(CONFIG.format(epochs=epochs))


def result(place, name):
    """What must be the same: the numbers of every line and the adapter, but for the card, which names the directory."""
    run = place / "runs" / name
    files = {file.name: file.read_bytes() for file in (run / "adapter").iterdir() if file.name != "README.md"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return files, [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def stamp(run):
    """Changes with whatever the run writes last."""
    try:
        return [(run / name).stat().st_mtime_ns for name in (".kindling", "checkpoints", "adapter", "metrics.jsonl")]
    except OSError:
        return None


def kill_once(command, place, run, rng, longest):
    """Whether the process was still running when it was killed."""
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(rng.uniform(0, longest))
    if rng.random() < 0.5:
        before, until = stamp(run), time.monotonic() + 0.5
        while stamp(run) == before and time.monotonic() < until and process.poll() is None:
            pass
        time.sleep(rng.uniform(0, 0.003))
    alive = process.poll() is None
    process.kill()
    said = process.communicate()[1].decode()
    if not alive and process.returncode not in (0, None):
        sys.exit(f"a resumed run failed ({process.returncode}):\n{said}")
    return alive


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kindling")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=150)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    binary = str(Path(arguments.kindling).resolve())
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        prepare(place, arguments.epochs)
        started = time.monotonic()
        train = lambda name: [binary, "train", "run.toml", "--quiet", "--set", f"output_dir=runs/{name}"]
        subprocess.run(train("whole"), cwd=place, check=True)
        longest = (time.monotonic() - started) / 15
        expected = result(place, "whole")
        kills = runs = differ = 0
        while kills < arguments.kills:
            run = place / "runs/killed"
            while kill_once(train("killed") + ["--resume"], place, run, rng, longest):
                kills += 1
            subprocess.run(train("killed") + ["--resume"], cwd=place, check=True)
            runs += 1
            if result(place, "killed") != expected:
                differ += 1
                shutil.copytree(run, Path(tempfile.gettempdir()) / f"kills-differ-{arguments.seed}-{runs}", dirs_exist_ok=True)
            shutil.rmtree(run)
            print(f"{kills} kills, {runs} runs, {differ} that ended otherwise, {time.monotonic() - started:.0f} s", flush=True)
        sys.exit(differ > 0)


main()
