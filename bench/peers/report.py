"""Result files, the printed table, and the table in README.md."""

import json
import statistics

import device
from device import ROOT

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"


def peer_name(mode):
    return mode if mode == "triton" else f"torch-{mode}"


def spread(times):
    """Half the distance between the quartiles, as a fraction of the median."""
    if len(times) < 4:
        return None
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / 2 / middle


def make_row(case, part, ours, peers, ceiling):
    """One row of a result file: medians of the times of this run. `ours` is empty if not measured."""
    medians = {peer_name(mode): statistics.median(times) for mode, times in peers.items()}
    ours_ms = statistics.median(ours) if ours else None
    row = {
        "name": case.label,
        "shape": case.shape_text(),
        "dtype": case.dtype,
        "pass": part.name,
        "ours_ms": ours_ms,
        "spread": spread(ours) if ours else None,
        "peers": medians,
        "peer_spreads": {peer_name(mode): spread(times) for mode, times in peers.items()},
        "ratio_best": min(medians.values()) / ours_ms if ours and medians else None,
        "goal": case.goal,
        "ceiling_fraction": None,
        "bytes": part.bytes,
        "flops": part.flops,
    }
    if ours and ceiling and part.bytes:
        least_ms = 1e3 * max(part.bytes / ceiling["bytes_per_s"], part.flops / ceiling["flops_per_s"])
        row["ceiling_fraction"] = least_ms / ours_ms
    if ours and ceiling and case.products:
        row["flops_per_s"] = 1e3 * part.flops / ours_ms
        row["product_fraction"] = row["flops_per_s"] / ceiling["flops_per_s"]
    if case.tokens:
        row["tokens"] = case.tokens
    return row


def print_row(row):
    print("  ".join(format_row(row)), flush=True)


def format_row(row):
    def time_text(value):
        return "-" if value is None else f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"

    cells = [f"{row['name']}, {row['pass']} ({row['shape']})", time_text(row["ours_ms"])]
    cells += [f"{name} {time_text(value)}" for name, value in row["peers"].items()]
    if row["ratio_best"]:
        cells.append(f"{row['ratio_best']:.2f}x (goal {row['goal']:g}x)")
    if "flops_per_s" in row:
        rate, fraction = 1e-12 * row["flops_per_s"], 100 * row["product_fraction"]
        cells.append(f"{rate:.0f} TFLOP/s, {fraction:.0f} % of a large product")
    return cells


def write_results(device_type, name, rows, found_versions):
    result = {
        "device": device.short_name(device_type),
        "commit": device.commit(),
        "date": device.now(),
        "versions": found_versions,
        "rows": rows,
    }
    device.write_json(device.results_folder(device_type) / f"{name}.json", result)


def readme_table(results):
    """The Markdown table of the result files, one line a row."""
    lines = [
        "| work (float32, 2 threads) | Plinth | PyTorch eager | torch.compile | best / Plinth |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        for row in result["rows"]:
            cells = [f"{row['name']}, {row['pass']} ({row['shape']})"]
            for value in (row["ours_ms"], row["peers"].get("torch-eager"), row["peers"].get("torch-compile")):
                cells.append(measured_text(value, row))
            lines.append("| " + " | ".join([*cells, f"{row['ratio_best']:.2f}"]) + " |")
    used = sorted({f"PyTorch {result['versions']['torch']}, {result['versions']['cpu']}" for result in results})
    days = sorted({result["date"][:10] for result in results})
    return "\n".join([*lines, "", f"Measured {', '.join(days)} with {'; '.join(used)}."])


def measured_text(milliseconds, row):
    if milliseconds is None:
        return ""
    if "tokens" in row:
        return f"{1e3 * row['tokens'] / milliseconds:,.0f} tokens/s"
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds:,.0f} ms"


def load_results():
    """The CPU's result files that have PyTorch beside Plinth: whole models first, then ops by name."""
    order = {"train": 0, "families": 1, "startup": 2}
    paths = sorted(device.results_folder("cpu").glob("*.json"), key=lambda path: (order.get(path.stem, 3), path.stem))
    results = [json.loads(path.read_text()) for path in paths]
    return [result for result in results if "torch" in result["versions"]]


def update_readme(readme=ROOT / "README.md"):
    """Replaces what stands between the markers of README.md by the table of all result files."""
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{readme} lacks the markers {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    results = load_results()
    table = readme_table(results) if results else "Not measured yet."
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    print(f"updated {readme.name}")
