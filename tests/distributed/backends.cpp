#include "tests/distributed/backends.h"

#include <exception>
#include <mutex>
#include <thread>

#include "distributed/gloo/gloo_group.h"
#include "distributed/self/self_group.h"
#include "distributed/simulated/simulated_group.h"
#include "distributed/store/hash_store.h"

namespace plinth::distributed {
namespace {

void run_self(int, const GroupOptions& options, const RankBody& body) {
  body(*make_self_group(options));
}

void run_simulated(int ranks, const GroupOptions& options, const RankBody& body) {
  run_ranks(ranks, body, {.group = options});
}

// Ranks that are threads, with connections between them.
void run_gloo(int ranks, const GroupOptions& options, const RankBody& body) {
  const auto store = std::make_shared<HashStore>();
  std::mutex mutex;
  std::exception_ptr first;
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&, rank] {
        std::shared_ptr<ProcessGroup> group;
        try {
          group = make_gloo_group(store, rank, ranks, options);
          body(*group);
        } catch (const std::exception& error) {
          {
            const std::lock_guard lock(mutex);
            if (!first) first = std::current_exception();
          }
          if (group) group->abort(error.what());
        }
      });
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace

std::vector<Backend> all_backends() {
  return {{"self", 1, run_self},           {"simulated", 1, run_simulated},
          {"simulated", 2, run_simulated}, {"simulated", 5, run_simulated},
          {"gloo", 1, run_gloo},           {"gloo", 3, run_gloo}};
}

std::vector<Backend> backends_of_ranks() {
  return {{"simulated", 3, run_simulated}, {"gloo", 3, run_gloo}};
}

}  // namespace plinth::distributed
