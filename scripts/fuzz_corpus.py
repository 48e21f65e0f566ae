#!/usr/bin/env python3
"""Chooses which inputs of a fuzzer are kept: few and small ones that together reach much of the code.

    scripts/fuzz_corpus.py FUZZER KEPT FOUND      folders: the corpus that is committed, and what fuzzing found

Those with a name that somebody gave stay. Of the others, which libFuzzer names by their hash, at most 24 are
chosen, each for what it reaches and those before it do not.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MOST = 24
MOST_BYTES = 2048


def features_of(fuzzer, folders):
    """{path: what the input reaches}, from the file by which libFuzzer's merge controls itself."""
    with tempfile.TemporaryDirectory() as work:
        control = Path(work) / "control"
        merged = Path(work) / "merged"
        merged.mkdir()
        command = [fuzzer, "-set_cover_merge=1", "-use_counters=0", f"-max_len={MOST_BYTES}",
                   f"-merge_control_file={control}", str(merged), *map(str, folders)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = control.read_text(errors="replace").splitlines()
    count = int(lines[0])
    paths = [Path(line) for line in lines[2 : 2 + count]]
    reached = {}
    for line in lines[2 + count :]:
        kind, number, *features = line.split()
        if kind == "FT":
            reached[paths[int(number)]] = set(features)
    return reached


def is_named(path):
    return re.fullmatch("[0-9a-f]{40}", path.name) is None


def chosen(reached):
    """Greedily: whichever adds most, the smaller of two that add as much."""
    seen = set().union(*(features for path, features in reached.items() if is_named(path)))
    left = {path: features for path, features in reached.items()
            if not is_named(path) and path.stat().st_size <= MOST_BYTES}
    choice = []
    while left and len(choice) < MOST:
        best = max(left, key=lambda path: (len(left[path] - seen), -path.stat().st_size, path.name))
        if not left[best] - seen:
            break
        seen |= left.pop(best)
        choice.append(best)
    return choice


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    fuzzer, kept, found = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    contents = {path.name: path.read_bytes() for path in chosen(features_of(os.path.abspath(fuzzer), (kept, found)))}
    for path in kept.iterdir():
        if not is_named(path):
            path.unlink()
    for name, content in contents.items():
        (kept / name).write_bytes(content)


if __name__ == "__main__":
    main()
