#pragma once

// What a device gives at best, measured here and now, to read a kernel's rate against.

#include "apps/bench/bench_case.h"

namespace plinth::apps {

struct Ceiling {
  double bytes_per_s = 0;  // of a large copy, read and written
  double flops_per_s = 0;  // of a large matrix product of the dtype
};

// Takes about a second, and 256 MiB.
Ceiling measure_ceiling(DType dtype, Device device);

// Which of the two holds a pass back, and how near it comes.
struct Bound {
  bool by_bytes = true;
  double fraction = 0;  // of the ceiling that is reached
};
Bound bound_of(const PassCost& cost, double milliseconds, const Ceiling& ceiling);

}  // namespace plinth::apps
