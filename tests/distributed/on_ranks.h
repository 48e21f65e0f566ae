#pragma once

// Ranks of a simulated group, each in a thread.

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/error.h"
#include "distributed/simulated/simulated_group.h"

namespace plinth::distributed {

// Calls work(group) for each rank. If some throw, the others' groups give up, and the error that
// tells the most is thrown: ranks that waited for another have errors of kind Io.
inline void on_ranks(int ranks,
                     const std::function<void(const std::shared_ptr<ProcessGroup>&)>& work) {
  const auto groups = make_simulated_groups(ranks, {.group = {.timeout = std::chrono::minutes(2)}});
  std::vector<std::exception_ptr> errors(groups.size());
  {
    std::vector<std::jthread> threads;
    for (size_t rank = 0; rank < groups.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          work(groups[rank]);
        } catch (...) {
          errors[rank] = std::current_exception();
          groups[rank]->abort("a rank failed");
        }
      });
    }
  }
  for (const std::exception_ptr& error : errors) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const Error& found) {
      if (found.kind() != ErrorKind::Io) throw;
    }
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace plinth::distributed
