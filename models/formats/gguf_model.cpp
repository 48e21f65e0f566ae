#include "models/formats/gguf_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/autograd.h"
#include "core/error.h"
#include "core/io/text.h"
#include "core/ops/factories.h"
#include "core/ops/rope.h"
#include "models/formats/gguf_config.h"
#include "models/gpt2/gpt2.h"
#include "models/llama/llama.h"
#include "models/registry.h"
#include "models/tensor_files.h"
#include "models/weight_source.h"

namespace plinth {

namespace {

using Names = std::span<const std::pair<std::string_view, std::string_view>>;
using Name = std::pair<std::string_view, std::string_view>;

// Hugging Face's names, without ".weight" and ".bias", and GGUF's; those of a block stand behind
// its number.
constexpr std::string_view kGpt2Block = "transformer.h.", kLlamaBlock = "model.layers.";
constexpr std::array kNames = {
    Name{"transformer.wte", "token_embd"},   Name{"transformer.wpe", "position_embd"},
    Name{"transformer.ln_f", "output_norm"}, Name{"model.embed_tokens", "token_embd"},
    Name{"model.norm", "output_norm"},       Name{"lm_head", "output"}};
constexpr std::array kBlockNames = {
    Name{"ln_1", "attn_norm"},
    Name{"attn.c_attn", "attn_qkv"},
    Name{"attn.c_proj", "attn_output"},
    Name{"ln_2", "ffn_norm"},
    Name{"mlp.c_fc", "ffn_up"},
    Name{"mlp.c_proj", "ffn_down"},
    Name{"input_layernorm", "attn_norm"},
    Name{"self_attn.q_proj", "attn_q"},
    Name{"self_attn.k_proj", "attn_k"},
    Name{"self_attn.v_proj", "attn_v"},
    Name{"self_attn.o_proj", "attn_output"},
    Name{"post_attention_layernorm", "ffn_norm"},
    Name{"mlp.gate_proj", "ffn_gate"},
    Name{"mlp.up_proj", "ffn_up"},
    Name{"mlp.down_proj", "ffn_down"},
};

std::string renamed(Names names, std::string_view name) {
  const auto found = std::ranges::find(names, name, &Name::first);
  check(found != names.end(), ErrorKind::Argument, "gguf", "got tensor ", name,
        ", which no tensor of GGUF stands for");
  return std::string(found->second);
}

// "blk.3.attn_q.weight" of "model.layers.3.self_attn.q_proj.weight".
std::string gguf_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  const std::string end(name.substr(dot));
  std::string_view module = name.substr(0, dot);
  for (const std::string_view block : {kGpt2Block, kLlamaBlock}) {
    if (!module.starts_with(block)) continue;
    module.remove_prefix(block.size());
    const size_t number = module.find('.');
    return "blk." + std::string(module.substr(0, number)) + "." +
           renamed(kBlockNames, module.substr(number + 1)) + end;
  }
  return renamed(kNames, module) + end;
}

// GGUF has every matrix as [out, in], as parameters are.
std::vector<WeightSlice> gguf_slices(const LanguageModel& model) {
  std::vector<WeightSlice> slices = model.weight_slices();
  for (WeightSlice& slice : slices) {
    slice.file_name = gguf_name(slice.file_name);
    slice.transposed = false;
  }
  return slices;
}

// The heads of queries or keys whose pairs of rotated rows lie side by side in the file, and apart
// by half a head in a parameter; 0 for other tensors.
int64_t rotated_heads(const LanguageModelInfo& info, std::string_view name) {
  if (info.type != "llama") return 0;
  if (name.ends_with(".attn_q.weight")) return info.heads;
  return name.ends_with(".attn_k.weight") ? info.kv_heads : 0;
}

// x [heads * a * b, dim] with a and b changed places.
Tensor with_rows_swapped(const Tensor& x, int64_t heads, int64_t a, int64_t b) {
  const Tensor split = x.reshape({heads, a, b, x.size(1)});
  return split.transpose(1, 2).reshape(x.shape()).contiguous();
}

Tensor paired(const Tensor& x, int64_t heads) {
  return with_rows_swapped(x, heads, 2, x.size(0) / heads / 2);
}
Tensor in_halves(const Tensor& x, int64_t heads) {
  return with_rows_swapped(x, heads, x.size(0) / heads / 2, 2);
}

GgmlType type_of_tensor(std::string_view name, const Shape& shape, GgmlType type) {
  if (shape.dim() < 2 || name.starts_with("position_embd.")) return GgmlType::F32;
  const bool fits = shape[shape.dim() - 1] % ggml_type_info(type).block_elements == 0;
  return fits ? type : GgmlType::F16;
}

// llama.cpp's code of what most of a file's tensors are.
uint32_t file_type(GgmlType type) {
  switch (type) {
    case GgmlType::F16: return 1;
    case GgmlType::Q4_0: return 2;
    case GgmlType::Q8_0: return 7;
    case GgmlType::BF16: return 32;
    case GgmlType::F32: break;
  }
  return 0;
}

std::vector<std::byte> encoded(const Tensor& x, GgmlType type) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const auto blocks = static_cast<size_t>(x.numel() / info.block_elements);
  std::vector<std::byte> bytes(blocks * static_cast<size_t>(info.block_bytes));
  if (const std::optional<DType> dtype = plain_dtype(type)) {
    const Tensor plain = x.to(*dtype);
    std::memcpy(bytes.data(), plain.raw_data(), bytes.size());
  } else {
    encode_q8_0({x.data<float>(), static_cast<size_t>(x.numel())}, bytes);
  }
  return bytes;
}

// What a Llama's rotary frequencies are divided by, [head_dim / 2].
Tensor rope_factors(const LlamaConfig& config) {
  const int64_t pairs = config.head_dim / 2;
  // The angles at position 1 are the frequencies, which are at most 1.
  const auto frequency = [&](const RopeTable& table, int64_t i) {
    return std::atan2(table.sin.data<double>()[pairs + i], table.cos.data<double>()[pairs + i]);
  };
  const RopeTable plain = rope_table(2, config.head_dim, config.rope_theta, {}, DType::Float64);
  const RopeTable scaled =
      rope_table(2, config.head_dim, config.rope_theta, config.rope_scaling, DType::Float64);
  Tensor factors = Tensor::empty({pairs});
  for (int64_t i = 0; i < pairs; ++i)
    factors.data<float>()[i] = static_cast<float>(frequency(plain, i) / frequency(scaled, i));
  return factors;
}

bool has_factors(const LlamaConfig& config) {
  return config.rope_scaling.kind == RopeScaling::Kind::Llama3;
}

// Of a file with factors: they must be those of Llama 3's rule, with its limits.
std::optional<RopeScaling> read_scaling(const GgufFile& file) {
  const GgufTensor* tensor = file.find_tensor(kGgufRopeFactors);
  if (!tensor) return std::nullopt;
  const auto refuse = [&](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Format, file.subject(), "tensor ", kGgufRopeFactors, " ", parts...);
  };
  const std::span<const std::byte> bytes = file.data(*tensor);
  refuse(tensor->type.code == ggml_type_info(GgmlType::F32).code && tensor->shape.size() == 1 &&
             !bytes.empty(),
         "is no vector of F32");
  std::vector<float> factors(bytes.size() / sizeof(float));
  std::memcpy(factors.data(), bytes.data(), bytes.size());
  const float largest = *std::ranges::max_element(factors);
  const auto original =
      static_cast<double>(file.integer(kGgufOriginalContext, kLlama3OriginalContext));
  LlamaConfig config;
  config.head_dim = 2 * static_cast<int64_t>(factors.size());
  config.rope_theta = file.number("llama.rope.freq_base", config.rope_theta);
  config.rope_scaling.kind = RopeScaling::Kind::Llama3;
  config.rope_scaling.factor = largest;
  config.rope_scaling.original_positions = original;
  refuse(largest >= 1 && original >= 1 && config.rope_theta >= 1 && std::isfinite(largest),
         "goes up to ", largest, " for ", original, " positions, takes at least 1 for 1");
  const Tensor expected = rope_factors(config);
  for (size_t i = 0; i < factors.size(); ++i) {
    const float known = expected.data<float>()[i];
    refuse(std::abs(factors[i] - known) <= 1e-3f * known, "has ", factors[i], " at ", i,
           ", takes Llama 3's ", known, " for a factor of ", largest, " beyond ", original,
           " positions");
  }
  return config.rope_scaling;
}

std::vector<GgufField> settings_of(const LanguageModel& model) {
  if (const auto* gpt2 = dynamic_cast<const Gpt2*>(&model)) return gguf_fields(gpt2->config());
  const auto* llama = dynamic_cast<const Llama*>(&model);
  check(llama != nullptr, ErrorKind::Argument, "gguf", "model_type got ", model.info().type,
        ", takes gpt2 or llama");
  return gguf_fields(llama->config());
}

GgmlType type_of_code(const GgufFile& file, const GgufTensor& tensor) {
  for (const GgmlType type :
       {GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0}) {
    if (tensor.type.code == static_cast<uint32_t>(type)) return type;
  }
  throw Error(ErrorKind::Format, file.subject(),
              detail::concat("tensor ", printable(tensor.name), " has type ", tensor.type.name,
                             ", takes F32, F16, BF16, Q8_0 or Q4_0"));
}

// As it lies in the file.
Tensor read_tensor(const GgufFile& file, const GgufTensor& tensor, const TensorRecord& record) {
  const GgmlType type = type_of_code(file, tensor);
  if (plain_dtype(type)) return tensor_of(record, file.data(tensor));
  const Tensor x = Tensor::empty(Shape{std::span<const int64_t>(tensor.shape)});
  decode_ggml(type, file.data(tensor), {x.data<float>(), static_cast<size_t>(x.numel())});
  return x;
}

WeightSource source_of(const GgufFile& file, const LanguageModelInfo& info) {
  std::vector<TensorRecord> records;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name == kGgufRopeFactors) continue;
    const DType dtype = plain_dtype(type_of_code(file, tensor)).value_or(DType::Float32);
    records.push_back({tensor.name, dtype, tensor.shape, tensor.begin, tensor.end});
  }
  return {std::move(records), [&file, info](const TensorRecord& record) {
            const Tensor x = read_tensor(file, *file.find_tensor(record.name), record);
            const int64_t heads = rotated_heads(info, record.name);
            return heads > 0 ? in_halves(x, heads) : x;
          }};
}

}  // namespace

void save_gguf(const LanguageModel& model, std::span<const GgufField> fields, GgmlType type,
               const std::filesystem::path& path) {
  const NoGradGuard no_grad;
  check(type != GgmlType::Q4_0, ErrorKind::Argument, "gguf",
        "type got Q4_0, takes F32, F16, BF16 or Q8_0");
  std::vector<GgufField> all = settings_of(model);
  all.push_back({"general.file_type", GgufValue::of(file_type(type))});
  if (type == GgmlType::Q8_0)
    all.push_back({"general.quantization_version", GgufValue::of(uint32_t{2})});
  for (const GgufField& field : fields) {
    std::erase_if(all, [&](const GgufField& known) { return known.key == field.key; });
    all.push_back(field);
  }
  const auto* llama = dynamic_cast<const Llama*>(&model);
  const bool writes_factors = llama != nullptr && has_factors(llama->config());
  const std::vector<WeightSlice> slices = gguf_slices(model);
  const nn::StateDict state = model.state_dict();
  const auto shape_of = [&](const WeightSlice& slice) {
    const Tensor whole = nn::find(state, slice.parameter);
    return slice.rows < 0 ? whole.shape() : whole.narrow(0, slice.first_row, slice.rows).shape();
  };
  const auto exported = [&](const WeightSlice& slice) {
    const Tensor x = export_weights(model, {slice}, DType::Float32)[0].tensor;
    const int64_t heads = rotated_heads(model.info(), slice.file_name);
    return heads > 0 ? paired(x, heads) : x;
  };
  std::vector<GgufTensor> tensors;
  std::vector<GgmlType> types;
  const auto announce = [&](const std::string& name, const Shape& shape) {
    types.push_back(type_of_tensor(name, shape, type));
    tensors.push_back({.name = name,
                       .type = ggml_type_info(types.back()),
                       .shape = {shape.begin(), shape.end()}});
  };
  if (writes_factors)
    announce(std::string(kGgufRopeFactors), Shape({llama->config().head_dim / 2}));
  for (const WeightSlice& slice : slices) announce(slice.file_name, shape_of(slice));
  GgufWriter writer(path, all, std::move(tensors));
  size_t next = 0;
  if (writes_factors) writer.write(encoded(rope_factors(llama->config()), types[next++]));
  for (const WeightSlice& slice : slices) writer.write(encoded(exported(slice), types[next++]));
  writer.commit();
}

std::unique_ptr<LanguageModel> load_gguf(const GgufFile& file) {
  const NoGradGuard no_grad;
  const std::string config = config_of_gguf(file, read_scaling(file));
  std::unique_ptr<LanguageModel> model = make_model(ConfigJson::parse(config, file.subject()));
  read_weights(model->state_dict(), gguf_slices(*model), source_of(file, model->info()),
               file.subject());
  return model;
}

}  // namespace plinth
