#pragma once

// What is to be trained: a stack of transformer layers, and the batch of a step.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "distributed/plan/hardware.h"

namespace plinth::plan {

struct Transformer {
  std::string name;
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn = 0;
  bool gated = false;          // an MLP of three matrices (SwiGLU)
  int64_t experts = 1;         // MLPs of a layer,
  int64_t active_experts = 1;  // of which each token passes so many
  int64_t vocab = 0;
  bool tied = false;     // the output projection is the token embedding
  bool causal = true;    // a token sees none of those after it
  bool dropout = false;  // masks are kept, and the passes over memory are longer

  // Elements of a layer's matrices outside its MLP, and of all its experts. Gains, biases and the
  // experts' router are left out, a thousandth of these.
  int64_t attention_parameters() const;
  int64_t expert_parameters() const;
  int64_t layer_parameters() const { return attention_parameters() + expert_parameters(); }
  // The same for the model, embedding and output projection included.
  int64_t parameters() const;
  // Operations of a step for each token, attention to the whole sequence counted, recomputation
  // not (nn/flops.h). skip_masked: only to the tokens that a causal mask leaves.
  double flops_per_token(int64_t sequence, bool skip_masked = false) const;
};

// Throws Error(Argument) for a size below 1, and for kv_heads that do not divide heads, and for
// more active experts than there are.
void validate(const Transformer& model);

// Models of papers, by names such as "gpt3-175b" and "llama3-405b".
std::span<const Transformer> presets();

// What is computed again in backward rather than kept of the forward pass.
enum class Recompute {
  None,
  Selective,  // attention's scores (Korthikanti et al. 2022, arXiv 2205.05198, section 5)
  Alternate,  // every second matrix product and what is not a product (torchtitan's per-op policy)
  Full        // all of a layer but its input
};
std::string_view name(Recompute recompute);

enum class Attention {
  Unfused,  // scores written to memory, their softmax one kernel
  Flash2,   // Dao 2023, arXiv 2307.08691
  Flash3    // Shah et al. 2024, arXiv 2407.08608; Hopper only
};

// What the software that runs the step does besides.
struct Software {
  Attention attention = Attention::Flash2;
  // Backward's tensor-parallel collectives run beside gradients of weights.
  bool overlap_tensor = true;
  // All of them run beside products, cut into slices (AsyncTP).
  bool async_tensor = false;
  // Gradients are reduced and parameters gathered beside computation.
  bool overlap_data = true;
  // Activations go to the next stage beside computation.
  bool overlap_pipeline = true;
  int gradient_bytes = 4;  // of an element, as it is summed and reduced
};

struct Workload {
  Transformer model;
  int64_t sequence = 0;      // tokens
  int64_t global_batch = 0;  // sequences of a step
  Precision precision = Precision::BFloat16;
  Software software = {};
};

}  // namespace plinth::plan
