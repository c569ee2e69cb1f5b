#!/usr/bin/env python3
"""kindling's server under concurrent streams: tokens a second and time to the first token; beside it Transformers + PEFT in static batches.

    python benches/serving.py adapters MODEL DIR [--count 8]                 LoRA adapters with random values, by PEFT
    python benches/serving.py streams KINDLING MODEL [--adapters DIR]        concurrent streams of the server
    python benches/serving.py peer MODEL [--adapters DIR]                    the same prompts in one batch of `generate`, adapters mixed in it
    python benches/serving.py classify KINDLING MODEL                        requests a second of /classify, from concurrent clients
    python benches/serving.py classify-peer MODEL                            FastAPI + Transformers, the same texts

Every stream gets a prompt of its own of some 32 tokens and asks for the same number of new ones; with adapters the streams take them in turn. MODEL is a
directory that benches/against_peft.py made. Needs torch, transformers and peft for the peers.
"""
import argparse, http.client, json, random, re, signal, statistics, subprocess, sys, tempfile, threading, time
from pathlib import Path

WORDS = "the a of river stone light house quiet green old new runs falls keeps under over near small letter night door".split()


def prompt(index):
    rng = random.Random(index)
    return " ".join(rng.choice(WORDS) for _ in range(24))


def adapters_in(directory):
    return sorted(path for path in Path(directory).iterdir() if path.is_dir()) if directory else []


def make_adapters(model, directory, count):
    import torch, peft, transformers as T
    for index in range(count):
        torch.manual_seed(index)
        base = T.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        gpt2 = base.config.model_type == "gpt2"
        config = peft.LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, init_lora_weights=False, fan_in_fan_out=gpt2,
                                 target_modules=["c_attn"] if gpt2 else ["q_proj", "v_proj"])
        peft.get_peft_model(base, config).save_pretrained(Path(directory) / f"adapter-{index}")


class Server:
    def __init__(self, binary, model, adapters, threads):
        command = [binary, "serve", "--model", model, "--port", "0", "--threads", threads, "--max-queue", "256"]
        for path in adapters:
            command += ["--adapter", f"{path.name}={path}"]
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        else:
            sys.exit("the server ended before it was ready")
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def peak(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def stream(port, model, index, tokens, found):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = dict(model=model, prompt=prompt(index), max_tokens=tokens, temperature=0, stream=True, stream_options={"include_usage": True})
    start = time.time()
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"{response.status}: {response.read().decode()}")
    first, usage = None, None
    for line in response:
        line = line.decode().strip()
        if line.startswith("data: ") and line != "data: [DONE]":
            event = json.loads(line[6:])
            first = first or time.time() - start
            usage = event.get("usage") or usage
    found.append((first, time.time() - start, usage["completion_tokens"]))


def streams(arguments):
    adapters = adapters_in(arguments.adapters)
    print(f"| streams | tokens/s | first token, median | 99th percentile | peak memory |\n|---|---|---|---|---|", flush=True)
    for count in map(int, arguments.streams.split(",")):
        server = Server(arguments.kindling, arguments.model, adapters, arguments.threads)
        names = [path.name for path in adapters] or [Path(arguments.model).name]
        if not adapters:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("GET", "/v1/models")
            names = [json.loads(connection.getresponse().read())["data"][0]["id"]]
        stream(server.port, names[0], 10_000, 2, [])
        found, start = [], time.time()
        threads = [threading.Thread(target=stream, args=(server.port, names[i % len(names)], i, arguments.tokens, found)) for i in range(count)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        seconds = time.time() - start
        firsts = sorted(first for first, _, _ in found)
        print(f"| {count} | {sum(tokens for _, _, tokens in found) / seconds:.1f} | {statistics.median(firsts):.2f} s | "
              f"{firsts[min(len(firsts) - 1, int(0.99 * len(firsts)))]:.2f} s | {server.peak() / 1e6:.0f} MB |", flush=True)
        server.close()


def peer(arguments):
    import torch, transformers as T
    torch.set_num_threads(arguments.threads)
    adapters = adapters_in(arguments.adapters)
    tokenizer = T.AutoTokenizer.from_pretrained(arguments.model, padding_side="left")
    model = T.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    extra = {}
    if adapters:
        import peft
        model = peft.PeftModel.from_pretrained(model, adapters[0], adapter_name=adapters[0].name)
        for path in adapters[1:]:
            model.load_adapter(path, adapter_name=path.name)
    model.eval()
    print("| streams | tokens/s |\n|---|---|", flush=True)
    for count in map(int, arguments.streams.split(",")):
        inputs = tokenizer([prompt(i) for i in range(count)], return_tensors="pt", padding=True)
        inputs.pop("token_type_ids", None)
        if adapters:
            extra = dict(adapter_names=[adapters[i % len(adapters)].name for i in range(count)])
        with torch.inference_mode():
            start = time.time()
            model.generate(**inputs, **extra, do_sample=False, max_new_tokens=arguments.tokens, min_new_tokens=arguments.tokens, pad_token_id=0)
        print(f"| {count} | {count * arguments.tokens / (time.time() - start):.1f} |", flush=True)


def texts(count):
    rng = random.Random(4)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randint(5, 45))) for _ in range(count)]


def requests_a_second(port, path, body, count, clients):
    each, seconds, lock = texts(count), [], threading.Lock()
    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while True:
            with lock:
                if not each:
                    return
                text = each.pop()
            start = time.time()
            connection.request("POST", path, json.dumps(body(text)), {"content-type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                sys.exit(f"{response.status}: {content.decode()}")
            seconds.append(time.time() - start)
    start = time.time()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    total = time.time() - start
    seconds.sort()
    return f"| {clients} | {count / total:.1f} | {1000 * statistics.median(seconds):.0f} ms | {1000 * seconds[int(0.99 * count)]:.0f} ms |"


def classify(arguments):
    server = Server(arguments.kindling, arguments.model, [], arguments.threads)
    print("| clients | requests/s | median | 99th percentile |\n|---|---|---|---|")
    for clients in map(int, arguments.streams.split(",")):
        print(requests_a_second(server.port, "/classify", lambda text: {"input": text}, 200, clients), flush=True)
    server.close()


PEER = '''
import sys, torch, uvicorn, transformers as T
from fastapi import FastAPI
torch.set_num_threads(int(sys.argv[3]))
tokenizer, model = T.AutoTokenizer.from_pretrained(sys.argv[1]), T.AutoModelForSequenceClassification.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
app = FastAPI()
@app.post("/classify")
def classify(body: dict):
    inputs = tokenizer([body["input"]], truncation=True, return_tensors="pt"); inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        return {"probs": model(**inputs).logits.softmax(-1)[0].tolist()}
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
'''


def classify_peer(arguments):
    process = subprocess.Popen([sys.executable, "-c", PEER, str(arguments.model), "18765", str(arguments.threads)])
    for _ in range(600):
        try:
            http.client.HTTPConnection("127.0.0.1", 18765, timeout=1).connect()
            break
        except OSError:
            time.sleep(0.1)
    print("| clients | requests/s | median | 99th percentile |\n|---|---|---|---|")
    for clients in map(int, arguments.streams.split(",")):
        print(requests_a_second(18765, "/classify", lambda text: {"input": text}, 200, clients), flush=True)
    process.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, work in dict(adapters=None, streams=streams, peer=peer, classify=classify).items() | {("classify-peer", classify_peer)}:
        each = commands.add_parser(name)
        each.set_defaults(work=work)
        if name in ("streams", "classify"):
            each.add_argument("kindling", type=Path)
        each.add_argument("model", type=Path)
        if name == "adapters":
            each.add_argument("directory", type=Path)
            each.add_argument("--count", type=int, default=8)
            continue
        each.add_argument("--adapters", type=Path)
        each.add_argument("--streams", default="1,4,16,64", help="how many at once")
        each.add_argument("--tokens", type=int, default=64)
        each.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.command == "adapters":
        return make_adapters(arguments.model, arguments.directory, arguments.count)
    arguments.work(arguments)


if __name__ == "__main__":
    main()
