#include "tests/train/layout_draw.h"

namespace plinth::layouts {
namespace {

// Of layout_slow_test.cpp's draws a few, and all that ever failed.
TEST(Layouts, FirstDrawsTrainAsOneProcess) {
  for (uint64_t seed = 1; seed <= 6; ++seed) expect_one_process(seed);
}

Words few_tokens() {
  return {"model.type=mixtral",  "model.layers=4",
          "model.heads=3",       "model.kv_heads=3",
          "model.dim=24",        "model.context=8",
          "model.vocab_size=29", "model.ffn_dim=27",
          "model.experts=8",     "model.balance_coefficient=0",
          "train.micro_batch=1", "train.batch=8",
          "train.clip_norm=0.5"};
}

// Experts that no token reached, in two pieces of a stage.
TEST(Layouts, KeptDrawsTrainAsOneProcess) {
  const Draw kept[] = {
      {.model = {"model.type=mixtral", "model.layers=10", "model.heads=3", "model.kv_heads=3",
                 "model.dim=24", "model.context=8", "model.vocab_size=29", "model.ffn_dim=27",
                 "model.tied=true", "model.experts=4", "model.balance_coefficient=0",
                 "train.micro_batch=1", "train.batch=24", "train.clip_norm=0.5"},
       .parallel = {"parallel.pp=4", "parallel.chunks=2", "parallel.schedule=interleaved"},
       .ranks = 8},
      // And in blocks of which ranks share gradients and weights, in one order with all else.
      {.model = few_tokens(), .parallel = {"parallel.zero=3"}, .ranks = 4, .same_bits = true},
      {.model = few_tokens(),
       .parallel = {"parallel.zero=2", "parallel.cp=2", "parallel.tp=2"},
       .ranks = 8}};
  for (const Draw& draw : kept) expect_one_process(draw);
}

}  // namespace
}  // namespace plinth::layouts
