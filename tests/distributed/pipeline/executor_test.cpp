// Stages that compute a chain of layers, against one process: the same bits.

#include "distributed/pipeline/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/autograd.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "distributed/simulated/simulated_group.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/pipeline/pipeline_case.h"

namespace plinth::distributed {
namespace {

using Group = std::shared_ptr<ProcessGroup>;
using Values = std::vector<std::vector<double>>;

constexpr int64_t kWidth = 6;

// Layers of a chain with dropout, whose last gives the loss.
class Chain {
 public:
  explicit Chain(int layers) {
    for (int i = 0; i < layers; ++i) {
      Tensor weight = normal({kWidth, kWidth}, 0, 0.5, {.seed = 2, .op = static_cast<uint32_t>(i)});
      weights_.push_back(weight.set_requires_grad());
    }
  }
  Tensor run(int layer, const Tensor& x) const {
    const Tensor y = x + dropout(tanh(linear(x, weights_[layer])), 0.2);
    return layer + 1 == static_cast<int>(weights_.size()) ? mean(square(y)) : y;
  }
  static Tensor input(int micro_batch) {
    return normal({3, kWidth}, 0, 1, {.seed = 4, .op = static_cast<uint32_t>(micro_batch)});
  }
  const Tensors& weights() const { return weights_; }

 private:
  Tensors weights_;
};

struct Expected {
  std::vector<double> losses;
  Values gradients;
};

Expected alone(int layers, int micro_batches) {
  const Chain chain(layers);
  Expected result;
  for (int i = 0; i < micro_batches; ++i) {
    generator().begin_step(0, i);
    Tensor x = Chain::input(i);
    for (int layer = 0; layer < layers; ++layer) x = chain.run(layer, x);
    x.backward();
    result.losses.push_back(x.item());
  }
  for (const Tensor& weight : chain.weights()) result.gradients.push_back(to_vector(weight.grad()));
  return result;
}

void run_case(const PipelineCase& test, const Group& group) {
  const int pieces = test.stages * test.chunks;
  const Expected expected = alone(pieces, test.micro_batches);
  const Chain chain(pieces);
  PipelineExecutor pipeline(group, test.kind, test.chunks, {});
  std::vector<int> next(pieces);
  PipelineModel model;
  model.begin = [](int i) { generator().begin_step(0, i); };
  model.forward = [&](int piece, int i, const Tensors& x) -> Tensors {
    return {chain.run(piece, piece == 0 ? Chain::input(i) : x[0])};
  };
  model.before_gradients = [&](int piece, int i) { EXPECT_EQ(next[piece]++, i); };
  const Tensors losses = pipeline.run(model, test.micro_batches);
  ASSERT_EQ(losses.size(), pipeline.has_last() ? expected.losses.size() : 0);
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_EQ(losses[i].item(), expected.losses[i]);
  for (int piece = 0; piece < pieces; ++piece) {
    const Tensor gradient = chain.weights()[piece].grad();
    ASSERT_EQ(gradient.defined(), pipeline.has(piece)) << "piece " << piece;
    if (gradient.defined()) {
      EXPECT_EQ(to_vector(gradient), expected.gradients[piece]);
    }
  }

  model.begin = nullptr;
  generator().begin_step(0, 0);
  const Tensor loss = pipeline.evaluate(model);
  ASSERT_EQ(loss.defined(), pipeline.has_last());
  if (loss.defined()) {
    EXPECT_EQ(loss.item(), expected.losses[0]);
  }
}

class Pipeline : public testing::TestWithParam<PipelineCase> {};

TEST_P(Pipeline, HasTheBitsOfOneProcess) {
  const auto groups =
      make_simulated_groups(GetParam().stages, {.group = {.timeout = std::chrono::minutes(1)}});
  std::vector<std::thread> threads;
  for (const Group& group : groups) threads.emplace_back([group] { run_case(GetParam(), group); });
  for (std::thread& thread : threads) thread.join();
}

constexpr auto kPlain = PipelineKind::OneForwardOneBackward;
INSTANTIATE_TEST_SUITE_P(Schedules, Pipeline,
                         testing::Values(PipelineCase{kPlain, 1, 1, 3},
                                         PipelineCase{kPlain, 2, 1, 4},
                                         PipelineCase{kPlain, 4, 1, 8},
                                         PipelineCase{kPlain, 5, 1, 2},
                                         PipelineCase{PipelineKind::Interleaved, 2, 2, 4},
                                         PipelineCase{PipelineKind::Interleaved, 3, 2, 6},
                                         PipelineCase{PipelineKind::Interleaved, 4, 3, 8},
                                         PipelineCase{PipelineKind::ZeroBubbleH1, 1, 1, 2},
                                         PipelineCase{PipelineKind::ZeroBubbleH1, 2, 1, 3},
                                         PipelineCase{PipelineKind::ZeroBubbleH1, 4, 1, 8}),
                         [](const auto& info) {
                           const PipelineCase& test = info.param;
                           std::string kind(name(test.kind));
                           std::erase(kind, '-');
                           return kind + "_" + std::to_string(test.stages) + "x" +
                                  std::to_string(test.chunks) + "_" +
                                  std::to_string(test.micro_batches);
                         });

TEST(PipelineExecutor, RefusesChunksThatAScheduleDoesNotTake) {
  const auto groups = make_simulated_groups(1);
  expect_error(ErrorKind::Argument, "got 2 chunks, 1f1b takes 1",
               [&] { PipelineExecutor(groups[0], kPlain, 2, {}); });
  expect_error(ErrorKind::Argument, "got 2 chunks of one stage, takes 1",
               [&] { PipelineExecutor(groups[0], PipelineKind::Interleaved, 2, {}); });
}

}  // namespace
}  // namespace plinth::distributed
