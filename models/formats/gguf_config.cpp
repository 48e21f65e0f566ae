#include "models/formats/gguf_config.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view kArchitecture = "general.architecture",
                           kBosToken = "tokenizer.ggml.bos_token_id",
                           kEosToken = "tokenizer.ggml.eos_token_id";

// The decimal number that a float32 was written for: 1e-05, not 9.99999974737875e-06.
double as_written(double value) {
  char text[32];
  const auto end = std::to_chars(std::begin(text), std::end(text), static_cast<float>(value)).ptr;
  double read = value;
  std::from_chars(std::begin(text), end, read);
  return read;
}

// Fields of one architecture.
class Fields {
 public:
  Fields(const GgufFile& file, std::string prefix)
      : file_(&file), prefix_(std::move(prefix) + ".") {}

  int64_t integer(std::string_view key, std::optional<int64_t> otherwise = {}) const {
    return file_->integer(name(key), otherwise);
  }
  double number(std::string_view key, std::optional<double> otherwise = {}) const {
    return as_written(file_->number(name(key), otherwise));
  }
  std::string text(std::string_view key, std::string_view otherwise) const {
    return file_->text(name(key), std::string(otherwise));
  }
  template <class... Parts>
  void require(bool ok, std::string_view key, const Parts&... parts) const {
    check(ok, ErrorKind::Format, file_->subject(), "field ", name(key), " is ", parts...);
  }

 private:
  std::string name(std::string_view key) const { return prefix_ + std::string(key); }

  const GgufFile* file_;
  std::string prefix_;
};

int64_t vocabulary_size(const GgufFile& file) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    throw Error(
        ErrorKind::Format, file.subject(),
        detail::concat("tensor token_embd.weight ", embedding ? "is no matrix" : "is missing",
                       ", takes [vocabulary, embedding_length]"));
  return embedding->shape[0];
}

OrderedJson token_of(const GgufFile& file, std::string_view key) {
  const int64_t id = file.integer(key, -1);
  return id >= 0 ? OrderedJson(id) : OrderedJson();
}

// What both architectures have.
OrderedJson common_settings(const GgufFile& file) {
  OrderedJson json;
  json["vocab_size"] = vocabulary_size(file);
  json["tie_word_embeddings"] = file.find_tensor("output.weight") == nullptr;
  json["bos_token_id"] = token_of(file, kBosToken);
  json["eos_token_id"] = token_of(file, kEosToken);
  return json;
}

OrderedJson gpt2_settings(const GgufFile& file, const Fields& fields) {
  OrderedJson json = common_settings(file);
  json["model_type"] = "gpt2";
  json["n_positions"] = fields.integer("context_length");
  json["n_embd"] = fields.integer("embedding_length");
  json["n_layer"] = fields.integer("block_count");
  json["n_head"] = fields.integer("attention.head_count");
  json["n_inner"] = fields.integer("feed_forward_length");
  json["layer_norm_epsilon"] = fields.number("attention.layer_norm_epsilon");
  return json;
}

OrderedJson rope_settings(const Fields& fields, const std::optional<RopeScaling>& scaling) {
  OrderedJson rope = {{"rope_theta", fields.number("rope.freq_base", 10000)},
                      {"rope_type", "default"}};
  const std::string type = fields.text("rope.scaling.type", "none");
  fields.require(type == "none" || type == "linear", "rope.scaling.type", printable(type),
                 ", takes none or linear");
  if (type == "linear") {
    rope["rope_type"] = "linear";
    rope["factor"] = fields.number("rope.scaling.factor");
  }
  if (scaling) {
    fields.require(type == "none", "rope.scaling.type", printable(type), ", but there is a tensor ",
                   kGgufRopeFactors, " too");
    rope["rope_type"] = "llama3";
    rope["factor"] = scaling->factor;
    rope["low_freq_factor"] = scaling->low_freq_factor;
    rope["high_freq_factor"] = scaling->high_freq_factor;
    rope["original_max_position_embeddings"] = static_cast<int64_t>(scaling->original_positions);
  }
  return rope;
}

OrderedJson llama_settings(const GgufFile& file, const Fields& fields,
                           const std::optional<RopeScaling>& scaling) {
  OrderedJson json = common_settings(file);
  json["model_type"] = "llama";
  json["max_position_embeddings"] = fields.integer("context_length");
  const int64_t dim = fields.integer("embedding_length");
  const int64_t heads = fields.integer("attention.head_count");
  fields.require(heads > 0, "attention.head_count", heads, ", takes 1 or more");
  json["hidden_size"] = dim;
  json["num_hidden_layers"] = fields.integer("block_count");
  json["num_attention_heads"] = heads;
  json["num_key_value_heads"] = fields.integer("attention.head_count_kv", heads);
  const int64_t head_dim = fields.integer("attention.key_length", dim / heads);
  json["head_dim"] = head_dim;
  for (const std::string_view key : {"attention.value_length", "rope.dimension_count"}) {
    const int64_t size = fields.integer(key, head_dim);
    fields.require(size == head_dim, key, size, ", takes that of a head, ", head_dim);
  }
  const int64_t experts = fields.integer("expert_count", 0);
  fields.require(experts == 0, "expert_count", experts, ", takes 0");
  json["intermediate_size"] = fields.integer("feed_forward_length");
  json["rms_norm_eps"] = fields.number("attention.layer_norm_rms_epsilon");
  json["rope_parameters"] = rope_settings(fields, scaling);
  return json;
}

// Fields to write, each behind the architecture's name.
class FieldList {
 public:
  explicit FieldList(const std::string& architecture) : prefix_(architecture + ".") {
    fields_.push_back({std::string(kArchitecture), GgufValue::of(architecture)});
  }
  void integer(std::string_view key, int64_t value) {
    fields_.push_back({prefix_ + std::string(key), GgufValue::of(static_cast<uint32_t>(value))});
  }
  void number(std::string_view key, double value) {
    fields_.push_back({prefix_ + std::string(key), GgufValue::of(static_cast<float>(value))});
  }
  void text(std::string_view key, std::string value) {
    fields_.push_back({prefix_ + std::string(key), GgufValue::of(std::move(value))});
  }
  // The last of all.
  std::vector<GgufField> with_tokens(std::optional<int64_t> bos, const std::vector<int64_t>& eos,
                                     int64_t vocab_size) {
    add_token(kBosToken, bos, vocab_size);
    add_token(kEosToken, first_token(eos), vocab_size);
    return std::move(fields_);
  }

 private:
  // Beyond the vocabulary is what a config.json that names no token takes for a small one.
  void add_token(std::string_view key, std::optional<int64_t> id, int64_t vocab_size) {
    if (id && *id < vocab_size)
      fields_.push_back({std::string(key), GgufValue::of(static_cast<uint32_t>(*id))});
  }

  std::string prefix_;
  std::vector<GgufField> fields_;
};

}  // namespace

std::string config_of_gguf(const GgufFile& file, const std::optional<RopeScaling>& scaling) {
  const std::string architecture = file.text(kArchitecture);
  check(architecture == "gpt2" || architecture == "llama", ErrorKind::Format, file.subject(),
        "field ", kArchitecture, " is ", printable(architecture), ", takes gpt2 or llama");
  const Fields fields(file, architecture);
  const OrderedJson settings =
      architecture == "gpt2" ? gpt2_settings(file, fields) : llama_settings(file, fields, scaling);
  return settings.dump();
}

std::vector<GgufField> gguf_fields(const Gpt2Config& config) {
  check(config.gelu == GeluForm::Tanh, ErrorKind::Argument, "gguf",
        "activation_function got gelu, takes gelu_new: GGUF's gpt2 computes that");
  FieldList fields("gpt2");
  fields.integer("context_length", config.context);
  fields.integer("embedding_length", config.dim);
  fields.integer("block_count", config.layers);
  fields.integer("feed_forward_length", config.ffn_dim);
  fields.integer("attention.head_count", config.heads);
  fields.number("attention.layer_norm_epsilon", config.norm_eps);
  return fields.with_tokens(config.bos_token, config.eos_tokens, config.vocab_size);
}

std::vector<GgufField> gguf_fields(const LlamaConfig& config) {
  check(!config.experts, ErrorKind::Argument, "gguf",
        "model_type got mixtral, takes a llama without experts");
  FieldList fields("llama");
  fields.integer("vocab_size", config.vocab_size);
  fields.integer("context_length", config.context);
  fields.integer("embedding_length", config.dim);
  fields.integer("block_count", config.layers);
  fields.integer("feed_forward_length", config.ffn_dim);
  fields.integer("attention.head_count", config.heads);
  fields.integer("attention.head_count_kv", config.kv_heads);
  fields.integer("attention.key_length", config.head_dim);
  fields.integer("attention.value_length", config.head_dim);
  fields.number("attention.layer_norm_rms_epsilon", config.norm_eps);
  fields.integer("rope.dimension_count", config.head_dim);
  fields.number("rope.freq_base", config.rope_theta);
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::Linear) {
    fields.text("rope.scaling.type", "linear");
    fields.number("rope.scaling.factor", scaling.factor);
  } else if (scaling.kind == RopeScaling::Kind::Llama3) {
    fields.integer(kGgufOriginalContext.substr(std::string_view("llama.").size()),
                   static_cast<int64_t>(scaling.original_positions));
  }
  return fields.with_tokens(config.bos_token, config.eos_tokens, config.vocab_size);
}

}  // namespace plinth
