#include "train/pretrain/ranks.h"

#include "core/error.h"
#include "distributed/mesh.h"

namespace plinth {
namespace {

using distributed::ProcessGroup;

int64_t size_of(const std::shared_ptr<ProcessGroup>& group) {
  return group ? group->size() : 1;
}

void check_grid(const PretrainConfig& config, int64_t ranks) {
  const auto& parallel = config.parallel;
  check(ranks % (parallel.tp * parallel.cp) == 0, ErrorKind::Config, "parallel.tp", "got ",
        parallel.tp, " and parallel.cp ", parallel.cp, ", whose product takes a divisor of the ",
        ranks, ranks == 1 ? " rank" : " ranks");
  check(ranks % (parallel.pp * parallel.ep) == 0, ErrorKind::Config, "parallel.pp", "got ",
        parallel.pp, ", with parallel.ep ", parallel.ep, "; their product takes a divisor of the ",
        ranks, ranks == 1 ? " rank" : " ranks");
  check(!is_cut(config) || parallel.tp * parallel.cp == 1, ErrorKind::Config, "parallel.tp", "got ",
        parallel.tp, " and parallel.cp ", parallel.cp, ", takes 1 with parallel.pp or parallel.ep");
  check(!parallel.sequence || parallel.tp > 1, ErrorKind::Config, "parallel.sequence",
        "got true, takes parallel.tp of 2 or more, whose ranks share the sequence");
  if (ranks == 1) return;
  const int64_t micro_batches = config.train.batch / config.micro_batch();
  const int64_t data = ranks / (parallel.tp * parallel.cp * parallel.pp);
  check(micro_batches % data == 0, ErrorKind::Config, "train.micro_batch", "gives ", micro_batches,
        " micro-batches a step, takes a multiple of the ", data, " ranks",
        is_cut(config) ? " with micro-batches of their own" : "",
        ": train.batch / train.micro_batch");
  check(parallel.schedule != "interleaved" || micro_batches / data % parallel.pp == 0,
        ErrorKind::Config, "parallel.schedule", "got interleaved with ", micro_batches / data,
        " micro-batches a step on each rank, takes a multiple of parallel.pp (", parallel.pp, ")");
}

// What ranks that have different parts of the model cannot do.
void check_cut(const PretrainConfig& config) {
  check(config.train.ema_decay == 0, ErrorKind::Config, "train.ema_decay", "got ",
        config.train.ema_decay, ", takes 0 with parallel.pp or parallel.ep");
  check(config.sample.every == 0, ErrorKind::Config, "sample.every", "got ", config.sample.every,
        ", takes 0 with parallel.pp or parallel.ep: one rank has not the whole model");
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
  if (ranks > 1 && is_cut(config)) check_cut(config);
  check(config.parallel.zero < 2 || (!shares_model && !is_cut(config)), ErrorKind::Config,
        "parallel.zero", "got ", config.parallel.zero,
        ", takes 0 or 1 with parallel.tp or parallel.cp, and 0 with parallel.pp or parallel.ep");
  check(config.parallel.dp_shard == 0 || ranks % config.parallel.dp_shard == 0, ErrorKind::Config,
        "parallel.dp_shard", "got ", config.parallel.dp_shard, ", takes a divisor of the ", ranks,
        ranks == 1 ? " rank" : " ranks", ", or 0 for all");
  check(!shares_model || config.sample.every == 0, ErrorKind::Config, "sample.every", "got ",
        config.sample.every,
        ", takes 0 with parallel.tp or parallel.cp: no rank has the whole "
        "model; plinth generate writes from a checkpoint");
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

std::string RankGroups::text() const {
  std::string text = detail::concat(world->size(), " ranks over ", world->backend());
  if (tp || cp)
    text += detail::concat(" (dp ", data_ranks(), ", cp ", size_of(cp), ", tp ", size_of(tp), ")");
  return text;
}

RankGroups arrange_ranks(const PretrainConfig& config, const std::shared_ptr<ProcessGroup>& world) {
  const int64_t ranks = size_of(world);
  check_grid(config, ranks);
  check_work(config, ranks);
  if (ranks == 1) return {};
  const int cp = static_cast<int>(config.parallel.cp), tp = static_cast<int>(config.parallel.tp);
  if (cp * tp == 1) return {.world = world, .data = world, .tp = nullptr, .cp = nullptr};
  const distributed::DeviceMesh mesh(
      world, {{"dp", static_cast<int>(ranks) / (cp * tp)}, {"cp", cp}, {"tp", tp}});
  return {.world = world,
          .data = unless_alone(world->split_by(
              [tp](int rank) {
                return ProcessGroup::Side{rank % tp, rank};
              },
              "data")),
          .tp = unless_alone(mesh.group("tp")),
          .cp = unless_alone(mesh.group("cp"))};
}

distributed::ModelParallelOptions model_parallel_options(const PretrainConfig& config,
                                                         const RankGroups& groups) {
  return {.tp = groups.tp,
          .cp = groups.cp,
          .sequence = config.parallel.sequence,
          .algorithm = config.parallel.cp_algorithm == "ring"
                           ? distributed::ContextAlgorithm::Ring
                           : distributed::ContextAlgorithm::Gather};
}

}  // namespace plinth
