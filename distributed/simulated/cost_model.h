#pragma once

// What a collective costs: the time that ranks joined by equal links take for it, by the model of
// Hockney 1994 (a message of b bytes takes alpha + b * beta) and the algorithms of Thakur et al.
// 2005, "Optimization of Collective Communication Operations in MPICH".

#include "distributed/collective.h"

namespace plinth::distributed {

struct CostModel {
  double latency_seconds = 0;   // alpha
  double seconds_per_byte = 0;  // beta, of one direction of a rank's link

  // Rings for all_reduce, reduce_scatter and all_gather; pairwise exchange for all_to_all; for
  // broadcast the better of a binomial tree, and of scatter and all_gather; dissemination for
  // barrier. Of all_to_all it is the cost for the rank that makes this call.
  double seconds(const Collective& collective, int rank, int ranks) const;
};

}  // namespace plinth::distributed
