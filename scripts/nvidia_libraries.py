#!/usr/bin/env python3
"""Prints the folders of NVIDIA's libraries (cuBLASLt, cuDNN, NCCL, CUPTI) that PyPI's packages brought,
separated by colons, as LD_LIBRARY_PATH takes them; nothing where there are none."""

import sysconfig
from pathlib import Path

packages = Path(sysconfig.get_paths()["platlib"]) / "nvidia"
print(":".join(str(folder) for folder in sorted(packages.glob("*/lib"))))
