#!/usr/bin/env python3
"""Runs clang-tidy over the tree, and over each file only once as long as nothing it reads changes.

    scripts/clang_tidy.py BUILD_FOLDER [FILE...]      the files default to all of the program's

Tests and benchmarks are not among them: most of their time would go into the headers of GoogleTest.

A file's key is a hash of clang-tidy's version, the .clang-tidy files, its compile command, the
arguments added to it and every header of this repository that it includes. A key found in the cache
was checked before and was clean.
The cache is BUILD_FOLDER/../lint, or $PLINTH_LINT_CACHE. Exit status 1 if there are findings.
"""

import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Folders whose files are compiled with all warnings, but not read by clang-tidy.
LEFT_OUT = {"tests", "bench", "build"}
# Flags of GCC that clang does not know; the rest of the command line is common to both.
EXTRA_ARGUMENTS = ["--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-ignored-optimization-argument"]
# The analyzer follows short paths only: in its deep mode it takes two thirds of clang-tidy's time.
for word in ["-Xclang", "-analyzer-config", "-Xclang", "mode=shallow"]:
    EXTRA_ARGUMENTS.append(f"--extra-arg={word}")


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


def without_output(arguments):
    """The command without -c and -o."""
    command, skip = [], False
    for argument in arguments:
        if skip or argument == "-c":
            skip = False
        elif argument == "-o":
            skip = True
        else:
            command.append(argument)
    return command


def headers_of(arguments, folder):
    """The files that a translation unit reads, without those of the system."""
    command = without_output(arguments) + ["-MM"]
    text = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    names = text.replace("\\\n", " ").split(":", 1)[1].split()
    return sorted((folder / name).resolve() for name in names)


def key_of(arguments, folder, common):
    """The hash of all that clang-tidy's answer depends on; the same in every clone."""
    digest = hashlib.sha256(common)
    digest.update(" ".join(arguments + EXTRA_ARGUMENTS).replace(str(ROOT), ".").encode())
    for header in headers_of(arguments, folder):
        name = header.relative_to(ROOT) if header.is_relative_to(ROOT) else header
        digest.update(f"\0{name}\0".encode())
        digest.update(header.read_bytes())
    return digest.hexdigest()


def configurations(source):
    """The text of the .clang-tidy files that apply to a file, the tree's own first."""
    folders = [ROOT, ROOT / source.relative_to(ROOT).parts[0]]
    return b"".join((folder / ".clang-tidy").read_bytes() for folder in folders if (folder / ".clang-tidy").exists())


def check(source, arguments, build, cache, version):
    """Findings of one file as text; empty if it is clean."""
    common = version + configurations(source)
    try:
        mark = cache / key_of(arguments, build, common)
    except subprocess.CalledProcessError as error:
        return f"{source}: cannot be preprocessed\n{error.stderr}"
    if mark.exists():
        return ""
    run = subprocess.run(
        # Not by -p, which reads a file once for each of its commands.
        ["clang-tidy", "--quiet", *EXTRA_ARGUMENTS, str(source), "--", *without_output(arguments)[1:]],
        cwd=build,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 0:
        mark.touch()
        return ""
    return run.stdout + run.stderr


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
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(check, source, commands[source], build, cache, version) for source in wanted]
        for job in concurrent.futures.as_completed(jobs):
            if job.result():
                failures += 1
                print(job.result(), flush=True)
    print(f"clang-tidy: {len(wanted)} files, {failures} with findings")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
