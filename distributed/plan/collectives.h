#pragma once

// How long collectives take: ring algorithms, as NCCL's own model has them (src/graph/tuning.cc).

#include <cstdint>

#include "distributed/plan/hardware.h"

namespace plinth::plan {

// A group of `size` ranks, each `stride` ranks after the one before.
struct Group {
  int64_t size = 1;
  int64_t stride = 1;
};

// Seconds; 0 for a group of one rank. `bytes` is the whole tensor, as it is before a reduce-scatter
// and after an all-gather. A ring sends (size - 1) / size of it through every rank's slowest link.
double all_gather_seconds(const Gpu& gpu, const Group& group, double bytes);
double reduce_scatter_seconds(const Gpu& gpu, const Group& group, double bytes);
// Both, one after the other.
double all_reduce_seconds(const Gpu& gpu, const Group& group, double bytes);

// Each rank sends each other one an equal part of its `bytes`.
double all_to_all_seconds(const Gpu& gpu, const Group& group, double bytes);

// From one rank to the one `stride` ranks further.
double send_seconds(const Gpu& gpu, int64_t stride, double bytes);

}  // namespace plinth::plan
