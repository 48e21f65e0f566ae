#!/usr/bin/env python3
"""Writes an English corpus and a labelled data set from Debian's bible-kjv, the King James Bible.

    examples/bert/english_verses.py FOLDER

corpus.txt has a verse a line. train.csv, validation.csv and test.csv have verses labelled with the part of the Bible
that they are from: train.csv one in TRAINED of the corpus, the others one in HELD_OUT of chapters that are in no other
file, every fifth of a book for test.csv and those behind them for validation.csv.
"""

import csv
import re
import subprocess
import sys
from pathlib import Path

PARTS = {
    "law": "Ge Exo Lev Num Deu",
    "history": "Josh Jdgs Ruth 1Sm 2Sm 1Ki 2Ki 1Chr 2Chr Ezra Neh Est",
    "poetry": "Job Psa Prv Eccl SSol",
    "prophets": "Isa Jer Lam Eze Dan Hos Joel Amos Obad Jonah Mic Nahum Hab Zep Hag Zec Mal",
    "gospels": "Mat Mark Luke John Acts",
    "letters": "Rom 1Cor 2Cor Gal Eph Phi Col 1Th 2Th 1Tim 2Tim Titus Phmn Heb Jas 1Pet 2Pet 1Jn 2Jn 3Jn Jude Rev",
}
PART_OF = {book: part for part, books in PARTS.items() for book in books.split()}
VERSE = re.compile(r"(\d?[A-Za-z]+)(\d+):(\d+) (.*)")
TRAINED = 25
HELD_OUT = 4


def verses():
    """(part, chapter, text) of every verse."""
    try:
        printed = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        sys.exit("english_verses.py: no command 'bible'; run scripts/install_packages.sh demo")
    for line in printed.splitlines():
        book, chapter, _, text = VERSE.fullmatch(line).groups()
        yield PART_OF[book], int(chapter), text


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: english_verses.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    sets = {"corpus": [], "validation": [], "test": []}
    for part, chapter, text in verses():
        sets[{0: "test", 1: "validation"}.get(chapter % 5, "corpus")].append((text, part))
    held_out = {text for name in ("validation", "test") for text, _ in sets[name]}
    corpus = [(text, part) for text, part in sets["corpus"] if text not in held_out]
    train = corpus[::TRAINED]
    (folder / "corpus.txt").write_text("\n".join(text for text, _ in corpus) + "\n", encoding="utf-8")
    write_csv(folder / "train.csv", train)
    validation, test = (sets[name][::HELD_OUT] for name in ("validation", "test"))
    write_csv(folder / "validation.csv", validation)
    write_csv(folder / "test.csv", test)
    print(f"{len(corpus)} verses; {len(train)}, {len(validation)} and {len(test)} labelled")


if __name__ == "__main__":
    main()
