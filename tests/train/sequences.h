#pragma once

#include <string>
#include <vector>

#include "core/ops/factories.h"
#include "train/batch_source.h"

namespace plinth {

// Sequence i is a function of i. Of each step of `batch` a rank takes its run of them.
class Sequences : public BatchSource {
 public:
  struct Options {
    int64_t vocabulary = 29, context = 6;
    int64_t batch = 1, rank = 0, ranks = 1;
  };
  explicit Sequences(const Options& options) : o_(options) {}

  Batch next(int64_t count) override {
    std::vector<int64_t> ids, targets;
    const int64_t own = o_.batch / o_.ranks, step = next_ / own;
    const int64_t first = step * o_.batch + o_.rank * own + next_ % own;
    for (int64_t i = first; i < first + count; ++i) {
      for (int64_t j = 0; j < o_.context; ++j) {
        ids.push_back((i * i + 3 * j) % o_.vocabulary);
        targets.push_back((i * i + 3 * j + 3) % o_.vocabulary);
      }
    }
    next_ += count;
    return {from_values(ids, {count, o_.context}), from_values(targets, {count, o_.context})};
  }
  std::string state() const override { return std::to_string(next_); }
  void restore(std::string_view state) override { next_ = std::stoll(std::string(state)); }

 private:
  Options o_;
  int64_t next_ = 0;
};

}  // namespace plinth
