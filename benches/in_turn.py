#!/usr/bin/env python3
"""The time of a training step under several configurations, a step of each in turn: what slows the machine down slows all alike.

    python benches/in_turn.py KINDLING CONFIG SCRATCH [--turns N] [--at-once N] -- RUN...

Each RUN is one argument, say '' 'adapter.use_dora=true': `--set` for each of its words, but a word that ends in `.toml` is a
configuration in place of CONFIG. All runs are started and held (SIGSTOP) after a step; then one after the other goes on, there and
back, by the step in which it was held, which does not count, and as many as `--at-once` says, each as long as the run itself took it to
be. Ratios are to the first run. Needs a system with signals, and memory for all runs at once.
"""
import argparse, json, shutil, signal, statistics, subprocess, sys, time
from pathlib import Path


class Run:
    def __init__(self, arguments, index, overrides):
        self.directory = arguments.scratch / f"run-{index}"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.at_once = arguments.at_once
        words = overrides.split()
        configs = [word for word in words if word.endswith(".toml")]
        # The held step is not over before the last that counts.
        steps = arguments.turns * (self.at_once + 1) + 3
        settings = [f"output_dir={self.directory}", f"train.max_steps={steps}", "train.checkpoint_every=1000000"]
        settings += [word for word in words if word not in configs]
        self.log = open(arguments.scratch / f"run-{index}.log", "w+")
        self.process = subprocess.Popen(
            [arguments.kindling, "train", *(configs or [arguments.config]), "--quiet", "--threads", str(arguments.threads)]
            + [word for setting in settings for word in ("--set", setting)], stdout=subprocess.DEVNULL, stderr=self.log)
        self.seconds = []
        self.until(0)
        self.process.send_signal(signal.SIGSTOP)

    def steps(self):
        """The seconds of those that are done."""
        try:
            rows = [json.loads(line) for line in open(self.directory / "metrics.jsonl") if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [row["step_seconds"] for row in rows if row["event"] == "step"]

    def until(self, steps):
        """Waits for a step more than `steps`."""
        while len(self.steps()) <= steps:
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(self.log.read())
            time.sleep(0.003)

    def turn(self):
        held = len(self.steps())
        self.process.send_signal(signal.SIGCONT)
        self.until(held + self.at_once)
        self.process.send_signal(signal.SIGSTOP)
        self.seconds += self.steps()[held + 1:held + 1 + self.at_once]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kindling", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=1, help="steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("overrides", nargs="+")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    runs = []
    try:
        for index, overrides in enumerate(arguments.overrides):
            runs.append(Run(arguments, index, overrides))
        for turn in range(arguments.turns):
            for run in runs if turn % 2 == 0 else reversed(runs):
                run.turn()
    finally:
        for run in runs:
            run.process.kill()
            run.process.wait()
    print("| | median step | least | ratio of medians | median of the ratios step by step |\n|---|---|---|---|---|")
    first = runs[0].seconds
    for overrides, run in zip(arguments.overrides, runs):
        median, ratios = statistics.median(run.seconds), [ours / theirs for ours, theirs in zip(run.seconds, first)]
        print(f"| {overrides or 'as configured'} | {median:.3f} s | {min(run.seconds):.3f} s | {median / statistics.median(first):.3f} | {statistics.median(ratios):.3f} |")


if __name__ == "__main__":
    main()
