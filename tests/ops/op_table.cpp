#include "op_table.h"

#include "core/ops/factories.h"

namespace plinth::op_table {

Tensor Sampler::operator()(const Shape& shape, double low, double high) {
  return uniform(shape, low, high, {.seed = 1, .op = next_++}, {DType::Float64, {}});
}

const std::vector<Family>& families() {
  static const auto* all = new std::vector<Family>{
      {"Unary", unary_rows()},
      {"Binary", binary_rows()},
      {"Choice", choice_rows()},
      {"Views", view_rows()},
      {"Copies", copy_rows()},
      {"Reductions", reduction_rows()},
      {"Indexing", index_rows()},
      {"Matmul", matmul_rows()},
      {"Einsum", einsum_rows()},
      {"Convolutions", conv_rows()},
      {"Normalization", normalization_rows()},
      {"Activations", activation_rows()},
      {"Losses", loss_rows()},
      {"CtcLoss", ctc_loss_rows()},
      {"Attention", attention_rows()},
      {"Rope", rope_rows()},
  };
  return *all;
}

}  // namespace plinth::op_table
