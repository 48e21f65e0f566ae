#!/usr/bin/env python3
"""Runs the tests of GoogleTest programs in batches side by side; one that crashes or hangs costs only itself.

    scripts/gtest_batches.py [--jobs N] [--timeout SECONDS] [--batch N] [--under COMMAND] [--json FILE]
                             PROGRAM[:FILTER]...

A process a batch: starting one for each test would take longer than the tests, where it makes a CUDA context.
When a process dies, or a test says nothing for SECONDS, that test is counted as failed. After any failure a new
process goes on behind it, since it may have left the device unusable. COMMAND, such as a sanitizer's, runs each
process; its own exit status counts too. FILTER is GoogleTest's. Prints each failure with the test's output;
exit status 1 if there is any.
"""

import argparse
import concurrent.futures
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time

RUN = re.compile(r"^\[ RUN      \] (\S+)$")
END = re.compile(r"^\[ *(OK|FAILED|SKIPPED) *\] ([^\s,]+)(?:, where .*)? \((\d+) ms\)$")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM[:FILTER]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("--timeout", type=float, default=60, help="seconds that a test may take")
    parser.add_argument("--batch", type=int, default=25, help="tests of one process")
    parser.add_argument("--under", default="", help="command line in front of each process")
    parser.add_argument("--json", help="file for what passed, failed, was skipped")
    return parser.parse_args()


def tests_of(program, chosen):
    """Full names, as --gtest_list_tests has them."""
    command = [program, "--gtest_list_tests", f"--gtest_filter={chosen}"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    suite, names = "", []
    for line in listing.splitlines():
        word = line.split("#", 1)[0].rstrip()
        if word.startswith("  "):
            names.append(suite + word.strip())
        elif re.fullmatch(r"\S+\.", word):
            suite = word
    return names


def lines_of(process, timeout):
    """The lines of its output; None, once, when `timeout` seconds brought none."""
    pending = b""
    while True:
        readable, _, _ = select.select([process.stdout], [], [], timeout)
        if not readable:
            yield None
            return
        chunk = os.read(process.stdout.fileno(), 1 << 16)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass  # a process that waits for a kernel ends later, by the driver


def run_some(program, names, timeout, under):
    """Runs one process over `names`: ({name: (status, seconds, output)}, those that it did not reach)."""
    command = [*under, program, f"--gtest_filter={':'.join(names)}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    done, current, output, begin, hung = {}, None, [], time.monotonic(), False
    for line in lines_of(process, timeout):
        if line is None:
            hung = True
            break
        if match := RUN.match(line):
            current, output, begin = match.group(1), [], time.monotonic()
        elif (match := END.match(line)) and match.group(2) == current:
            done[current] = (match.group(1), int(match.group(3)) / 1000, "\n".join(output))
            current, output = None, []
            if match.group(1) == "FAILED":
                break
        else:
            output.append(line)
    last = "\n".join(output)
    if not hung and not current and len(done) == len(names) and process.wait() != 0 and not any(
        status == "FAILED" for status, _, _ in done.values()
    ):
        done[f"{names[0]} and on, as a process"] = ("FAILED", 0.0, f"{last}\nexit status {process.returncode}")
    kill(process)
    if current:
        reason = f"no answer in {timeout:g} s" if hung else f"the process ended with status {process.returncode}"
        done[current] = ("FAILED", time.monotonic() - begin, "\n".join([*output, reason]))
    left = [name for name in names if name not in done]
    if len(left) == len(names):  # it does not even start
        done[left[0]] = ("FAILED", 0.0, "\n".join([*output, "the process ran no test"]))
        left = left[1:]
    return done, left


def run_batch(program, names, timeout, under):
    results = {}
    while names:
        done, names = run_some(program, names, timeout, under)
        results |= done
    return results


def main():
    arguments = parse_arguments()
    batches = []
    for text in arguments.programs:
        program, _, chosen = text.partition(":")
        names = tests_of(program, chosen or "*")
        # Neighbours tend to be of one kind: dealt out, batches take about as long.
        count = max(1, -(-len(names) // arguments.batch))
        batches += [(program, names[i::count]) for i in range(count) if names[i::count]]
    results = {}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        under = shlex.split(arguments.under)
        running = [pool.submit(run_batch, *batch, arguments.timeout, under) for batch in batches]
        for batch in concurrent.futures.as_completed(running):
            results |= batch.result()
            for name, (status, _, output) in batch.result().items():
                if status == "FAILED":
                    print(f"---- {name}\n{output[-4000:]}", flush=True)
    by_status = {status: sorted(n for n, r in results.items() if r[0] == status) for status in ("OK", "FAILED", "SKIPPED")}
    print(f"{len(by_status['OK'])} passed, {len(by_status['FAILED'])} failed, {len(by_status['SKIPPED'])} skipped")
    for name in by_status["FAILED"]:
        print(f"failed: {name}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({
                "passed": len(by_status["OK"]),
                "failed": by_status["FAILED"],
                "skipped": by_status["SKIPPED"],
                "seconds": {name: result[1] for name, result in results.items()},
            }, file, indent=1)  # fmt: skip
    sys.exit(1 if by_status["FAILED"] or not results else 0)


if __name__ == "__main__":
    main()
