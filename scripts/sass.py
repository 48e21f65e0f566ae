#!/usr/bin/env python3
"""How wide the machine code of each GPU kernel reads and writes memory.

    scripts/sass.py [BUILD] [--arch sm_90a] [--write]       BUILD defaults to build/cuda

For each kernel: how many of its instantiations have 16-byte loads (LDG.128, or 16-byte asynchronous copies)
and 16-byte stores (STG.128) of device memory, how many touch local memory, and how many multiply by wgmma
(HGMMA) or load by TMA (UTMALDG). --write keeps the table in bench/results/sass.json. Needs cuobjdump, of the CUDA toolkit or of PyPI's triton.
"""

import argparse
import collections
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ptxas

TABLE = ptxas.ROOT / "bench" / "results" / "sass.json"
FUNCTION = re.compile(r"^\s*Function : (\w+)")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\d+ )?([A-Z][\w.]*)")
COUNTS = ("instantiations", "wide_loads", "wide_stores", "any_loads", "any_stores", "local", "wgmma", "tma_loads")


def find_cuobjdump():
    on_path = shutil.which("cuobjdump")
    if on_path:
        return on_path
    for folder in map(Path, sys.path):
        carried = folder / "triton" / "backends" / "nvidia" / "bin" / "cuobjdump"
        if carried.exists():
            return str(carried)
    sys.exit("sass.py: found no cuobjdump; run it by a Python that has triton: venv/bin/python scripts/sass.py")


def opcodes(text):
    """{mangled kernel: the set of its instructions, with their modifiers}."""
    kernels, current = {}, None
    for line in text.splitlines():
        if match := FUNCTION.match(line):
            current = kernels.setdefault(match[1], set())
        elif current is not None and (match := INSTRUCTION.match(line)):
            current.add(match[1])
    return kernels


def has(instructions, kinds, part=""):
    return any(code.split(".")[0] in kinds and part in code for code in instructions)


def figures(instructions):
    loads, stores = ("LDG", "LDGSTS", "UBLKCP", "UTMALDG"), ("STG", "UTMASTG")
    bulk = has(instructions, ("UBLKCP", "UTMALDG"))
    return {
        "instantiations": 1,
        "wide_loads": int(bulk or has(instructions, ("LDG", "LDGSTS"), ".128")),
        "wide_stores": int(has(instructions, ("UTMASTG",)) or has(instructions, ("STG",), ".128")),
        "any_loads": int(has(instructions, loads)),
        "any_stores": int(has(instructions, stores)),
        "local": int(has(instructions, ("LDL", "STL"))),
        "wgmma": int(has(instructions, ("HGMMA",))),
        "tma_loads": int(has(instructions, ("UTMALDG",))),
    }


def rows_of(build, arch, cuobjdump):
    rows = {}
    for folder in sorted(build.glob("**/plinth_kernels_cuda.dir/*")):
        for path in sorted(folder.glob("**/*.cu.o")):
            command = [cuobjdump, "--dump-sass", "--gpu-architecture", arch, str(path)]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            kernels = opcodes(text)
            names = ptxas.demangled(sorted(kernels)) if kernels else {}
            for mangled, instructions in kernels.items():
                name = f"{folder.name}: {names[mangled]}"
                rows.setdefault(name, collections.Counter()).update(figures(instructions))
    return [{"name": name, "arch": arch} | {key: rows[name][key] for key in COUNTS} for name in sorted(rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=Path, default=ptxas.ROOT / "build" / "cuda")
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ptxas.ROOT)}")
    arguments = parser.parse_args()
    rows = rows_of(arguments.build, arguments.arch, find_cuobjdump())
    if not rows:
        sys.exit(f"sass.py: {arguments.build} has no kernels for {arguments.arch}; build the cuda preset first")
    print(f"{'kernel':52} {'of':>4} {'16-byte loads':>14} {'16-byte stores':>15} {'local':>6} {'wgmma':>6} {'TMA':>4}")
    for row in rows:
        print(
            f"{row['name']:52} {row['instantiations']:4} {row['wide_loads']:14} {row['wide_stores']:15} "
            f"{row['local']:6} {row['wgmma']:6} {row['tma_loads']:4}"
        )
    if arguments.write:
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        TABLE.write_text(f'{{"kernels": [\n{lines}\n]}}\n')
        print(f"wrote {TABLE.relative_to(ptxas.ROOT)}")


if __name__ == "__main__":
    main()
