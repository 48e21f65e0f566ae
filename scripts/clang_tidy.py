#!/usr/bin/env python3
"""Runs clang-tidy over the tree, and over each file only once as long as nothing it reads changes.

    scripts/clang_tidy.py BUILD_FOLDER [FILE...]      the files default to all of the program's

Files of one folder that are compiled alike are read in batches, one behind the other as one file:
most of clang-tidy's time goes into headers, which a batch shares. Where a batch has findings, its
files are read again one by one, and what is found then counts: it names the lines of the files, and
nothing in it comes of their being joined.

Tests and benchmarks are not among them: most of their time would go into the headers of GoogleTest.

A batch's key is a hash of clang-tidy's version, the .clang-tidy files, the compile command, the
arguments added to it, the files and every header of this repository that they include. A key found
in the cache was checked before and was clean.
The cache is BUILD_FOLDER/../lint, or $PLINTH_LINT_CACHE. Exit status 1 if there are findings.
"""

import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Folders whose files are compiled with all warnings, but not read by clang-tidy.
LEFT_OUT = {"tests", "bench", "build"}
# Flags of GCC that clang does not know; the rest of the command line is common to both.
EXTRA_ARGUMENTS = ["--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-ignored-optimization-argument"]
# The analyzer follows short paths only: in its deep mode it takes two thirds of clang-tidy's time.
for word in ["-Xclang", "-analyzer-config", "-Xclang", "mode=shallow"]:
    EXTRA_ARGUMENTS.append(f"--extra-arg={word}")
MOST_FILES = 12


def read_commands(build):
    """{source file: argument list} of the C++ files of this repository that the build compiles."""
    path = build / "compile_commands.json"
    if not path.exists():
        sys.exit(f"clang_tidy.py: no {path}; configure first: cmake --preset {build.name}")
    commands = {}
    for entry in json.loads(path.read_text()):
        source = Path(entry["file"]).resolve()
        if source.suffix != ".cpp" or not source.is_relative_to(ROOT):
            continue
        # A file that is compiled for the emulated device as well is read once, as users compile it.
        is_twin = "_emulated.dir" in entry["command"] and source in commands
        if source.relative_to(ROOT).parts[0] not in LEFT_OUT and not is_twin:
            arguments = shlex.split(entry["command"])
            cache = next((i for i, word in enumerate(arguments) if Path(word).name == "ccache"), -1)
            arguments = arguments[cache + 1 :]
            commands[source] = arguments
    return commands


def without_files(arguments, source):
    """The command without -c, -o and the file itself."""
    command, skip = [], False
    for argument in arguments:
        if skip or argument in ("-c", str(source)):
            skip = False
        elif argument == "-o":
            skip = True
        else:
            command.append(argument)
    return command


def batches_of(wanted, commands):
    """[(files, their common command)]: files of one folder, at most MOST_FILES together."""
    groups = {}
    for source in wanted:
        command = tuple(without_files(commands[source], source))
        groups.setdefault((source.parent, command), []).append(source)
    return [
        (files[first : first + MOST_FILES], list(command))
        for (_, command), files in groups.items()
        for first in range(0, len(files), MOST_FILES)
    ]


def headers_of(command, text, folder):
    """The files that a translation unit of this text includes, without those of the system."""
    run = subprocess.run(
        [*command, "-MM", "-x", "c++", "-"], input=text, cwd=folder, check=True, capture_output=True, text=True
    )
    names = run.stdout.replace("\\\n", " ").split(":", 1)[1].split()
    return sorted((folder / name).resolve() for name in names if name != "-")


def key_of(command, text, folder, common):
    """The hash of all that clang-tidy's answer depends on; the same in every clone."""
    digest = hashlib.sha256(common)
    digest.update(" ".join([*command, *EXTRA_ARGUMENTS]).replace(str(ROOT), ".").encode())
    digest.update(text.encode())
    for header in headers_of(command, text, folder):
        name = header.relative_to(ROOT) if header.is_relative_to(ROOT) else header
        digest.update(f"\0{name}\0".encode())
        digest.update(header.read_bytes())
    return digest.hexdigest()


def configurations(source):
    """The text of the .clang-tidy files that apply to a file, the tree's own first."""
    folders = [ROOT, ROOT / source.relative_to(ROOT).parts[0]]
    return b"".join((folder / ".clang-tidy").read_bytes() for folder in folders if (folder / ".clang-tidy").exists())


def tidy(path, command, build):
    """clang-tidy's exit status and findings."""
    run = subprocess.run(
        # Not by -p, which reads a file once for each of its commands.
        ["clang-tidy", "--quiet", *EXTRA_ARGUMENTS, str(path), "--", *command[1:]],
        cwd=build,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def check(files, command, build, cache, version):
    """Findings of a batch as text; empty if it is clean."""
    text = "".join(f'#line 1 "{source.relative_to(ROOT)}"\n{source.read_text()}\n' for source in files)
    try:
        key = key_of(command, text, build, version + configurations(files[0]))
    except subprocess.CalledProcessError as error:
        return f"{files[0]} and the rest of its batch: cannot be preprocessed\n{error.stderr}"
    if (cache / key).exists():
        return ""
    with tempfile.NamedTemporaryFile("w", dir=build, prefix="tidy_", suffix=".cpp") as joined:
        joined.write(text)
        joined.flush()
        status, _ = tidy(joined.name, command, build)
    outcomes = [tidy(source, command, build) for source in files] if status else []
    findings = "".join(output for status, output in outcomes if status)
    if not findings:
        (cache / key).touch()
    return findings


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = Path(sys.argv[1]).resolve()
    cache = Path(os.environ.get("PLINTH_LINT_CACHE", build.parent / "lint"))
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True).stdout

    commands = read_commands(build)
    wanted = [Path(name).resolve() for name in sys.argv[2:]] or sorted(commands)
    for source in wanted:
        if source not in commands:
            sys.exit(f"clang_tidy.py: {source} is not compiled in {build}")
    batches = batches_of(wanted, commands)
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(check, files, command, build, cache, version) for files, command in batches]
        for job in concurrent.futures.as_completed(jobs):
            if job.result():
                failures += 1
                print(job.result(), flush=True)
    print(f"clang-tidy: {len(wanted)} files in {len(batches)} batches, {failures} with findings")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
