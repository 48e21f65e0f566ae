#include "data/loader/permutation.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace plinth {
namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;

uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

Permutation::Permutation(int64_t size, uint64_t seed, uint64_t stream)
    : size_(static_cast<uint64_t>(size)) {
  check(size >= 1 && size <= int64_t{1} << 62, ErrorKind::Argument, "permutation", "size is ", size,
        ", expected 1 to 2^62");
  half_bits_ = std::max(1, (static_cast<int>(std::bit_width(size_ - 1)) + 1) / 2);
  half_mask_ = (uint64_t{1} << half_bits_) - 1;
  uint64_t state = mix(seed + kGolden) ^ mix(mix(stream + kGolden) + kGolden);
  for (uint64_t& key : keys_) key = mix(state += kGolden);
}

int64_t Permutation::operator()(int64_t index) const {
  auto value = static_cast<uint64_t>(index);
  check(value < size_, ErrorKind::Argument, "permutation", "index is ", index, ", expected 0 to ",
        size_ - 1);
  do {
    uint64_t left = value >> half_bits_;
    uint64_t right = value & half_mask_;
    for (const uint64_t key : keys_) {
      const uint64_t next = left ^ (mix(right * kGolden + key) >> (64 - half_bits_));
      left = right;
      right = next;
    }
    value = (left << half_bits_) | right;
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

}  // namespace plinth
