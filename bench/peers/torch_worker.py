#!/usr/bin/env python3
"""The PyTorch side of one case, as a process that measures when it is told to.

    torch_worker.py eager|compile train '{"layers": 4, ...}'
    torch_worker.py eager|compile attention '[8, 8, 256, 32]'
    torch_worker.py eager ceiling null
    torch_worker.py eager first_step '{"layers": 2, ...}'

After warming up it prints {"ready": true, ...}. A line N on its input asks for N timed repetitions
after an untimed one; the answer is one line of times in milliseconds. `plinth bench ... --serve` speaks
the same. `first_step` makes one step, prints its loss and ends: it is timed from outside.
"""

import json
import sys
import time

THREADS = 2
WARM_UP = 3


def timed(function):
    begin = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - begin)


def measure_step(step, count):
    times = []
    for _ in range(count):
        step.prepare()
        times.append(timed(step.run))
    return {"step_ms": times}


def measure_op(op, count):
    result = {"forward_ms": []} | ({"backward_ms": []} if hasattr(op, "backward") else {})
    for _ in range(count):
        op.prepare()
        result["forward_ms"].append(timed(op.forward))
        if "backward_ms" in result:
            result["backward_ms"].append(timed(op.backward))
    return result


def measure_ceiling(buffers, count):
    """Time of a large copy, and of a large float32 product: what the machine gives at best."""
    import torch

    source, target, a, b, product = buffers
    return {
        "copy_ms": [timed(lambda: target.copy_(source)) for _ in range(count)],
        "product_ms": [timed(lambda: torch.mm(a, b, out=product)) for _ in range(count)],
        "copy_bytes": 2 * source.numel() * 4,
        "product_flops": 2 * a.shape[0] ** 3,
    }


def first_step(shape):
    import torch_gpt

    print(torch_gpt.TrainingStep(torch_gpt.GPTShape(**shape), compiled=False).run(), flush=True)


def make_case(name, shape, compiled):
    """Returns a function of a count that measures the case."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    if name == "ceiling":
        buffers = [torch.randn(n, n) for n in (8192, 8192, 2048, 2048, 2048)]
        return lambda count: measure_ceiling(buffers, count)
    if name == "train":
        import torch_gpt

        step = torch_gpt.TrainingStep(torch_gpt.GPTShape(**shape), compiled)
        return lambda count: measure_step(step, count)
    import torch_ops

    op = torch_ops.OPS[name](shape, compiled)
    return lambda count: measure_op(op, count)


def main():
    mode, name, shape = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if name == "first_step":
        first_step(shape)
        return
    measure = make_case(name, shape, mode == "compile")
    import torch

    measure(WARM_UP)
    print(json.dumps({"ready": True, "version": torch.__version__}), flush=True)
    for line in sys.stdin:
        measure(1)
        print(json.dumps(measure(int(line))), flush=True)


if __name__ == "__main__":
    main()
