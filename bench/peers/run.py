#!/usr/bin/env python3
"""Measures Plinth beside PyTorch, both sides in one run, interleaved, by medians.

    python3 -m venv venv && venv/bin/pip install torch
    venv/bin/python bench/peers/run.py [--device cuda] [--only NAME ...] [--turns N] [--update-readme]

For each case a process a side stays warm: Plinth, PyTorch eager, torch.compile and, on a GPU, Triton.
They take turns, so that a busy moment of the machine meets all of them. On a GPU, where PyTorch's start takes
longer than what is measured, its processes go on from case to case. The medians go to
bench/results/<device>/<name>.json, together with the device's measured ceilings.
"""

import argparse
import concurrent.futures
import os
import statistics
import sys
from pathlib import Path

import cases
import device
import report
import workers


def parse_arguments():
    names = [case.bench for case in (*cases.CASES, *cases.GPU_CASES, cases.STARTUP)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both sides compute")
    parser.add_argument("--only", nargs="+", choices=sorted(set(names)), help="measure these only")
    parser.add_argument("--turns", type=int, default=7, help="times that each side takes its turn")
    parser.add_argument("--plinth", type=Path, help="default: that of build/release, or of build/cuda")
    parser.add_argument("--peers-only", action="store_true", help="PyTorch alone; writes no result")
    parser.add_argument("--update-readme", action="store_true", help="rewrite README.md's table from the results")
    arguments = parser.parse_args()
    preset = "release" if arguments.device == "cpu" else "cuda"
    arguments.plinth = arguments.plinth or report.ROOT / "build" / preset / "plinth"
    if arguments.update_readme and arguments.device != "cpu":
        parser.error("README.md's table is the CPU's: --update-readme goes with --device cpu")
    if not arguments.peers_only and not arguments.plinth.exists():
        parser.error(f"{arguments.plinth} does not exist; build it first: scripts/test.sh")
    return arguments


def measure_ceiling(device_type, turns):
    """What the device gives at best: bytes a second of a copy, operations a second of a product."""
    dtype = "float32" if device_type == "cpu" else "bfloat16"
    worker = workers.Worker(workers.torch_command("eager", ["ceiling", "null", device_type, dtype]), device_type)
    answers = [worker.measure(3) for _ in range(turns)]
    worker.close()
    copy_ms = statistics.median(sum((answer["copy_ms"] for answer in answers), []))
    product_ms = statistics.median(sum((answer["product_ms"] for answer in answers), []))
    ceiling = {
        "bytes_per_s": 1e3 * answers[0]["copy_bytes"] / copy_ms,
        "flops_per_s": 1e3 * answers[0]["product_flops"] / product_ms,
    }
    print(f"ceiling: copy {ceiling['bytes_per_s'] / 1e9:.1f} GB/s, product {ceiling['flops_per_s'] / 1e9:.0f} GFLOP/s")
    return ceiling, worker.ready["version"]


def started(commands, device, at_once):
    """{side: Worker} of new processes; if one of them fails, all end."""
    with concurrent.futures.ThreadPoolExecutor(len(commands) if at_once else 1) as pool:
        starting = {side: pool.submit(workers.Worker, command, device) for side, command in commands.items()}
    failed = [future.exception() for future in starting.values() if future.exception()]
    if failed:
        for future in starting.values():
            if not future.exception():
                future.result().close()
        raise failed[0]
    return {side: future.result() for side, future in starting.items()}


def compile_ahead(all_cases):
    """Lets PyTorch's cache on disk have what it compiles for each case, which takes seconds of one core: all cases at
    once, before any is measured."""
    commands = [
        (workers.torch_command(mode, case.torch_arguments()), case.device)
        for case in all_cases
        for mode in case.peers
        if mode in cases.COMPILED_PEERS and case.starts_together
    ]

    def compile_one(command):
        workers.Worker(*command).close()

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, commands))


def start_workers(case, plinth, kept=()):
    """{side: Worker} with every side warm; a side is "plinth" or one of PyTorch's modes. Those in `kept`, of an
    earlier case, are used again."""
    commands = {mode: workers.torch_command(mode, case.torch_arguments()) for mode in case.peers if mode not in kept}
    if plinth:
        commands = {"plinth": [str(plinth), *case.plinth_arguments()]} | commands
    sides = started(commands, case.device, case.starts_together) if commands else {}
    for mode in case.peers:
        if mode in kept:
            kept[mode].replace_case(case.torch_order())
            sides[mode] = kept[mode]
    return sides


def measure_case(case, plinth, turns, ceiling, kept=None):
    """The rows of one case, one for each of its passes. PyTorch's processes stay in `kept`, if that is given."""
    sides = start_workers(case, plinth, kept or ())
    times = {side: {part.name: [] for part in case.passes} for side in sides}
    ends = sides
    try:
        for _ in range(turns):
            for side, worker in sides.items():
                answer = worker.measure(case.repetitions)
                for part in case.passes:
                    times[side][part.name] += part.times(answer)
        peaks = {side: worker.peak_mib() for side, worker in sides.items()}
        if kept is not None:
            kept.update((side, worker) for side, worker in sides.items() if side != "plinth")
            ends = {side: worker for side, worker in sides.items() if side == "plinth"}
    finally:
        for worker in ends.values():
            worker.close()
    rows = []
    for part in case.passes:
        ours = times["plinth"][part.name] if plinth else []
        peers = {mode: times[mode][part.name] for mode in case.peers}
        row = report.make_row(case, part, ours, peers, ceiling)
        if kept is None:
            row["peak_mib"] = {side: round(peak) for side, peak in peaks.items()}
        report.print_row(row)
        rows.append(row)
    return rows


def measure_startup(case, plinth, turns):
    """The row of new processes: from start to the end of the first training step."""
    commands = {mode: workers.torch_command(mode, ["first_step", *case.torch_arguments()[1:]]) for mode in case.peers}
    if plinth:
        arguments = ["train" if word == "startup" else word for word in case.plinth_arguments() if word != "--serve"]
        commands["plinth"] = [str(plinth), *arguments, "--steps", "1", "--json"]
    times = {side: [] for side in commands}
    for _ in range(turns):
        for side, command in commands.items():
            times[side].append(workers.time_to_first_step(command))
    peers = {mode: times[mode] for mode in case.peers}
    row = report.make_row(case, case.passes[0], times.get("plinth", []), peers, None)
    report.print_row(row)
    return [row]


def main():
    arguments = parse_arguments()
    plinth = None if arguments.peers_only else arguments.plinth.resolve()

    def wanted(case):
        return not arguments.only or case.bench in arguments.only

    ceiling, torch_version = measure_ceiling(arguments.device, arguments.turns)
    found = device.versions(arguments.device, torch=torch_version, ceiling=ceiling)
    rows = {}

    def keep(name, measured):
        """Written at once: a machine that is lent can be gone before the last case."""
        rows.setdefault(name, []).extend(measured)
        if plinth:
            report.write_results(arguments.device, name, rows[name], found)

    kept = None if arguments.device == "cpu" else {}
    chosen = list(filter(wanted, cases.of(arguments.device)))
    try:
        compile_ahead(chosen)
        for case in chosen:
            keep(case.bench, measure_case(case, plinth, arguments.turns, ceiling, kept))
        if wanted(cases.STARTUP) and arguments.device == "cpu":
            keep("startup", measure_startup(cases.STARTUP, plinth, arguments.turns))
    except workers.WorkerError as error:
        sys.exit(f"run.py: {error}")
    finally:
        for worker in (kept or {}).values():
            worker.close()
    if arguments.update_readme:
        report.update_readme()


if __name__ == "__main__":
    main()
