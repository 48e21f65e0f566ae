// A file of a model: its fields, its settings, its tokenizer and every tensor.

#include "core/io/gguf.h"
#include "data/tokenizer/gguf_tokenizer.h"
#include "models/formats/gguf_config.h"
#include "tests/fuzz/target.h"

namespace {

using namespace plinth;

// The elements of a tensor as numbers, where Plinth computes with its type.
void decode(const GgufFile& file, const GgufTensor& tensor) {
  const std::span<const std::byte> bytes = file.data(tensor);
  fuzz::touch(bytes);
  for (const GgmlType type :
       {GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0}) {
    if (static_cast<uint32_t>(type) != tensor.type.code) continue;
    const size_t blocks = bytes.size() / static_cast<size_t>(tensor.type.block_bytes);
    std::vector<float> numbers(blocks * static_cast<size_t>(tensor.type.block_elements));
    decode_ggml(type, bytes, numbers);
    fuzz::touch(std::as_bytes(std::span(numbers)));
  }
}

void read_settings(const GgufFile& file) {
  try {
    const std::string config = config_of_gguf(file, std::nullopt);
    const ConfigJson json = ConfigJson::parse(config, "config");
    if (json.text("model_type", "") == "gpt2") {
      gguf_fields(Gpt2Config::from_json(json));
    } else {
      gguf_fields(LlamaConfig::from_json(json));
    }
  } catch (const Error&) {
  }
}

}  // namespace

PLINTH_FUZZ_TARGET(gguf) {
  const GgufFile file = GgufFile::parse(bytes_of(input), "input");
  for (const GgufTensor& tensor : file.tensors()) decode(file, tensor);
  read_settings(file);
  const auto files = gguf_tokenizer_files(file);
  const Tokenizer tokenizer = fuzz::must_read(
      [&] { return Tokenizer::parse(files.at("tokenizer.json"), "tokenizer.json"); });
  tokenizer.decode(tokenizer.encode("Hello, world 1066"));
  gguf_fields(tokenizer, tokenizer.vocab_size());
}
