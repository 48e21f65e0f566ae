#!/usr/bin/env python3
"""Writes down how a part of scripts/gpu_check.sh ended.

    scripts/gpu_summary.py OUT PART STATUS SECONDS

OUT/summary.json gets every part; bench/results/<device>/checks.json the tests and sanitizers, with the
commit and the versions, for scripts/gpu_status.sh. Parts of another commit are forgotten.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench" / "peers"))
import device  # noqa: E402

CHECKS = ("test", "memcheck", "racecheck", "initcheck", "synccheck")


def tests_of(path):
    """How many passed, which failed or were skipped, as scripts/gtest_batches.py wrote it down."""
    found = json.loads(path.read_text())
    return {key: found[key] for key in ("passed", "failed", "skipped")}


def details(out, part):
    results = out / f"{part}.json"
    return tests_of(results) if part in CHECKS and results.exists() else {}


def merged(path, commit, part, result):
    """The file's content with one part more; empty if it is of another commit."""
    content = json.loads(path.read_text()) if path.exists() else {}
    parts = content.get("parts", {}) if content.get("commit") == commit else {}
    return parts | {part: result}


def main():
    out, part, status, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    commit = device.commit()
    result = {"status": status, "seconds": seconds, **details(out, part)}
    summary = out / "summary.json"
    summary.write_text(json.dumps({"commit": commit, "parts": merged(summary, commit, part, result)}, indent=1) + "\n")
    if part not in CHECKS:
        return
    checks = device.results_folder("cuda") / "checks.json"
    content = {
        "device": device.short_name("cuda"),
        "commit": commit,
        "date": device.now(),
        "versions": device.versions("cuda"),
        "parts": merged(checks, commit, part, result),
    }
    device.write_json(checks, content)


if __name__ == "__main__":
    main()
