#include "distributed/plan/kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plinth::plan {
namespace {

// Tiles of the result that thread blocks compute, one block a multiprocessor at a time. "Matrix
// Multiplication Background User's Guide" (NVIDIA), sections 3 and 4: the largest are the most
// efficient, and a last wave of tiles that is not full takes as long as a full one.
struct Tile {
  double m, n;
};
constexpr std::array<Tile, 3> kTiles = {{{256, 128}, {128, 256}, {128, 128}}};

// Shares of the bfloat16 peak that fused attention was measured at, heads of 128, causal.
struct AttentionRate {
  double forward, backward;
};
AttentionRate rate(const Gpu& gpu, Attention attention) {
  // FlashAttention-3 (arXiv 2407.08608), figures 5 and 6: of an H100's 989 TFLOP/s about 600 and
  // 500 at 8k tokens.
  if (attention == Attention::Flash3) return {0.61, 0.51};
  // FlashAttention-2 (arXiv 2307.08691), section 4.1: of an A100's 312 about 190 and 170; of an
  // H100's, without its new instructions, 335.
  const bool is_hopper = gpu.float8_flops > 0;
  return is_hopper ? AttentionRate{0.34, 0.34} : AttentionRate{0.61, 0.54};
}

}  // namespace

double Kernels::memory(double bytes) const {
  return bytes / (gpu_.memory_bandwidth * calibration_.memory);
}

double Kernels::product(double m, double n, double k, Precision precision,
                        double output_bytes) const {
  const double slots = gpu_.multiprocessors;
  const double rate = gpu_.sustained_flops(precision) * calibration_.product;
  check(rate > 0, ErrorKind::Argument, "plan", gpu_.name, " has no float8 products");
  double compute = std::numeric_limits<double>::infinity();
  for (const Tile& tile : kTiles) {
    const double tiles = std::ceil(m / tile.m) * std::ceil(n / tile.n);
    const double waves = std::ceil(tiles / slots);
    compute = std::min(compute, waves * slots * 2 * tile.m * tile.n * k / rate);
  }
  const double element = precision == Precision::Float8 ? 1 : 2;
  return std::max(compute, memory(element * (m * k + k * n) + output_bytes * m * n));
}

double Kernels::batched_product(double count, double m, double n, double k) const {
  const double compute =
      count * 2 * m * n * k / (gpu_.sustained_flops(Precision::BFloat16) * calibration_.product);
  return std::max(compute, memory(count * 2 * (m * k + k * n + m * n)));
}

double Kernels::fused_attention_forward(double flops, Attention attention) const {
  return flops / (gpu_.bfloat16_flops * rate(gpu_, attention).forward);
}

double Kernels::fused_attention_backward(double flops, Attention attention) const {
  return flops / (gpu_.bfloat16_flops * rate(gpu_, attention).backward);
}

}  // namespace plinth::plan
