// Small models on ranks that are processes, connected by Gloo, in every way of sharing, against
// one process; prints how far their weights are apart, as a matrix.

#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "models/registry.h"
#include "tests/apps/plinth_program.h"
#include "tests/nn/relative_distance.h"

namespace plinth {
namespace {

using Words = std::vector<std::string>;

struct Layout {
  const char* name;
  int ranks;
  Words words;
  bool same_bits = false;
};

const Layout kLayouts[] = {
    {"dp 2", 2, {}, true},
    {"dp 4", 4, {}, true},
    {"dp 8", 8, {}, true},
    {"zero-1, 8", 8, {"parallel.zero=1"}, true},
    {"zero-2, 4", 4, {"parallel.zero=2"}, true},
    {"zero-3, 2", 2, {"parallel.zero=3"}, true},
    {"zero-3, 8", 8, {"parallel.zero=3"}, true},
    {"zero-3, 2 x 4", 8, {"parallel.zero=3", "parallel.dp_shard=4"}, true},
    {"tp 2", 2, {"parallel.tp=2"}},
    {"tp 2, sequence, dp 2, zero-1",
     4,
     {"parallel.tp=2", "parallel.sequence=true", "parallel.zero=1"}},
    {"cp 2, gather", 2, {"parallel.cp=2"}},
    {"cp 4, ring", 4, {"parallel.cp=4", "parallel.cp_algorithm=ring"}},
    {"dp 2, cp 2, tp 2", 8, {"parallel.cp=2", "parallel.tp=2"}},
    {"zero-3, dp 2, tp 2", 4, {"parallel.zero=3", "parallel.tp=2"}},
    {"zero-2, dp 2, cp 2, tp 2", 8, {"parallel.zero=2", "parallel.cp=2", "parallel.tp=2"}},
    {"pp 2, 1f1b", 2, {"parallel.pp=2"}},
    {"pp 2, interleaved, dp 2",
     4,
     {"parallel.pp=2", "parallel.schedule=interleaved", "parallel.chunks=2"}},
    {"pp 4, zb-h1, dp 2", 8, {"parallel.pp=4", "parallel.schedule=zb-h1"}},
    {"ep 2", 2, {"parallel.ep=2"}},
    {"pp 2, ep 2, dp 2", 8, {"parallel.pp=2", "parallel.ep=2"}},
    {"pp 2, tp 2", 4, {"parallel.pp=2", "parallel.tp=2"}},
    {"pp 2, cp 2", 4, {"parallel.pp=2", "parallel.cp=2"}},
    {"pp 2, zb-h1, tp 2, sequence, dp 2",
     8,
     {"parallel.pp=2", "parallel.schedule=zb-h1", "parallel.tp=2", "parallel.sequence=true"}},
    {"pp 2, cp 2, ring, tp 2",
     8,
     {"parallel.pp=2", "parallel.cp=2", "parallel.cp_algorithm=ring", "parallel.tp=2"}},
    {"pp 2, dp 2, zero-1", 4, {"parallel.pp=2", "parallel.zero=1"}},
    {"pp 2, dp 2, tp 2, zero-1", 8, {"parallel.pp=2", "parallel.tp=2", "parallel.zero=1"}},
    {"ep 2, dp 2, zero-1", 4, {"parallel.ep=2", "parallel.zero=1"}},
    {"ep 2, tp 2", 4, {"parallel.ep=2", "parallel.tp=2"}},
    {"pp 2, ep 2, tp 2", 8, {"parallel.pp=2", "parallel.ep=2", "parallel.tp=2"}},
    {"ep 2, cp 2, tp 2", 8, {"parallel.ep=2", "parallel.cp=2", "parallel.tp=2"}},
};

const std::pair<const char*, Words> kModels[] = {
    {"gpt2", {"model.type=gpt2", "model.dropout=0.1"}},
    {"llama", {"model.type=llama", "model.kv_heads=2", "model.dropout=0"}},
    {"mixtral",
     {"model.type=mixtral", "model.kv_heads=2", "model.dropout=0", "model.experts=3",
      "model.balance_coefficient=0"}},
    {"bert", {"model.type=bert", "model.dropout=0.1", "masking.token=310"}},
};

bool has(const Layout& layout, const std::string& key) {
  return std::ranges::any_of(layout.words,
                             [&](const std::string& word) { return word.starts_with(key); });
}

// Experts are shared by ep alone, and sequences where tokens see those before them.
bool goes_together(const std::string& model, const Layout& layout) {
  if (has(layout, "parallel.ep=")) return model == "mixtral";
  return model != "bert" || !has(layout, "parallel.cp=");
}

// Trains for 100 steps; by SGD, whose updates are as exact as their gradients.
Outcome train(const Workplace& here, const Words& model, const std::string& run, int ranks,
              const Words& more) {
  Words arguments;
  if (ranks > 1) arguments = {"launch", "--nproc", std::to_string(ranks), "--"};
  Words settings = {"run.directory=" + run, "train.steps=100",
                    "train.batch=8",        "train.micro_batch=1",
                    "train.ema_decay=0",    "optimizer.name=sgd",
                    "optimizer.lr=0.02",    "schedule.name=constant",
                    "checkpoint.every=0",   "checkpoint.keep_best=false",
                    "sample.every=0",       "validation.every=0",
                    "model.layers=4",       "model.heads=4",
                    "model.dim=32",         "model.context=32",
                    "log.every=1000"};
  settings.insert(settings.end(), model.begin(), model.end());
  settings.insert(settings.end(), more.begin(), more.end());
  for (const std::string& word : Workplace::pretrain_arguments(settings)) arguments.push_back(word);
  return here.run(arguments);
}

// Of the run's last checkpoint, whatever its layout, as the model has them: the bias of keys, whose
// gradient is nothing but rounding, is a part of a parameter there.
nn::StateDict weights(const Workplace& here, const std::string& run) {
  const Outcome outcome = here.run({"convert", run, run + "-whole"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  return load_pretrained(here / (run + "-whole"))->named_parameters();
}

TEST(LaunchedLayouts, TrainAsOneProcess) {
  constexpr double kRounding = 1e-3;  // of 100 steps
  std::map<std::string, std::map<std::string, std::string>> cells;
  for (const auto& [model, words] : kModels) {
    const Workplace here;
    const Outcome alone = train(here, words, "alone", 1, {});
    ASSERT_EQ(alone.status, 0) << alone.errors;
    const nn::StateDict expected = weights(here, "alone");
    for (const Layout& layout : kLayouts) {
      if (!goes_together(model, layout)) continue;
      SCOPED_TRACE(std::string(model) + ", " + layout.name);
      const Outcome outcome = train(here, words, "ranks", layout.ranks, layout.words);
      EXPECT_EQ(outcome.status, 0) << outcome.errors;
      if (outcome.status != 0) continue;
      const double apart = nn::relative_distance(weights(here, "ranks"), expected);
      EXPECT_LE(apart, layout.same_bits ? 0 : kRounding);
      char text[32] = "same bits";
      if (apart > 0) std::snprintf(text, sizeof text, "%.1e", apart);
      cells[layout.name][model] = text;
      for (const char* made : {"ranks", "ranks-whole"}) std::filesystem::remove_all(here / made);
    }
  }
  std::printf("%-30s", "100 steps over Gloo");
  for (const auto& [model, words] : kModels) std::printf(" %-12s", model);
  for (const Layout& layout : kLayouts) {
    std::printf("\n%-30s", layout.name);
    for (const auto& [model, words] : kModels)
      std::printf(" %-12s", cells[layout.name][model].c_str());
  }
  std::printf("\n");
}

}  // namespace
}  // namespace plinth
