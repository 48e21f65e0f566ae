#pragma once

// A matrix product on the GPU, c = a b or c += a b, whose operands and result may differ in dtype,
// with an epilogue on the result. cuBLASLt makes it where it can, else the plain kernel of
// matmul_cuda.h: choose() says which, and why.
//
// Dtypes       a and b alike, and c like them, or float32 where they are bfloat16 or float16;
//              a and b float8 (not both e5m2), each with a scale, and c bfloat16, float16 or
//              float32. Sums are float32 (float64 for float64); c is rounded once.
// Layout       as in matmul.h. cuBLASLt wants c's columns adjacent, and of float8 operands k
//              adjacent, multiples of 16 for m, n and k, and pointers aligned to 16 bytes.
// Determinism  an algorithm is chosen once for a problem and kept (tuner.h). It splits sums over k
//              only where their parts are joined in float32 by a step of its own, in one order.
//              The library promises the same bits for the same algorithm, version and GPU.
// Cost         2 batch m n k operations.

#include <string_view>

#include "kernels/dtype.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/tuner.h"

namespace plinth::kernels::cuda {

enum class Epilogue : uint8_t {
  None,
  Bias,          // c[i, j] += bias[j]
  GeluBias,      // aux = c + bias, and c = gelu(aux), the form with tanh
  GeluGradient,  // c = c gelu'(aux), and bias_gradient[j] = sum_i of that
  BiasGradient,  // besides c, bias_gradient[i] = sum_p a[i, p]
};

// Pointers are to device memory.
struct Product {
  cpu::MatmulDesc shape;
  DType a_dtype, b_dtype, c_dtype;
  const void *a, *b;
  void* c;
  Epilogue epilogue = Epilogue::None;
  const void* bias = nullptr;     // [n] of c's dtype
  void* aux = nullptr;            // [m, n] of c's dtype and strides
  void* bias_gradient = nullptr;  // of c's dtype
  // What a and b are to be multiplied with, of float8.
  const float *a_scale = nullptr, *b_scale = nullptr;
  bool allow_tf32 = false;  // float32 operands may be rounded to TF32
};

struct Plan;

struct Choice {
  const Plan* plan = nullptr;  // cuBLASLt's; null: the plain kernel
  std::string_view why;
  size_t workspace = 0;  // bytes that run() needs, aligned to 256
};

// The first call for a problem may time algorithms on `stream`, and then waits for it. Throws
// std::runtime_error where the library fails.
Choice choose(void* stream, MatmulTuner& tuner, const Product& product);

// The plain kernel has no epilogue but None and Bias: for another one `choice` must have a plan.
// The first time that the plain kernel is taken for a reason, a line on stderr tells it.
void run(void* stream, const Choice& choice, const Product& product, void* workspace);

}  // namespace plinth::kernels::cuda
