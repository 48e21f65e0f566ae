#include "distributed/expert/expert_parallel.h"

#include <vector>

#include "core/autocast.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "distributed/expert/exchange.h"

namespace plinth::distributed {
namespace {

using Counts = std::vector<int64_t>;

// Rows of this rank's experts that arrive from all ranks.
struct Arrivals {
  Counts by_rank, by_expert;
  Counts by_expert_order;  // row i by expert is row by_expert_order[i] as they arrive, by rank
  Counts by_rank_order;    // the way back
};

// `theirs` has for each rank the numbers of its rows for each of `experts` experts.
Arrivals arrivals_of(const int64_t* theirs, int ranks, int64_t experts) {
  Arrivals result;
  result.by_rank.resize(ranks);
  result.by_expert.resize(experts);
  Counts starts;
  int64_t at = 0;
  for (int64_t i = 0; i < ranks * experts; ++i) {
    starts.push_back(at);
    at += theirs[i];
    result.by_rank[i / experts] += theirs[i];
    result.by_expert[i % experts] += theirs[i];
  }
  result.by_rank_order.resize(at);
  for (int64_t expert = 0; expert < experts; ++expert) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const int64_t run = rank * experts + expert;
      for (int64_t row = starts[run]; row < starts[run] + theirs[run]; ++row) {
        result.by_rank_order[row] = static_cast<int64_t>(result.by_expert_order.size());
        result.by_expert_order.push_back(row);
      }
    }
  }
  return result;
}

Tensor tensor_of(const Counts& values, Device device) {
  return from_values(values, {static_cast<int64_t>(values.size())}).to(device);
}

// What each rank has for this rank's experts, [ranks * own experts], on the CPU.
Tensor exchange_counts(const Counts& counts, ProcessGroup& group, Device device) {
  const auto experts = static_cast<int64_t>(counts.size());
  const int64_t own = shard_range(experts, group.size(), group.rank()).count;
  Counts sent;
  for (int rank = 0; rank < group.size(); ++rank)
    sent.push_back(shard_range(experts, group.size(), rank).count);
  const Tensor theirs = Tensor::empty({own * group.size()}, {DType::Int64, device});
  group.all_to_all(theirs, tensor_of(counts, device), sent, Counts(group.size(), own)).wait();
  return group.to_host(theirs);
}

Tensor run_on_ranks(const nn::MixtureOfExperts& layer, const std::shared_ptr<ProcessGroup>& group,
                    const Tensor& rows, const Counts& counts) {
  const OpScope scope("run_experts_on_ranks", ScopeKind::Phase);
  const auto experts = static_cast<int64_t>(counts.size());
  const ShardRange own = own_experts(layer, *group);
  const Tensor theirs = exchange_counts(counts, *group, rows.device());
  const Arrivals arrivals = arrivals_of(theirs.data<int64_t>(), group->size(), own.count);
  Counts sent(group->size());
  for (int rank = 0; rank < group->size(); ++rank) {
    const ShardRange range = shard_range(experts, group->size(), rank);
    for (int64_t e = range.begin; e < range.begin + range.count; ++e) sent[rank] += counts[e];
  }
  // In the dtype of the experts' products, which is that of their outputs, too.
  const Tensor arrived = exchange_rows(autocast(rows), group, sent, arrivals.by_rank);
  const Tensor sorted =
      index_select(arrived, 0, tensor_of(arrivals.by_expert_order, rows.device()));
  const Tensor outputs = layer.run_experts(sorted, arrivals.by_expert, own.begin);
  const Tensor back = index_select(outputs, 0, tensor_of(arrivals.by_rank_order, rows.device()));
  return exchange_rows(back, group, arrivals.by_rank, sent);
}

}  // namespace

ShardRange own_experts(const nn::MixtureOfExperts& layer, const ProcessGroup& group) {
  return shard_range(layer.expert_count(), group.size(), group.rank());
}

void spread_experts(nn::MixtureOfExperts& layer, const std::shared_ptr<ProcessGroup>& group) {
  check(group->size() <= layer.expert_count(), ErrorKind::Argument, "spread_experts", "got ",
        group->size(), " ranks of group ", group->name(), ", takes at most the ",
        layer.expert_count(), " experts");
  layer.set_run_experts([&layer, group](const Tensor& rows, const Counts& counts) {
    return run_on_ranks(layer, group, rows, counts);
  });
}

}  // namespace plinth::distributed
