"""Clients of vLLM's /classify and of text-embeddings-inference's /predict against `kindling serve`: python classification.py URL KEY.

The server has `bert`, whose classes are three, and its adapter `reviews`.
"""

import sys

import requests

URL, KEY = sys.argv[1:]
session = requests.Session()
session.headers["Authorization"] = f"Bearer {KEY}"


def post(path, body, status=200):
    answer = session.post(f"{URL}{path}", json=body, timeout=120)
    assert answer.status_code == status, answer.text
    return answer.json()


# vLLM's example client posts `model` and `input`, and reads these of `data`.
texts = ["a fine film", "not at all"]
answer = post("/classify", {"model": "reviews", "input": texts})
assert [set(entry) for entry in answer["data"]] == [{"index", "label", "probs", "num_classes"}] * 2, answer
assert all(abs(sum(entry["probs"]) - 1) < 1e-5 and entry["num_classes"] == 3 for entry in answer["data"])
assert answer["object"] == "list" and answer["usage"]["total_tokens"] > 0, answer
classes = answer["data"]

# text-embeddings-inference's forms: one text, a batch, a pair.
[one] = [post("/predict", {"model": "reviews", "inputs": text}) for text in texts[:1]]
assert [set(score) for score in one] == [{"score", "label"}] * 3, one
assert one[0]["label"] == classes[0]["label"] and one == sorted(one, key=lambda score: -score["score"])
batch = post("/predict", {"model": "reviews", "inputs": [[text] for text in texts]})
for scores, entry in zip(batch, classes, strict=True):
    assert [score["score"] for score in scores] == sorted(entry["probs"], reverse=True), (scores, entry)
    assert scores[0]["label"] == entry["label"]
assert post("/predict", {"model": "reviews", "inputs": texts}) != batch, "two texts in one list are a pair"

error = post("/predict", {"model": "nothing", "inputs": "a"}, 404)["error"]
assert error["message"] == "there is no model `nothing`: there are bert, reviews", error
print("classification: all hold")
