#!/usr/bin/env python3
"""What the Hopper attention kernels should reach, from counts alone: nothing here is measured.

    bench/attention_model.py [--ceiling TFLOPS] [--multiprocessors N]

Prints Markdown tables: what other orders of work would cost below a diagonal, and TFLOP/s for head_dim 64 and 128 (gradients also 256), 16k tokens a batch, hidden size 2048, bfloat16.
A block's time is that of the unit which it keeps busy longest, plus what nothing hides; blocks take work in
the order of kernels/attention/hopper/work.cuh and backward_work.cuh, and wait for their turns at dq. The
clock is the one at which the tensor cores alone would give the ceiling of a large product (--ceiling).
docs/kernels/attention.md says what the counts are.
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
ADDED = 2500  # clocks from a piece of dq to its turn's end, measured as 1.4 to 1.6 us
STEP, ALONE = 3000, 8000  # clocks of a tile of queries and around a piece of work, to compare orders by


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
        """Of its warpgroups, each passes over the keys that its queries do not see, by half tiles."""
        firsts = range(tile * rows, min(length, (tile + 1) * rows), 64)
        seen = [min(length, first + 64) if causal else length for first in firsts]
        return sum(math.ceil(2 * s / keys) / 2 for s in seen) / consumers * step + alone

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
    heads, tiles = heads_of(head_dim, length), math.ceil(length / keys)
    pieces = backward_pieces(heads, tiles, causal, blocks)
    if causal:
        clocks = in_turn(pieces, tiles, keys // queries, step, alone, blocks)
    else:
        # Blocks of a head run together; the order of the sums of dq delays them by a step each, once.
        clocks = taken([math.ceil(length / queries) * step + alone] * len(pieces), blocks) + min(blocks, tiles) * step
    pairs = length * (length + 1) / 2 if causal else length**2
    return 10 * pairs * head_dim * heads, clocks


def backward_pieces(heads, tiles, by_turns, blocks):
    """Tiles of keys as blocks take them: (head, tile, whether the head goes from its first tile on)."""
    pieces = []
    together = max(1, blocks // tiles)
    pairs = heads // 2 if by_turns else 0
    for first in range(0, pairs, together):
        section = range(first, min(pairs, first + together))
        pieces += [(2 * pair, tile, False) for tile in reversed(range(tiles)) for pair in section]
        pieces += [(2 * pair + 1, tile, True) for tile in range(tiles) for pair in section]
    return pieces + [(head, tile, False) for head in range(2 * pairs, heads) for tile in reversed(range(tiles))]


def in_turn(pieces, tiles, rows, step, alone, blocks):
    """Clocks of pieces below a diagonal, `rows` tiles of queries high and `step` clocks a tile each. A tile's dq is
    added under the next one and a half, within ADDED clocks, after that of the tile of keys before."""
    done, ends = {}, [0.0] * blocks
    heapq.heapify(ends)
    last = 0.0
    for head, tile, ascending in pieces:
        now = heapq.heappop(ends) + alone / 2
        added = []
        queries = range(rows * tile, rows * tiles)
        for query in reversed(queries) if ascending else queries:
            now += step
            before = tile - 1 if ascending else tile + 1
            turn = done.get((head, before, query), 0.0)
            added.append(max(now, turn) + ADDED)
            done[head, tile, query] = added[-1]
            if len(added) > 2:
                now = max(now, added[-3])
        last = max(last, added[-1])
        heapq.heappush(ends, now + alone / 2)
    return max(last, *ends)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ceiling", type=float, default=780, help="TFLOP/s of a large product (%(default)s)")
    parser.add_argument("--multiprocessors", type=int, default=132)
    arguments = parser.parse_args()
    blocks = arguments.multiprocessors
    clock = arguments.ceiling * 1e12 / (FLOPS * blocks)
    lengths = [512 << i for i in range(6)]
    print("| another order, over the kernels' | " + " | ".join(map(str, lengths)) + " |")
    print("|---" * (1 + len(lengths)) + "|")
    for head_dim in (64, 128):
        ratios = []
        for length in lengths:
            costs = forward_costs(head_dim, length, True)
            ratios.append(f"{dealt(costs, blocks) / taken(costs, blocks):.2f}")
        print(f"| forward, {head_dim}, causal: dealt beforehand | " + " | ".join(ratios) + " |")
    for head_dim in (64, 128):
        ratios = []
        for length in lengths:
            heads, tiles = heads_of(head_dim, length), length // 128
            clocks = [
                in_turn(backward_pieces(heads, tiles, by_turns, blocks), tiles, 2, STEP, ALONE, blocks)
                for by_turns in (False, True)
            ]
            ratios.append(f"{clocks[0] / clocks[1]:.2f}")
        print(f"| backward, {head_dim}, causal: each head from its last keys on | " + " | ".join(ratios) + " |")
    print()
    print("| pass | head_dim | mask | " + " | ".join(map(str, lengths)) + " |")
    print("|---" * (3 + len(lengths)) + "|")
    for name, model in (("forward", forward), ("backward", backward)):
        for head_dim in (64, 128, 256) if model is backward else (64, 128):
            for causal in (True, False):
                cells = []
                for length in lengths:
                    operations, clocks = model(head_dim, length, causal, blocks)
                    cells.append(f"{operations / (clocks / clock) / 1e12:.0f}")
                mask = "causal" if causal else "full"
                print(f"| {name} | {head_dim} | {mask} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
