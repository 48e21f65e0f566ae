#!/usr/bin/env python3
"""What ptxas made of every GPU kernel: registers, shared memory, spills.

    scripts/ptxas.py [BUILD]             checks the kernels of BUILD (default: build/cuda)
    scripts/ptxas.py [BUILD] --write     and writes bench/results/ptxas.json

A row is a kernel on an architecture: the most that any of its instantiations takes. A kernel is hot, and
must not spill, unless its row in bench/results/ptxas.json says "hot": false with a reason; --write keeps
both. Exit status 1 for a hot kernel that spills, for products of a warpgroup that ptxas serialises or a
setmaxnreg that it ignores, or a file that lacks a kernel or has one too many.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "bench" / "results" / "ptxas.json"

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def instantiations(text):
    """Each kernel that ptxas compiled: (mangled name, architecture, figures)."""
    for part in text.split("ptxas info    : Compiling")[1:]:
        entry = ENTRY.search("Compiling" + part)
        spills, used, shared = SPILLS.search(part), USED.search(part), SHARED.search(part)
        if not (entry and spills and used):
            continue
        yield entry[1], entry[2], {
            "registers": int(used[1]),
            "shared": int(shared[1]) if shared else 0,
            "spill_stores": int(spills[2]),
            "spill_loads": int(spills[3]),
        }


def demangled(names):
    """{mangled: the kernel's name without namespaces of ours, template and function arguments}."""
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return dict(zip(names, map(plain_name, done.stdout.splitlines()), strict=True))


def plain_name(signature):
    """void plinth::kernels::cuda::(anonymous namespace)::rows<float>(...) -> rows"""
    depth, kept = 0, []
    for letter in signature.replace("(anonymous namespace)::", ""):
        if letter == "(" and depth == 0:
            break
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if depth == 0 and letter != ">":
            kept.append(letter)
    words = "".join(kept).split()
    return words[-1].removeprefix("plinth::kernels::cuda::").removeprefix("plinth::")


def kernel_folder(log):
    """The folder of kernels/ (or tests/) that a log's source is in."""
    parts = log.parts
    return parts[parts.index(next(part for part in parts if part.endswith(".dir"))) + 1]


def rows_of(build):
    """{(kernel, architecture): row} over all logs below a build folder."""
    found = []
    for log in sorted(build.glob("**/plinth_kernels_cuda.dir/**/*.ptxas")):
        found += [(kernel_folder(log), *entry) for entry in instantiations(log.read_text())]
    names = demangled(sorted({name for _, name, _, _ in found})) if found else {}
    rows = {}
    for folder, mangled, arch, figures in found:
        name = f"{folder}: {names[mangled]}"
        row = rows.setdefault((name, arch), {"name": name, "arch": arch, "instantiations": 0} | dict.fromkeys(figures, 0))
        row["instantiations"] += 1
        for key, value in figures.items():
            row[key] = max(row[key], value)
    return rows


def warnings(build):
    """What ptxas says of lost overlap: products that it serialises, registers that it does not pass on."""
    for log in sorted(build.glob("**/plinth_kernels_cuda.dir/**/*.ptxas")):
        for line in log.read_text().splitlines():
            if "serialized" in line or ("setmaxnreg" in line and "ignored" in line):
                yield f"{log.name}: {line.strip()}"


def with_reasons(rows, known):
    """The rows with "hot" and "reason", from the known rows of the same kernel."""
    return {
        key: row | {field: known.get(key, {}).get(field, default) for field, default in (("hot", True), ("reason", ""))}
        for key, row in rows.items()
    }


def read_table():
    if not TABLE.exists():
        return {}
    return {(row["name"], row["arch"]): row for row in json.loads(TABLE.read_text())["kernels"]}


def faults(rows, known):
    for (name, arch), row in rows.items():
        if row["spill_stores"] + row["spill_loads"] and (row["hot"] or not row["reason"]):
            yield (
                f"{name} ({arch}) spills: {row['spill_stores']} bytes of stores, {row['spill_loads']} of loads; "
                f'a kernel that is not hot needs "hot": false and a reason in {TABLE.relative_to(ROOT)}'
            )
    archs = {arch for _, arch in rows}
    expected = {key for key in known if key[1] in archs}
    for name, arch in sorted(rows.keys() ^ expected):
        missing = (name, arch) in rows
        yield f"{TABLE.relative_to(ROOT)} {'lacks' if missing else 'has, but the build lacks,'} {name} ({arch}): run scripts/ptxas.py --write"


def write_table(rows):
    ordered = [rows[key] for key in sorted(rows)]
    lines = ",\n".join("  " + json.dumps(row) for row in ordered)
    TABLE.write_text(f'{{"kernels": [\n{lines}\n]}}\n')
    print(f"wrote {TABLE.relative_to(ROOT)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=Path, default=ROOT / "build" / "cuda")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    known = read_table()
    rows = with_reasons(rows_of(arguments.build), known)
    if not rows:
        sys.exit(f"ptxas.py: {arguments.build} has no log of ptxas; build the cuda preset first")
    if arguments.write:
        write_table(rows)
        known = rows
    found = [*faults(rows, known), *warnings(arguments.build)]
    print("\n".join(found) if found else f"{len(rows)} kernels, none of the hot ones spills, no product is serialised")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
