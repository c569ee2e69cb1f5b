"""Writes train.csv and valid.csv: letters to a shop of one to three sentences, and what they are about; some are about nothing."""
import csv
import random
from pathlib import Path

ABOUT = {
    "delivery": ["The parcel still has not arrived.", "It was left in the rain.", "Can you send it to my neighbour instead?",
                 "The courier rang the wrong bell.", "Tracking has said tomorrow for a week."],
    "payment": ["I was charged twice.", "The voucher was not taken off the total.", "Where do I find the invoice?",
                "My card was refused although it is valid.", "When will the money be back?"],
    "quality": ["The handle broke on the first day.", "One of the cups is chipped.", "The colour is not that of the picture.",
                "It smells of glue.", "The zip does not close."],
    "praise": ["Thank you for the kind note in the box.", "This is the best teapot I have had.", "Your staff were a great help.",
               "I will certainly buy here again.", "Everything looks lovely."],
}
ABOUT_NOTHING = ["I wrote to you last week.", "Good morning.", "I hope this reaches the right person.", "Greetings from the coast.",
                 "My name is on the envelope.", "Could somebody ring me on Friday?"]



def pairs(text):
    words = text.split()
    return set(zip(words, words[1:]))


def is_nearly(one, other):
    """As the look at the data has it: of their pairs of neighbouring words four fifths are the same."""
    one, other = pairs(one), pairs(other)
    return len(one & other) >= 0.8 * len(one | other)


draw = random.Random(3)
rows, said = set(), set()
while len(rows) < 200:
    about = draw.sample(sorted(ABOUT), draw.choices([0, 1, 2, 3], [1, 4, 4, 2])[0])
    sentences = [draw.choice(ABOUT[topic]) for topic in about] or draw.sample(ABOUT_NOTHING, 2)
    # The same sentences in another order, or after another greeting, would nearly be the same letter.
    core = frozenset(sentences)
    if about and draw.random() < 0.3:
        sentences.insert(0, draw.choice(ABOUT_NOTHING))
    letter = " ".join(sentences)
    if core in said or any(is_nearly(letter, row[0]) for row in rows):
        continue
    said.add(core)
    rows.add((letter, "|".join(sorted(about))))
rows = sorted(rows)
draw.shuffle(rows)
for name, part in (("train", rows[:150]), ("valid", rows[150:])):
    with Path(__file__).with_name(f"{name}.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "topics"), *part])
