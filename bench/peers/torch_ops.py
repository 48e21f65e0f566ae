"""The ops measured against PyTorch: each gives forward() and backward(), which are timed apart."""

import torch
import torch.nn.functional as F


class DifferentiableOp:
    """An op of `inputs` with a gradient for each of them that is floating-point."""

    def __init__(self, function, inputs, compiled):
        self.function = torch.compile(function) if compiled else function
        self.inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
        self.output = None
        with torch.no_grad():
            self.output_gradient = torch.randn_like(function(*inputs))

    def prepare(self):
        self.output = None
        for x in self.inputs:
            x.grad = None

    def forward(self):
        self.output = self.function(*self.inputs)

    def backward(self):
        self.output.backward(self.output_gradient)


def attention(shape, compiled, dtype, causal=True):
    """Causal attention of [batch, heads, time, head_dim]."""

    def function(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return DifferentiableOp(function, [torch.randn(shape, dtype=dtype) for _ in range(3)], compiled)


def attention_full(shape, compiled, dtype):
    """The same without a mask."""
    return attention(shape, compiled, dtype, causal=False)


def norm_inputs(shape, dtype, vectors):
    """x [rows, dim], and the gain (and bias) [dim]."""
    return [torch.randn(shape, dtype=dtype), *(torch.randn(shape[1], dtype=dtype) for _ in range(vectors))]


def layer_norm(shape, compiled, dtype):
    """Layer norm with gain and bias over the last dimension of [rows, dim]."""

    def function(x, weight, bias):
        return F.layer_norm(x, (shape[1],), weight, bias)

    return DifferentiableOp(function, norm_inputs(shape, dtype, 2), compiled)


def rms_norm(shape, compiled, dtype):
    """RMS norm with gain over the last dimension of [rows, dim]."""

    def function(x, weight):
        return F.rms_norm(x, (shape[1],), weight, 1e-5)

    return DifferentiableOp(function, norm_inputs(shape, dtype, 1), compiled)


def softmax(shape, compiled, dtype):
    """Softmax over the last dimension of [rows, cols]."""

    def function(x):
        return F.softmax(x, dim=-1)

    return DifferentiableOp(function, [torch.randn(shape, dtype=dtype)], compiled)


def cross_entropy(shape, compiled, dtype):
    """Mean cross-entropy of logits [rows, vocabulary]."""
    targets = torch.randint(shape[1], (shape[0],))
    return DifferentiableOp(F.cross_entropy, [torch.randn(shape, dtype=dtype), targets], compiled)


def linear_cross_entropy(shape, compiled, dtype):
    """LM head and mean cross-entropy: x [rows, dim] times the transpose of weight [vocabulary, dim]."""
    rows, dim, vocabulary = shape

    def function(x, weight, targets):
        return F.cross_entropy(F.linear(x, weight), targets)

    x, weight = torch.randn(rows, dim, dtype=dtype), 0.02 * torch.randn(vocabulary, dim, dtype=dtype)
    return DifferentiableOp(function, [x, weight, torch.randint(vocabulary, (rows,))], compiled)


class AdamW:
    """One optimizer step over `count` tensors of `size` elements; it has no backward pass."""

    def __init__(self, shape, compiled, dtype):
        count, size = shape
        parameters = [torch.randn(size, dtype=dtype, requires_grad=True) for _ in range(count)]
        for parameter in parameters:
            parameter.grad = torch.randn(size, dtype=dtype)
        if compiled:
            self.forward = torch.compile(torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.1).step)
        else:
            self.forward = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.1, fused=True).step

    def prepare(self):
        pass


OPS = {
    "attention": attention,
    "attention_full": attention_full,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "linear_cross_entropy": linear_cross_entropy,
    "adamw": AdamW,
}
