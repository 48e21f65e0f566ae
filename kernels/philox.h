#pragma once

// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011). A number is a pure function of what it is for, so it is
// the same on any thread, tile, rank or device:
//
//   stream key = first two words of philox4x32(counter = (step low, step high, op, 0), key = seed)
//   numbers 4*block .. 4*block + 3 of a sample
//              = philox4x32(counter = (block low, block high, sample low, sample high), key =
//              stream)
//
// Within one (seed, step, op) no two (sample, block) pairs share a counter. Two (step, op) pairs of
// a run share a stream key with probability 2^-64.

#include <array>
#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels {

// The part of a key that changes when a CUDA graph is replayed, in device memory.
struct PhiloxPlace {
  uint64_t step = 0;
  int64_t sample = 0;
};

// What a tensor of random numbers is for.
struct PhiloxKey {
  uint64_t seed = 0;   // of the run
  uint64_t step = 0;   // optimizer step (micro-batches of a step differ in their samples)
  uint32_t op = 0;     // which random op of the step
  int64_t sample = 0;  // global number of the batch's first sample
  // Not null: a GPU's kernels take step and sample from here (philox_place.cuh). Null on the CPU.
  const PhiloxPlace* place = nullptr;
};

using Philox4 = std::array<uint32_t, 4>;
using Philox2 = std::array<uint32_t, 2>;

// The bijection itself: ten rounds of `counter` under `key`.
PLINTH_HOST_DEVICE inline Philox4 philox4x32(Philox4 counter, Philox2 key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// The key of all numbers of (seed, step, op). A kernel derives it once, outside its loops.
PLINTH_HOST_DEVICE inline Philox2 philox_stream(const PhiloxKey& key) {
  const Philox4 words = philox4x32(
      {static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32), key.op, 0},
      {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
  return {words[0], words[1]};
}

// Numbers 4*block .. 4*block + 3 of global sample `sample`.
PLINTH_HOST_DEVICE inline Philox4 philox(Philox2 stream, int64_t sample, int64_t block) {
  return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                     static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)},
                    stream);
}

// The same from the whole key; `sample` counts from the batch's first.
PLINTH_HOST_DEVICE inline Philox4 philox(const PhiloxKey& key, int64_t sample, int64_t block) {
  return philox(philox_stream(key), key.sample + sample, block);
}

// The upper 24 bits of `word` as a float in [0, 1).
PLINTH_HOST_DEVICE inline float uniform(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f;
}

// The words that uniform() maps below p, 0 <= p < 1, are those below this.
PLINTH_HOST_DEVICE inline uint32_t uniform_threshold(float p) {
  const float scaled = p * 0x1p24f;  // exact
  const auto whole = static_cast<uint32_t>(scaled);
  return (whole + (static_cast<float>(whole) < scaled ? 1 : 0)) << 8;
}

}  // namespace plinth::kernels
