#pragma once

// Runs of `plinth pretrain` with a model, a mesh of ranks and options drawn at random, each against
// one process: ranks are threads, and the whole run is theirs, from the configuration to the
// checkpoint.

#include <gtest/gtest.h>
#include <omp.h>

#include <random>

#include "core/io/file.h"
#include "data/shards/shard_writer.h"
#include "data/shards/token_dataset.h"
#include "models/registry.h"
#include "models/tensor_files.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/distributed/on_ranks.h"
#include "tests/nn/relative_distance.h"
#include "train/checkpoint/file_names.h"
#include "train/checkpoint/run_directory.h"
#include "train/checkpoint/sharded.h"
#include "train/checkpoint/sharded_model.h"
#include "train/pretrain/pretrain.h"

namespace plinth::layouts {

using Words = std::vector<std::string>;

struct Draw {
  Words model = {};     // what one process and all ranks have in common
  Words parallel = {};  // what ranks have besides
  int ranks = 1;
  bool same_bits = false;  // against one process; else to rounding

  std::string text() const {
    std::string text = std::to_string(ranks) + " ranks";
    for (const Words* words : {&model, &parallel}) {
      for (const std::string& word : *words) text += " " + word;
    }
    return text;
  }
};

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  // In [least, most].
  int64_t between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_() % static_cast<uint64_t>(most - least + 1));
  }
  bool chance(int64_t one_in) { return between(1, one_in) == 1; }
  template <class T>
  T one_of(const std::vector<T>& of) {
    return of[static_cast<size_t>(between(0, std::ssize(of) - 1))];
  }

 private:
  std::mt19937_64 random_;
};

inline std::string set(const std::string& key, int64_t value) {
  return key + "=" + std::to_string(value);
}

// Sizes that ranks seldom divide. `context` is a multiple of `tokens`.
inline Words draw_model(Dice& dice, const std::string& type, int64_t layers, int64_t tokens) {
  const int64_t kv_heads = dice.between(1, 3), heads = kv_heads * dice.between(1, 2);
  Words words = {"model.type=" + type,
                 set("model.layers", layers),
                 set("model.heads", heads),
                 set("model.dim", 8 * heads),
                 set("model.context", tokens * dice.between(1, 3)),
                 set("model.vocab_size", dice.between(29, 37)),
                 set("model.ffn_dim", dice.between(24, 40)),
                 std::string("model.tied=") + (dice.chance(2) ? "true" : "false")};
  const bool shares_keys = type == "llama" || type == "mixtral";
  if (shares_keys) words.push_back(set("model.kv_heads", kv_heads));
  if (!shares_keys && dice.chance(2)) words.emplace_back("model.dropout=0.1");
  if (type == "bert") words.insert(words.end(), {"masking.token=28", "masking.share=0.3"});
  return words;
}

// cp: ranks share sequences, of causal models alone.
inline std::string draw_type(Dice& dice, bool cp = false) {
  const std::vector<std::string> types = {"gpt2", "llama", "mixtral", "bert"};
  return types[static_cast<size_t>(dice.between(0, cp ? 2 : 3))];
}

// Micro-batches of a step: a multiple of `sharing`.
inline void draw_steps(Dice& dice, int64_t sharing, Words& words) {
  const int64_t micro_batch = dice.between(1, 2), count = sharing * dice.between(1, 3);
  words.push_back(set("train.micro_batch", micro_batch));
  words.push_back(set("train.batch", micro_batch * count));
  words.push_back(std::string("train.clip_norm=") + (dice.chance(2) ? "0.5" : "0"));
}

inline void draw_experts(Dice& dice, int64_t ep, bool balances, Words& words) {
  words.push_back(set("model.experts", dice.between(std::max<int64_t>(ep, 2), 5)));
  words.push_back(std::string("model.balance_coefficient=") +
                  (balances && dice.chance(2) ? "0.02" : "0"));
}

// Copies of the model, with ZeRO or not: the bits of one process.
inline Draw draw_data_parallel(Dice& dice) {
  Draw draw{.ranks = static_cast<int>(dice.between(2, 8)), .same_bits = true};
  const std::string type = draw_type(dice);
  draw.model = draw_model(dice, type, dice.between(1, 3), 4);
  if (type == "mixtral") draw_experts(dice, 1, true, draw.model);
  draw_steps(dice, draw.ranks, draw.model);
  if (dice.chance(2)) draw.model.emplace_back("train.ema_decay=0.9");
  if (dice.chance(3)) draw.model.emplace_back("model.activation_checkpointing=true");
  const int64_t zero = dice.between(0, 3);
  draw.parallel = {set("parallel.zero", zero)};
  if (zero >= 2 && draw.ranks % 2 == 0 && dice.chance(2))
    draw.parallel.push_back(set("parallel.dp_shard", draw.ranks / 2));
  if (zero < 2 && dice.chance(2)) draw.parallel.emplace_back("parallel.overlap=false");
  return draw;
}

// Ranks that share layers and sequences.
struct Sharers {
  int64_t tp = 1, cp = 1;
  bool sequence = false;

  // What a context is a multiple of: chunks that dropout in a ring can be cut by.
  int64_t tokens() const { return 4 * (cp > 1 ? 2 * cp : 1) * (sequence ? tp : 1); }
};

// Each rank of tp has a query head of its own.
inline void draw_sharing(Dice& dice, const Sharers& sharers, Draw& draw) {
  for (std::string& word : draw.model) {
    if (sharers.tp == 1) break;
    if (word.starts_with("model.heads=")) word = "model.heads=6";
    if (word.starts_with("model.dim=")) word = "model.dim=48";
    if (word.starts_with("model.kv_heads="))
      word = set("model.kv_heads", dice.one_of<int64_t>({1, 2, 3, 6}));
  }
  draw.parallel.push_back(set("parallel.tp", sharers.tp));
  draw.parallel.push_back(set("parallel.cp", sharers.cp));
  draw.parallel.push_back(std::string("parallel.sequence=") +
                          (sharers.sequence ? "true" : "false"));
  draw.parallel.push_back("parallel.cp_algorithm=" + dice.one_of<std::string>({"gather", "ring"}));
}

// Beside data parallel ranks.
inline Draw draw_shared(Dice& dice) {
  Sharers sharers{.tp = dice.between(1, 3)};
  sharers.cp = dice.between(sharers.tp == 1 ? 2 : 1, 2);
  sharers.sequence = sharers.tp > 1 && dice.chance(2);
  const int64_t sharing = sharers.tp * sharers.cp;
  const int64_t dp = dice.between(1, 8 / sharing > 2 ? 2 : 1);
  Draw draw{.ranks = static_cast<int>(sharing * dp)};
  const std::string type = draw_type(dice, sharers.cp > 1);
  draw.model = draw_model(dice, type, dice.between(1, 2), sharers.tokens());
  if (type == "mixtral") draw_experts(dice, 1, true, draw.model);
  draw_steps(dice, dp, draw.model);
  if (dice.chance(2)) draw.model.emplace_back("train.ema_decay=0.9");
  draw_sharing(dice, sharers, draw);
  const int64_t zero = dice.between(0, 3);
  draw.parallel.push_back(set("parallel.zero", zero));
  if (zero >= 2 && dp > 1 && dice.chance(2))
    draw.parallel.push_back(set("parallel.dp_shard", sharers.cp));
  return draw;
}

// Stages, and experts that ranks share out; beside all others.
inline Draw draw_cut(Dice& dice) {
  const std::string type = draw_type(dice);
  const int64_t pp = dice.between(1, 4), ep = type == "mixtral" && pp <= 2 ? dice.between(1, 3) : 1;
  int64_t room = 8 / (pp * ep);
  Sharers sharers;
  if (room > 1 && dice.chance(2)) sharers.tp = dice.between(2, std::min<int64_t>(room, 3));
  room /= sharers.tp;
  if (room > 1 && type != "bert" && dice.chance(3)) sharers.cp = 2;
  room /= sharers.cp;
  sharers.sequence = sharers.tp > 1 && dice.chance(2);
  const int64_t dp = dice.between(pp * ep == 1 && room > 1 ? 2 : 1, std::min<int64_t>(room, 2));
  const std::string schedule =
      pp == 1 ? "1f1b" : dice.one_of<std::string>({"1f1b", "interleaved", "zb-h1"});
  const int64_t chunks = schedule == "interleaved" ? 2 : 1;
  Draw draw{.ranks = static_cast<int>(pp * ep * dp * sharers.cp * sharers.tp)};
  draw.model = draw_model(dice, type, pp * chunks + dice.between(0, 2), sharers.tokens());
  if (type == "mixtral") draw_experts(dice, ep, pp == 1, draw.model);
  draw_steps(dice, dp * ep * (schedule == "interleaved" ? pp : 1), draw.model);
  if (dice.chance(2)) draw.model.emplace_back("train.ema_decay=0.9");
  draw.parallel = {set("parallel.pp", pp), set("parallel.ep", ep), set("parallel.chunks", chunks),
                   set("parallel.zero", dice.between(0, 1)), "parallel.schedule=" + schedule};
  draw_sharing(dice, sharers, draw);
  return draw;
}

inline Draw draw_layout(uint64_t seed) {
  Dice dice(seed);
  switch (dice.between(0, 2)) {
    case 0: return draw_data_parallel(dice);
    case 1: return draw_shared(dice);
    default: return draw_cut(dice);
  }
}

// ---- running it ----

inline constexpr int64_t kSteps = 3, kSaved = 2;

// One rank's run in `directory`/`run`. SGD: an update is as exact as its gradient.
inline void pretrain_rank(const std::filesystem::path& directory, const std::string& run,
                          const Words& words, bool resume,
                          const std::shared_ptr<distributed::ProcessGroup>& group) {
  omp_set_num_threads(1);
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);
  for (const std::string& word :
       {"run.directory=" + (directory / run).string(), std::string("run.seed=5"),
        "data.train=[\"" + (directory / "train.bin").string() + "\"]", set("train.steps", kSteps),
        set("checkpoint.every", kSaved), std::string("checkpoint.keep_best=false"),
        std::string("optimizer.name=sgd"), std::string("optimizer.lr=0.3"),
        std::string("optimizer.weight_decay=0.1"), std::string("schedule.name=constant"),
        std::string("log.report=false"), std::string("log.tensorboard=false"),
        std::string("log.every=1000")})
    schema.set(word);
  for (const std::string& word : words) schema.set(word);
  schema.finish();
  validate(config);
  pretrain(
      config, schema, resume, [](const std::string&) {}, {}, group);
}

inline void write_tokens(const std::filesystem::path& file) {
  ShardWriter writer(file, 29);
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 4000; ++i) tokens.push_back((i * i / 7 + 3 * i) % 29);
  writer.append(tokens);
  writer.commit();
}

inline std::shared_ptr<const TokenDataset> dataset() {
  const TemporaryDirectory directory;
  write_tokens(directory / "train.bin");
  return std::make_shared<TokenDataset>(TokenDataset::open((directory / "train.bin").string()));
}

// Trains on so many ranks, as threads; throws what one of them threw.
inline void pretrain_ranks(const std::filesystem::path& directory, const std::string& run,
                           const Words& words, int ranks, bool resume = false) {
  const auto rank = [&](const std::shared_ptr<distributed::ProcessGroup>& world) {
    pretrain_rank(directory, run, words, resume, ranks > 1 ? world : nullptr);
  };
  distributed::on_ranks(ranks, rank);
}

// What a run's last checkpoint holds, in whichever layout: weights, and their average if it has
// one.
inline nn::StateDict weights_of(const std::filesystem::path& run) {
  const std::filesystem::path last = run / checkpoint_name(kSteps);
  const bool is_sharded = ShardedCheckpoint::is_in(last);
  nn::StateDict weights =
      (is_sharded ? load_sharded_model(last) : load_pretrained(last))->named_parameters();
  nn::StateDict averages;
  if (is_sharded) averages = ShardedCheckpoint(last).whole("ema");
  if (std::filesystem::exists(last / kAverageFile)) averages = read_tensors(last / kAverageFile);
  for (nn::NamedTensor& entry : averages) {
    if (entry.name != "updates") weights.push_back(std::move(entry));
  }
  return weights;
}

// Goes on from the checkpoint before the last one.
inline void train_end_again(const std::filesystem::path& directory, const std::string& run,
                            const Words& words, int ranks) {
  std::filesystem::remove_all(directory / run / checkpoint_name(kSteps));
  pretrain_ranks(directory, run, words, ranks, true);
}

// Float32 sums of other orders, over three steps of SGD.
inline constexpr double kRounding = 1e-4;

inline void expect_one_process(const Draw& draw) {
  SCOPED_TRACE(draw.text());
  const TemporaryDirectory directory;
  write_tokens(directory / "train.bin");
  Words words = draw.model;
  words.insert(words.end(), draw.parallel.begin(), draw.parallel.end());
  try {
    pretrain_ranks(directory.path(), "alone", draw.model, 1);
    pretrain_ranks(directory.path(), "ranks", words, draw.ranks);
    const nn::StateDict expected = weights_of(directory / "alone");
    const auto expect_same = [&](const std::string& run) {
      SCOPED_TRACE(run);
      EXPECT_LE(nn::relative_distance(weights_of(directory / run), expected),
                draw.same_bits ? 0 : kRounding);
    };
    expect_same("ranks");
    // What either has written, the other goes on from.
    train_end_again(directory.path(), "ranks", draw.model, 1);
    expect_same("ranks");
    train_end_again(directory.path(), "alone", words, draw.ranks);
    expect_same("alone");
  } catch (const Error& error) {
    ADD_FAILURE() << error.what();
  }
}

inline void expect_one_process(uint64_t seed) {
  SCOPED_TRACE(testing::Message() << "draw " << seed);
  expect_one_process(draw_layout(seed));
}

}  // namespace plinth::layouts
