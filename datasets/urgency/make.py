"""Writes train.jsonl and valid.jsonl: what is wrong, where, since when; the number is the sum of what each part weighs."""
import json
import random
from pathlib import Path

WRONG = [("a light bulb is out", 1.0), ("the tap drips", 2.0), ("the door squeaks", 0.5), ("the heating is cold", 5.0),
         ("a window is broken", 4.5), ("water runs down the wall", 7.0), ("there is a smell of gas", 8.5), ("the lock is jammed", 4.0)]
WHERE = [("in the cellar", 0.0), ("in the kitchen", 0.5), ("in the nursery", 1.0), ("on the stairs", 0.75)]
SINCE = [("since last month", -0.5), ("since this morning", 0.25), ("and it is getting worse", 0.5)]

rows = [{"text": f"{wrong} {where} {since}", "label": max(0.0, a + b + c)} for wrong, a in WRONG for where, b in WHERE for since, c in SINCE]
random.Random(1).shuffle(rows)
for name, part in (("train", rows[:76]), ("valid", rows[76:])):
    Path(__file__).with_name(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
