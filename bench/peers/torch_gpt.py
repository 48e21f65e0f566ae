"""GPT-2 in PyTorch, as a careful user writes it: fused attention, tied embeddings, fused AdamW.

The Plinth side (`plinth bench train --model gpt`) is the same model and the same step: forward, mean
cross-entropy, backward, gradients clipped to norm 1, AdamW with decay on matrices only.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class GPTShape:
    layers: int
    dim: int
    heads: int
    seq: int
    batch: int
    vocab: int


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads = shape.heads
        self.norm1 = nn.LayerNorm(shape.dim)
        self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
        self.project = nn.Linear(shape.dim, shape.dim)
        self.norm2 = nn.LayerNorm(shape.dim)
        self.up = nn.Linear(shape.dim, 4 * shape.dim)
        self.down = nn.Linear(4 * shape.dim, shape.dim)

    def attention(self, x):
        batch, time, dim = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, dim // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(dim, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.project(y.transpose(1, 2).reshape(batch, time, dim))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.dim)
        self.positions = nn.Embedding(shape.seq, shape.dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        for parameter in self.parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class TrainingStep:
    """One whole optimizer step on a batch of random ids, drawn anew for each step.

    A dtype below float32 is autocast's: parameters and optimizer stay float32."""

    def __init__(self, shape, compiled, dtype=torch.float32, model=None, lr=3e-4):
        self.shape = shape
        self.dtype = dtype
        self.model = GPT(shape) if model is None else model
        self.loss = torch.compile(self.model) if compiled else self.model
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)
        self.batch = self.draw()

    def draw(self):
        ids = torch.randint(self.shape.vocab, (self.shape.batch, self.shape.seq + 1))
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def prepare(self):
        self.batch = self.draw()

    def set_lr(self, lr):
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        ids, targets = self.batch
        with torch.autocast(ids.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss = self.loss(ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()
