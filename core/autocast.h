#pragma once

// Mixed precision. While an AutocastGuard lives, the thread's ops choose the dtype they work in:
//
//   matmul, linear, conv1d, conv2d, attention,
//   linear_cross_entropy                          the guard's (bfloat16 or float16)
//   softmax, log_softmax, layer_norm, rms_norm    float32; a norm that is told so rounds its
//                                                 result to another (core/ops/normalization.h)
//   losses                                        whatever they get, computed in float32
//   all others                                    whatever they get, promoted
//
// Inputs are converted by a recorded conversion, so that a float32 parameter gets a float32
// gradient; on a GPU that of a linear layer's is not rounded to the guard's dtype on the way.
// float64 and integers are left alone. Backward works in the dtypes of forward: it may run inside
// or outside the guard.

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace plinth {

class AutocastGuard {
 public:
  // Takes bfloat16, float16, or float32 (which switches autocast off); else throws Error(DType).
  explicit AutocastGuard(DType dtype);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  DType previous_;
};

// While one lives, its thread converts a leaf that takes gradients once for all ops that take it in
// a dtype, until the leaf is written to: the micro-batches of a step share the converted weights.
// The bits of all results are the same. It keeps the converted values: 2 bytes a weight.
class AutocastCache {
 public:
  struct Conversion {
    Tensor leaf;
    DType dtype;
  };

  // Begins with what another gave as used(): on a GPU one kernel converts it all.
  explicit AutocastCache(const std::vector<Conversion>& expected = {});
  ~AutocastCache();
  AutocastCache(const AutocastCache&) = delete;
  AutocastCache& operator=(const AutocastCache&) = delete;

  // What ops have taken from it, each once.
  std::vector<Conversion> used() const;
  // leaf converted, and recorded as such.
  Tensor convert(const Tensor& leaf, DType dtype);

 private:
  struct Entry {
    Conversion of;
    Tensor values = {};
    uint32_t version = 0;  // of the leaf that they were converted from
    bool used = false;
  };
  Entry& entry_of(const Conversion& conversion);
  void convert_at_once(DType dtype, const std::vector<Conversion>& all);

  std::vector<Entry> entries_;
  std::map<std::pair<const TensorImpl*, DType>, size_t> places_;  // in entries_
  AutocastCache* outer_;
};

// The dtype of the innermost guard; float32 where there is none.
DType autocast_dtype();

// ---- for the authors of ops ----

// The dtype to which x is converted for an op of the first group above; none where x stays as it
// is.
std::optional<DType> autocast_dtype_of(const Tensor& x);
// x as such an op takes it.
Tensor autocast(const Tensor& x);
// x as an op of the second group takes it.
Tensor autocast_float32(const Tensor& x);

}  // namespace plinth
