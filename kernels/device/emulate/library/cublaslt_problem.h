#pragma once

// One call of the emulator's cuBLASLt: what it is asked, whether the library's documentation allows
// it, and its result.

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/library/cublaslt.h"

namespace plinth::emulate {

namespace lt = kernels::cuda::lt;

// cublasLtMatmulDesc_t
struct LtDesc {
  int32_t compute = 0, scale = 0;
  int32_t transpose_a = 0, transpose_b = 0;
  uint32_t epilogue = lt::kDefault;
  void* bias = nullptr;
  void* aux = nullptr;
  int64_t aux_leading = 0;
  const float *scale_a = nullptr, *scale_b = nullptr;
};

// cublasLtMatrixLayout_t
struct LtLayout {
  int32_t type = 0;
  int64_t rows = 0, columns = 0, leading = 0;
  int32_t batches = 1;
  int64_t batch_stride = 0;
};

// cublasLtMatmulPreference_t, with its defaults.
struct LtPreference {
  uint64_t workspace = 0;
  uint32_t reductions = 7;
  uint32_t alignment_a = 256, alignment_b = 256, alignment_c = 256, alignment_d = 256;
};

struct LtProblem {
  LtDesc desc;
  LtLayout a, b, c, d;

  int64_t rows() const { return d.rows; }
  int64_t columns() const { return d.columns; }
  int64_t depth() const { return desc.transpose_a ? a.rows : a.columns; }
};

struct LtOperands {
  double alpha = 1, beta = 0;
  const void *a = nullptr, *b = nullptr, *c = nullptr;
  void* d = nullptr;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

size_t size_of_type(int32_t type);
inline bool is_float8_type(int32_t type) {
  return type == lt::kFloat8E4m3 || type == lt::kFloat8E5m2;
}

// Why the library refuses the problem, in words; empty if it takes it. Source: the tables of
// cublasLtMatmul() in NVIDIA's documentation of CUDA 13.
std::string why_invalid(const LtProblem& problem);
// Of the pointers, which are not followed.
std::string why_invalid(const LtProblem& problem, const LtOperands& operands, uint32_t alignment);

// Sums over k in `parts` parts, joined in order. Throws KernelError for memory that is no device's.
void compute(const LtProblem& problem, const LtOperands& operands, int parts);

}  // namespace plinth::emulate
