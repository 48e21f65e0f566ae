#!/usr/bin/env python3
"""Writes scikit-learn's handwritten digits as folders of PNG files, one a class.

    examples/vit/digits.py FOLDER

They are 1797 grey images of 8 x 8 pixels (Alpaydin and Kaynak 1998), kept as one sheet beside the tests. Every
fourth goes to FOLDER/test, the others to FOLDER/train.
"""

import sys
from pathlib import Path

from PIL import Image

SIDE = 8
SHEET = Path(__file__).resolve().parent.parent.parent / "tests" / "fixtures" / "digits"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sheet = Image.open(SHEET / "digits.png")
    labels = (SHEET / "labels.txt").read_text().strip()
    for i, label in enumerate(labels):
        folder = Path(sys.argv[1]) / ("test" if i % 4 == 0 else "train") / label
        folder.mkdir(parents=True, exist_ok=True)
        sheet.crop((0, i * SIDE, SIDE, (i + 1) * SIDE)).save(folder / f"{i:04}.png")


if __name__ == "__main__":
    main()
