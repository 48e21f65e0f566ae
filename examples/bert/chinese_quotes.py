#!/usr/bin/env python3
"""Writes a Chinese corpus and a labelled data set from the quotations of Debian's fortunes-zh.

    examples/bert/chinese_quotes.py FOLDER [FORTUNES]

FOLDER/vocab/vocab.txt is a vocabulary of characters; corpus.txt has a quotation a line; train.csv,
validation.csv and test.csv have quotations from four books, labelled with the book. No quotation of the last two
is in corpus.txt, nor one that is a part of another; nor is one of test.csv in validation.csv.
"""

import csv
import re
import sys
from collections import Counter
from pathlib import Path

FORTUNES = "/usr/share/games/fortunes/chinese"
BOOKS = ["论语", "菜根谭", "增广贤文", "谚语"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LEAST = 2  # times that a character must occur to be in the vocabulary


def quotations(path):
    """(text, source) of each entry; the source is "" where none is told."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", Path(path).read_text(encoding="utf-8"))
    for entry in text.split("\n%\n"):
        lines = [line.strip() for line in entry.splitlines()]
        is_source = [line.startswith("--") for line in lines]
        cut = is_source.index(True) if True in is_source else len(lines)
        quote = "".join(lines[:cut])
        if quote:
            yield quote, "".join(lines[cut:])


def label_of(source):
    found = re.findall("《([^》]*)》", source)
    return found[0] if found and found[0] in BOOKS else None


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: chinese_quotes.py FOLDER [FORTUNES]")
    folder = Path(sys.argv[1])
    path = Path(sys.argv[2] if len(sys.argv) == 3 else FORTUNES)
    if not path.exists():
        sys.exit(f"chinese_quotes.py: no {path}; run scripts/install_packages.sh demo")
    every = list(dict.fromkeys(quotations(path)))
    labelled = list(dict.fromkeys((text, label_of(source)) for text, source in every if label_of(source)))
    test, validation = labelled[::4], labelled[1::8]
    held_out = {text for text, _ in test}
    validation = [row for row in validation if row[0] not in held_out]
    held_out |= {text for text, _ in validation}
    train = [row for row in labelled if row[0] not in held_out]
    corpus = [text for text, _ in every if not any(text in other or other in text for other in held_out)]
    counts = Counter("".join(corpus))
    (folder / "vocab").mkdir(parents=True, exist_ok=True)
    characters = sorted(c for c, count in counts.items() if count >= LEAST and not c.isspace() and not c.isupper())
    (folder / "vocab" / "vocab.txt").write_text("\n".join(SPECIAL + characters) + "\n", encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    write_csv(folder / "train.csv", train)
    write_csv(folder / "validation.csv", validation)
    write_csv(folder / "test.csv", test)
    print(f"{len(corpus)} quotations, {len(characters)} characters; "
          f"{len(train)}, {len(validation)} and {len(test)} labelled")


if __name__ == "__main__":
    main()
