"""The device that is measured: its short name in bench/results, and what to write beside its figures."""

import datetime
import json
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command_output(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def gpu_query(field):
    return command_output("nvidia-smi", "-i", "0", f"--query-gpu={field}", "--format=csv,noheader")


def gpu_short_name(name):
    """"NVIDIA H100 80GB HBM3" -> "h100": the first word of a GPU's name that has a digit."""
    for word in name.lower().split():
        if re.search(r"\d", word):
            return re.sub(r"[^a-z0-9]+", "-", word)
    raise ValueError(f"no model number in the GPU's name {name!r}")


def short_name(device):
    """"cpu-2core" or "h200"."""
    return f"cpu-{os.cpu_count()}core" if device == "cpu" else gpu_short_name(gpu_query("name"))


def results_folder(device):
    return ROOT / "bench" / "results" / short_name(device)


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def versions(device, **more):
    found = {"cpu": cpu_name(), "cores": os.cpu_count(), "g++": command_output("g++", "-dumpfullversion")}
    if device != "cpu":
        release = re.search(r"release [\d.]+, V([\d.]+)", command_output("nvcc", "--version"))
        found |= {
            "gpu": gpu_query("name"),
            "driver": gpu_query("driver_version"),
            "nvcc": release.group(1) if release else "unknown",
        }
    return found | more


def commit():
    """Of this tree, "-dirty" where it differs in more than results; where it travelled without its history,
    PLINTH_COMMIT says it."""
    told = os.environ.get("PLINTH_COMMIT")
    if told:
        return told
    changes = command_output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    return command_output("git", "describe", "--always", "--abbrev=12") + ("-dirty" if changes else "")


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
