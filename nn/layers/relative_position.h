#pragma once

#include "nn/module.h"

namespace plinth::nn {

struct RelativePositionOptions {
  int64_t heads = 1;
  int64_t buckets = 32;
  int64_t max_distance = 128;  // keys from there on share a bucket
  bool bidirectional = true;   // else a key behind its query counts as one beside it
  Initializer init = init::normal(0, 1);
  TensorOptions options = {};
};

// The bucket of a key that stands `distance` behind its query, negative before it (Raffel et al.
// 2020, arXiv 1910.10683, section 2.1): half of the buckets hold one distance each, the other half
// grow with its logarithm. Both directions have half of all where the bias is bidirectional.
int64_t relative_position_bucket(int64_t distance, const RelativePositionOptions& options);

// A number for each head and bucket, "weight" [buckets, heads], that attention adds to its scores.
class RelativePositionBias final : public ModuleOf<RelativePositionBias> {
 public:
  // Throws Error(Argument) unless there are heads, at least 2 buckets (4 where bidirectional) and
  // a max_distance above the distances that have a bucket each.
  explicit RelativePositionBias(const RelativePositionOptions& options);

  // [1, heads, queries, keys] of queries from position `first` on, and of keys from 0 on.
  Tensor forward(int64_t queries, int64_t keys, int64_t first = 0) const;

 private:
  RelativePositionOptions options_;
  Tensor weight_;
  Tensor buckets_;  // of distances from -max_distance to max_distance
};

}  // namespace plinth::nn
