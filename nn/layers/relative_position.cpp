#include "nn/layers/relative_position.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"

namespace plinth::nn {
namespace {

constexpr std::string_view kRelativePositionBias = "RelativePositionBias";

// Of each direction.
int64_t buckets_of(const RelativePositionOptions& options) {
  return options.bidirectional ? options.buckets / 2 : options.buckets;
}

}  // namespace

int64_t relative_position_bucket(int64_t distance, const RelativePositionOptions& options) {
  const int64_t buckets = buckets_of(options), exact = buckets / 2;
  const int64_t first = options.bidirectional && distance > 0 ? buckets : 0;
  const int64_t far = options.bidirectional ? std::abs(distance) : std::max<int64_t>(0, -distance);
  if (far < exact) return first + far;
  // In float32, as checkpoints were trained: a power of two may fall on either side of an edge.
  const auto ratio = std::log(static_cast<float>(far) / static_cast<float>(exact));
  const auto whole = static_cast<float>(
      std::log(static_cast<double>(options.max_distance) / static_cast<double>(exact)));
  const auto step = static_cast<int64_t>(ratio / whole * static_cast<float>(buckets - exact));
  return first + std::min(exact + step, buckets - 1);
}

RelativePositionBias::RelativePositionBias(const RelativePositionOptions& options)
    : options_(options) {
  const int64_t exact = buckets_of(options) / 2;
  check(options.heads > 0 && exact > 0 && options.max_distance > exact, ErrorKind::Argument,
        kRelativePositionBias, "got ", options.heads, " heads, ", options.buckets,
        " buckets and a max_distance of ", options.max_distance, ", takes at least 1 head, ",
        options.bidirectional ? 4 : 2, " buckets and a max_distance above ", exact);
  weight_ =
      register_parameter("weight", {options.buckets, options.heads}, options.init, options.options);
  std::vector<int64_t> buckets;
  for (int64_t distance = -options.max_distance; distance <= options.max_distance; ++distance)
    buckets.push_back(relative_position_bucket(distance, options));
  buckets_ = register_buffer("buckets", from_values(buckets, {std::ssize(buckets)}), false);
}

Tensor RelativePositionBias::forward(int64_t queries, int64_t keys, int64_t first) const {
  check(queries > 0 && keys > 0 && first >= 0, ErrorKind::Argument, kRelativePositionBias, "got ",
        queries, " queries from ", first, " on and ", keys, " keys, takes at least 1 of each");
  const auto positions = [&](int64_t from, int64_t count) {
    return arange(static_cast<double>(from), static_cast<double>(from + count), 1,
                  {DType::Int64, weight_.device()});
  };
  const auto most = static_cast<double>(options_.max_distance);
  const Tensor distances = positions(0, keys) - positions(first, queries).unsqueeze(1);
  const Tensor places = clamp(distances, -most, most) + most;
  const Tensor indices = index_select(buckets_, 0, places.flatten(0, 1)).reshape({queries, keys});
  // [queries, keys, heads], of which a row of keys is to lie together.
  return embedding(weight_, indices).transpose(1, 2).transpose(0, 1).contiguous().unsqueeze(0);
}

}  // namespace plinth::nn
