"""What a trace of `plinth --profile` says of the GPU's idle time."""

import json


def union_length(spans):
    """The length of what the spans (start, end) cover together."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def idle_share(path, phase="train_step"):
    """The share of the phases' time in which the GPU does nothing: what the host costs."""
    with open(path) as file:
        events = [event for event in json.load(file)["traceEvents"] if event["ph"] == "X"]
    phases = [(event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == phase]
    work = [(e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") in ("kernel", "copy", "fill")]
    if not phases or not work:
        raise ValueError(f"{path} has {len(phases)} phases named {phase} and {len(work)} activities of a GPU")
    within = [(max(a, start), min(b, end)) for start, end in phases for a, b in work if a < end and b > start]
    length = sum(end - start for start, end in phases)
    return 1 - union_length(within) / length
