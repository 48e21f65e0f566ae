// A model that is shared, on a GPU: by groups of one rank, which go through all that several do.

#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"
#include "distributed/nccl/nccl_group.h"
#include "distributed/store/hash_store.h"
#include "models/registry.h"
#include "tests/cuda/nccl_device.h"
#include "tests/train/sequences.h"
#include "train/shared_model.h"

namespace plinth {
namespace {

using namespace distributed;

class DeviceModelParallel : public OnDeviceWithNccl {};

std::unique_ptr<LanguageModel> small_model(const char* type) {
  ModelSize size;
  size.type = type;
  size.layers = 1;
  size.dim = 32;
  size.heads = 2;
  size.kv_heads = size.type == "llama" ? 1 : 0;
  size.ffn_dim = 48;
  size.context = 16;
  size.vocab_size = 29;
  size.dropout = size.type == "gpt2" ? 0.2 : 0;
  return make_model(size, 3);
}

// The loss, then the gradients.
std::vector<std::vector<double>> run(LanguageModel& model) {
  const Batch batch = Sequences({.context = 16}).next(2);
  manual_seed(5);
  const Tensor loss = model.loss(batch[0].to(model.device()), batch[1].to(model.device()));
  loss.backward();
  std::vector<std::vector<double>> results = {to_vector(loss)};
  for (const Tensor& parameter : model.parameters()) results.push_back(to_vector(parameter.grad()));
  return results;
}

// Against the CPU's whole model: float32 sums in another order.
TEST_F(DeviceModelParallel, GivesTheGradientsOfAWholeModel) {
  for (const auto& [type, algorithm] :
       {std::pair("gpt2", ContextAlgorithm::Ring), {"llama", ContextAlgorithm::Gather}}) {
    const auto expected = run(*small_model(type));
    const auto model = small_model(type);
    share_model(*model, {.tp = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice),
                         .cp = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice),
                         .sequence = true,
                         .algorithm = algorithm});
    model->to(kDevice);
    const auto found = run(*model);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      double most = 0, difference = 0;
      for (size_t j = 0; j < found[i].size(); ++j) {
        most = std::max(most, std::abs(expected[i][j]));
        difference = std::max(difference, std::abs(found[i][j] - expected[i][j]));
      }
      EXPECT_LT(difference, 2e-5 * most) << type << " " << i;
    }
  }
}

}  // namespace
}  // namespace plinth
