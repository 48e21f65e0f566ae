#include "train/pretrain/ranks.h"

#include "core/error.h"

namespace plinth {
namespace {

using distributed::ProcessGroup;

int64_t size_of(const std::shared_ptr<ProcessGroup>& group) {
  return group ? group->size() : 1;
}

void check_grid(const PretrainConfig& config, int64_t ranks) {
  const auto& parallel = config.parallel;
  const auto takes_divisor = [&](const char* key, int64_t own, const char* other_key,
                                 int64_t other) {
    check(ranks % (own * other) == 0, ErrorKind::Config, key, "got ", own, " and ", other_key, " ",
          other, ", whose product takes a divisor of the ", ranks, ranks == 1 ? " rank" : " ranks");
  };
  takes_divisor("parallel.tp", parallel.tp, "parallel.cp", parallel.cp);
  takes_divisor("parallel.pp", parallel.pp, "parallel.ep", parallel.ep);
  const auto [pp, ep, cp, tp] = parallel_sizes(config);
  check(ranks % (pp * ep * cp * tp) == 0, ErrorKind::Config, "parallel.tp", "got ", tp,
        ", with parallel.cp ", cp, ", parallel.pp ", pp, " and parallel.ep ", ep,
        "; their product takes a divisor of the ", ranks, ranks == 1 ? " rank" : " ranks");
  check(!parallel.sequence || parallel.tp > 1, ErrorKind::Config, "parallel.sequence",
        "got true, takes parallel.tp of 2 or more, whose ranks share the sequence");
  if (ranks == 1) return;
  const int64_t micro_batches = config.train.batch / config.micro_batch();
  const int64_t data = ranks / (parallel.tp * parallel.cp * parallel.pp);
  check_micro_batches(config.train.batch, config.micro_batch(), data,
                      is_cut(config) ? " with micro-batches of their own" : "");
  check(parallel.schedule != "interleaved" || micro_batches / data % parallel.pp == 0,
        ErrorKind::Config, "parallel.schedule", "got interleaved with ", micro_batches / data,
        " micro-batches a step on each rank, takes a multiple of parallel.pp (", parallel.pp, ")");
}

// What ranks cannot do together is refused before anything is read.
void check_work(const PretrainConfig& config, int64_t ranks) {
  const bool shares_model = config.parallel.tp * config.parallel.cp > 1;
  check(ranks == 1 || config.train.float8 != "delayed", ErrorKind::Config, "train.float8",
        "got delayed, whose scales depend on which micro-batches a rank saw; ranks take current");
  check(!shares_model || config.train.float8 == "off", ErrorKind::Config, "train.float8", "got ",
        config.train.float8,
        ", takes off with parallel.tp or parallel.cp: a scale is that of a "
        "whole tensor");
  check(config.parallel.zero < 2 || !is_cut(config), ErrorKind::Config, "parallel.zero", "got ",
        config.parallel.zero, ", takes 0 or 1 with parallel.pp or parallel.ep");
  const int64_t dp_shard = config.parallel.dp_shard, copies = ranks / config.parallel.tp;
  check(dp_shard == 0 || (copies % dp_shard == 0 && dp_shard % config.parallel.cp == 0),
        ErrorKind::Config, "parallel.dp_shard", "got ", dp_shard, ", takes a divisor of the ",
        copies, copies == 1 ? " rank" : " ranks", " with the same parameters",
        config.parallel.cp > 1 ? " and a multiple of parallel.cp" : "", ", or 0 for all");
}

std::shared_ptr<ProcessGroup> unless_alone(const std::shared_ptr<ProcessGroup>& group) {
  return group->size() > 1 ? group : nullptr;
}

}  // namespace

bool is_cut(const PretrainConfig& config) {
  return config.parallel.pp * config.parallel.ep > 1;
}

int64_t RankGroups::data_ranks() const {
  return size_of(data) / size_of(cp);
}

int64_t RankGroups::data_rank() const {
  return data ? data->rank() / size_of(cp) : 0;
}

distributed::ParallelSizes parallel_sizes(const PretrainConfig& config) {
  const auto& parallel = config.parallel;
  return {.pp = static_cast<int>(parallel.pp),
          .ep = static_cast<int>(parallel.ep),
          .cp = static_cast<int>(parallel.cp),
          .tp = static_cast<int>(parallel.tp)};
}

distributed::ContextAlgorithm context_algorithm(const PretrainConfig& config) {
  return config.parallel.cp_algorithm == "ring" ? distributed::ContextAlgorithm::Ring
                                                : distributed::ContextAlgorithm::Gather;
}

std::string ranks_text(const PretrainConfig& config, const ProcessGroup& world) {
  const auto [pp, ep, cp, tp] = parallel_sizes(config);
  const int dp = world.size() / (pp * ep * cp * tp);
  std::string axes;
  for (const auto& [name, size] : {std::pair("pp", pp), std::pair("dp", dp), std::pair("ep", ep),
                                   std::pair("cp", cp), std::pair("tp", tp)}) {
    if (size > 1) axes += detail::concat(axes.empty() ? "" : ", ", name, " ", size);
  }
  return detail::concat(world.size(), " ranks over ", world.backend(), " (", axes, ")");
}

RankGroups arrange_ranks(const PretrainConfig& config, const std::shared_ptr<ProcessGroup>& world) {
  const int64_t ranks = size_of(world);
  check_grid(config, ranks);
  check_work(config, ranks);
  if (ranks == 1) return {};
  const bool shares = config.parallel.tp * config.parallel.cp > 1;
  if (is_cut(config) || !shares)
    return {.world = world, .data = world, .tp = nullptr, .cp = nullptr};
  const distributed::DeviceMesh mesh = training_mesh(world, parallel_sizes(config));
  return {.world = world,
          .data = unless_alone(mesh.group_over({"dp", "cp"})),
          .tp = unless_alone(mesh.group("tp")),
          .cp = unless_alone(mesh.group("cp"))};
}

distributed::LayerPlanOptions layer_plan_options(const PretrainConfig& config,
                                                 const RankGroups& groups) {
  return {.tp = groups.tp,
          .cp = groups.cp,
          .sequence = config.parallel.sequence,
          .algorithm = context_algorithm(config)};
}

}  // namespace plinth
