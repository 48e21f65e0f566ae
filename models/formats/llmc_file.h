#pragma once

// GPT-2's weights as llm.c keeps them (https://github.com/karpathy/llm.c, train_gpt2.py,
// write_model): 256 int32,
//
//   20240326, version, context, vocabulary, layers, heads, width, rows of the embedding, 0, ...
//
// then the tensors, each kind for all layers, without gaps, little-endian: float32 in version 3,
// bfloat16 in version 5. The embedding has its rows padded to a multiple of 128.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/safetensors.h"
#include "models/gpt2/config.h"

namespace plinth {

inline constexpr int32_t kLlmcMagic = 20240326;
inline constexpr size_t kLlmcModelHeaderBytes = size_t{256} * 4;

// The sizes of a GPT-2 as a header gives them.
struct LlmcHeader {
  DType dtype = DType::Float32;  // or BFloat16
  int64_t context = 0;
  int64_t vocab_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t dim = 0;
  int64_t padded_vocab = 0;

  // Throws Error(Argument) for a GPT-2 that llm.c does not compute: an output of its own, the exact
  // GELU, an MLP that is not four times as wide, another epsilon; and for another dtype.
  static LlmcHeader of(const Gpt2Config& config, DType dtype);
  Gpt2Config config() const;
  std::vector<int32_t> numbers() const;
};

// A tensor of the file by Hugging Face's name, [out, in] where it is a matrix, with the place of
// its bytes behind the header. The rows that pad the embedding are no part of it.
std::vector<TensorRecord> llmc_records(const LlmcHeader& header);

class LlmcFile {
 public:
  // Maps the file. Throws Error(Io), or Error(Format) naming the field: another magic or version,
  // sizes below 1 or beyond what GPT-2 has, heads that do not divide the width, fewer rows than
  // tokens, or a file that is not as long as these say.
  static LlmcFile open(const std::filesystem::path& path);
  // Reads from memory that outlives the object. `subject` names it in messages.
  static LlmcFile parse(std::span<const std::byte> bytes, std::string_view subject);

  const std::string& subject() const { return subject_; }
  const LlmcHeader& header() const { return header_; }
  const std::vector<TensorRecord>& records() const { return records_; }
  std::span<const std::byte> data(const TensorRecord& record) const {
    return data_.subspan(record.begin, record.end - record.begin);
  }

 private:
  void read(std::span<const std::byte> bytes);

  std::string subject_;
  MappedFile map_;
  LlmcHeader header_;
  std::span<const std::byte> data_;
  std::vector<TensorRecord> records_;
};

}  // namespace plinth
