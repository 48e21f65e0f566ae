"""The table of what is measured: each case in Plinth's words, in PyTorch's, and with its cost."""

import dataclasses
import json

FLOAT = 4  # bytes of a float32

SMALL = {"layers": 4, "dim": 256, "heads": 8, "seq": 256, "batch": 8, "vocab": 8192}
GPT2_124M = {"layers": 12, "dim": 768, "heads": 12, "seq": 512, "batch": 2, "vocab": 50257}
TINY = {"layers": 2, "dim": 64, "heads": 2, "seq": 64, "batch": 4, "vocab": 256}


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
    goal: float  # best peer's time / ours that DESIGN asks for
    peers: tuple = ("eager", "compile")
    tokens: int = 0
    repetitions: int = 5  # timed repetitions of one turn

    def plinth_arguments(self):
        arguments = ["bench", self.bench, "--dtype", "float32", "--threads", "2", "--serve"]
        if isinstance(self.shape, dict):
            arguments += ["--model", "gpt"]
            for key, value in self.shape.items():
                arguments += [f"--{key}", str(value)]
            return arguments
        return arguments + ["--shape", ",".join(map(str, self.shape))]

    def torch_arguments(self):
        return [self.bench, json.dumps(self.shape)]

    def shape_text(self):
        if isinstance(self.shape, dict):
            return " ".join(f"{key} {value}" for key, value in self.shape.items())
        return "x".join(map(str, self.shape))


def train(label, shape, repetitions):
    tokens = shape["batch"] * shape["seq"]
    layers, dim, seq, vocab = (shape[key] for key in ("layers", "dim", "seq", "vocab"))
    matrices = 12 * layers * dim * dim + vocab * dim
    parameters = matrices + (13 * layers + 2 + seq) * dim
    # Products with weights, thrice (forward, both gradients); causal attention's two products likewise.
    flops = 3 * tokens * (2 * matrices + layers * 2 * seq * dim)
    # AdamW reads parameter, gradient and two moments, and writes all but the gradient.
    step = Pass("step", ("step_ms",), flops, 7 * FLOAT * parameters)
    return Case("train", label, shape, (step,), 1.3, tokens=tokens, repetitions=repetitions)


def attention(batch, heads, time, head_dim):
    matrix = batch * heads * time * head_dim
    product = matrix * time  # 2 * time * time * head_dim operations, half of them masked
    passes = (
        Pass("forward", ("forward_ms",), 2 * product, 4 * FLOAT * matrix),
        Pass("backward", ("backward_ms",), 5 * product, 8 * FLOAT * matrix),
    )
    return Case("attention", "causal attention", [batch, heads, time, head_dim], passes, 1.3)


def layer_norm(rows, dim):
    matrix = rows * dim
    passes = (
        Pass("forward", ("forward_ms",), 8 * matrix, 2 * FLOAT * matrix),
        Pass("backward", ("backward_ms",), 14 * matrix, 3 * FLOAT * matrix),
    )
    return Case("layer_norm", "layer norm", [rows, dim], passes, 1.3, repetitions=40)


def cross_entropy(rows, vocab):
    matrix = rows * vocab
    passes = (
        Pass("forward", ("forward_ms",), 4 * matrix, FLOAT * matrix),
        Pass("backward", ("backward_ms",), 4 * matrix, 2 * FLOAT * matrix),
    )
    return Case("cross_entropy", "cross-entropy", [rows, vocab], passes, 1.3)


def linear_cross_entropy(rows, dim, vocab):
    product = 2 * rows * dim * vocab
    inputs = FLOAT * (rows * dim + dim * vocab)
    # Together, since an implementation may compute its gradients in the forward pass, as Plinth's does.
    both = Pass("forward and backward", ("forward_ms", "backward_ms"), 3 * product, 3 * inputs)
    return Case("linear_cross_entropy", "LM head and cross-entropy", [rows, dim, vocab], (both,), 1.3)


def adamw(count, size):
    step = Pass("step", ("forward_ms",), 12 * count * size, 7 * FLOAT * count * size)
    return Case("adamw", "AdamW", [count, size], (step,), 1.3)


CASES = [
    train("GPT, 5 M parameters", SMALL, 2),
    train("GPT-2, 124 M parameters", GPT2_124M, 1),
    attention(8, 8, 256, 32),
    attention(2, 12, 512, 64),
    attention(1, 12, 1024, 64),
    layer_norm(2048, 256),
    layer_norm(1024, 768),
    cross_entropy(2048, 8192),
    linear_cross_entropy(2048, 256, 8192),
    linear_cross_entropy(512, 768, 50257),
    adamw(16, 1048576),
]

# Measured apart, since each repetition is a new process: from its start to the end of the first step.
STARTUP = Case(
    "startup", "process start to first step", TINY, (Pass("start", ("start_ms",), 0, 0),), 20.0, peers=("eager",)
)
