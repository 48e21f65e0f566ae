"""Calls kernels on arrays of the standard library, and on NumPy's and PyTorch's where these are
there, and checks the results.

    PLINTH_KERNELS=build/release/kernels/c_api/libplinth_kernels.so python3 examples/python_kernels/example.py
"""

import array
import importlib.util
import math

from plinth_kernels import Error, Kernels

ROWS, COLS, EPS = 3, 8, 1e-5
VALUES = [math.sin(1.7 * i) for i in range(ROWS * COLS)]
WEIGHT = [1 + 0.1 * j for j in range(COLS)]
BIAS = [0.05 * j for j in range(COLS)]


def row(i):
    return VALUES[i * COLS : (i + 1) * COLS]


def softmax(values):
    exponentials = [math.exp(v) for v in values]
    return [e / sum(exponentials) for e in exponentials]


def layer_norm(values):
    mean = sum(values) / COLS
    variance = sum((v - mean) ** 2 for v in values) / COLS
    return [(v - mean) / math.sqrt(variance + EPS) * w + b for v, w, b in zip(values, WEIGHT, BIAS)]


def gelu(values):
    return [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in values]


def check(name, actual, formula, tolerance=1e-5):
    expected = [v for i in range(ROWS) for v in formula(row(i))]
    worst = max(abs(a - e) for a, e in zip(actual, expected))
    assert len(actual) == len(expected) and worst < tolerance, f"{name}: off by {worst}"
    print(f"  {name}: within {worst:.1e}")


def run(kernels, make, values_of):
    """`make` turns a list into an array of some library, `values_of` turns it back."""
    x, weight, bias, y = make(VALUES), make(WEIGHT), make(BIAS), make([0.0] * len(VALUES))
    kernels.softmax(ROWS, COLS, x, y)
    check("softmax", values_of(y), softmax)
    kernels.layer_norm(ROWS, COLS, x, weight, bias, EPS, y)
    check("layer_norm", values_of(y), layer_norm)
    kernels.gelu(len(VALUES), x, y)
    check("gelu", values_of(y), gelu)


def run_torch(kernels):
    import torch

    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() and kernels.has_cuda else [])
    for device in devices:
        print(f"torch, {device}:")
        run(kernels, lambda v: torch.tensor(v, dtype=torch.float32, device=device), lambda t: t.tolist())


def main():
    kernels = Kernels()
    print(f"Plinth {kernels.version}\narray:")
    run(kernels, lambda v: array.array("f", v), list)
    try:
        kernels.softmax(-1, COLS, array.array("f", VALUES), array.array("f", VALUES))
    except Error as error:
        print(f"  refused: {error}")
    else:
        raise AssertionError("a negative size was taken")
    if importlib.util.find_spec("numpy"):
        import numpy

        print("numpy:")
        run(kernels, lambda v: numpy.array(v, dtype=numpy.float32), lambda a: a.tolist())
    if importlib.util.find_spec("torch"):
        run_torch(kernels)


if __name__ == "__main__":
    main()
