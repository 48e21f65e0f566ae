#include "models/formats/llmc_file.h"

#include <array>
#include <cstring>

#include "core/error.h"

namespace plinth {

namespace {

constexpr int32_t kFloat32Version = 3, kBFloat16Version = 5;
// Beyond any GPT-2. The bytes of all tensors stay below 2^63.
constexpr int32_t kMostLayers = 10000, kMostSize = 1 << 20;
constexpr int64_t kVocabMultiple = 128;
constexpr double kNormEps = 1e-5;
constexpr int64_t kGpt2Vocabulary = 50257;  // whose last token ends a text

// The tensors of a block, in the file's order, with their sizes as multiples of the width.
struct BlockTensor {
  std::string_view name;
  int64_t rows;
  int64_t columns;  // 0: a vector
};
constexpr std::array kBlockTensors = {
    BlockTensor{"ln_1.weight", 1, 0},        BlockTensor{"ln_1.bias", 1, 0},
    BlockTensor{"attn.c_attn.weight", 3, 1}, BlockTensor{"attn.c_attn.bias", 3, 0},
    BlockTensor{"attn.c_proj.weight", 1, 1}, BlockTensor{"attn.c_proj.bias", 1, 0},
    BlockTensor{"ln_2.weight", 1, 0},        BlockTensor{"ln_2.bias", 1, 0},
    BlockTensor{"mlp.c_fc.weight", 4, 1},    BlockTensor{"mlp.c_fc.bias", 4, 0},
    BlockTensor{"mlp.c_proj.weight", 1, 4},  BlockTensor{"mlp.c_proj.bias", 1, 0}};

// Lays records one behind the other.
class Layout {
 public:
  explicit Layout(DType dtype) : dtype_(dtype) {}

  void add(std::string name, std::vector<int64_t> shape) {
    const uint64_t bytes = tensor_bytes(dtype_, shape, ErrorKind::Format, "llm.c", name);
    records_.push_back({std::move(name), dtype_, std::move(shape), end_, end_ + bytes});
    end_ += bytes;
  }
  void skip(int64_t elements) { end_ += static_cast<uint64_t>(elements) * size_of(dtype_); }
  std::vector<TensorRecord> take() { return std::move(records_); }

 private:
  DType dtype_;
  std::vector<TensorRecord> records_;
  uint64_t end_ = 0;
};

}  // namespace

LlmcHeader LlmcHeader::of(const Gpt2Config& config, DType dtype) {
  const auto require = [](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Argument, "llm.c", parts...);
  };
  require(config.tied, "tie_word_embeddings got false, takes true");
  require(config.gelu == GeluForm::Tanh, "activation_function got gelu, takes gelu_new");
  require(config.ffn_dim == 4 * config.dim, "n_inner got ", config.ffn_dim, ", takes 4 n_embd, ",
          4 * config.dim);
  require(config.norm_eps == kNormEps, "layer_norm_epsilon got ", config.norm_eps, ", takes ",
          kNormEps);
  require(dtype == DType::Float32 || dtype == DType::BFloat16, "dtype got ", name(dtype),
          ", takes float32 or bfloat16");
  return {
      .dtype = dtype,
      .context = config.context,
      .vocab_size = config.vocab_size,
      .layers = config.layers,
      .heads = config.heads,
      .dim = config.dim,
      .padded_vocab = (config.vocab_size + kVocabMultiple - 1) / kVocabMultiple * kVocabMultiple};
}

Gpt2Config LlmcHeader::config() const {
  Gpt2Config config;
  config.vocab_size = vocab_size;
  config.context = context;
  config.dim = dim;
  config.layers = layers;
  config.heads = heads;
  config.ffn_dim = 4 * dim;
  config.norm_eps = kNormEps;
  if (vocab_size == kGpt2Vocabulary) {
    config.bos_token = vocab_size - 1;
    config.eos_tokens = {vocab_size - 1};
  }
  return config;
}

std::vector<int32_t> LlmcHeader::numbers() const {
  std::vector<int32_t> numbers(kLlmcModelHeaderBytes / 4);
  numbers[0] = kLlmcMagic;
  numbers[1] = dtype == DType::Float32 ? kFloat32Version : kBFloat16Version;
  size_t at = 2;
  for (const int64_t size : {context, vocab_size, layers, heads, dim, padded_vocab})
    numbers[at++] = static_cast<int32_t>(size);
  return numbers;
}

std::vector<TensorRecord> llmc_records(const LlmcHeader& header) {
  Layout layout(header.dtype);
  layout.add("transformer.wte.weight", {header.vocab_size, header.dim});
  layout.skip((header.padded_vocab - header.vocab_size) * header.dim);
  layout.add("transformer.wpe.weight", {header.context, header.dim});
  for (const BlockTensor& tensor : kBlockTensors) {
    for (int64_t i = 0; i < header.layers; ++i) {
      std::vector<int64_t> shape = {tensor.rows * header.dim};
      if (tensor.columns > 0) shape.push_back(tensor.columns * header.dim);
      layout.add(detail::concat("transformer.h.", i, ".", tensor.name), std::move(shape));
    }
  }
  layout.add("transformer.ln_f.weight", {header.dim});
  layout.add("transformer.ln_f.bias", {header.dim});
  return layout.take();
}

LlmcFile LlmcFile::open(const std::filesystem::path& path) {
  LlmcFile file;
  file.subject_ = path.string();
  file.map_ = MappedFile(path);
  file.read(file.map_.bytes());
  return file;
}

LlmcFile LlmcFile::parse(std::span<const std::byte> bytes, std::string_view subject) {
  LlmcFile file;
  file.subject_ = subject;
  file.read(bytes);
  return file;
}

void LlmcFile::read(std::span<const std::byte> bytes) {
  const auto require = [&](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Format, subject_, parts...);
  };
  require(bytes.size() >= kLlmcModelHeaderBytes, "has ", bytes.size(), " bytes, the header takes ",
          kLlmcModelHeaderBytes);
  std::array<int32_t, 8> numbers{};
  std::memcpy(numbers.data(), bytes.data(), sizeof(numbers));
  require(numbers[0] == kLlmcMagic, "begins with ", numbers[0], ", takes ", kLlmcMagic);
  require(numbers[1] == kFloat32Version || numbers[1] == kBFloat16Version, "version is ",
          numbers[1], ", takes ", kFloat32Version, " (float32) or ", kBFloat16Version,
          " (bfloat16)");
  header_.dtype = numbers[1] == kFloat32Version ? DType::Float32 : DType::BFloat16;
  size_t at = 2;
  const auto size = [&](const char* what, int32_t most) -> int64_t {
    const int32_t value = numbers[at++];
    require(value >= 1 && value <= most, what, " is ", value, ", takes 1 to ", most);
    return value;
  };
  header_.context = size("the context", kMostSize);
  header_.vocab_size = size("the vocabulary", kMostSize);
  header_.layers = size("the number of layers", kMostLayers);
  header_.heads = size("the number of heads", kMostSize);
  header_.dim = size("the width", kMostSize);
  header_.padded_vocab = size("the number of rows of the embedding", kMostSize);
  require(header_.dim % header_.heads == 0, "the width is ", header_.dim, ", takes a multiple of ",
          header_.heads, " heads");
  require(header_.padded_vocab >= header_.vocab_size, "the number of rows of the embedding is ",
          header_.padded_vocab, ", takes at least the vocabulary's ", header_.vocab_size);
  records_ = llmc_records(header_);
  data_ = bytes.subspan(kLlmcModelHeaderBytes);
  require(records_.back().end == data_.size(), "has ", data_.size(),
          " bytes of tensors, its sizes take ", records_.back().end);
}

}  // namespace plinth
