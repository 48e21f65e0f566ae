#pragma once

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>

namespace plinth {

// Texts from here on are cut by all threads, one text at a time.
inline constexpr size_t kLongText = size_t{1} << 20;

// Calls body(i) for each i in [0, count), from several threads, in any order. If calls throw, the
// exception of the lowest i is thrown on, whatever the number of threads.
template <class Body>
void parallel_tasks(int64_t count, Body&& body) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(count > 0 ? count : 0));
#pragma omp parallel for schedule(dynamic, 1) if (count > 1 && !omp_in_parallel())
  for (int64_t i = 0; i < count; ++i) {
    try {
      body(i);
    } catch (...) {
      failures[static_cast<size_t>(i)] = std::current_exception();
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace plinth
