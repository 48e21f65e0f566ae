#include "nn/summary.h"

#include "core/autograd.h"
#include "nn/layers.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Model : public ModuleOf<Model> {
 public:
  Model()
      : embedding(make<Embedding>("embedding", 10, 4)),
        mlp(make<MLP>("mlp", 4, 16)),
        unused(make<Linear>("unused", 4, 4)) {}
  Tensor forward(const Tensor& ids) { return embedding->logits(mlp(mlp(embedding(ids)))); }

  Handle<Embedding> embedding;
  Handle<MLP> mlp;
  Handle<Linear> unused;
};

const SummaryRow& row_of(const Summary& summary, const std::string& path) {
  const auto at = std::ranges::find(summary.rows, path, &SummaryRow::path);
  if (at == summary.rows.end()) throw std::runtime_error("no row " + path);
  return *at;
}

Summary summary_of(Model& model) {
  const Tensor ids = zeros({2, 3}, {DType::Int64, {}});
  return summarize(model, "ids int64 [2, 3]", [&] { model(ids); });
}

TEST(Summary, RowsHoldWhatTheModulesDid) {
  Model model;
  const Summary summary = summary_of(model);
  const int64_t one_mlp = 2 * (2 * 3) * (4 * 16 + 16 * 4), head = 2 * (2 * 3) * 4 * 10;

  EXPECT_EQ(row_of(summary, "").type, "Model");
  EXPECT_EQ(row_of(summary, "").output, Shape({2, 3, 10}));
  EXPECT_EQ(row_of(summary, "").flops, 2 * one_mlp + head);
  EXPECT_EQ(row_of(summary, "mlp").calls, 2);
  EXPECT_EQ(row_of(summary, "mlp").output, Shape({2, 3, 4}));
  EXPECT_EQ(row_of(summary, "mlp").flops, 2 * one_mlp);
  EXPECT_EQ(row_of(summary, "mlp.up").output, Shape({2, 3, 16}));
  EXPECT_EQ(row_of(summary, "mlp.up").flops, one_mlp);
  EXPECT_EQ(row_of(summary, "embedding").flops, head);
  EXPECT_EQ(row_of(summary, "unused").calls, 0);
  EXPECT_FALSE(row_of(summary, "unused").output.has_value());

  EXPECT_EQ(row_of(summary, "mlp").parameters, 4 * 16 + 16 + 16 * 4 + 4);
  EXPECT_EQ(row_of(summary, "").parameters, summary.parameters);
  EXPECT_EQ(summary.parameters, 40 + 148 + 20);
  EXPECT_EQ(summary.flops, 2 * one_mlp + head);
}

TEST(Summary, ModelThatIsNotTracedHasTheTotals) {
  Model model;
  const Tensor ids = zeros({2, 3}, {DType::Int64, {}});
  const Summary summary = summarize(model, "ids", [&] { model.forward(ids); });
  EXPECT_EQ(summary.rows[0].flops, summary.flops);
  EXPECT_FALSE(summary.rows[0].output.has_value());
  EXPECT_EQ(row_of(summary, "mlp").calls, 2);
}

TEST(Summary, FrozenParametersTakeNoGradientMemory) {
  Model model;
  model.unused->set_requires_grad(false);
  const Summary summary = summary_of(model);
  EXPECT_EQ(summary.trainable, summary.parameters - 20);
  EXPECT_EQ(summary.parameter_bytes, 4 * summary.parameters);
  EXPECT_EQ(summary.gradient_bytes, 4 * summary.trainable);
}

TEST(Summary, InferenceHoldsLessThanTraining) {
  Model model;
  const int64_t training = summary_of(model).activation_bytes;
  const NoGradGuard no_grad;
  const int64_t inference = summary_of(model).activation_bytes;
  EXPECT_GT(inference, 0);
  EXPECT_LT(inference, training);
}

TEST(Summary, PrintsATableAndTotals) {
  Model model;
  const Summary summary = summary_of(model);
  const std::string text = to_string(summary);
  EXPECT_THAT(text, HasSubstr("module       type       output      parameters     forward\n"
                              "(model)      Model      [2, 3, 10]         208  3.55 kFLOP\n"
                              "  embedding  Embedding  [2, 3, 10]          40    480 FLOP\n"
                              "  mlp        MLP        [2, 3, 4]          148  3.07 kFLOP\n"
                              "    up       Linear     [2, 3, 16]          80  1.54 kFLOP\n"));
  EXPECT_THAT(text, HasSubstr("  unused     Linear     -                   20           -\n"));
  EXPECT_THAT(text, HasSubstr("sample       ids int64 [2, 3]\n"));
  EXPECT_THAT(text, HasSubstr("parameters   208 (208 trainable), 832 B\n"));
  EXPECT_THAT(to_string(summary, 1), AllOf(HasSubstr("mlp"), Not(HasSubstr("up "))));
}

TEST(Summary, LargeNumbersAreReadable) {
  Summary summary;
  summary.rows.push_back({"", "Large", std::nullopt, 1, 1234567, 999'600});
  summary.parameters = 1234567;
  summary.parameter_bytes = int64_t{3} << 30;
  summary.flops = 123'400'000'000;
  EXPECT_THAT(to_string(summary), AllOf(HasSubstr("1,234,567"), HasSubstr("3.00 GiB"),
                                        HasSubstr("123 GFLOP"), HasSubstr("1.00 MFLOP")));
}

}  // namespace
}  // namespace plinth::nn
