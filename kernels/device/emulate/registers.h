#pragma once

// Registers that wgmma reads and writes while the thread goes on. They know whether it may touch
// them.

#include <array>
#include <cstring>
#include <vector>

#include "kernels/device/emulate/pointers.h"

namespace plinth::emulate {

// How a wgmma uses some registers.
struct RegisterUse {
  bool touched = true;        // by the thread, since the last wgmma_fence() that named them
  uint32_t product = 0;       // the last that uses them and has not been waited for; 0 if none
  std::vector<float> result;  // of accumulators, while in use

  void touch(Location at) {
    if (product != 0)
      Block::current().fail(
          "access to registers of a wgmma that no wgmma_wait() naming them has "
          "waited for",
          at);
    touched = true;
  }
};

}  // namespace plinth::emulate

namespace plinth::device {

// n registers of a thread; accumulators of wgmma are Registers<float, N / 2>, its A is
// Registers<uint32_t, 4>.
template <class T, int n>
class Registers {
 public:
  static constexpr int kSize = n;

  Registers() { std::memset(static_cast<void*>(values_.data()), 0xff, sizeof(values_)); }
  Registers(const Registers&) = delete;
  Registers& operator=(const Registers&) = delete;

  T& operator[](Index i) {
    use_.touch(i.where);
    return values_.at(static_cast<size_t>(i.value));
  }
  const T& operator[](Index i) const {
    use_.touch(i.where);
    return values_.at(static_cast<size_t>(i.value));
  }

  // For the emulator.
  emulate::RegisterUse& use() const { return use_; }
  std::array<T, n>& raw() { return values_; }
  const std::array<T, n>& raw() const { return values_; }

 private:
  std::array<T, n> values_;
  mutable emulate::RegisterUse use_;
};

}  // namespace plinth::device
