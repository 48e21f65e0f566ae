#!/usr/bin/env python3
"""Runs a CUDA compilation and keeps what ptxas says of its kernels: CMake's CUDA_COMPILER_LAUNCHER.

    scripts/ptxas_launch.py [ccache] nvcc ... -Xptxas -v ... -o OBJECT

The lines go to OBJECT.ptxas, for scripts/ptxas.py; all other output goes where it would have gone.
"""

import subprocess
import sys
from pathlib import Path


def is_resource_line(line):
    return line.startswith("ptxas info") or " bytes stack frame, " in line


def main():
    command = sys.argv[1:]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    lines = done.stderr.splitlines(keepends=True)
    sys.stderr.writelines(line for line in lines if not is_resource_line(line))
    if done.returncode == 0 and "-o" in command:
        kept = [line for line in lines if is_resource_line(line)]
        Path(command[command.index("-o") + 1] + ".ptxas").write_text("".join(kept))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
