#pragma once

// Dropout in a kernel whose consumers have no registers to keep a random key in.

#include "kernels/attention/problem.cuh"

namespace plinth::kernels::cuda::attention {

// Of the key what draws need, in shared memory at kOffset: read once by a block, from the launch's
// argument or from the place in device memory that it names.
template <uint32_t kOffset>
struct SharedDropout {
  static constexpr uint32_t kEnd = kOffset + 16;

  PLINTH_DEVICE static Shared<uint32_t> words() { return shared_array<uint32_t>(kOffset, 4); }

  // By one thread, before a block_sync().
  PLINTH_DEVICE static void read(Dropout<float> dropout) {
    if (!dropout.active()) return;
    dropout.read_place();
    const auto sample = static_cast<uint64_t>(dropout.random.key.sample);
    store_shared_vector(
        words(),
        Vector<uint32_t, 4>{dropout.random.stream[0], dropout.random.stream[1],
                            static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)});
  }
  // The argument, with what read() found.
  PLINTH_DEVICE static Dropout<float> of(Dropout<float> dropout) {
    const auto kept = load_vector<Vector<uint32_t, 4>>(words());
    dropout.random.stream = {kept[0], kept[1]};
    dropout.random.key.sample = static_cast<int64_t>(kept[2] | uint64_t{kept[3]} << 32);
    return dropout;
  }
};

}  // namespace plinth::kernels::cuda::attention
