"""The tables of what is measured: each case in Plinth's words, in PyTorch's, and with its cost."""

import dataclasses
import json

SIZES = {"float32": 4, "bfloat16": 2}  # bytes of an element
FLOAT = SIZES["float32"]

SMALL = {"layers": 4, "dim": 256, "heads": 8, "seq": 256, "batch": 8, "vocab": 8192}
GPT2_124M = {"layers": 12, "dim": 768, "heads": 12, "seq": 512, "batch": 2, "vocab": 50257}
GPT2_GPU = GPT2_124M | {"seq": 1024, "batch": 16}
TINY = {"layers": 2, "dim": 64, "heads": 2, "seq": 64, "batch": 4, "vocab": 256}

ALL_PEERS = ("eager", "compile", "triton")
ATTENTION_PEERS = ("cudnn", "flash", "flex")
COMPILED_PEERS = ("compile", "flex")
GPU = {"device": "cuda", "dtype": "bfloat16", "goal": 1.0, "peers": ALL_PEERS, "repetitions": 40}


@dataclasses.dataclass(frozen=True)
class Pass:
    """One timed part of a case: which times of an answer it adds up, and the least work that it takes."""

    name: str
    keys: tuple
    flops: float
    bytes: float

    def times(self, answer):
        """One time for each repetition of an answer."""
        return [sum(parts) for parts in zip(*(answer[key] for key in self.keys))]


@dataclasses.dataclass(frozen=True)
class Case:
    bench: str  # the word after `plinth bench`, and the name of the result file
    label: str
    shape: object  # list of an op's sizes, or the dictionary of a model
    passes: tuple
    goal: float = 1.3  # best peer's time / ours that DESIGN asks for
    peers: tuple = ("eager", "compile")
    tokens: int = 0
    repetitions: int = 5  # timed repetitions of one turn
    device: str = "cpu"
    dtype: str = "float32"
    # Bound by products: its row tells their rate, and that as a fraction of the large product's.
    products: bool = False
    # Sides start at once, which takes a CPU that has cores for all; none of them times anything while it warms up.
    starts_together: bool = False

    def plinth_arguments(self):
        arguments = ["bench", self.bench, "--dtype", self.dtype, "--threads", "2", "--serve"]
        if self.device != "cpu":
            arguments += ["--device", self.device]
        if isinstance(self.shape, dict):
            arguments += ["--model", "gpt"]
            for key, value in self.shape.items():
                arguments += [f"--{key}", str(value)]
            return arguments
        return arguments + ["--shape", ",".join(map(str, self.shape))]

    def torch_order(self):
        return [self.bench, self.shape, self.device, self.dtype]

    def torch_arguments(self):
        name, shape, *where = self.torch_order()
        return [name, json.dumps(shape), *where]

    def shape_text(self):
        if isinstance(self.shape, dict):
            return " ".join(f"{key} {value}" for key, value in self.shape.items())
        return "x".join(map(str, self.shape))


def train(label, shape, repetitions, **more):
    tokens = shape["batch"] * shape["seq"]
    layers, dim, seq, vocab = (shape[key] for key in ("layers", "dim", "seq", "vocab"))
    matrices = 12 * layers * dim * dim + vocab * dim
    parameters = matrices + (13 * layers + 2 + seq) * dim
    # Products with weights, thrice (forward, both gradients); causal attention's two products likewise.
    flops = 3 * tokens * (2 * matrices + layers * 2 * seq * dim)
    # AdamW reads parameter, gradient and two moments, and writes all but the gradient.
    step = Pass("step", ("step_ms",), flops, 7 * FLOAT * parameters)
    return Case("train", label, shape, (step,), tokens=tokens, repetitions=repetitions, **more)


def forward_and_backward(bench, label, shape, forward, backward, **more):
    """A case of an op whose passes cost `forward` and `backward`, each (operations, elements moved)."""
    size = SIZES[more.get("dtype", "float32")]
    passes = tuple(
        Pass(name, (f"{name}_ms",), flops, size * elements)
        for name, (flops, elements) in (("forward", forward), ("backward", backward))
    )
    return Case(bench, label, shape, passes, **more)


def attention(batch, heads, time, head_dim, causal=True, **more):
    matrix = batch * heads * time * head_dim
    # 2 * time * time * head_dim operations, half of them masked
    product = matrix * time if causal else 2 * matrix * time
    costs = (2 * product, 4 * matrix), (5 * product, 8 * matrix)
    bench, label = ("attention", "causal attention") if causal else ("attention_full", "full attention")
    return forward_and_backward(bench, label, [batch, heads, time, head_dim], *costs, **more)


def attention_grid(causal, width=2048, tokens=16384):
    """Batches of as many tokens and heads of as many elements in all, from short sequences to one long one."""
    more = GPU | {"peers": ATTENTION_PEERS, "repetitions": 10, "products": True, "starts_together": True}
    return [
        attention(tokens // time, width // head_dim, time, head_dim, causal, **more)
        for head_dim in (64, 128)
        for time in (512, 1024, 2048, 4096, 8192, 16384)
    ]


def over_rows(bench, label, rows, cols, forward, backward, **more):
    """A case of an op over the rows of a matrix; its costs are those of one element."""
    costs = [(flops * rows * cols, elements * rows * cols) for flops, elements in (forward, backward)]
    return forward_and_backward(bench, label, [rows, cols], *costs, **more)


def layer_norm(rows, dim, **more):
    return over_rows("layer_norm", "layer norm", rows, dim, (8, 2), (14, 3), **{"repetitions": 40} | more)


def rms_norm(rows, dim, **more):
    return over_rows("rms_norm", "RMS norm", rows, dim, (5, 2), (10, 3), **{"repetitions": 40} | more)


def softmax(rows, cols, **more):
    return over_rows("softmax", "softmax", rows, cols, (4, 2), (4, 3), **{"repetitions": 40} | more)


def cross_entropy(rows, vocab, **more):
    return over_rows("cross_entropy", "cross-entropy", rows, vocab, (4, 1), (4, 2), **more)


def linear_cross_entropy(rows, dim, vocab, **more):
    product = 2 * rows * dim * vocab
    inputs = SIZES[more.get("dtype", "float32")] * (rows * dim + dim * vocab)
    # Together, since an implementation may compute its gradients in the forward pass, as Plinth's does.
    both = Pass("forward and backward", ("forward_ms", "backward_ms"), 3 * product, 3 * inputs)
    return Case("linear_cross_entropy", "LM head and cross-entropy", [rows, dim, vocab], (both,), **more)


def adamw(count, size, **more):
    element = SIZES[more.get("dtype", "float32")]
    step = Pass("step", ("forward_ms",), 12 * count * size, 7 * element * count * size)
    return Case("adamw", "AdamW", [count, size], (step,), **more)


CASES = [
    train("GPT, 5 M parameters", SMALL, 2),
    train("GPT-2, 124 M parameters", GPT2_124M, 1),
    attention(8, 8, 256, 32),
    attention(2, 12, 512, 64),
    attention(1, 12, 1024, 64),
    attention(1, 12, 1024, 64, causal=False),
    attention(8, 8, 256, 32, causal=False),
    layer_norm(2048, 256),
    layer_norm(1024, 768),
    cross_entropy(2048, 8192),
    linear_cross_entropy(2048, 256, 8192),
    linear_cross_entropy(512, 768, 50257),
    adamw(16, 1048576),
]

# The memory-bound kernels at sizes well above any cache, attention, then whole steps of GPT-2 124M in bfloat16.
GPU_CASES = [
    *(layer_norm(rows, dim, **GPU) for rows, dim in ((65536, 1024), (32768, 4096), (8192, 16384))),
    *(rms_norm(rows, dim, **GPU) for rows, dim in ((65536, 1024), (32768, 4096), (8192, 16384))),
    *(softmax(rows, cols, **GPU) for rows, cols in ((65536, 1024), (16384, 8192), (4096, 32768))),
    *(cross_entropy(rows, vocab, **GPU) for rows, vocab in ((8192, 32000), (8192, 50257), (4096, 128256))),
    linear_cross_entropy(8192, 768, 50257, **GPU | {"peers": ("eager", "compile"), "repetitions": 5}),
    adamw(148, 838861, **GPU | {"dtype": "float32", "peers": ("eager", "compile")}),
    *attention_grid(causal=True),
    *attention_grid(causal=False),
    train("GPT-2, 124 M parameters", GPT2_GPU, **GPU | {"goal": 1.15, "peers": ("eager", "compile"), "repetitions": 10}),
]

# Measured apart, since each repetition is a new process: from its start to the end of the first step.
STARTUP = Case(
    "startup", "process start to first step", TINY, (Pass("start", ("start_ms",), 0, 0),), goal=20.0, peers=("eager",)
)


def of(device):
    return CASES if device == "cpu" else GPU_CASES
