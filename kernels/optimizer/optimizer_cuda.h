#pragma once

// Optimizer steps and gradient norms on the GPU: the contract of optimizer.h, on lists of device
// pointers and a stream. The lists themselves are host memory, read before the call returns.
//
// Trick: up to 64 tensors a launch, whose pointers travel as the kernel's parameters: no table is
// copied, and a captured launch keeps it. A block takes a chunk of one tensor, 16 bytes an access
// of the narrowest type. Every operation rounds by itself in the CPU's order, and stochastic
// rounding draws the CPU's numbers, so that parameters and state have the CPU's bits (but for
// bfloat16 results below 2^-126, which some CPUs flush to zero).
//
// Bound: memory; bytes an element as in optimizer.h.
//
// What a replayed CUDA graph must change from step to step lies in device memory. OptimizerScalars,
// one a parameter group, is made on the host by scalars_of(options) and copied there before the
// replay: it stands in for the options' lr, step, grad_scale and rounding key. StepVerdict, one a
// step, is written by judge_step() on the device: its clip factor multiplies grad_scale, and a step
// that it does not accept changes nothing. The host reads it when it likes: no step waits for it.

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/optimizer/optimizer.h"

namespace plinth::kernels::cuda {

using cpu::AdamWOptions;
using cpu::LionOptions;
using cpu::MuonOptions;
using cpu::OptimizerTensor;
using cpu::OptimizerTensors;
using cpu::ParameterCopy;
using cpu::SgdOptions;

// What changes from step to step. Each optimizer reads some of these.
struct OptimizerScalars {
  double lr = 0;
  double decay = 1;          // 1 - lr weight_decay
  double step_size = 0;      // AdamW: -lr / (1 - beta1^step)
  double inverse_root2 = 1;  // AdamW: 1 / sqrt(1 - beta2^step)
  double grad_scale = 1;
  int64_t sample = 0;  // of stochastic rounding, and its stream
  uint32_t stream[2] = {0, 0};
};
OptimizerScalars scalars_of(const AdamWOptions& options);
OptimizerScalars scalars_of(const SgdOptions& options);
OptimizerScalars scalars_of(const LionOptions& options);
OptimizerScalars scalars_of(const MuonOptions& options);

// Whether a step may change the weights, and what to multiply its gradients by.
struct StepVerdict {
  double loss = 0;        // mean over the micro-batches
  double norm = 0;        // of the mean gradient
  double factor = 1;      // min(1, max_norm / (norm + 1e-6)); 1 without a max_norm or a finite norm
  uint32_t accepted = 1;  // loss and norm are finite, and the loss is not above its limit
};

// Device memory that a step reads; null: the options alone count.
struct StepInputs {
  const OptimizerScalars* scalars = nullptr;
  const StepVerdict* verdict = nullptr;
};

template <class P, class G>
void adamw_step(void* stream, OptimizerTensors<P, G> tensors, const AdamWOptions& options,
                const StepInputs& inputs = {});
template <class P, class G>
void sgd_step(void* stream, OptimizerTensors<P, G> tensors, const SgdOptions& options,
              const StepInputs& inputs = {});
template <class P, class G>
void lion_step(void* stream, OptimizerTensors<P, G> tensors, const LionOptions& options,
               const StepInputs& inputs = {});
template <class P, class G>
void muon_momentum(void* stream, OptimizerTensors<P, G> tensors,
                   std::span<compute_t<P>* const> updates, const MuonOptions& options,
                   const StepInputs& inputs = {});
template <class P, class G>
void muon_update(void* stream, OptimizerTensors<P, G> tensors,
                 std::span<const compute_t<P>* const> updates, const MuonOptions& options,
                 const StepInputs& inputs = {});

// Bytes of workspace of the functions below.
template <class G>
size_t gradient_workspace(std::span<const std::span<const G>> tensors);

// *out = the sum of squares, in device memory. Two stages, each in a fixed order: chunks of 32768
// elements, then the chunks. Bytes: each element once.
template <class G>
void sum_of_squares(void* stream, std::span<const std::span<const G>> tensors, double* out,
                    void* workspace);

// The two stages: the sums of chunks of kNormChunk elements of one tensor, in device memory, and
// the sum of those.
inline constexpr int64_t kNormChunk = 1 << 15;
template <class G>
void chunk_sums_of_squares(void* stream, std::span<const G> tensor, double* sums);
void sum_of_chunks(void* stream, const double* sums, int64_t count, double* out);

template <class G>
void global_norm(void* stream, std::span<const std::span<const G>> tensors, double* out,
                 void* workspace);

template <class G>
void all_finite(void* stream, std::span<const std::span<const G>> tensors, bool* out,
                void* workspace);

template <class To>
void copy_parameters(void* stream, std::span<const ParameterCopy<To>> list);

// What judge_step() goes by; the pointers are device memory.
struct StepMeasures {
  const double* losses = nullptr;  // of the micro-batches, added in order
  int64_t micro_batches = 0;       // 0: there is no loss to judge
  const double* sums = nullptr;    // of squares (one a dtype, or a rank), added in order
  int64_t sum_count = 0;
  double share = 1;                  // multiplies the sums of losses and gradients
  double max_norm = 0;               // 0: no clipping
  const double* max_loss = nullptr;  // null: any finite loss is good
};

// *out, in the host's arithmetic: each operation rounds by itself.
void judge_step(void* stream, const StepMeasures& measures, StepVerdict* out);

}  // namespace plinth::kernels::cuda
