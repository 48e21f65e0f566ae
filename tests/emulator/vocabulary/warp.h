#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

// Every operation of a warp: a row of results each.
PLINTH_KERNEL void use_warp_operations(Global<uint32_t> out) {
  const uint32_t lane = lane_index();
  const uint32_t odd = ballot(lane % 2 == 1);
  const bool some = any(lane == 7), none = any(lane > 31);
  const bool every = all(lane < 32), not_every = all(lane != 7);
  const uint32_t up = shuffle_up(lane, 3), down = shuffle_down(lane, 3);
  const uint32_t swapped = shuffle_xor(lane, 16), first = shuffle(lane, 0);
  const uint32_t alike = match_any(lane % 4);
  warp_sync();
  const uint32_t results[] = {odd,
                              static_cast<uint32_t>(some) * 8 + static_cast<uint32_t>(none) * 4 +
                                  static_cast<uint32_t>(every) * 2 +
                                  static_cast<uint32_t>(not_every),
                              up,
                              down,
                              swapped,
                              first,
                              alike};
  PLINTH_UNROLL
  for (uint32_t r = 0; r < 7; ++r) out[r * 32 + lane] = results[r];
}

// The two halves of a warp in different branches, each with its own mask.
PLINTH_KERNEL void votes_of_halves(Global<uint32_t> out) {
  const uint32_t lane = lane_index();
  uint32_t votes = 0;
  if (lane < 16) {
    votes = ballot(lane % 2 == 0, 0x0000ffffu);
  } else {
    votes = ballot(lane % 4 == 0, 0xffff0000u);
  }
  out[lane] = votes;
}

PLINTH_KERNEL void shuffle_from_outside_the_mask(Global<uint32_t> out) {
  if (lane_index() < 16) out[lane_index()] = shuffle(lane_index(), 20, 0x0000ffffu);
}

}  // namespace plinth::device
