#!/usr/bin/env python3
"""Makes this data set: what people say to a house, and what it answers.

    python3 datasets/house/make.py          writes train.jsonl, valid.jsonl and test.jsonl beside this file

A small grammar draws a wish (a thing, a room, what is to become of it), words it as one of many people would, and gives
the one answer that says what was done. Some wishes name no room, some are followed by another one that leaves out what is
clear by then ("and in the hall?"), and some are beyond what a house can do. The same files every time.
"""

import json
import random
from pathlib import Path

ROOMS = ["kitchen", "bathroom", "bedroom", "hall", "study", "nursery", "cellar", "attic", "garage", "library"]
# What a thing can become, beside what turning it up and down does to it.
THINGS = {
    "lamp": ["on", "off", "brighter", "dimmer"],
    "radio": ["on", "off", "louder", "quieter"],
    "television": ["on", "off", "louder", "quieter"],
    "heater": ["on", "off", "warmer", "cooler"],
    "fan": ["on", "off", "faster", "slower"],
    "window": ["open", "closed"],
    "curtain": ["open", "closed"],
    "door": ["open", "closed", "locked", "unlocked"],
}
UP = ["turn {it} up", "turn up {it}", "more of {it}"]
DOWN = ["turn {it} down", "turn down {it}", "less of {it}"]
WISHES = {
    "on": ["turn on {it}", "turn {it} on", "switch on {it}", "switch {it} on", "put {it} on", "start {it}", "{it} on",
           "i want {it} on", "{it} should be on", "get {it} running", "i need {it}"],
    "off": ["turn off {it}", "turn {it} off", "switch off {it}", "switch {it} off", "put {it} off", "stop {it}", "{it} off",
            "i want {it} off", "{it} should be off", "shut {it} down", "i no longer need {it}"],
    "open": ["open {it}", "open up {it}", "i want {it} open", "{it} should be open", "get {it} open", "have {it} opened"],
    "closed": ["close {it}", "shut {it}", "i want {it} closed", "{it} should be shut", "get {it} closed", "have {it} closed"],
    "locked": ["lock {it}", "lock up {it}", "i want {it} locked", "{it} should be locked", "make sure nobody opens {it}"],
    "unlocked": ["unlock {it}", "i want {it} unlocked", "{it} should be unlocked", "take the lock off {it}"],
    "brighter": UP + ["make {it} brighter", "{it} is too dim", "i cannot see with {it}"],
    "dimmer": DOWN + ["dim {it}", "make {it} dimmer", "{it} is too bright", "{it} hurts my eyes"],
    "louder": UP + ["make {it} louder", "{it} is too quiet", "i cannot hear {it}"],
    "quieter": DOWN + ["make {it} quieter", "{it} is too loud", "{it} hurts my ears"],
    "warmer": UP + ["make {it} warmer", "{it} is too cold", "i am cold with {it}"],
    "cooler": DOWN + ["make {it} cooler", "{it} is too hot", "i am hot with {it}"],
    "faster": UP + ["make {it} faster", "{it} is too slow", "speed up {it}"],
    "slower": DOWN + ["make {it} slower", "{it} is too fast", "slow down {it}"],
}
REQUESTS = ["{w}", "{w}", "{w}", "please {w}", "{w}, please", "could you {w}?", "can you {w}?", "would you {w}, please?", "hey, {w}",
            "i would like you to {w}", "{w} for me", "be so kind and {w}", "now {w}", "do me a favour and {w}"]
# For a wish that is no request, such as "the lamp should be on".
STATEMENTS = ["{w}", "{w}", "{w}, please", "hey, {w}"]
AGAIN = ["and {other}?", "and {other}, please", "{other} too", "the same for {other}", "{other} as well, please", "also {other}"]
OTHER_ROOM = ["the one in the {room}", "the {room}", "in the {room}", "the {room} one"]
ROOM = ["in the {room}", "the {room}", "the one in the {room}", "{room}", "{room}, please", "i mean the {room}"]
BEYOND = ["make me a sandwich", "tell me a story", "what is the weather like?", "sing a song", "who are you?", "buy some milk",
          "call my mother", "how old is the moon?", "write a letter", "book a table for two", "walk the dog", "feed the cat",
          "translate this", "what day is it?", "play chess with me", "order a pizza", "iron my shirt", "do my homework"]


def turn(user, assistant, rng):
    """Some people write capitals and full stops, some do not."""
    if rng.random() < 0.5:
        user = user[0].upper() + user[1:] + ("" if user.endswith("?") else ".")
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def wording(state, it, rng):
    words = rng.choice(WISHES[state])
    is_request = not words.startswith(("{it}", "i ", "more", "less"))
    return rng.choice(REQUESTS if is_request else STATEMENTS).format(w=words.format(it=it))


def conversation(pairs, rng):
    kind = rng.random()
    if kind < 0.05:
        return turn(rng.choice(BEYOND), "I cannot do that.", rng)
    thing, room = rng.choice(pairs)
    state = rng.choice(THINGS[thing])
    done = f"The {{}} {thing} is {state}."
    if kind < 0.2:
        asked = turn(wording(state, f"the {thing}", rng), f"Which {thing}?", rng)
        return asked + turn(rng.choice(ROOM).format(room=room), done.format(room), rng)
    it = rng.choice([f"the {thing} in the {room}", f"the {room} {thing}"])
    first = turn(wording(state, it, rng), done.format(room), rng)
    if kind < 0.7:
        return first
    room = rng.choice([other for named, other in pairs if named == thing and other != room])
    other = rng.choice(OTHER_ROOM).format(room=room)
    return first + turn(rng.choice(AGAIN).format(other=other), done.format(room), rng)


def rows(count, pairs, rng, seen):
    written = []
    while len(written) < count:
        row = json.dumps({"messages": conversation(pairs, rng)})
        if row not in seen:
            seen.add(row)
            written.append(row)
    return written


def main():
    rng = random.Random(20)
    pairs = [(thing, room) for thing in THINGS for room in ROOMS]
    rng.shuffle(pairs)
    # Of every thing two of the ten rooms, which train never names with it.
    unseen = [pair for thing in THINGS for pair in [pair for pair in pairs if pair[0] == thing][:2]]
    known = [pair for pair in pairs if pair not in unseen]
    seen = set()
    for name, count, of in (("train", 2000, known), ("valid", 120, unseen), ("test", 240, unseen)):
        Path(__file__).with_name(f"{name}.jsonl").write_text("\n".join(rows(count, of, rng, seen)) + "\n")


if __name__ == "__main__":
    main()
