#include "distributed/plan/workload.h"

#include <array>
#include <vector>

#include "core/error.h"
#include "nn/flops.h"

namespace plinth::plan {
namespace {

nn::TransformerShape shape_of(const Transformer& model) {
  return {.layers = model.layers,
          .dim = model.hidden,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .head_dim = model.head_dim,
          .ffn_dim = model.active_experts * model.ffn,
          .gated = model.gated,
          .vocab = model.vocab};
}

// A decoder of the GPT family: an MLP of 4 hidden, dropout.
Transformer gpt(std::string name, int64_t layers, int64_t hidden, int64_t heads,
                int64_t vocab = 51200) {
  return {.name = std::move(name),
          .layers = layers,
          .hidden = hidden,
          .heads = heads,
          .kv_heads = heads,
          .head_dim = hidden / heads,
          .ffn = 4 * hidden,
          .vocab = vocab,
          .tied = true,
          .dropout = true};
}

Transformer llama(std::string name, int64_t layers, int64_t hidden, int64_t heads, int64_t kv_heads,
                  int64_t ffn, int64_t vocab) {
  return {.name = std::move(name),
          .layers = layers,
          .hidden = hidden,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = hidden / heads,
          .ffn = ffn,
          .gated = true,
          .vocab = vocab};
}

std::vector<Transformer> make_presets() {
  Transformer bloom = gpt("bloom-176b", 70, 14336, 112, 250880);  // arXiv 2211.05100, table 3
  bloom.dropout = false;
  Transformer mixtral = llama("mixtral-8x7b", 32, 4096, 32, 8, 14336, 32000);  // arXiv 2401.04088
  mixtral.experts = 8;
  mixtral.active_experts = 2;
  return {
      gpt("gpt2-124m", 12, 768, 12, 50257),  // Radford et al. 2019, table 2
      gpt("gpt2-1.5b", 48, 1600, 25, 50257),
      gpt("gpt3-175b", 96, 12288, 96),    // arXiv 2005.14165, table 2.1
      gpt("megatron-22b", 48, 6144, 64),  // arXiv 2205.05198, table 3
      gpt("megatron-530b", 105, 20480, 128),
      gpt("megatron-1t", 128, 25600, 160),
      bloom,
      mixtral,
      llama("llama2-7b", 32, 4096, 32, 32, 11008, 32000),  // arXiv 2307.09288
      llama("llama2-13b", 40, 5120, 40, 40, 13824, 32000),
      llama("llama2-70b", 80, 8192, 64, 8, 28672, 32000),
      llama("llama3-8b", 32, 4096, 32, 8, 14336, 128256),  // arXiv 2407.21783, table 3
      llama("llama3-70b", 80, 8192, 64, 8, 28672, 128256),
      llama("llama3-405b", 126, 16384, 128, 8, 53248, 128256),
  };
}

}  // namespace

int64_t Transformer::attention_parameters() const {
  return 2 * hidden * head_dim * (heads + kv_heads);
}

int64_t Transformer::expert_parameters() const {
  return experts * (gated ? 3 : 2) * hidden * ffn;
}

int64_t Transformer::parameters() const {
  return layers * layer_parameters() + (tied ? 1 : 2) * hidden * vocab;
}

double Transformer::flops_per_token(int64_t sequence, bool skip_masked) const {
  return nn::training_flops_per_token(shape_of(*this), sequence, skip_masked);
}

void validate(const Transformer& model) {
  const std::array<std::pair<std::string_view, int64_t>, 9> sizes = {
      {{"layers", model.layers},
       {"hidden", model.hidden},
       {"heads", model.heads},
       {"kv_heads", model.kv_heads},
       {"head_dim", model.head_dim},
       {"ffn", model.ffn},
       {"vocab", model.vocab},
       {"experts", model.experts},
       {"active_experts", model.active_experts}}};
  for (const auto& [key, size] : sizes) {
    check(size >= 1 && size <= int64_t{1} << 24, ErrorKind::Argument, "model", key, " is ", size,
          ", takes 1 to ", int64_t{1} << 24);
  }
  check(model.heads % model.kv_heads == 0, ErrorKind::Argument, "model", "heads is ", model.heads,
        ", takes a multiple of kv_heads (", model.kv_heads, ")");
  check(model.active_experts <= model.experts, ErrorKind::Argument, "model", "active_experts is ",
        model.active_experts, ", takes at most experts (", model.experts, ")");
}

std::span<const Transformer> presets() {
  static const std::vector<Transformer> kPresets = make_presets();
  return kPresets;
}

std::string_view name(Recompute recompute) {
  switch (recompute) {
    case Recompute::None: return "none";
    case Recompute::Selective: return "selective";
    case Recompute::Alternate: return "alternate";
    case Recompute::Full: return "full";
  }
  return "";
}

}  // namespace plinth::plan
