#pragma once

// Where a Trainer's samples come from.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace plinth {

// What a loss function is given: for a language model, {ids, targets}.
using Batch = Tensors;

// An endless sequence of samples whose place can be saved. What next() gives is the caller's; a
// source that uses its memory again does so only when nobody holds it any more.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // The next `count` samples.
  virtual Batch next(int64_t count) = 0;

  // The place of the next sample, as text that restore() of the same source takes back. restore
  // throws Error(Format) for a text that is none, or another source's.
  virtual std::string state() const = 0;
  virtual void restore(std::string_view state) = 0;
};

}  // namespace plinth
