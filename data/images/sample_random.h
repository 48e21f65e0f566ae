#pragma once

// Random numbers of one sample in one epoch: whoever draws them, on whatever thread or rank, gets
// the same.

#include <cstddef>
#include <cstdint>

#include "kernels/philox.h"

namespace plinth {

struct SampleKey {
  uint64_t seed = 0;
  int64_t epoch = 0;
  int64_t sample = 0;  // its number in the data set
};

// What the numbers are for: those of one purpose do not depend on how many another took. They stand
// for ops that no run reaches.
enum class RandomPurpose : uint32_t {
  Crop = 0xFFFFFF00U,
  Flip,
  RandAugment,
  Mix,
  Mask,
  SpecAugment,
};

class SampleRandom {
 public:
  SampleRandom(const SampleKey& key, RandomPurpose purpose)
      : stream_(kernels::philox_stream({.seed = key.seed,
                                        .step = static_cast<uint64_t>(key.epoch),
                                        .op = static_cast<uint32_t>(purpose)})),
        sample_(key.sample) {}

  uint32_t word() {
    if (taken_ % 4 == 0) words_ = kernels::philox(stream_, sample_, taken_ / 4);
    return words_[static_cast<size_t>(taken_++ % 4)];
  }
  // In [0, 1), of 24 bits.
  double uniform() { return static_cast<double>(kernels::uniform(word())); }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // One of 0, 1, ..., count - 1, evenly but for 2^-32 of them.
  int64_t below(int64_t count) {
    return static_cast<int64_t>((uint64_t{word()} * static_cast<uint64_t>(count)) >> 32);
  }
  double normal();
  // Beta(alpha, alpha), for alpha above 0.
  double beta(double alpha);

 private:
  double gamma(double shape);

  kernels::Philox2 stream_;
  int64_t sample_;
  int64_t taken_ = 0;
  kernels::Philox4 words_ = {};
};

}  // namespace plinth
