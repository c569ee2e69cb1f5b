#!/usr/bin/env python3
"""The time of a training step under several configurations, a step of each in turn: what slows the machine down slows all alike.

    python benches/in_turn.py KINDLING CONFIG SCRATCH [--steps N] -- OVERRIDES...

Each of OVERRIDES is one run's, as one argument, say '' 'adapter.use_dora=true': `--set` for each of its words. All runs are started
and held (SIGSTOP) after a step; then one after the other goes on for a step, there and back. Ratios are to the first run. Needs a
system with signals, and memory for all runs at once.
"""
import argparse, json, shutil, signal, statistics, subprocess, sys, time
from pathlib import Path


class Run:
    def __init__(self, arguments, index, overrides):
        self.directory = arguments.scratch / f"run-{index}"
        shutil.rmtree(self.directory, ignore_errors=True)
        # The held step is not over before the last that counts.
        settings = [f"output_dir={self.directory}", f"train.max_steps={arguments.steps + 3}", "train.checkpoint_every=1000000", *overrides.split()]
        self.log = open(arguments.scratch / f"run-{index}.log", "w+")
        self.process = subprocess.Popen(
            [arguments.kindling, "train", arguments.config, "--quiet", "--threads", str(arguments.threads)]
            + [word for setting in settings for word in ("--set", setting)], stdout=subprocess.DEVNULL, stderr=self.log)
        self.seconds = []
        self.until(0)
        self.process.send_signal(signal.SIGSTOP)

    def steps(self):
        try:
            return sum(json.loads(line)["event"] == "step" for line in open(self.directory / "metrics.jsonl") if line.endswith("\n"))
        except FileNotFoundError:
            return 0

    def until(self, steps):
        """Waits for a step more than `steps`."""
        while self.steps() <= steps:
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(self.log.read())
            time.sleep(0.003)

    def step(self):
        steps = self.steps()
        start = time.time()
        self.process.send_signal(signal.SIGCONT)
        self.until(steps)
        self.process.send_signal(signal.SIGSTOP)
        self.seconds.append(time.time() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kindling", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("overrides", nargs="+")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    runs = []
    try:
        for index, overrides in enumerate(arguments.overrides):
            runs.append(Run(arguments, index, overrides))
        for turn in range(arguments.steps):
            for run in runs if turn % 2 == 0 else reversed(runs):
                run.step()
    finally:
        for run in runs:
            run.process.kill()
            run.process.wait()
    print("| | median step | least | ratio of medians | median of the ratios step by step |\n|---|---|---|---|---|")
    first = runs[0].seconds
    for overrides, run in zip(arguments.overrides, runs):
        median, ratios = statistics.median(run.seconds), [ours / theirs for ours, theirs in zip(run.seconds, first)]
        print(f"| {overrides or 'as configured'} | {median:.2f} s | {min(run.seconds):.2f} s | {median / statistics.median(first):.3f} | {statistics.median(ratios):.3f} |")


if __name__ == "__main__":
    main()
