"""Attention by one of PyTorch's fast backends, forced: what it would not take is an error, not a slower one."""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

SDPA = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
BACKENDS = (*SDPA, "flex")
CAUSAL = {"attention": True, "attention_full": False}  # by the case's name


def scaled_dot_product(backend, causal):
    def function(q, k, v):
        with sdpa_kernel(SDPA[backend]):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return function


def flexible(causal, time):
    """FlexAttention compiled for this one shape, with the causal mask's empty blocks skipped."""

    def sees(batch, head, query, key):
        return query >= key

    device = str(torch.get_default_device())
    mask = create_block_mask(sees, None, None, time, time, device=device) if causal else None
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, block_mask=mask)


def function_of(backend, name, shape):
    """The function of q, k and v [batch, heads, time, head_dim]."""
    causal = CAUSAL[name]
    return flexible(causal, shape[2]) if backend == "flex" else scaled_dot_product(backend, causal)


class Attention:
    """Forward and backward, as torch_ops.DifferentiableOp has them."""

    def __init__(self, backend, name, shape, dtype):
        self.function = function_of(backend, name, shape)
        self.inputs = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)]
        self.output_gradient = torch.randn(shape, dtype=dtype)
        self.output = None

    def prepare(self):
        self.output = None
        for x in self.inputs:
            x.grad = None

    def forward(self):
        self.output = self.function(*self.inputs)

    def backward(self):
        self.output.backward(self.output_gradient)
