#pragma once

// Optimizer steps over a list of tensors in one call, and the reductions over gradients.
//
// Parameters are P, gradients G, state and master weights compute_t<P>; computed in compute_t<P>,
// in PyTorch's order of operations, so that trajectories agree to its rounding. (P, G): (double,
// double), (float, float), and for P in {BFloat16, Float16}: (P, P), (P, float).
//
// Where `master` is not null it holds the parameter at full precision: the step reads and writes
// it, and stores its rounding to P in `parameter`. Without it a narrow parameter is itself read,
// updated, and rounded: to nearest, or stochastically (BFloat16 only).
//
// The elements of all tensors are taken as one sequence and cut into equal ranges, so that many
// small tensors use every thread as a large one does. Determinism: every element is independent;
// sums are taken over fixed blocks of each tensor. Aliasing: no two arrays of a call overlap. Bytes
// an element (float): AdamW 28, Lion and SGD with momentum 20, SGD 12, sum of squares 4.

#include <cstdint>
#include <span>

#include "kernels/philox.h"
#include "kernels/types.h"

namespace plinth::kernels::cpu {

template <class P, class G>
struct OptimizerTensor {
  int64_t n = 0;
  P* parameter = nullptr;
  const G* gradient = nullptr;
  compute_t<P>* exp_avg = nullptr;     // first moment: AdamW, Lion, SGD with momentum
  compute_t<P>* exp_avg_sq = nullptr;  // second moment: AdamW
  compute_t<P>* master = nullptr;      // null, or the parameter at full precision
};

template <class P, class G>
using OptimizerTensors = std::span<const OptimizerTensor<P, G>>;

// Stochastic rounding: element e of tensor t takes 16 bits, number e % 8 of Philox block e / 8 of
// sample key.sample + t; it must be a new key (step) at every call.
struct StochasticRounding {
  bool enabled = false;
  PhiloxKey key = {};
};

// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), g = grad_scale * gradient:
//   p *= 1 - lr weight_decay;   m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g g
//   p -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  int64_t step = 1;       // counts from 1
  double grad_scale = 1;  // of clipping, or of an average
  StochasticRounding rounding = {};
};
template <class P, class G>
void adamw_step(OptimizerTensors<P, G> tensors, const AdamWOptions& options);

// Stochastic gradient descent, g = grad_scale * gradient + weight_decay p:
//   m = momentum m + g;   p -= lr (nesterov ? g + momentum m : m)
// With momentum 0 (then exp_avg may be null): p -= lr g. The state m starts at zero.
struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  double grad_scale = 1;
  StochasticRounding rounding = {};
};
template <class P, class G>
void sgd_step(OptimizerTensors<P, G> tensors, const SgdOptions& options);

// Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2), g = grad_scale * gradient:
//   p *= 1 - lr weight_decay;   p -= lr sign(beta1 m + (1 - beta1) g);   m = beta2 m + (1 - beta2)
//   g
struct LionOptions {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double weight_decay = 0;
  double grad_scale = 1;
  StochasticRounding rounding = {};
};
template <class P, class G>
void lion_step(OptimizerTensors<P, G> tensors, const LionOptions& options);

// Muon (Jordan et al. 2024), the parts before and after the orthogonalisation of `update`:
//   m += (1 - momentum) (g - m);   update = nesterov ? g + momentum (m - g) : m
//   p *= 1 - lr weight_decay;      p -= lr update
// updates[t] holds tensors[t].n elements.
struct MuonOptions {
  double lr = 0.02;  // including any factor for the matrix's shape
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0;
  double grad_scale = 1;
  StochasticRounding rounding = {};
};
template <class P, class G>
void muon_momentum(OptimizerTensors<P, G> tensors, std::span<compute_t<P>* const> updates,
                   const MuonOptions& options);
template <class P, class G>
void muon_update(OptimizerTensors<P, G> tensors, std::span<const compute_t<P>* const> updates,
                 const MuonOptions& options);

// The sum of squares of all elements, in float64: the square of the global norm.
template <class G>
double sum_of_squares(std::span<const std::span<const G>> tensors);

// Its two stages, for a tensor whose parts lie in several places: the sums of chunks of kNormChunk
// elements, of which the last may be shorter, and the sum of those.
inline constexpr int64_t kNormChunk = 1 << 12;
template <class G>
void chunk_sums_of_squares(std::span<const G> tensor, double* sums);
double sum_of_chunks(std::span<const double> sums);

template <class G>
double global_norm(std::span<const std::span<const G>> tensors);

// Whether no element is infinite or NaN.
template <class G>
bool all_finite(std::span<const std::span<const G>> tensors);

// Parameters in a narrow dtype, for products: copy = parameter, rounded to nearest. To: BFloat16,
// Float16. Bytes an element: 6.
template <class To>
struct ParameterCopy {
  int64_t n = 0;
  const float* parameter = nullptr;
  To* copy = nullptr;
};
template <class To>
void copy_parameters(std::span<const ParameterCopy<To>> list);

}  // namespace plinth::kernels::cpu
