#include "tests/distributed/backends.h"

#include "distributed/self/self_group.h"
#include "distributed/simulated/simulated_group.h"

namespace plinth::distributed {
namespace {

void run_self(int, const GroupOptions& options, const RankBody& body) {
  body(*make_self_group(options));
}

void run_simulated(int ranks, const GroupOptions& options, const RankBody& body) {
  run_ranks(ranks, body, {.group = options});
}

}  // namespace

std::vector<Backend> all_backends() {
  return {{"self", 1, run_self},
          {"simulated", 1, run_simulated},
          {"simulated", 2, run_simulated},
          {"simulated", 5, run_simulated}};
}

std::vector<Backend> backends_of_ranks() {
  return {{"simulated", 3, run_simulated}};
}

}  // namespace plinth::distributed
