#!/usr/bin/env python3
"""Writes English-Spanish pairs of verses from Debian's bibles: the King James of 1769 and the Reina-Valera of 1909.

    examples/t5/translation.py FOLDER

FOLDER/train.csv, validation.csv and test.csv have the columns text and label, a pair of verses a line; texts.txt has
every text of train.csv, for a tokenizer. The books of validation.csv and test.csv are in no other file. Verses that
one bible lacks, and those of over MOST characters in one of the two, are left out.
"""

import csv
import re
import subprocess
import sys
from pathlib import Path

ENGLISH, SPANISH = "engKJV2006eb", "spaRV1909eb"  # as diatheke names them
VALIDATION = ("Joel", "Philippians")
TEST = ("Ruth", "Ecclesiastes", "Jonah", "James", "I John")
MOST = 130  # characters of a verse

VERSE = re.compile(r"\s*((?:[IV]+ )?[A-Z][A-Za-z ]*?) (\d+):(\d+): (.*)")
NOTE = re.compile(r"<[^>]*>|[¶]")  # Strong's numbers, signs of paragraphs


def verses(bible):
    """{(book, chapter, verse): text} of all verses."""
    try:
        text = subprocess.run(["diatheke", "-b", bible, "-f", "plain", "-k", "Gen-Rev"], check=True,
                              capture_output=True).stdout.decode("utf-8")
    except FileNotFoundError:
        sys.exit("translation.py: no diatheke; run scripts/install_packages.sh demo")
    # The other lines are the titles of psalms.
    starts = filter(None, map(VERSE.fullmatch, text.splitlines()))
    found = {(start[1], int(start[2]), int(start[3])): " ".join(NOTE.sub("", start[4]).split()) for start in starts}
    return {place: text for place, text in found.items() if text}


def write_csv(path, pairs):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(pairs)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: translation.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    english, spanish = verses(ENGLISH), verses(SPANISH)
    sets = {"train": [], "validation": [], "test": []}
    for place in english:
        if place in spanish and max(len(english[place]), len(spanish[place])) <= MOST:
            name = "test" if place[0] in TEST else "validation" if place[0] in VALIDATION else "train"
            sets[name].append((english[place], spanish[place]))
    for name in (*VALIDATION, *TEST):
        if not any(place[0] == name for place in english):
            sys.exit(f"translation.py: {ENGLISH} has no book {name}")
    for name, pairs in sets.items():
        write_csv(folder / f"{name}.csv", pairs)
    texts = [text for pair in sets["train"] for text in pair]
    (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    print(", ".join(f"{len(pairs)} pairs of {name}" for name, pairs in sets.items()))


if __name__ == "__main__":
    main()
