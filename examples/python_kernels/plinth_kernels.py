"""Plinth's kernels from Python, by ctypes alone: three of them, wrapped as the others can be.

Arguments are anything with memory: array.array, a NumPy array, a PyTorch tensor on the CPU or a GPU.
They must be contiguous; the caller keeps them alive until the work is done.
"""

import ctypes
import os

CPU, CUDA = 0, 1
_DTYPES = {"float64": 0, "float32": 1, "bfloat16": 2, "float16": 3, "d": 0, "f": 1}


class Error(Exception):
    """A call that the library refused, in its words."""


class Kernels:
    """The library at `path`; by default what PLINTH_KERNELS names, or what the system finds."""

    ABI_VERSION = 2

    def __init__(self, path=None):
        self._library = ctypes.CDLL(path or os.environ.get("PLINTH_KERNELS", "libplinth_kernels.so.1"))
        self._library.plinth_last_error.restype = ctypes.c_char_p
        self._library.plinth_version.restype = ctypes.c_char_p
        found = self._library.plinth_kernels_abi_version()
        if found != self.ABI_VERSION:
            raise Error(f"the library has ABI version {found}, this module takes {self.ABI_VERSION}")

    @property
    def version(self):
        return self._library.plinth_version().decode()

    @property
    def has_cuda(self):
        return bool(self._library.plinth_has_device(ctypes.c_int32(CUDA)))

    def _call(self, name, like, *arguments):
        device, stream = _place(like)
        status = getattr(self._library, name)(device, ctypes.c_void_p(stream), _dtype(like), *arguments)
        if status != 0:
            raise Error(self._library.plinth_last_error().decode())

    def softmax(self, rows, cols, x, y):
        """y = softmax(x) over the last dimension of [rows, cols]."""
        self._call("plinth_softmax_forward", x, _size(rows), _size(cols), _pointer(x), _pointer(y))

    def layer_norm(self, rows, cols, x, weight, bias, eps, y):
        """y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension."""
        self._call("plinth_layer_norm_forward", x, _size(rows), _size(cols), _pointer(x), None,
                   _pointer(weight), _pointer(bias), ctypes.c_double(eps), None, _pointer(y), None, None)

    def gelu(self, count, x, y):
        """y = x Phi(x), elementwise."""
        gelu = ctypes.c_int32(0)
        self._call("plinth_activation_forward", x, gelu, _size(count), _pointer(x), _pointer(y))


def _size(value):
    return ctypes.c_int64(value)


def _is_torch(memory):
    return hasattr(memory, "data_ptr")


def _pointer(memory):
    if memory is None:
        return None
    if _is_torch(memory):
        return ctypes.c_void_p(memory.data_ptr())
    if hasattr(memory, "ctypes"):
        return ctypes.c_void_p(memory.ctypes.data)
    return ctypes.c_void_p(memory.buffer_info()[0])


def _dtype(memory):
    name = getattr(memory, "typecode", None) or str(memory.dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise Error(f"dtype {name}: takes {', '.join(_DTYPES)}")
    return ctypes.c_int32(_DTYPES[name])


def _place(memory):
    if _is_torch(memory) and memory.is_cuda:
        import torch

        return ctypes.c_int32(CUDA), torch.cuda.current_stream(memory.device).cuda_stream
    return ctypes.c_int32(CPU), None
