#include "nn/optim/groups.h"

#include "nn/layers.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;

class Model : public Module {
 public:
  Model()
      : embedding_(make<Embedding>("embedding", 7, 4)),
        norm_(make<LayerNorm>("norm", 4)),
        mlp_(make<Linear>("mlp", 4, 4)),
        head_(make<Linear>("lm_head", 4, 7)),
        frozen_(make<Linear>("frozen", 4, 4)),
        kernel_(register_parameter("kernel", zeros({2, 2, 2}))) {
    frozen_->set_requires_grad(false);
  }

 private:
  Handle<Embedding> embedding_;
  Handle<LayerNorm> norm_;
  Handle<Linear> mlp_, head_, frozen_;
  Tensor kernel_;
};

std::vector<std::string> names(const ParameterGroup& group) {
  std::vector<std::string> result;
  for (const auto& entry : group.parameters) result.push_back(entry.name);
  return result;
}

TEST(ParameterGroups, FrozenParametersAreLeftOut) {
  const auto groups = all_parameters(Model());
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_THAT(names(groups[0]),
              ElementsAre("kernel", "embedding.weight", "norm.weight", "norm.bias", "mlp.weight",
                          "mlp.bias", "lm_head.weight", "lm_head.bias"));
  EXPECT_FALSE(groups[0].weight_decay.has_value());
}

TEST(ParameterGroups, OnlyMatricesDecay) {
  const auto groups = decay_matrices(Model(), 0.1);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_THAT(names(groups[0]),
              ElementsAre("kernel", "embedding.weight", "mlp.weight", "lm_head.weight"));
  EXPECT_THAT(names(groups[1]),
              ElementsAre("norm.weight", "norm.bias", "mlp.bias", "lm_head.bias"));
  EXPECT_EQ(groups[0].weight_decay, 0.1);
  EXPECT_EQ(groups[1].weight_decay, 0.0);
}

TEST(ParameterGroups, MuonTakesHiddenMatrices) {
  const MuonGroups groups = muon_groups(Model());
  ASSERT_EQ(groups.matrices.size(), 1u);
  ASSERT_EQ(groups.others.size(), 2u);
  EXPECT_THAT(names(groups.matrices[0]), ElementsAre("mlp.weight"));
  EXPECT_THAT(names(groups.others[0]), ElementsAre("kernel", "embedding.weight", "lm_head.weight"));
  EXPECT_THAT(names(groups.others[1]),
              ElementsAre("norm.weight", "norm.bias", "mlp.bias", "lm_head.bias"));
  EXPECT_EQ(groups.others[1].weight_decay, 0.0);
  EXPECT_THAT(names(muon_groups(Model(), {"mlp"}).matrices[0]), ElementsAre("lm_head.weight"));
}

}  // namespace
}  // namespace plinth::nn
