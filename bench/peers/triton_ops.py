"""The ops measured against Triton, one program a row, as its users write them. The same interface as torch_ops."""

import torch
import triton
import triton.language as tl
from torch_ops import DifferentiableOp, norm_inputs

EPS = 1e-5


def block_of(cols):
    """(elements of a program's row, warps)."""
    block = triton.next_power_of_2(cols)
    return block, min(16, max(1, block // 512))


# ---- softmax ----


@triton.jit
def softmax_forward(x, y, cols, BLOCK: tl.constexpr):
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    values = tl.load(x + row * cols + at, mask=at < cols, other=-float("inf")).to(tl.float32)
    weights = tl.exp(values - tl.max(values, 0))
    tl.store(y + row * cols + at, weights / tl.sum(weights, 0), mask=at < cols)


@triton.jit
def softmax_backward(y, dy, dx, cols, BLOCK: tl.constexpr):
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    probability = tl.load(y + row * cols + at, mask=at < cols, other=0).to(tl.float32)
    gradient = tl.load(dy + row * cols + at, mask=at < cols, other=0).to(tl.float32)
    inner = tl.sum(probability * gradient, 0)
    tl.store(dx + row * cols + at, probability * (gradient - inner), mask=at < cols)


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        y = torch.empty_like(x)
        block, warps = block_of(x.shape[1])
        softmax_forward[(x.shape[0],)](x, y, x.shape[1], BLOCK=block, num_warps=warps)
        context.save_for_backward(y)
        return y

    @staticmethod
    def backward(context, dy):
        (y,) = context.saved_tensors
        dx = torch.empty_like(y)
        block, warps = block_of(y.shape[1])
        softmax_backward[(y.shape[0],)](y, dy, dx, y.shape[1], BLOCK=block, num_warps=warps)
        return dx


# ---- norms ----


@triton.jit
def norm_forward(x, weight, bias, y, means, scales, cols, eps, CENTRED: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = at < cols
    values = tl.load(x + row * cols + at, mask=inside, other=0).to(tl.float32)
    if CENTRED:
        mean = tl.sum(values, 0) / cols
        values = tl.where(inside, values - mean, 0.0)
        tl.store(means + row, mean)
    scale = 1 / tl.sqrt(tl.sum(values * values, 0) / cols + eps)
    tl.store(scales + row, scale)
    result = values * scale * tl.load(weight + at, mask=inside, other=0).to(tl.float32)
    if CENTRED:
        result += tl.load(bias + at, mask=inside, other=0).to(tl.float32)
    tl.store(y + row * cols + at, result, mask=inside)


@triton.jit
def norm_backward(
    x, weight, dy, means, scales, dx, dweights, dbiases, rows, cols, CENTRED: tl.constexpr, BLOCK: tl.constexpr
):
    """A program takes every num_programs-th row, and keeps its share of the vectors' gradients in registers."""
    program, programs, at = tl.program_id(0), tl.num_programs(0), tl.arange(0, BLOCK)
    inside = at < cols
    gain = tl.load(weight + at, mask=inside, other=0).to(tl.float32)
    dweight = tl.zeros([BLOCK], tl.float32)
    dbias = tl.zeros([BLOCK], tl.float32)
    for row in range(program, rows, programs):
        offset = row * cols + at  # every matrix measured has fewer than 2^31 elements
        values = tl.load(x + offset, mask=inside, other=0).to(tl.float32)
        gradient = tl.load(dy + offset, mask=inside, other=0).to(tl.float32)
        scale = tl.load(scales + row)
        if CENTRED:
            values = tl.where(inside, values - tl.load(means + row), 0.0)
        normed = values * scale
        dweight += gradient * normed
        dbias += gradient
        inner = gradient * gain
        shift = normed * tl.sum(inner * normed, 0) / cols
        if CENTRED:
            shift += tl.sum(inner, 0) / cols
        tl.store(dx + offset, (inner - shift) * scale, mask=inside)
    tl.store(dweights + program * cols + at, dweight, mask=inside)
    if CENTRED:
        tl.store(dbiases + program * cols + at, dbias, mask=inside)


class Norm(torch.autograd.Function):
    """Layer norm with a bias, RMS norm without one."""

    @staticmethod
    def forward(context, x, weight, bias=None):
        rows, cols = x.shape
        y = torch.empty_like(x)
        means, scales = torch.empty(2, rows, dtype=torch.float32, device=x.device)
        block, warps = block_of(cols)
        norm_forward[(rows,)](
            x, weight, weight if bias is None else bias, y, means, scales, cols, EPS,
            CENTRED=bias is not None, BLOCK=block, num_warps=warps,
        )  # fmt: skip
        context.save_for_backward(x, weight, means, scales)
        context.centred = bias is not None
        return y

    @staticmethod
    def backward(context, dy):
        x, weight, means, scales = context.saved_tensors
        rows, cols = x.shape
        programs = min(rows, multiprocessors(x.device))
        dx = torch.empty_like(x)
        dweights, dbiases = torch.empty(2, programs, cols, dtype=torch.float32, device=x.device)
        block, warps = block_of(cols)
        norm_backward[(programs,)](
            x, weight, dy, means, scales, dx, dweights, dbiases, rows, cols,
            CENTRED=context.centred, BLOCK=block, num_warps=warps,
        )  # fmt: skip
        dweight = dweights.sum(0).to(weight.dtype)
        return dx, dweight, dbiases.sum(0).to(weight.dtype) if context.centred else None


def multiprocessors(device):
    return 1 if device.type == "cpu" else torch.cuda.get_device_properties(device).multi_processor_count


# ---- cross-entropy ----

TILE = 4096  # classes of a row that a program holds at once


@triton.jit
def cross_entropy_forward(logits, targets, losses, log_sums, classes, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    most, total = -float("inf"), 0.0
    for first in range(0, classes, TILE):
        at = first + tl.arange(0, TILE)
        values = tl.load(logits + row * classes + at, mask=at < classes, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(most, tl.max(values, 0))
        total = total * tl.exp(most - higher) + tl.sum(tl.exp(values - higher), 0)
        most = higher
    log_sum = most + tl.log(total)
    target = tl.load(targets + row)
    tl.store(log_sums + row, log_sum)
    tl.store(losses + row, log_sum - tl.load(logits + row * classes + target).to(tl.float32))


@triton.jit
def cross_entropy_backward(logits, targets, log_sums, dloss, dlogits, rows, classes, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * TILE + tl.arange(0, TILE)
    values = tl.load(logits + row * classes + at, mask=at < classes, other=0).to(tl.float32)
    probability = tl.exp(values - tl.load(log_sums + row))
    gradient = tl.where(at == tl.load(targets + row), probability - 1, probability)
    tl.store(dlogits + row * classes + at, gradient * tl.load(dloss) / rows, mask=at < classes)


class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context, logits, targets):
        rows, classes = logits.shape
        losses, log_sums = torch.empty(2, rows, dtype=torch.float32)
        cross_entropy_forward[(rows,)](logits, targets, losses, log_sums, classes, TILE=TILE, num_warps=8)
        context.save_for_backward(logits, targets, log_sums)
        return losses.mean().to(logits.dtype)

    @staticmethod
    def backward(context, dloss):
        logits, targets, log_sums = context.saved_tensors
        rows, classes = logits.shape
        dlogits = torch.empty_like(logits)
        grid = (rows, triton.cdiv(classes, TILE))
        cross_entropy_backward[grid](
            logits, targets, log_sums, dloss, dlogits, rows, classes, TILE=TILE, num_warps=8
        )  # fmt: skip
        return dlogits, None


def layer_norm(shape, _, dtype):
    return DifferentiableOp(Norm.apply, norm_inputs(shape, dtype, 2), compiled=False)


def rms_norm(shape, _, dtype):
    return DifferentiableOp(Norm.apply, norm_inputs(shape, dtype, 1), compiled=False)


def softmax(shape, _, dtype):
    return DifferentiableOp(Softmax.apply, [torch.randn(shape, dtype=dtype)], compiled=False)


def cross_entropy(shape, _, dtype):
    targets = torch.randint(shape[1], (shape[0],))
    return DifferentiableOp(CrossEntropy.apply, [torch.randn(shape, dtype=dtype), targets], compiled=False)


OPS = {"layer_norm": layer_norm, "rms_norm": rms_norm, "softmax": softmax, "cross_entropy": cross_entropy}


def check():
    """Each op against PyTorch's, values and gradients: TRITON_INTERPRET=1 python3 bench/peers/triton_ops.py"""
    import torch_ops

    for name, make in OPS.items():
        op = make([5, 301], False, torch.float32)
        peer = torch_ops.OPS[name]([5, 301], False, torch.float32)
        peer.inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in op.inputs]
        peer.output_gradient = op.output_gradient
        for side in (op, peer):
            side.prepare()
            side.forward()
            side.backward()
        torch.testing.assert_close(op.output, peer.output)
        for ours, theirs in zip(op.inputs, peer.inputs, strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
        print(f"{name}: as PyTorch's")


if __name__ == "__main__":
    check()
