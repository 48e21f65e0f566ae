#pragma once

// How cuBLASLt makes one product: its descriptors and the algorithm. Only kernels/matmul includes
// this.

#include <memory>
#include <string>

#include "kernels/library/cublaslt.h"
#include "kernels/matmul/product_cuda.h"

namespace plinth::kernels::cuda {

// A matrix seen as cuBLASLt's, column-major: `transposed` says whether it is stored as the
// transpose of what is meant.
struct LtMatrix {
  int64_t rows = 0, columns = 0, leading = 0, batch_stride = 0;
  bool transposed = false;
};

// A product of row-major matrices, c = a b, is cuBLASLt's D = A B with A = b^T, B = a^T, D = c^T:
// the same memory, read as column-major.
struct LtProblem {
  LtMatrix a, b, d;
};

// The bytes, at most 16, to whose multiples the address is aligned.
uint32_t alignment_of(const void* address);

// The problem as a word: equal for products that one algorithm serves.
std::string name_of(const Product& product, const LtProblem& problem);

struct Destroy {
  int (*function)(void*) = nullptr;
  void operator()(void* object) const { function(object); }
};
using Owned = std::unique_ptr<void, Destroy>;

struct Plan {
  void* handle = nullptr;
  Owned desc, a, b, d;
  lt::Algorithm algorithm;
  size_t workspace = 0;
  bool is_float64 = false;
};

// Null where the library has no algorithm for the product.
std::unique_ptr<Plan> make_plan(void* handle, void* stream, MatmulTuner& tuner,
                                const Product& product, const LtProblem& problem);

// Gives the product to the stream. Not for two threads at once.
void run_plan(const Plan& plan, const Product& product, void* workspace, void* stream);

// Throws std::runtime_error for a status that is not success.
void require(int status, const char* call);

}  // namespace plinth::kernels::cuda
