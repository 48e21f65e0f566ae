#pragma once

// How long a GPU takes for the kernels of a transformer, from its data sheet and two efficiencies.

#include <cstdint>

#include "distributed/plan/hardware.h"
#include "distributed/plan/workload.h"

namespace plinth::plan {

// The only two numbers of the cost model that are fitted to measured steps: by
// `plinth plan --calibrate`, to table 5 of Korthikanti et al. 2022 (arXiv 2205.05198) alone.
struct Calibration {
  double product = 0.87;  // of what the GPU's fastest products reach, in whole waves of tiles
  double memory = 0.585;  // of the memory's bandwidth, in kernels that only move bytes
};

class Kernels {
 public:
  Kernels(const Gpu& gpu, const Calibration& calibration) : gpu_(gpu), calibration_(calibration) {}

  const Gpu& gpu() const { return gpu_; }

  // Seconds for a kernel that only moves bytes.
  double memory(double bytes) const;
  // Seconds for [m, k] x [k, n], written with `output_bytes` an element.
  double product(double m, double n, double k, Precision precision, double output_bytes = 2) const;
  // Seconds for `count` products at once of bfloat16 matrices, [m, k] x [k, n].
  double batched_product(double count, double m, double n, double k) const;
  // Seconds for forward operations of fused attention, and for those of its backward pass.
  double fused_attention_forward(double flops, Attention attention) const;
  double fused_attention_backward(double flops, Attention attention) const;

 private:
  const Gpu& gpu_;
  const Calibration& calibration_;
};

}  // namespace plinth::plan
