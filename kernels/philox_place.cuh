#pragma once

// A random key as an argument of a kernel: its stream is made on the host, but for a key whose step
// and sample lie in device memory.

#include "kernels/device/device.h"
#include "kernels/philox.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

struct PhiloxArgument {
  PhiloxKey key;
  Philox2 stream;

  explicit PhiloxArgument(const PhiloxKey& key) : key(key), stream(philox_stream(key)) {}

  // To be called first in a kernel.
  PLINTH_DEVICE void read_place() {
    if (key.place == nullptr) return;
    const Global<const uint64_t> step = &key.place->step;
    const Global<const int64_t> sample = &key.place->sample;
    key.step = step[0];
    key.sample = sample[0];
    stream = philox_stream(key);
  }
};

}  // namespace plinth::kernels::cuda
