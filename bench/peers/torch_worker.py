#!/usr/bin/env python3
"""The PyTorch side of one case, as a process that measures when it is told to.

    torch_worker.py eager|compile train '{"layers": 4, ...}' DEVICE DTYPE
    torch_worker.py eager|compile|triton softmax '[16384, 8192]' DEVICE DTYPE
    torch_worker.py cudnn|flash|flex attention '[4, 32, 4096, 64]' DEVICE DTYPE
    torch_worker.py eager ceiling null DEVICE DTYPE
    torch_worker.py eager first_step '{"layers": 2, ...}' DEVICE DTYPE

After warming up it prints {"ready": true, ...}. A line N on its input asks for N timed repetitions
after an untimed one; the answer is one line of times in milliseconds. `plinth bench ... --serve` speaks
the same. A line ["softmax", [8, 8], DEVICE, DTYPE] replaces the case, and is answered like the start.
`first_step` makes one step, prints its loss and ends: it is timed from outside.
"""

import gc
import json
import sys
import time

THREADS = 2
WARM_UP = 3


class HostClock:
    def time(self, function):
        begin = time.perf_counter()
        function()
        return 1e3 * (time.perf_counter() - begin)


class GpuClock:
    """By events. A buffer above the L2's size is overwritten first: no input is left in the cache, and the
    host has the time of that to launch what is timed."""

    def __init__(self, torch):
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self.buffer = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")

    def time(self, function):
        start, end = self.events
        self.buffer.zero_()
        start.record()
        function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


def make_clock(device):
    import torch

    return HostClock() if device == "cpu" else GpuClock(torch)


def measure_step(clock, step, count):
    times = []
    for _ in range(count):
        step.prepare()
        times.append(clock.time(step.run))
    return {"step_ms": times}


def measure_op(clock, op, count):
    result = {"forward_ms": []} | ({"backward_ms": []} if hasattr(op, "backward") else {})
    for _ in range(count):
        op.prepare()
        result["forward_ms"].append(clock.time(op.forward))
        if "backward_ms" in result:
            result["backward_ms"].append(clock.time(op.backward))
    return result


def measure_ceiling(clock, buffers, count):
    """Time of a large copy, and of a large product: what the device gives at best."""
    import torch

    source, target, a, b, product = buffers
    return {
        "copy_ms": [clock.time(lambda: target.copy_(source)) for _ in range(count)],
        "product_ms": [clock.time(lambda: torch.mm(a, b, out=product)) for _ in range(count)],
        "copy_bytes": 2 * source.numel() * source.element_size(),
        "product_flops": 2 * a.shape[0] ** 3,
    }


def ceiling_buffers(device):
    """The sides of square matrices: two to copy, three of a product."""
    copied, multiplied = (8192, 2048) if device == "cpu" else (32768, 8192)
    return [copied] * 2 + [multiplied] * 3


def first_step(shape):
    import torch_gpt

    print(torch_gpt.TrainingStep(torch_gpt.GPTShape(**shape), compiled=False).run(), flush=True)


def make_case(mode, name, shape, device, dtype):
    """Returns a function of a count that measures the case."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    torch.set_default_device(device)
    clock, dtype = make_clock(device), getattr(torch, dtype)
    if name == "ceiling":
        buffers = [torch.randn(n, n, dtype=dtype) for n in ceiling_buffers(device)]
        return lambda count: measure_ceiling(clock, buffers, count)
    if name == "train":
        import torch_gpt

        step = torch_gpt.TrainingStep(torch_gpt.GPTShape(**shape), mode == "compile", dtype)
        return lambda count: measure_step(clock, step, count)
    if name == "model":
        import torch_families

        step = torch_families.TrainingStep(**shape)
        return lambda count: measure_step(clock, step, count)
    if mode in ("cudnn", "flash", "flex"):
        import torch_attention

        op = torch_attention.Attention(mode, name, shape, dtype)
        return lambda count: measure_op(clock, op, count)
    if mode == "triton":
        import triton_ops as ops
    else:
        import torch_ops as ops
    op = ops.OPS[name](shape, mode == "compile", dtype)
    return lambda count: measure_op(clock, op, count)


def warm_case(mode, name, shape, device, dtype):
    """make_case, once it has warmed up and said so."""
    import torch

    measure = make_case(mode, name, shape, device, dtype)
    measure(WARM_UP)
    print(json.dumps({"ready": True, "version": torch.__version__}), flush=True)
    return measure


def forget_compiled():
    """A compiled function holds its graphs, and takes only so many shapes before it is compiled no more."""
    import torch

    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main():
    mode, name, shape, device, dtype = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:6]
    if name == "first_step":
        first_step(shape)
        return
    measure = warm_case(mode, name, shape, device, dtype)
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            measure(1)
            print(json.dumps(measure(order)), flush=True)
        else:
            measure = None
            forget_compiled()
            measure = warm_case(mode, *order)


if __name__ == "__main__":
    main()
