#!/usr/bin/env python3
"""Writes captions for the images of examples/vit/digits.py, as tables that plinth pretrain takes.

    examples/clip/captions.py IMAGES FOLDER

FOLDER/train.csv and FOLDER/test.csv have a row an image, FOLDER/captions.txt a training caption a line, and
FOLDER/classes.csv the word for each image of the test.
"""

import csv
import sys
from pathlib import Path

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FORMS = ["a handwritten {}", "the digit {}, written by hand", "a small picture of the number {}", "{}"]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    images, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        files = sorted((images / part).glob("*/*.png"))
        rows = [(path, FORMS[int(path.stem) // 4 % len(FORMS)].format(WORDS[int(path.parent.name)])) for path in files]
        with open(folder / f"{part}.csv", "w", newline="") as table:
            csv.writer(table, lineterminator="\n").writerows([("image", "text"), *rows])
        if part == "test":
            with open(folder / "classes.csv", "w", newline="") as table:
                classes = [(path, WORDS[int(path.parent.name)]) for path in files]
                csv.writer(table, lineterminator="\n").writerows([("path", "label"), *classes])
        if part == "train":
            (folder / "captions.txt").write_text("".join(caption + "\n" for _, caption in rows))


if __name__ == "__main__":
    main()
