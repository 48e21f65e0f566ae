#pragma once

#include <string_view>

#include "core/tensor.h"

namespace plinth {

// While one lives, nothing is searched: in the search itself, and in a node's backward, whose
// results are searched under the node's own name.
class AnomalyPause {
 public:
  AnomalyPause();
  ~AnomalyPause();
  AnomalyPause(const AnomalyPause&) = delete;
  AnomalyPause& operator=(const AnomalyPause&) = delete;

 private:
  bool previous_;
};

// True while an AnomalyGuard lives in this thread.
bool anomaly_enabled();
// Throws Error(Argument) naming op if the tensor holds a NaN.
void check_no_nan(const Tensor& tensor, std::string_view op);

}  // namespace plinth
