#include "models/formats/onnx_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/rope.h"
#include "models/bert/bert.h"
#include "models/formats/onnx_graph.h"
#include "models/gpt2/gpt2.h"
#include "models/llama/llama.h"

namespace plinth {

namespace {

using Value = OnnxGraph::Value;
using Dimension = OnnxGraph::Dimension;

const std::vector<Dimension> kBatchTime = {std::string("batch"), std::string("time")};

struct Heads {
  int64_t count, groups, size;  // groups: of keys and values
};

// The parts that models share. Weights go by their names in Hugging Face's files.
class Builder {
 public:
  explicit Builder(const LanguageModel& model) : model_(&model), slices_(model.weight_slices()) {
    ids_ = graph_.input("input_ids", DType::Int64, kBatchTime);
    const Value shape = graph_.node("Shape", {ids_}, {{"start", int64_t{1}}});
    const Value time = graph_.node("Squeeze", {shape, graph_.integers({0})});
    const Value zero = graph_.node("Squeeze", {graph_.integers({0}), graph_.integers({0})});
    const Value one = graph_.node("Squeeze", {graph_.integers({1}), graph_.integers({0})});
    positions_ = graph_.node("Range", {zero, time, one});
  }

  OnnxGraph& graph() { return graph_; }
  const Value& ids() const { return ids_; }
  const Value& positions() const { return positions_; }

  // As the file has a table or vector; a matrix of a product is [in, out] whatever the file says.
  Value weight(const std::string& name) {
    return graph_.constant(name, exported(name, find(name).transposed));
  }
  Value matrix(const std::string& name) { return graph_.constant(name, exported(name, true)); }

  Value add(const Value& a, const Value& b) { return graph_.node("Add", {a, b}); }
  Value multiply(const Value& a, const Value& b) { return graph_.node("Mul", {a, b}); }
  Value lookup(const Value& table, const Value& indices) {
    return graph_.node("Gather", {table, indices});
  }
  Value linear(const Value& x, const std::string& name, bool has_bias) {
    const Value product = graph_.node("MatMul", {x, matrix(name + ".weight")});
    return has_bias ? add(product, weight(name + ".bias")) : product;
  }
  Value layer_norm(const Value& x, const std::string& name, double eps) {
    return graph_.node("LayerNormalization", {x, weight(name + ".weight"), weight(name + ".bias")},
                       {{"axis", int64_t{-1}}, {"epsilon", static_cast<float>(eps)}});
  }
  Value rms_norm(const Value& x, const std::string& name, double eps) {
    const Value mean = graph_.node("ReduceMean", {multiply(x, x), graph_.integers({-1})},
                                   {{"keepdims", int64_t{1}}});
    const Value root = graph_.node("Sqrt", {add(mean, graph_.number(static_cast<float>(eps)))});
    return multiply(graph_.node("Div", {x, root}), weight(name + ".weight"));
  }
  Value gelu(const Value& x, GeluForm form) {
    return graph_.node("Gelu", {x},
                       {{"approximate", std::string(form == GeluForm::Exact ? "none" : "tanh")}});
  }

  // 0 where a token sees another, and the least number where not: [time, time].
  Value causal_mask() {
    const Value row = graph_.node("Unsqueeze", {positions_, graph_.integers({1})});
    const Value column = graph_.node("Unsqueeze", {positions_, graph_.integers({0})});
    return mask_where(graph_.node("Less", {row, column}));
  }
  Value mask_where(const Value& hidden) {
    return graph_.node(
        "Where", {hidden, graph_.number(std::numeric_limits<float>::lowest()), graph_.number(0)});
  }

  // x [batch, time, heads * size] as [batch, groups, heads a group, time, size].
  Value split_heads(const Value& x, const Heads& heads, int64_t count) {
    const Value split = graph_.node(
        "Reshape", {x, graph_.integers({0, 0, heads.groups, count / heads.groups, heads.size})});
    return graph_.node("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 3, 1, 4}}});
  }
  // softmax(q k' / sqrt(size) + mask) v, q of all heads, k and v of the groups.
  Value attention(const Value& q, const Value& k, const Value& v, const Heads& heads,
                  const Value& mask) {
    const Value turned =
        graph_.node("Transpose", {k}, {{"perm", std::vector<int64_t>{0, 1, 2, 4, 3}}});
    const Value scale = graph_.number(1 / std::sqrt(static_cast<float>(heads.size)));
    const Value scores = add(multiply(graph_.node("MatMul", {q, turned}), scale), mask);
    const Value weights = graph_.node("Softmax", {scores}, {{"axis", int64_t{-1}}});
    const Value mixed = graph_.node("Transpose", {graph_.node("MatMul", {weights, v})},
                                    {{"perm", std::vector<int64_t>{0, 3, 1, 2, 4}}});
    return graph_.node("Reshape", {mixed, graph_.integers({0, 0, heads.count * heads.size})});
  }

  // Logits of x by a head of its own, or by the table of tokens.
  Value logits(const Value& x, const std::string& head, const Value& table) {
    const bool tied = model_->info().tied;
    const Value turned =
        tied ? graph_.node("Transpose", {table}, {{"perm", std::vector<int64_t>{1, 0}}})
             : matrix(head);
    return graph_.node("MatMul", {x, turned});
  }
  void output(const Value& value, const std::string& name, int64_t width) {
    std::vector<Dimension> shape = kBatchTime;
    shape.emplace_back(width);
    graph_.output(value, name, DType::Float32, shape);
  }

 private:
  const WeightSlice& find(const std::string& name) const {
    const auto found = std::ranges::find(slices_, name, &WeightSlice::file_name);
    check(found != slices_.end(), ErrorKind::Argument, "onnx", "the model has no ", name);
    return *found;
  }
  Tensor exported(const std::string& name, bool transposed) const {
    WeightSlice slice = find(name);
    slice.transposed = transposed;
    return export_weights(*model_, {slice}, DType::Float32)[0].tensor;
  }

  const LanguageModel* model_;
  std::vector<WeightSlice> slices_;
  OnnxGraph graph_;
  Value ids_, positions_;
};

void build_gpt2(Builder& b, const Gpt2Config& config) {
  const Heads heads{config.heads, config.heads, config.dim / config.heads};
  const Value table = b.weight("transformer.wte.weight");
  Value x =
      b.add(b.lookup(table, b.ids()), b.lookup(b.weight("transformer.wpe.weight"), b.positions()));
  const Value mask = b.causal_mask();
  const Value widths = b.graph().integers({config.dim, config.dim, config.dim});
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string block = "transformer.h." + std::to_string(i) + ".";
    const Value normed = b.layer_norm(x, block + "ln_1", config.norm_eps);
    const std::vector<Value> parts =
        b.graph().nodes(3, "Split", {b.linear(normed, block + "attn.c_attn", true), widths},
                        {{"axis", int64_t{-1}}});
    std::vector<Value> qkv;
    qkv.reserve(parts.size());
    for (const Value& part : parts) qkv.push_back(b.split_heads(part, heads, heads.count));
    const Value mixed = b.attention(qkv[0], qkv[1], qkv[2], heads, mask);
    x = b.add(x, b.linear(mixed, block + "attn.c_proj", true));
    const Value up =
        b.linear(b.layer_norm(x, block + "ln_2", config.norm_eps), block + "mlp.c_fc", true);
    x = b.add(x, b.linear(b.gelu(up, config.gelu), block + "mlp.c_proj", true));
  }
  x = b.layer_norm(x, "transformer.ln_f", config.norm_eps);
  b.output(b.logits(x, "lm_head.weight", table), "logits", config.vocab_size);
}

// Rotary positions of each token, [time, size / 2].
struct Rotations {
  Value cos, sin;
};

// x [..., time, size], whose halves are turned against each other.
Value rotated(Builder& b, const Value& x, const Rotations& by, int64_t size) {
  OnnxGraph& graph = b.graph();
  const std::vector<Value> halves =
      graph.nodes(2, "Split", {x, graph.integers({size / 2, size / 2})}, {{"axis", int64_t{-1}}});
  const Value first =
      graph.node("Sub", {b.multiply(halves[0], by.cos), b.multiply(halves[1], by.sin)});
  const Value second = b.add(b.multiply(halves[1], by.cos), b.multiply(halves[0], by.sin));
  return graph.node("Concat", {first, second}, {{"axis", int64_t{-1}}});
}

void build_llama(Builder& b, const LlamaConfig& config) {
  check(!config.experts, ErrorKind::Argument, "onnx",
        "model_type got mixtral, takes a llama without experts");
  const Heads heads{config.heads, config.kv_heads, config.head_dim};
  const RopeTable table =
      rope_table(config.context, config.head_dim, config.rope_theta, config.rope_scaling);
  const Rotations rotations{b.lookup(b.graph().constant("rope.cos", table.cos), b.positions()),
                            b.lookup(b.graph().constant("rope.sin", table.sin), b.positions())};
  const Value tokens = b.weight("model.embed_tokens.weight");
  const Value mask = b.causal_mask();
  Value x = b.lookup(tokens, b.ids());
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string block = "model.layers." + std::to_string(i) + ".";
    const Value normed = b.rms_norm(x, block + "input_layernorm", config.norm_eps);
    const auto part = [&](const std::string& name, int64_t count) {
      return b.split_heads(b.linear(normed, block + "self_attn." + name, false), heads, count);
    };
    const Value q = rotated(b, part("q_proj", heads.count), rotations, heads.size);
    const Value k = rotated(b, part("k_proj", heads.groups), rotations, heads.size);
    const Value mixed = b.attention(q, k, part("v_proj", heads.groups), heads, mask);
    x = b.add(x, b.linear(mixed, block + "self_attn.o_proj", false));
    const Value in = b.rms_norm(x, block + "post_attention_layernorm", config.norm_eps);
    const Value gate = b.linear(in, block + "mlp.gate_proj", false);
    const Value gated = b.multiply(b.multiply(gate, b.graph().node("Sigmoid", {gate})),
                                   b.linear(in, block + "mlp.up_proj", false));
    x = b.add(x, b.linear(gated, block + "mlp.down_proj", false));
  }
  x = b.rms_norm(x, "model.norm", config.norm_eps);
  b.output(b.logits(x, "lm_head.weight", tokens), "logits", config.vocab_size);
}

void build_bert(Builder& b, const BertConfig& config) {
  OnnxGraph& graph = b.graph();
  const Heads heads{config.heads, config.heads, config.dim / config.heads};
  const Value seen = graph.input("attention_mask", DType::Int64, kBatchTime);
  const Value segments = graph.input("token_type_ids", DType::Int64, kBatchTime);
  const std::string prefix = config.parts.masked_lm ? "bert." : "";
  const std::string embeddings = prefix + "embeddings.";
  const Value table = b.weight(embeddings + "word_embeddings.weight");
  const Value places = b.lookup(b.weight(embeddings + "position_embeddings.weight"), b.positions());
  const Value kinds = b.lookup(b.weight(embeddings + "token_type_embeddings.weight"), segments);
  Value x = b.layer_norm(b.add(b.lookup(table, b.ids()), b.add(places, kinds)),
                         embeddings + "LayerNorm", config.norm_eps);
  const Value zero = graph.integers({0});
  const Value hidden =
      graph.node("Unsqueeze", {graph.node("Equal", {seen, zero}), graph.integers({1, 2, 3})});
  const Value mask = b.mask_where(hidden);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string block = prefix + "encoder.layer." + std::to_string(i) + ".";
    const auto part = [&](const std::string& name) {
      return b.split_heads(b.linear(x, block + "attention.self." + name, true), heads, heads.count);
    };
    const Value mixed = b.attention(part("query"), part("key"), part("value"), heads, mask);
    x = b.layer_norm(b.add(x, b.linear(mixed, block + "attention.output.dense", true)),
                     block + "attention.output.LayerNorm", config.norm_eps);
    const Value up = b.gelu(b.linear(x, block + "intermediate.dense", true), config.gelu);
    x = b.layer_norm(b.add(x, b.linear(up, block + "output.dense", true)),
                     block + "output.LayerNorm", config.norm_eps);
  }
  if (!config.parts.masked_lm) return b.output(x, "last_hidden_state", config.dim);
  const std::string head = "cls.predictions.";
  const Value turned = b.gelu(b.linear(x, head + "transform.dense", true), config.gelu);
  x = b.layer_norm(turned, head + "transform.LayerNorm", config.norm_eps);
  b.output(b.add(b.logits(x, head + "decoder.weight", table), b.weight(head + "bias")), "logits",
           config.vocab_size);
}

}  // namespace

void save_onnx(const LanguageModel& model, const std::filesystem::path& path,
               uint64_t max_inline_bytes) {
  const NoGradGuard no_grad;
  Builder builder(model);
  if (const auto* gpt2 = dynamic_cast<const Gpt2*>(&model)) {
    build_gpt2(builder, gpt2->config());
  } else if (const auto* llama = dynamic_cast<const Llama*>(&model)) {
    build_llama(builder, llama->config());
  } else if (const auto* bert = dynamic_cast<const Bert*>(&model)) {
    build_bert(builder, bert->config());
  } else {
    throw Error(
        ErrorKind::Argument, "onnx",
        detail::concat("model_type got ", model.info().type, ", takes gpt2, llama or bert"));
  }
  builder.graph().write(path, max_inline_bytes);
}

}  // namespace plinth
