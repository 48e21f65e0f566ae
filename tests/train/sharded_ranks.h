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
#include "train/trainer.h"

namespace plinth::sharded {

// No number of ranks divides these.
inline constexpr int64_t kVocabulary = 31, kContext = 6, kLayers = 3, kHeads = 3, kDim = 48;

// How a run is shared: by one process, by data parallel, or by ZeRO.
struct Sharing {
  int ranks = 1;
  int64_t zero = 0;
  int64_t dp_shard = 0;
};

inline std::string describe(const Sharing& sharing) {
  return detail::concat(sharing.ranks, " ranks, zero ", sharing.zero, ", dp_shard ",
                        sharing.dp_shard);
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
        optimizer(nn::decay_matrices(*model, 0.1), {.lr = 3e-3}),
        data(micro_batches(options), share(group, sharing, options)) {
    options.seed = 4;
    options.clip_norm = 0.5;
    options.group = group;
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
  static distributed::Share share(const std::shared_ptr<distributed::ProcessGroup>& group,
                                  const Sharing& sharing, const TrainerOptions& options) {
    const int64_t count = micro_batches(options);
    if (!group) return {0, count};
    return sharing.zero >= 2 ? distributed::turns_of(*group, count, sharing.dp_shard)
                             : distributed::share_of(*group, count);
  }

  std::unique_ptr<LanguageModel> model;
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
