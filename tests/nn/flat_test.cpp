#include "nn/flat.h"

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "nn/clip.h"
#include "nn/gradient_tree.h"
#include "nn/optim/adamw.h"
#include "tests/nn/optim_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensors tensors_of(const ParameterGroup& group) {
  Tensors result;
  for (const auto& entry : group.parameters) result.push_back(entry.tensor);
  return result;
}

// A loss whose gradients are irregular and differ by micro-batch.
void backward(const Tensors& parameters, uint32_t micro_batch) {
  for (uint32_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    sum(p * values(p.shape(), 50 * micro_batch + i, p.options())).backward();
  }
}

TEST(FlattenParameters, MovesValuesAndKeepsHandles) {
  const ParameterGroup group = leaves({{3, 5}, {2}, {}});
  const auto before = values_of(group);
  const Tensors buffers = flatten_parameters(tensors_of(group));
  ASSERT_EQ(buffers.size(), 1u);
  EXPECT_EQ(buffers[0].shape(), Shape({16 + 8 + 8}));
  EXPECT_EQ(values_of(group), before);
  for (const auto& entry : group.parameters) {
    EXPECT_EQ(entry.tensor.storage(), buffers[0].storage());
    EXPECT_TRUE(entry.tensor.requires_grad() && entry.tensor.is_leaf());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entry.tensor.raw_data()) % 64, 0u);
  }
  backward(tensors_of(group), 0);
  EXPECT_EQ(group.parameters[0].tensor.grad().shape(), Shape({3, 5}));
}

TEST(FlatGradients, BackwardAddsIntoTheBuffers) {
  const ParameterGroup flat = leaves({{3, 5}, {2}}), plain = leaves({{3, 5}, {2}});
  FlatGradients gradients(tensors_of(flat));
  for (uint32_t k = 0; k < 2; ++k) {
    backward(tensors_of(flat), k);
    backward(tensors_of(plain), k);
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(to_vector(flat.parameters[i].tensor.grad()),
              to_vector(plain.parameters[i].tensor.grad()));
    EXPECT_EQ(flat.parameters[i].tensor.grad().storage(), gradients.buffers()[0].storage());
  }
  EXPECT_NEAR(global_norm(gradients.buffers()), grad_norm(tensors_of(plain)), 1e-14);
  gradients.zero();
  EXPECT_EQ(global_norm(gradients.buffers()), 0);
}

TEST(FlatGradients, OneBufferADtypeAndOnlyForTrainableParameters) {
  const ParameterGroup wide = leaves({{4}}), narrow = leaves({{4}}, {DType::BFloat16, {}});
  Tensor frozen = zeros({1000});
  const Tensors parameters = {wide.parameters[0].tensor, frozen, narrow.parameters[0].tensor};
  FlatGradients own(parameters);
  ASSERT_EQ(own.buffers().size(), 2u);
  EXPECT_EQ(own.buffers()[0].dtype(), DType::Float64);
  EXPECT_EQ(own.buffers()[1].dtype(), DType::BFloat16);
  EXPECT_FALSE(frozen.grad().defined());
}

TEST(FlatGradients, NarrowGradientsAddUpInFloat32) {
  const ParameterGroup group = leaves({{4}}, {DType::BFloat16, {}});
  FlatGradients gradients(tensors_of(group), DType::Float32);
  const Tensor parameter = group.parameters[0].tensor;
  // In bfloat16 256 + 1 is 256.
  for (const double g : {256.0, 1.0, 1.0}) sum(parameter * g).backward();
  EXPECT_EQ(parameter.grad().dtype(), DType::Float32);
  EXPECT_THAT(to_vector(parameter.grad()), ElementsAre(258, 258, 258, 258));
  AdamW optimizer({group});
  optimizer.step();
}

TEST(FlatGradients, ZeroGivesViewsBack) {
  const ParameterGroup group = leaves({{4}});
  FlatGradients gradients(tensors_of(group));
  Tensor parameter = group.parameters[0].tensor;
  parameter.set_grad({});
  gradients.zero();
  EXPECT_EQ(parameter.grad().storage(), gradients.buffers()[0].storage());
}

TEST(FlatGradients, ExchangeChecksItsBuffers) {
  const ParameterGroup group = leaves({{4}});
  FlatGradients gradients(tensors_of(group));
  EXPECT_THAT(message_of([&] { gradients.exchange({}); }), HasSubstr("got 0 buffers, expected 1"));
  EXPECT_THAT(message_of([&] { gradients.exchange({zeros({3})}); }),
              HasSubstr("buffer 0 is float32 [3], expected float64 [8]"));
}

TEST(FlatGradients, PadsBuffersToAMultiple) {
  const ParameterGroup group = leaves({{3}, {20}});
  const FlatGradients gradients(tensors_of(group), DType::Float32, 100);
  EXPECT_EQ(gradients.buffers()[0].shape(), Shape({100}));
  EXPECT_EQ(gradients.contents()[0].shape(), Shape({16 + 32}));
  EXPECT_THAT(message_of([&] { FlatGradients(tensors_of(group), {}, 0); }),
              HasSubstr("multiple got 0, takes 1 or more"));
}

// ---- the tree ----

// What the header promises: the first 2^k < n micro-batches, plus the rest.
std::vector<float> tree_sum(const std::vector<std::vector<float>>& leaves, size_t begin,
                            size_t end) {
  if (end - begin == 1) return leaves[begin];
  size_t half = 1;
  while (half * 2 < end - begin) half *= 2;
  std::vector<float> left = tree_sum(leaves, begin, begin + half);
  const std::vector<float> right = tree_sum(leaves, begin + half, end);
  for (size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

std::vector<float> gradient_values(const Tensors& parameters) {
  std::vector<float> result;
  for (const Tensor& parameter : parameters) {
    for (const double v : to_vector(parameter.grad())) result.push_back(static_cast<float>(v));
  }
  return result;
}

TEST(GradientTree, SumsInTheFixedTree) {
  const ParameterGroup group = leaves({{30, 7}, {5}}, {});
  const Tensors parameters = tensors_of(group);
  FlatGradients gradients(parameters);
  GradientTree tree(gradients);
  bool differs_from_a_chain = false;
  for (const uint32_t n : {1, 2, 3, 4, 5, 6, 7, 8, 13}) {
    std::vector<std::vector<float>> leaves;
    for (uint32_t k = 0; k < n; ++k) {
      gradients.zero();
      backward(parameters, k);
      leaves.push_back(gradient_values(parameters));
    }
    gradients.zero();
    for (uint32_t k = 0; k < n; ++k) backward(parameters, k);
    const std::vector<float> chain = gradient_values(parameters);
    gradients.zero();
    for (uint32_t k = 0; k < n; ++k) {
      if (k > 0) tree.next();
      backward(parameters, k);
    }
    tree.finish();
    EXPECT_EQ(gradient_values(parameters), tree_sum(leaves, 0, n)) << n;
    differs_from_a_chain |= chain != tree_sum(leaves, 0, n);
  }
  EXPECT_TRUE(differs_from_a_chain);
}

// Ranks' nodes, added as tree_additions() says, are the tree of all.
TEST(GradientTree, NodesOfRunsAddUpToTheWhole) {
  for (const int64_t n : {1, 2, 3, 5, 6, 7, 8, 12, 13, 16, 31}) {
    for (const int64_t ranks : {1, 2, 3, 5}) {
      std::vector<TreeNode> nodes;
      std::vector<std::vector<float>> sums, leaves;
      for (int64_t i = 0; i < n; ++i) leaves.push_back({1 / (1 + static_cast<float>(i * i))});
      for (int64_t rank = 0; rank < ranks; ++rank) {
        for (const TreeNode& node : tree_nodes(n * rank / ranks, n * (rank + 1) / ranks, n)) {
          nodes.push_back(node);
          sums.push_back(tree_sum(leaves, node.begin, node.end));
        }
      }
      const TreeAdditions additions = tree_additions(nodes, n);
      EXPECT_THAT(additions.remaining, testing::ElementsAre(0));
      for (const auto& [to, from] : additions.pairs) sums[to][0] += sums[from][0];
      EXPECT_EQ(sums[0], tree_sum(leaves, 0, n)) << n << " on " << ranks;
    }
  }
  EXPECT_THAT(tree_nodes(6, 12, 12), testing::ElementsAre(TreeNode{6, 8}, TreeNode{8, 12}));
  EXPECT_THAT(message_of([] {
                tree_additions({{0, 1}, {2, 3}}, 4);
              }),
              HasSubstr("node 1 is [2, 3), expected one of 4"));
}

TEST(GradientTree, ALaterRunKeepsItsPartsForOthers) {
  const ParameterGroup group = leaves({{3}});
  FlatGradients gradients(tensors_of(group));
  GradientTree tree(gradients);
  tree.begin(6);
  gradients.zero();
  for (uint32_t k = 6; k < 11; ++k) {
    if (k > 6) tree.next();
    backward(tensors_of(group), k);
  }
  std::vector<TreeNode> nodes;
  for (const GradientTree::Part& part : tree.parts()) nodes.push_back(part.node);
  EXPECT_THAT(nodes, testing::ElementsAre(TreeNode{6, 8}, TreeNode{8, 10}, TreeNode{10, 11}));
  EXPECT_TRUE(tree.parts().back().buffers[0].is(gradients.buffers()[0]));
}

TEST(GradientTree, OneMicroBatchTouchesNothing) {
  const ParameterGroup group = leaves({{4}});
  FlatGradients gradients(tensors_of(group));
  const void* buffer = gradients.buffers()[0].raw_data();
  GradientTree tree(gradients);
  backward(tensors_of(group), 0);
  tree.finish();
  EXPECT_EQ(gradients.buffers()[0].raw_data(), buffer);
}

TEST(GradientTree, LaterStepsAllocateNoBuffers) {
  const ParameterGroup group = leaves({{1000}});
  FlatGradients gradients(tensors_of(group));
  GradientTree tree(gradients);
  std::vector<const void*> seen[2];
  for (int step = 0; step < 2; ++step) {
    gradients.zero();
    for (int k = 0; k < 8; ++k) {
      if (k > 0) tree.next();
      seen[step].push_back(gradients.buffers()[0].raw_data());
    }
    tree.finish();
  }
  for (const void* buffer : seen[1]) {
    EXPECT_NE(std::ranges::find(seen[0], buffer), seen[0].end());
  }
}

}  // namespace
}  // namespace plinth::nn
