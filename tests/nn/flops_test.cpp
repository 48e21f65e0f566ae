#include "nn/flops.h"

#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

const TransformerShape kGpt2 = {
    .layers = 12, .dim = 768, .heads = 12, .ffn_dim = 3072, .vocab = 50257};
const TransformerShape kLlama = {.layers = 16,
                                 .dim = 2048,
                                 .heads = 32,
                                 .kv_heads = 8,
                                 .ffn_dim = 8192,
                                 .gated = true,
                                 .vocab = 128256};

TEST(Flops, CountsTheMatricesOfKnownModels) {
  EXPECT_EQ(matmul_parameters(kGpt2), 12 * 12 * 768 * 768 + 768 * 50257);
  // Llama 3.2 1B: q and o 2048 x 2048, k and v 2048 x 512, three of 2048 x 8192.
  EXPECT_EQ(matmul_parameters(kLlama),
            16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192) + 2048 * 128256);
}

TEST(Flops, TrainingFollowsPaLM) {
  const double n = static_cast<double>(matmul_parameters(kGpt2));
  EXPECT_DOUBLE_EQ(training_flops_per_token(kGpt2, 1024), 6 * n + 12.0 * 12 * 768 * 1024);
  EXPECT_DOUBLE_EQ(forward_flops_per_token(kGpt2, 1024), 2 * n + 4.0 * 12 * 768 * 1024);
  EXPECT_DOUBLE_EQ(training_flops_per_token(kGpt2, 1024, true), 6 * n + 12.0 * 12 * 768 * 512.5);
}

TEST(Flops, UtilisationIsTheShareOfThePeak) {
  EXPECT_DOUBLE_EQ(model_flop_utilisation(2e9, 100, 1e12), 0.2);
  EXPECT_THAT(message_of([] { model_flop_utilisation(1, 1, 0); }),
              testing::HasSubstr("peak_flops is 0"));
}

TEST(Flops, HeadsMustDivideTheWidth) {
  EXPECT_THAT(message_of([] { matmul_parameters({.layers = 1, .dim = 10, .heads = 3}); }),
              testing::HasSubstr("heads is 3, expected a divisor of dim, 10"));
}

}  // namespace
}  // namespace plinth::nn
