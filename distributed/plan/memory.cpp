#include "distributed/plan/memory.h"

#include <algorithm>

namespace plinth::plan {
namespace {

double tokens_of(const Workload& work, const Strategy& strategy) {
  return static_cast<double>(strategy.micro_batch * work.sequence) / strategy.context;
}

double split(int64_t size, const Strategy& strategy) {
  return std::max(1.0, static_cast<double>(size) / strategy.tensor);
}

// What the first and the last stage keep of a micro-batch besides layers: Korthikanti's section
// 4.3.
double end_activation_bytes(const Workload& work, const Strategy& strategy, int stage) {
  const double elements = tokens_of(work, strategy) * static_cast<double>(work.model.hidden) /
                          (strategy.sequence_parallel ? strategy.tensor : 1);
  double bytes = 0;
  if (stage == 0 && work.model.dropout) bytes += elements;  // the embedding's mask
  // The inputs of the last norm and of the output projection.
  if (stage == strategy.pipeline - 1) bytes += 4 * elements;
  return bytes;
}

}  // namespace

double layer_activation_bytes(const Workload& work, const Strategy& s) {
  const Transformer& model = work.model;
  const double tokens = tokens_of(work, s), hidden = static_cast<double>(model.hidden);
  const double stream_share = s.sequence_parallel ? s.tensor : 1;
  const double stream = tokens * hidden / stream_share;  // elements of the residual stream
  if (s.recompute == Recompute::Full) return 2 * stream;

  const double queries = tokens * split(model.heads, s) * static_cast<double>(model.head_dim);
  const double keys = tokens * split(model.kv_heads, s) * static_cast<double>(model.head_dim);
  const double ffn = tokens * static_cast<double>(model.active_experts) * split(model.ffn, s);
  // Inputs of both norms and of both blocks' first products, and two masks of a byte.
  double bytes = (2 * 4 + (model.dropout ? 2 : 0)) * stream;
  bytes += 2 * (queries + 2 * keys);         // queries, keys and values
  bytes += 2 * queries;                      // input of attention's output projection
  bytes += 2 * (model.gated ? 3 : 2) * ffn;  // before and after the activation
  // A copy of the tokens for each expert that they pass.
  if (model.experts > 1) bytes += 2 * static_cast<double>(model.active_experts) * stream;
  const bool unfused = work.software.attention == Attention::Unfused;
  if (unfused && s.recompute == Recompute::None) {
    const double scores = tokens * split(model.heads, s) * static_cast<double>(work.sequence);
    bytes += (model.dropout ? 5 : 2) * scores;
  }
  if (!unfused) bytes += 4 * tokens * split(model.heads, s);  // each row's log-sum
  if (s.recompute == Recompute::Alternate) {
    // The layer's input, attention's result, and half of the products' results.
    const double products =
        2 * hidden * tokens / stream_share + queries + 2 * keys + (model.gated ? 2 : 1) * ffn;
    bytes = 2 * stream + 2 * queries + products;
  }
  return bytes;
}

double StageParameters::shared(const Strategy& strategy) const {
  const double ranks = static_cast<double>(strategy.data_shard) * strategy.context;
  return dense / ranks + experts * strategy.expert / ranks;
}

StageParameters stage_parameters(const Workload& work, const Strategy& s, int stage) {
  const Transformer& model = work.model;
  double layers = 0;
  for (int chunk = 0; chunk < s.chunks; ++chunk)
    layers += static_cast<double>(layers_of(model, s, chunk * s.pipeline + stage));
  double dense = layers * static_cast<double>(model.attention_parameters());
  const auto table = static_cast<double>(model.hidden * model.vocab);
  if (stage == 0) dense += table;
  if (stage == s.pipeline - 1 && (s.pipeline > 1 || !model.tied)) dense += table;
  const double experts = layers * static_cast<double>(model.expert_parameters());
  if (s.expert == 1) return {(dense + experts) / s.tensor, 0};
  return {dense / s.tensor, experts / s.tensor / s.expert};
}

MemoryUse memory_use(const Workload& work, const Strategy& s, const std::vector<int>& in_flight) {
  const double layer = layer_activation_bytes(work, s);
  const Transformer& model = work.model;
  MemoryUse most;
  for (int stage = 0; stage < s.pipeline; ++stage) {
    const StageParameters parameters = stage_parameters(work, s, stage);
    const double whole = parameters.whole(), shared = parameters.shared(s);
    const double gathered = 2 *
                            (static_cast<double>(model.attention_parameters()) +
                             static_cast<double>(model.expert_parameters()) / s.expert) /
                            s.tensor;
    MemoryUse use;
    use.parameters = 2 * (s.zero_stage >= 3 ? shared + gathered : whole);
    use.gradients = work.software.gradient_bytes * (s.zero_stage >= 2 ? shared : whole);
    use.optimizer = 12 * (s.zero_stage >= 1 ? shared : whole);
    // Pieces of a stage have the same number of layers, but for the ends of the model.
    const int middle = s.chunks > 1 ? s.pipeline + stage : stage;
    const auto layers = static_cast<double>(layers_of(model, s, middle));
    use.activations = layer * layers * in_flight[stage];
    use.activations += end_activation_bytes(work, s, stage) * in_flight[stage] / s.chunks;
    if (stage == s.pipeline - 1) use.logits = 4 * tokens_of(work, s) * split(model.vocab, s);
    if (use.total() > most.total()) most = use;
  }
  return most;
}

}  // namespace plinth::plan
