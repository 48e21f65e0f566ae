#pragma once

// Files of token ids, parsed from bytes that nobody vouches for. Every length is checked against
// the bytes there are, without overflow; what does not fit is Error(Format, name) saying what was
// expected. All are little-endian.
//
//   llm.c     a header of 256 int32 (magic, version, number of tokens, zeros), then the tokens:
//             magic 20240520, version 1: uint16; magic 20240801, version 7: uint32
//             (dev/data/data_common.py of llm.c)
//   nanoGPT   uint16 tokens and nothing else (data/*/prepare.py of nanoGPT)
//   Megatron  NAME.bin, the tokens, and NAME.idx: "MMIDIDX\0\0", uint64 version 1, uint8 type,
//             uint64 sequences, uint64 documents; int32 lengths and int64 byte offsets of the
//             sequences; int64 the sequence at which each document starts
//             (megatron/core/datasets/indexed_dataset.py of Megatron-LM)

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace plinth {

enum class ShardFormat { LlmC, NanoGpt, Megatron };

std::string_view name(ShardFormat format);

// Where the tokens are in a file.
struct ShardLayout {
  ShardFormat format = ShardFormat::LlmC;
  int token_bytes = 2;  // 2: uint16; 4: uint32
  uint64_t offset = 0;  // of the first token, in bytes; a multiple of token_bytes
  int64_t tokens = 0;
  // Where documents start, ascending, in tokens. Megatron only; the other formats mark documents
  // with a token.
  std::vector<int64_t> document_starts;
};

inline constexpr size_t kLlmcHeaderBytes = 1024;
inline constexpr int32_t kLlmcMagic16 = 20240520;
inline constexpr int32_t kLlmcVersion16 = 1;
inline constexpr int32_t kLlmcMagic32 = 20240801;
inline constexpr int32_t kLlmcVersion32 = 7;

ShardLayout parse_llmc(std::span<const std::byte> file, std::string_view name);
ShardLayout parse_nanogpt(std::span<const std::byte> file, std::string_view name);

// The .idx file, for a .bin of data_bytes bytes. `name` is the .idx file's.
ShardLayout parse_megatron(std::span<const std::byte> index, uint64_t data_bytes,
                           std::string_view name);

// llm.c's format if the file begins with one of its magic numbers, else nanoGPT's. What reads as
// text is refused: its bytes in pairs would be ids of a large vocabulary.
ShardLayout parse_shard(std::span<const std::byte> file, std::string_view name);

}  // namespace plinth
