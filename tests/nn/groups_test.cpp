#include "nn/optim/groups.h"

#include "nn/layers.h"
#include "tests/core/io/expect_error.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;

class GroupedModel : public Module {
 public:
  GroupedModel()
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
  const auto groups = all_parameters(GroupedModel());
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_THAT(names(groups[0]),
              ElementsAre("kernel", "embedding.weight", "norm.weight", "norm.bias", "mlp.weight",
                          "mlp.bias", "lm_head.weight", "lm_head.bias"));
  EXPECT_FALSE(groups[0].weight_decay.has_value());
}

TEST(ParameterGroups, OnlyMatricesDecay) {
  const auto groups = decay_matrices(GroupedModel(), 0.1);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_THAT(names(groups[0]),
              ElementsAre("kernel", "embedding.weight", "mlp.weight", "lm_head.weight"));
  EXPECT_THAT(names(groups[1]),
              ElementsAre("norm.weight", "norm.bias", "mlp.bias", "lm_head.bias"));
  EXPECT_EQ(groups[0].weight_decay, 0.1);
  EXPECT_EQ(groups[1].weight_decay, 0.0);
}

TEST(ParameterGroups, RatesDecayByLayers) {
  const auto depth_of = [](std::string_view name) -> int64_t {
    if (name.starts_with("embedding") || name.starts_with("kernel")) return 0;
    return name.starts_with("lm_head") ? 2 : 1;
  };
  const auto groups = decay_layers(GroupedModel(), 0.1, 0.5, 3, depth_of);
  ASSERT_EQ(groups.size(), 5u);  // no vector lies at depth 0
  EXPECT_THAT(names(groups[0]), ElementsAre("kernel", "embedding.weight"));
  EXPECT_THAT(names(groups[1]), ElementsAre("mlp.weight"));
  EXPECT_THAT(names(groups[2]), ElementsAre("norm.weight", "norm.bias", "mlp.bias"));
  EXPECT_THAT(names(groups[4]), ElementsAre("lm_head.bias"));
  std::vector<double> rates, decays;
  for (const ParameterGroup& group : groups) {
    rates.push_back(group.lr_scale);
    decays.push_back(group.weight_decay.value());
  }
  EXPECT_THAT(rates, ElementsAre(0.25, 0.5, 0.5, 1, 1));
  EXPECT_THAT(decays, ElementsAre(0.1, 0.1, 0, 0.1, 0));
  expect_error(ErrorKind::Argument, "decay got 0, takes above 0",
               [&] { decay_layers(GroupedModel(), 0.1, 0, 3, depth_of); });
  expect_error(ErrorKind::Argument, "depth of lm_head.weight got 2, takes 0 to 1",
               [&] { decay_layers(GroupedModel(), 0.1, 0.5, 2, depth_of); });
}

TEST(ParameterGroups, MuonTakesHiddenMatrices) {
  const MuonGroups groups = muon_groups(GroupedModel());
  ASSERT_EQ(groups.matrices.size(), 1u);
  ASSERT_EQ(groups.others.size(), 2u);
  EXPECT_THAT(names(groups.matrices[0]), ElementsAre("mlp.weight"));
  EXPECT_THAT(names(groups.others[0]), ElementsAre("kernel", "embedding.weight", "lm_head.weight"));
  EXPECT_THAT(names(groups.others[1]),
              ElementsAre("norm.weight", "norm.bias", "mlp.bias", "lm_head.bias"));
  EXPECT_EQ(groups.others[1].weight_decay, 0.0);
  EXPECT_THAT(names(muon_groups(GroupedModel(), {"mlp"}).matrices[0]),
              ElementsAre("lm_head.weight"));
}

}  // namespace
}  // namespace plinth::nn
