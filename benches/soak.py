#!/usr/bin/env python3
"""An hour of training, evaluating, saving and generating: memory, file handles and threads at the start and at the end.

    python benches/soak.py KINDLING [--minutes 60]

Two processes at a time: a training run with evaluations that generate, checkpoints and TensorBoard's events, and `kindling serve`, which is
asked for texts without a pause. The small decoder and data set come with the repository; needs nothing but Python. Each figure is the median of
the first and of the last tenth of the samples after a warm-up; the status is 1 if one has grown by more than a tenth and 16 MB, or by a handle or thread.
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def sample(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    number = lambda key: int(re.search(rf"^{key}:\s+(\d+)", status, re.M)[1])
    return {"rss_mb": number("VmRSS") / 1024, "threads": number("Threads"), "handles": len(os.listdir(f"/proc/{pid}/fd"))}


def configuration(place, steps):
    shutil.copytree(ROOT / "models", place / "models")
    shutil.copytree(ROOT / "datasets", place / "datasets")
    shutil.copytree(ROOT / "configs", place / "configs")
    return ["train", "configs/generate.toml", "--quiet", "--set", f"train.max_steps={steps}", "--set", "train.epochs=0", "--set", "train.eval_every=40",
            "--set", "train.checkpoint_every=20", "--set", "train.tensorboard=true", "--set", "output_dir=runs/soak",
            "--set", "train.schedule=constant", "--set", "train.warmup_ratio=0"]


def ask(port, model, until, counts):
    body = {"model": model, "prompt": "dim the lamp in the study", "max_tokens": 24}
    while time.monotonic() < until:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            counts["answers"] += 1
        except OSError as error:
            counts["failures"] += 1
            counts["last"] = str(error)


def watch(processes, until):
    samples = {name: [] for name in processes}
    while time.monotonic() < until:
        for name, process in processes.items():
            if process.poll() is not None:
                sys.exit(f"{name} ended with {process.returncode} before its time")
            samples[name].append(sample(process.pid))
        time.sleep(2)
    return samples


def judge(samples):
    grown = False
    for name, rows in samples.items():
        # What is read once, and the first evaluation and checkpoint.
        rows = rows[len(rows) // 10:]
        tenth = max(len(rows) // 10, 1)
        for key in rows[0]:
            first, last = (statistics.median(row[key] for row in part) for part in (rows[:tenth], rows[-tenth:]))
            allowed = max(first * 1.1, first + 16) if key == "rss_mb" else first
            grown |= last > allowed
            print(f"{name:9}{key:9}{first:9.1f} at the start {last:9.1f} at the end{'  GROWN' if last > allowed else ''}")
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kindling")
    parser.add_argument("--minutes", type=float, default=60)
    arguments = parser.parse_args()
    binary = str(Path(arguments.kindling).resolve())
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        run = lambda *words, **more: subprocess.Popen([binary, *words], cwd=place, **more)
        training = run(*configuration(place, 10**9), "--threads", "1", stderr=subprocess.DEVNULL)
        server = run("serve", "--model", "models/tiny-decoder", "--port", "0", "--threads", "1", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = next(int(found[1]) for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models") as answer:
                name = json.load(answer)["data"][0]["id"]
            until, counts = time.monotonic() + 60 * arguments.minutes, {"answers": 0, "failures": 0, "last": ""}
            asking = threading.Thread(target=ask, args=(port, name, until, counts))
            asking.start()
            samples = watch({"training": training, "server": server}, until)
            asking.join()
        finally:
            for process in (training, server):
                process.terminate()
                process.wait()
        lines = (place / "runs/soak/metrics.jsonl").read_text().splitlines()
        steps = sum('"event":"step"' in line for line in lines)
        print(f"{arguments.minutes:g} minutes: {steps} steps, {len(lines) - steps} evaluations, {counts['answers']} answers, {counts['failures']} failures {counts['last']}")
        sys.exit(judge(samples))


main()
