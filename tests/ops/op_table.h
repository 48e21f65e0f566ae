#pragma once

// The table of ops. A row says how an op is called and what it must give; op_test.cpp derives every
// test of the op from it. A new differentiable op needs a row here and nothing else
// (coverage_test.cpp fails without one).

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace plinth::op_table {

using Function = std::function<Tensors(const Tensors&)>;

// Float64 inputs of irregular values, the same in every run: the k-th tensor that a Sampler gives
// depends on k and its shape only.
class Sampler {
 public:
  Tensor operator()(const Shape& shape, double low = -2, double high = 2);

 private:
  uint32_t next_ = 0;
};

// Inputs, the call, and what it is compared with.
struct Case {
  std::string label;
  Tensors inputs;  // floating ones in float64, contiguous; all of them are differentiated
  Function op;
  // In float64, by plain loops (naive.h). Empty: the op itself in float64 stands for it.
  Function reference = {};
  // False for a case that is too large for finite differences, or has a kink at its values.
  bool gradcheck = true;
  // The size of the terms that cancel in the results, where those are smaller.
  double magnitude = 0;
};

struct ErrorCase {
  std::function<void()> call;
  ErrorKind kind;
  std::string message;  // a part of it
};

enum class Second {
  Exists,   // gradgradcheck must pass
  Refused,  // asking for it must throw an error that names the op
  Zero,     // the gradient is constant 0
};

// |result - reference| <= units * epsilon(dtype) * largest |reference|, or the case's magnitude if
// that is larger; the same for gradients, whose reference is the gradient in float64.
struct Tolerance {
  double units = 1;
  double gradient_units = 4;
};

struct Row {
  std::string name;  // of the function, and usually of the node that it records
  std::function<std::vector<Case>(Sampler&)> cases;
  std::vector<ErrorCase> errors = {};
  Tolerance tolerance = {};
  Second second = Second::Exists;
  // False for ops whose kernels may add in another order if an operand lies otherwise in memory, or
  // that take contiguous tensors only.
  bool same_bits_in_any_layout = true;
  // False for ops that have no kernel for the GPU.
  bool on_gpu = true;
};

struct Family {
  std::string name;
  std::vector<Row> rows;
};

// Of functions of one tensor: a scalar, nothing, and remainders of every vector width.
inline const Shape kPointwiseShapes[] = {{}, {0, 3}, {7}, {3, 5}, {2, 3, 4}};

std::vector<Row> unary_rows();
std::vector<Row> binary_rows();
std::vector<Row> choice_rows();
std::vector<Row> view_rows();
std::vector<Row> copy_rows();
std::vector<Row> reduction_rows();
std::vector<Row> index_rows();
std::vector<Row> matmul_rows();
std::vector<Row> einsum_rows();
std::vector<Row> conv_rows();
std::vector<Row> normalization_rows();
std::vector<Row> activation_rows();
std::vector<Row> loss_rows();
std::vector<Row> ctc_loss_rows();
std::vector<Row> attention_rows();
std::vector<Row> rope_rows();

// All of the above.
const std::vector<Family>& families();

}  // namespace plinth::op_table
