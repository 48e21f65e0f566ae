#pragma once

// Convolutions on the GPU: the contract of conv.h, on device pointers and a stream. cuDNN makes
// them, by its graph API, where it can: float32, bfloat16 and float16 whose operands are aligned to
// 16 bytes. For float64 and the rest, and where there is no cuDNN, the plain kernels of
// conv_plain_cuda.h do; conv_path() says which, and why.
//
// Determinism  an engine is chosen once for a problem on a device, and kept while the program runs:
//              the first that cuDNN's heuristics propose which gives the same bits every time and
//              sums in float32. Of float32, engines on tensor cores, which round operands to TF32,
//              are taken where desc.allow_tf32 says so. The library promises the same bits for the
//              same engine, version and GPU.
// Cost         of cuDNN: operands are NCHW, which engines for tensor cores may first transpose. The
//              bias is a second pass over y, rounded once more.
// Errors       std::runtime_error where cuDNN fails.

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/conv/conv.h"

namespace plinth::kernels::cuda {

using cpu::ConvDesc;

enum class ConvPass : uint8_t { Forward, BackwardInput, BackwardWeight };

struct ConvPath {
  bool by_cudnn = false;
  std::string why;
};

// How operands that are aligned to 16 bytes are convolved on the thread's current device. The first
// call for a problem asks cuDNN, which takes milliseconds.
template <class T>
ConvPath conv_path(const ConvDesc& desc, ConvPass pass);

// Bytes of workspace that a pass needs.
template <class T>
size_t conv_workspace(const ConvDesc& desc, ConvPass pass);

template <class T>
void conv_forward(void* stream, const ConvDesc& desc, const T* x, const T* weight, const T* bias,
                  T* y, void* workspace);

template <class T>
void conv_backward_input(void* stream, const ConvDesc& desc, const T* dy, const T* weight, T* dx,
                         void* workspace);

template <class T>
void conv_backward_weight(void* stream, const ConvDesc& desc, const T* dy, const T* x, T* dweight,
                          void* workspace);

}  // namespace plinth::kernels::cuda
