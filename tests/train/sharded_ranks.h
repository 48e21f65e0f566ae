#pragma once

// Ranks, as threads, that train a small language model together, in all ways of sharing.

#include <gtest/gtest.h>
#include <omp.h>

#include <filesystem>
#include <thread>

#include "core/ops/factories.h"
#include "distributed/simulated/simulated_group.h"
#include "models/registry.h"
#include "nn/optim/adamw.h"
#include "train/pretrain/ranks.h"
#include "train/shared_model.h"
#include "train/trainer.h"

namespace plinth::sharded {

// No number of ranks divides these, but that of cp twice the context.
inline constexpr int64_t kVocabulary = 31, kContext = 8, kLayers = 3, kHeads = 3, kDim = 48;

// How a run is shared: by one process, by data parallel, or by ZeRO; and layers and sequences.
struct Sharing {
  int ranks = 1;
  int64_t zero = 0;
  int64_t dp_shard = 0;
  int64_t tp = 1, cp = 1;
  bool sequence = false;
};

inline std::string describe(const Sharing& sharing) {
  return detail::concat(sharing.ranks, " ranks, zero ", sharing.zero, ", dp_shard ",
                        sharing.dp_shard, ", tp ", sharing.tp, ", cp ", sharing.cp);
}

inline PretrainConfig config_of(const Sharing& sharing, const TrainerOptions& options) {
  PretrainConfig config;
  config.parallel.zero = sharing.zero;
  config.parallel.dp_shard = sharing.dp_shard;
  config.parallel.tp = sharing.tp;
  config.parallel.cp = sharing.cp;
  config.parallel.sequence = sharing.sequence;
  config.train.batch = options.batch;
  config.train.micro_batch = options.micro_batch;
  return config;
}

// Sequence i is a function of i. Of each step a rank takes the micro-batches that it is to compute.
class Sequences : public BatchSource {
 public:
  Sequences(int64_t micro_batches, distributed::Share share)
      : micro_batches_(micro_batches), share_(share) {}

  Batch next(int64_t count) override {
    std::vector<int64_t> ids, targets;
    const int64_t step = taken_ / share_.count;
    const int64_t first = (step * micro_batches_ + share_.at(taken_ % share_.count)) * count;
    for (int64_t i = first; i < first + count; ++i) {
      for (int64_t j = 0; j < kContext; ++j) {
        ids.push_back((i * i + 3 * j) % kVocabulary);
        targets.push_back((i * i + 3 * j + 3) % kVocabulary);
      }
    }
    ++taken_;
    return {from_values(ids, {count, kContext}), from_values(targets, {count, kContext})};
  }
  std::string state() const override { return std::to_string(taken_ / share_.count); }
  void restore(std::string_view state) override {
    taken_ = std::stoll(std::string(state)) * share_.count;
  }

 private:
  int64_t micro_batches_;
  distributed::Share share_;
  int64_t taken_ = 0;
};

inline std::unique_ptr<LanguageModel> small_model(const std::string& type, bool tied = true) {
  ModelSize size;
  size.type = type;
  size.layers = kLayers;
  size.dim = kDim;
  size.heads = kHeads;
  size.context = kContext;
  size.vocab_size = kVocabulary;
  size.tied = tied;
  size.dropout = type == "gpt2" || type == "bert" ? 0.1 : 0;
  return make_model(size, 3);
}

// A run of one rank.
struct Run {
  Run(const std::shared_ptr<distributed::ProcessGroup>& group, const Sharing& sharing,
      std::unique_ptr<LanguageModel> its, TrainerOptions options)
      : model(std::move(its)),
        groups(sharing.tp * sharing.cp > 1
                   ? arrange_ranks(config_of(sharing, options), group)
                   : RankGroups{.world = group, .data = group, .tp = nullptr, .cp = nullptr}),
        shared(share(sharing, options)),
        optimizer(nn::decay_matrices(*model, 0.1), {.lr = 3e-3}),
        data(micro_batches(options), share(groups, sharing, options)) {
    options.seed = 4;
    options.clip_norm = 0.5;
    options.group = groups.data;
    options.world = groups.world;
    options.context = sharing.cp;
    options.shards = shared ? shared->shards() : nullptr;
    options.data_parallel.sharded = sharing.zero == 1;
    if (sharing.zero >= 2) options.sharding = {static_cast<int>(sharing.zero), sharing.dp_shard};
    options.log.quiet = true;
    TrainerHooks hooks;
    if (options.validate_every > 0)
      hooks.validate = [this] {
        Sequences held_out(1, {0, 1});
        const Batch batch = held_out.next(5);
        validation_losses.push_back(model->loss(batch[0], batch[1]).item());
        return validation_losses.back();
      };
    trainer.emplace(
        *model,
        [this](const Batch& batch) {
          const Tensor loss = model->loss(batch[0], batch[1]);
          return loss;
        },
        optimizer,
        nn::Schedule{.kind = nn::ScheduleKind::Cosine, .peak = 3e-3, .warmup = 2, .steps = 40},
        data, options, hooks);
  }

  static int64_t micro_batches(const TrainerOptions& options) {
    return options.batch / options.micro_batch;
  }
  // Of the ranks that have all tokens of their micro-batches, or parts of them.
  static distributed::Share share(const RankGroups& groups, const Sharing& sharing,
                                  const TrainerOptions& options) {
    const int64_t count = micro_batches(options), cp = sharing.cp;
    if (!groups.data) return {0, count};
    if (sharing.zero < 2) {
      const int64_t own = count / groups.data_ranks();
      return {groups.data_rank() * own, own};
    }
    const auto turns = distributed::turns_of(*groups.data, count * cp, sharing.dp_shard);
    return {turns.first / cp, turns.count, std::max<int64_t>(1, turns.stride / cp)};
  }
  std::shared_ptr<const distributed::LayerPlan> share(const Sharing& sharing,
                                                      const TrainerOptions& options) const {
    if (!groups.tp && !groups.cp) return nullptr;
    return share_model(*model, layer_plan_options(config_of(sharing, options), groups));
  }

  std::unique_ptr<LanguageModel> model;
  RankGroups groups;
  std::shared_ptr<const distributed::LayerPlan> shared;
  nn::AdamW optimizer;
  Sequences data;
  std::vector<double> validation_losses;
  std::optional<Trainer> trainer;
};

// Calls `work(group, rank)` on every rank; the group is null where there is one.
inline void on_ranks(
    const Sharing& sharing,
    const std::function<void(const std::shared_ptr<distributed::ProcessGroup>&, int)>& work) {
  if (sharing.ranks == 1) {
    omp_set_num_threads(1);
    return work(nullptr, 0);
  }
  const auto groups = distributed::make_simulated_groups(sharing.ranks);
  std::vector<std::jthread> threads;
  threads.reserve(sharing.ranks);
  for (int rank = 0; rank < sharing.ranks; ++rank)
    threads.emplace_back([&, rank] {
      omp_set_num_threads(1);
      try {
        work(groups[rank], rank);
      } catch (const std::exception& error) {
        ADD_FAILURE() << describe(sharing) << ", rank " << rank << ": " << error.what();
        groups[rank]->abort(error.what());
      }
    });
}

}  // namespace plinth::sharded
