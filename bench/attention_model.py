#!/usr/bin/env python3
"""What the Hopper attention kernels should reach, from counts alone: nothing here is measured.

    bench/attention_model.py [--ceiling TFLOPS] [--multiprocessors N]

Prints Markdown tables: what dealing the forward pass's tiles beforehand would cost below a diagonal, and TFLOP/s for head_dim 64 and 128 (gradients also 256), 16k tokens a batch, hidden size 2048, bfloat16.
A block's time is that of the unit which it keeps busy longest, plus what nothing hides; blocks take tiles in
the order of kernels/attention/hopper/work.cuh. The clock is the one at which the tensor cores alone would
give the ceiling of a large product (--ceiling). docs/kernels/attention.md says what the counts are.
"""

import argparse
import heapq
import math

TOKENS, HIDDEN = 16384, 2048
FLOPS = 4096  # of bfloat16, a clock and multiprocessor
EXPONENTIALS = 16  # a clock
LANES = 128  # instructions of a thread, a clock
SHARED = 128  # bytes a clock


CACHED = 24 << 20  # bytes of keys and values of a section (work.cuh)


def dealt(costs, blocks):
    """The longest sum of a block's tiles, dealt out left to right and right to left by turns."""
    sums = [0.0] * blocks
    for first in range(0, len(costs), blocks):
        for i, cost in enumerate(costs[first : first + blocks]):
            sums[i if first // blocks % 2 == 0 else blocks - 1 - i] += cost
    return max(sums)


def taken(costs, blocks):
    """The same where a block that is done takes the next tile."""
    ends = [0.0] * blocks
    heapq.heapify(ends)
    for cost in costs:
        heapq.heappush(ends, heapq.heappop(ends) + cost)
    return max(ends)


def heads_of(head_dim, length):
    return TOKENS // length * HIDDEN // head_dim


def forward_costs(head_dim, length, causal):
    """Clocks of each tile of queries, in the order of the schedule."""
    consumers, keys = (3, 128) if head_dim == 64 else (2, 128)
    rows = 64 * consumers
    products = 4 * rows * keys * head_dim / FLOPS
    exponentials = rows * keys / EXPONENTIALS
    instructions = rows * keys * 5.5 / LANES  # scale, maximum, sum, half a conversion, rescaling
    step = max(products, exponentials + instructions / 2)
    alone = products / consumers + (exponentials + instructions) / consumers + 600  # first, last, epilogue
    heads = heads_of(head_dim, length)
    section = min(heads, max(1, CACHED // (4 * length * head_dim)))

    def cost(tile):
        """Of its warpgroups, each passes over the keys that its queries do not see."""
        firsts = range(tile * rows, min(length, (tile + 1) * rows), 64)
        seen = [min(length, first + 64) if causal else length for first in firsts]
        return sum(math.ceil(s / keys) for s in seen) / consumers * step + alone

    costs = []
    for first in range(0, heads, section):
        for tile in reversed(range(math.ceil(length / rows))):
            costs += [cost(tile)] * min(section, heads - first)
    return costs


def forward(head_dim, length, causal, blocks):
    """(operations, clocks)"""
    pairs = length * (length + 1) / 2 if causal else length**2
    clocks = taken(forward_costs(head_dim, length, causal), blocks)
    return 4 * pairs * head_dim * heads_of(head_dim, length), clocks


def backward(head_dim, length, causal, blocks):
    wide = head_dim > 128
    keys, queries = 64 if wide else 128, 64
    products = 10 * keys * queries * head_dim / FLOPS
    row = head_dim * 2  # bytes
    # scores and slopes of weights read k or v and q or dout in each of two warpgroups, dv and dk dout and q; wide:
    # in one of them, and weights pass between them; dq reads slopes and half of k in each, wide slopes twice; q
    # and dout come in; slopes and dq are written, dq is read again.
    # with 64 columns k and v stay in registers for scores, and one warpgroup makes dq.
    readers, parts = (1, 2) if wide else (2, 1)
    narrow = head_dim <= 64
    moved = 2 * ((0 if narrow else keys) + readers * queries) * row + 2 * readers * queries * row
    moved += 2 * keys * queries * 4 if wide else 0
    moved += (1 if narrow else 2) * parts * keys * queries * 2 + keys * row
    moved += 2 * queries * row + keys * queries * 2 + 2 * queries * head_dim * 4
    elementwise = keys * queries * (1 / EXPONENTIALS + 9 / LANES)
    exposed = elementwise / 2
    if not wide:
        # dk reads slopes too. Exponentials and slopes run under three tenths of the products, slopes of weights and
        # half of dk; then the warpgroups meet.
        moved += keys * queries * 2
        exposed = max(0, exposed - 0.3 * products) + 150
    step = max(products, moved / SHARED) + exposed
    # Up to 128 columns gradients leave, and keys and values come, under other work.
    alone = 2 * products + (2 * keys * row / SHARED + 1500 if wide else 600)
    heads = heads_of(head_dim, length)
    costs = []
    for _ in range(heads):
        for tile in range(math.ceil(length / keys)):
            seeing = length - tile * keys if causal else length
            costs.append(math.ceil(seeing / queries) * step + alone)
    # The order of the sums of dq delays a head's tiles by a step each, once.
    delay = min(blocks, length // keys) * step
    pairs = length * (length + 1) / 2 if causal else length**2
    return 10 * pairs * head_dim * heads, taken(costs, blocks) + delay


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ceiling", type=float, default=780, help="TFLOP/s of a large product (%(default)s)")
    parser.add_argument("--multiprocessors", type=int, default=132)
    arguments = parser.parse_args()
    clock = arguments.ceiling * 1e12 / (FLOPS * arguments.multiprocessors)
    lengths = [512 << i for i in range(6)]
    print("| dealt beforehand, over taken | " + " | ".join(map(str, lengths)) + " |")
    print("|---" * (1 + len(lengths)) + "|")
    for head_dim in (64, 128):
        ratios = []
        for length in lengths:
            costs = forward_costs(head_dim, length, True)
            ratios.append(f"{dealt(costs, arguments.multiprocessors) / taken(costs, arguments.multiprocessors):.2f}")
        print(f"| forward, {head_dim}, causal | " + " | ".join(ratios) + " |")
    print()
    print("| pass | head_dim | mask | " + " | ".join(map(str, lengths)) + " |")
    print("|---" * (3 + len(lengths)) + "|")
    for name, model in (("forward", forward), ("backward", backward)):
        for head_dim in (64, 128, 256) if model is backward else (64, 128):
            for causal in (True, False):
                cells = []
                for length in lengths:
                    operations, clocks = model(head_dim, length, causal, arguments.multiprocessors)
                    cells.append(f"{operations / (clocks / clock) / 1e12:.0f}")
                mask = "causal" if causal else "full"
                print(f"| {name} | {head_dim} | {mask} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
