#include "kernels/conv/conv.h"

#include "bench/kernels/compute_bench.h"

namespace plinth::kernels {
namespace {

using cpu::ConvDesc;

// The patch embedding of ViT-B/16, the two convolutions of Whisper's encoder, and a 3 x 3 of a
// residual network.
const ConvDesc kPatches{.batch = 8,
                        .in_channels = 3,
                        .out_channels = 768,
                        .input = {224, 224},
                        .kernel = {16, 16},
                        .stride = {16, 16}};
const ConvDesc kStem{.batch = 1,
                     .in_channels = 80,
                     .out_channels = 384,
                     .input = {1, 3000},
                     .kernel = {1, 3},
                     .padding = {0, 1}};
const ConvDesc kStemHalving{.batch = 1,
                            .in_channels = 384,
                            .out_channels = 384,
                            .input = {1, 3000},
                            .kernel = {1, 3},
                            .stride = {1, 2},
                            .padding = {0, 1}};
const ConvDesc kThree{.batch = 8,
                      .in_channels = 64,
                      .out_channels = 64,
                      .input = {56, 56},
                      .kernel = {3, 3},
                      .padding = {1, 1}};

enum Pass { kForward, kBackwardInput, kBackwardWeight };

template <class T, Pass kPass, const ConvDesc& kCase>
void conv(benchmark::State& state) {
  const ConvDesc& d = kCase;
  auto x = normal_values<T>(d.batch * d.in_channels * d.pixels());
  auto weight = normal_values<T>(d.out_channels * d.depth());
  auto y = normal_values<T>(d.batch * d.out_channels * d.positions());
  const auto bias = normal_values<T>(d.out_channels);
  for (auto _ : state) {
    if constexpr (kPass == kForward) {
      cpu::conv_forward(d, x.data(), weight.data(), bias.data(), y.data());
    } else if constexpr (kPass == kBackwardInput) {
      cpu::conv_backward_input(d, y.data(), weight.data(), x.data());
    } else {
      cpu::conv_backward_weight(d, y.data(), x.data(), weight.data());
    }
  }
  set_operations(state, 2.0 * d.batch * d.positions() * d.out_channels * d.depth());
}

#define CONV(T, kCase)                                                                     \
  BENCHMARK(conv<T, kForward, kCase>)->UseRealTime()->Unit(benchmark::kMillisecond);       \
  BENCHMARK(conv<T, kBackwardInput, kCase>)->UseRealTime()->Unit(benchmark::kMillisecond); \
  BENCHMARK(conv<T, kBackwardWeight, kCase>)->UseRealTime()->Unit(benchmark::kMillisecond)

CONV(float, kPatches);
CONV(float, kStem);
CONV(float, kStemHalving);
CONV(float, kThree);
CONV(BFloat16, kPatches);
CONV(BFloat16, kStem);
#undef CONV

}  // namespace
}  // namespace plinth::kernels
