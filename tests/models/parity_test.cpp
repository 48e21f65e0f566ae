// Against values that transformers and PyTorch computed: see tests/fixtures/README.md.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/autograd.h"
#include "core/io/json.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "nn/clip.h"
#include "nn/optim/adamw.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

class Parity : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    model_ = load_pretrained(fixture(GetParam()));
    expected_ = read_tensors(fixture(GetParam()) / "expected.safetensors");
    ids_ = value(expected_, "input_ids");
    targets_ = value(expected_, "targets");
  }

  std::unique_ptr<LanguageModel> model_;
  nn::StateDict expected_;
  Tensor ids_, targets_;
};

TEST_P(Parity, LogitsAndLossAreThoseOfTransformers) {
  EXPECT_LT(relative_distance(model_->forward(ids_), value(expected_, "logits")), 1e-5);
  EXPECT_NEAR(model_->loss(ids_, targets_).item(), value(expected_, "loss").item(), 2e-6);
}

class GradientParity : public Parity {};

TEST_P(GradientParity, EveryGradientIsThatOfPyTorch) {
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    model_->loss(ids_, targets_).backward();
    for (const auto& [name, gradient] : exported_gradients(*model_)) {
      const Tensor reference = value(expected_, "grad." + name);
      // A bias of keys has a gradient of nothing but rounding, so that the scale is the whole's.
      EXPECT_LT(relative_distance(gradient, reference), 2e-5) << name;
    }
  }
}

TEST_P(Parity, GreedyContinuationIsThatOfTransformersWithAndWithoutACache) {
  const NoGradGuard no_grad;
  const Tensor expected = value(expected_, "generated_ids");
  constexpr int64_t prompt = 5;
  const int64_t total = expected.size(1);
  for (const bool cached : {false, true}) {
    Tensor ids = expected.narrow(1, 0, prompt).contiguous();
    KVCaches caches = model_->make_caches(ids.size(0), total);
    Tensor read = ids;
    while (ids.size(1) < total) {
      const Tensor logits = model_->forward(cached ? read : ids, cached ? &caches : nullptr);
      read = argmax(logits.select(1, logits.size(1) - 1), -1).unsqueeze(1);
      ids = cat({ids, read}, 1);
    }
    EXPECT_EQ(to_vector(ids), to_vector(expected)) << "cached: " << cached;
  }
}

std::set<std::string> weight_names(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const TensorRecord& record : SafetensorsCheckpoint::open(directory).records())
    names.insert(record.name);
  return names;
}

TEST_P(Parity, SavedModelLoadsToTheSameBits) {
  const TemporaryDirectory folder;
  save_pretrained(*model_, folder.path(), {.max_shard_bytes = 20000});
  const auto loaded = load_pretrained(folder.path());
  EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
  const nn::StateDict a = model_->state_dict(), b = loaded->state_dict();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(to_vector(a[i].tensor), to_vector(b[i].tensor)) << a[i].name;
  EXPECT_EQ(loaded->config_json(DType::Float32), model_->config_json(DType::Float32));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Parity,
                         testing::Values("gpt2", "llama", "llama_tied", "llama_scaled", "mixtral",
                                         "mixtral_balanced"),
                         [](const auto& info) { return std::string(info.param); });

INSTANTIATE_TEST_SUITE_P(Fixtures, GradientParity,
                         testing::Values("gpt2", "llama", "llama_tied", "mixtral",
                                         "mixtral_balanced"),
                         [](const auto& info) { return std::string(info.param); });

class Trajectory : public testing::TestWithParam<const char*> {};

// Ten steps of AdamW in `dtype` beside PyTorch's in float32. `bound` is of the final weights.
void expect_trajectory(const std::string& name, DType dtype, double bound) {
  const nlohmann::json settings = read_json(fixture("gpt2") / "adamw.json").at(name);
  const nn::StateDict expected = read_tensors(fixture("gpt2") / "adamw.safetensors");
  const auto model = load_pretrained(fixture("gpt2"));
  model->to(dtype);
  const double decay = settings["weight_decay"];
  const bool decays_all = settings["decayed"] == "all";
  nn::AdamW optimizer(decays_all ? nn::all_parameters(*model) : nn::decay_matrices(*model, decay),
                      {.beta1 = settings["betas"][0],
                       .beta2 = settings["betas"][1],
                       .eps = settings["eps"],
                       .weight_decay = decay});
  const double limit =
      settings["max_grad_norm"].is_null() ? 0 : settings["max_grad_norm"].get<double>();
  const Tensor ids = value(expected, "input_ids"), targets = value(expected, "targets");
  const std::vector<double> losses = to_vector(value(expected, name + ".losses"));
  const std::vector<double> norms = to_vector(value(expected, name + ".grad_norms"));
  for (int64_t step = 0; step < ids.size(0); ++step) {
    SCOPED_TRACE(testing::Message() << "step " << step);
    model->zero_grad();
    const Tensor loss = model->loss(ids[step], targets[step]);
    loss.backward();
    EXPECT_NEAR(loss.item(), losses[step], 1e-5);
    const double norm = nn::grad_norm(model->parameters());
    EXPECT_NEAR(norm, norms[step], 1e-4 * norms[step]);
    optimizer.set_lr(settings["learning_rates"][step]);
    optimizer.step(nn::clip_factor(norm, limit));
  }
  for (const auto& [weight, tensor] : export_weights(*model, model->weight_slices())) {
    // The key part of this bias is rounding divided by its own size: fixtures/README.md.
    const bool is_noise = weight.ends_with("attn.c_attn.bias");
    const Tensor theirs = value(expected, name + ".final." + weight).to(dtype);
    EXPECT_LT(relative_distance(tensor, theirs), is_noise ? 2e-3 : bound) << weight;
  }
}

// float64 tells the method from rounding, which AdamW divides by its own size where a gradient is
// nearly 0: in float32 how far that goes depends on the order of a processor's sums.
TEST_P(Trajectory, TenStepsOfAdamWAreThoseOfPyTorch) {
  expect_trajectory(GetParam(), DType::Float64, 1e-5);
  expect_trajectory(GetParam(), DType::Float32, 5e-5);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Trajectory, testing::Values("grouped", "plain"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace plinth
