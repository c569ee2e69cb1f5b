"""Writes train.jsonl and valid.jsonl: sentences with a gap for a person, a place and a day; the filled gaps are the entities."""
import json
import random
from pathlib import Path

PEOPLE = ["Anna", "Peter", "Maria", "John Baker", "Lucy", "Tom Hill", "Sarah", "Henry", "Ruth Miller", "David"]
PLACES = ["London", "Berlin", "Paris", "New York", "Rome", "Green Lake", "Vienna", "Boston", "Old Town", "Madrid"]
DAYS = ["Monday", "Friday", "Sunday", "next week", "tomorrow", "last summer"]
SENTENCES = ["{PER} goes to {LOC} on foot .", "we met {PER} in {LOC} {DATE} .", "the letter from {LOC} came {DATE} .", "{PER} will call {DATE} .",
             "did {PER} write to {PER} ?", "the train to {LOC} is late .", "{DATE} the shop is closed .", "my friend {PER} lives near {LOC} .",
             "nobody knows the answer .", "give this book to {PER} {DATE} ."]
GAPS = {"{PER}": ("PER", PEOPLE), "{LOC}": ("LOC", PLACES), "{DATE}": ("DATE", DAYS)}

draw = random.Random(3)


def row(sentence):
    tokens, tags = [], []
    for part in sentence.split():
        label, values = GAPS.get(part, (None, [part]))
        words = draw.choice(values).split()
        tokens += words
        tags += ["O"] if label is None else [f"B-{label}"] + [f"I-{label}"] * (len(words) - 1)
    return {"tokens": tokens, "tags": tags}


rows = []
while len(rows) < 80:
    new = row(SENTENCES[draw.randrange(len(SENTENCES))])
    if new not in rows:
        rows.append(new)
for name, part in (("train", rows[:60]), ("valid", rows[60:])):
    Path(__file__).with_name(f"{name}.jsonl").write_text("".join(json.dumps(it) + "\n" for it in part))
