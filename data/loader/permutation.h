#pragma once

// A permutation of [0, size) that is computed, not stored: where each index goes is a function of
// (seed, stream) and the index, in constant time and memory.
//
// A Feistel network of 8 rounds permutes the numbers of an even count of bits, the smallest that
// holds size - 1; a result beyond the range is permuted again until it falls into it, which takes
// at most four tries on average (Black and Rogaway 2002, "Ciphers with arbitrary finite domains",
// cycle walking). The round functions are SplitMix64's finaliser, keyed. Not cryptography: it needs
// only look random.

#include <array>
#include <cstdint>

namespace plinth {

class Permutation {
 public:
  // Each (seed, stream) gives another one. `size` is 1 to 2^62.
  Permutation(int64_t size, uint64_t seed, uint64_t stream);

  // A different number of [0, size) for each index of [0, size).
  int64_t operator()(int64_t index) const;

 private:
  static constexpr int kRounds = 8;

  uint64_t size_;
  int half_bits_;
  uint64_t half_mask_;
  std::array<uint64_t, kRounds> keys_;
};

}  // namespace plinth
