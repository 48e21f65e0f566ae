#include "data/shards/formats.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"

namespace plinth {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are read in place");

constexpr int32_t kLlmcEvaluationMagic = 20240522;
constexpr std::string_view kMegatronMagic{"MMIDIDX\0\0", 9};
constexpr uint64_t kMegatronHeaderBytes = 9 + 8 + 1 + 8 + 8;

// Megatron's type codes.
constexpr uint8_t kMegatronInt32 = 4;
constexpr uint8_t kMegatronUint16 = 8;

// A value at a byte offset that the caller has checked, whatever its alignment.
template <class T>
T load(std::span<const std::byte> bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void refuse_empty(std::span<const std::byte> file, std::string_view name) {
  check(!file.empty(), ErrorKind::Format, name, "the file is empty, expected tokens");
}

// Whether the beginning is UTF-8 without control characters, as no 16 bytes of token ids but by
// rare chance: the ids of frequent tokens, which are small, have bytes of 0.
bool is_text(std::span<const std::byte> file) {
  constexpr size_t kLeast = 16, kMost = 4096, kLongestCharacter = 4;
  if (file.size() < kLeast) return false;
  const std::string_view text = text_of(file.first(std::min(file.size(), kMost)));
  const std::optional<size_t> invalid = first_invalid_utf8(text);
  const bool is_cut = file.size() > kMost && invalid > kMost - kLongestCharacter;
  if (invalid && !is_cut) return false;
  return std::ranges::none_of(text, [](unsigned char c) {
    return (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f') || c == 0x7f;
  });
}

int32_t magic_of(std::span<const std::byte> file) {
  return file.size() < 4 ? 0 : load<int32_t>(file, 0);
}

// The arrays of a Megatron index, once their place in the file is checked.
class MegatronIndex {
 public:
  MegatronIndex(std::span<const std::byte> index, std::string_view name)
      : bytes_(index), name_(name) {
    check(index.size() >= kMegatronHeaderBytes, ErrorKind::Format, name, "the file has ",
          index.size(), " bytes, expected a Megatron index of at least ", kMegatronHeaderBytes);
    check(std::memcmp(index.data(), kMegatronMagic.data(), kMegatronMagic.size()) == 0,
          ErrorKind::Format, name, "does not begin with MMIDIDX, expected a Megatron index");
    const auto version = load<uint64_t>(index, 9);
    check(version == 1, ErrorKind::Format, name, "Megatron index has version ", version,
          ", expected 1");
    const auto type = load<uint8_t>(index, 17);
    check(type == kMegatronUint16 || type == kMegatronInt32, ErrorKind::Format, name,
          "Megatron index has type code ", int{type}, ", expected 8 (uint16) or 4 (int32)");
    token_bytes = type == kMegatronUint16 ? 2 : 4;
    sequences = load<uint64_t>(index, 18);
    documents = load<uint64_t>(index, 26);
    const uint64_t rest = index.size() - kMegatronHeaderBytes;
    check(sequences <= rest / 12 && documents <= (rest - sequences * 12) / 8, ErrorKind::Format,
          name, "Megatron index says ", sequences, " sequences and ", documents,
          " documents, too many for its ", index.size(), " bytes");
  }

  int32_t length(uint64_t sequence) const {
    return load<int32_t>(bytes_, kMegatronHeaderBytes + sequence * 4);
  }
  int64_t pointer(uint64_t sequence) const {
    return load<int64_t>(bytes_, kMegatronHeaderBytes + sequences * 4 + sequence * 8);
  }
  int64_t document(uint64_t which) const {
    return load<int64_t>(bytes_, kMegatronHeaderBytes + sequences * 12 + which * 8);
  }

  int token_bytes = 2;
  uint64_t sequences = 0;
  uint64_t documents = 0;

 private:
  std::span<const std::byte> bytes_;
  std::string_view name_;
};

// Checks that the sequences lie one behind the other and fill the .bin file; gives its tokens.
int64_t check_sequences(const MegatronIndex& index, uint64_t data_bytes, std::string_view name) {
  const uint64_t width = static_cast<uint64_t>(index.token_bytes);
  uint64_t position = 0;
  for (uint64_t s = 0; s < index.sequences; ++s) {
    const int32_t length = index.length(s);
    check(length >= 0, ErrorKind::Format, name, "sequence ", s, " has length ", length);
    const int64_t pointer = index.pointer(s);
    check(pointer >= 0 && static_cast<uint64_t>(pointer) == position, ErrorKind::Format, name,
          "sequence ", s, " starts at byte ", pointer, ", expected ", position,
          " (right behind the one before)");
    const uint64_t bytes = static_cast<uint64_t>(length) * width;
    check(bytes <= data_bytes - position, ErrorKind::Format, name, "sequence ", s, " ends at byte ",
          position + bytes, ", but the .bin file has ", data_bytes);
    position += bytes;
  }
  check(position == data_bytes, ErrorKind::Format, name, "the sequences take ", position,
        " bytes, but the .bin file has ", data_bytes);
  return static_cast<int64_t>(position / width);
}

// The list names the sequence at which each document starts, and ends with the number of sequences.
std::vector<int64_t> find_document_starts(const MegatronIndex& index, std::string_view name) {
  std::vector<int64_t> starts;
  int64_t last = 0;
  for (uint64_t d = 0; d < index.documents; ++d) {
    const int64_t sequence = index.document(d);
    check(sequence >= last && static_cast<uint64_t>(sequence) <= index.sequences, ErrorKind::Format,
          name, "document ", d, " starts at sequence ", sequence, ", expected ", last, " to ",
          index.sequences);
    last = sequence;
    if (static_cast<uint64_t>(sequence) == index.sequences) continue;
    const int64_t start = index.pointer(static_cast<uint64_t>(sequence)) / index.token_bytes;
    if (starts.empty() || starts.back() != start) starts.push_back(start);
  }
  return starts;
}

}  // namespace

std::string_view name(ShardFormat format) {
  switch (format) {
    case ShardFormat::LlmC: return "llm.c";
    case ShardFormat::NanoGpt: return "nanoGPT";
    case ShardFormat::Megatron: return "Megatron";
  }
  return "unknown";
}

ShardLayout parse_llmc(std::span<const std::byte> file, std::string_view name) {
  refuse_empty(file, name);
  check(file.size() >= kLlmcHeaderBytes, ErrorKind::Format, name, "the file has ", file.size(),
        " bytes, expected an llm.c header of ", kLlmcHeaderBytes);
  const int32_t magic = magic_of(file);
  check(magic == kLlmcMagic16 || magic == kLlmcMagic32, ErrorKind::Format, name,
        "has magic number ", magic, ", expected llm.c's ", kLlmcMagic16, " or ", kLlmcMagic32,
        magic == kLlmcEvaluationMagic ? " (this is an llm.c evaluation file)" : "");
  const int32_t expected_version = magic == kLlmcMagic16 ? kLlmcVersion16 : kLlmcVersion32;
  const auto version = load<int32_t>(file, 4);
  check(version == expected_version, ErrorKind::Format, name, "llm.c header has version ", version,
        ", expected ", expected_version);
  const auto tokens = load<int32_t>(file, 8);
  check(tokens >= 0, ErrorKind::Format, name, "llm.c header says ", tokens, " tokens");

  ShardLayout layout;
  layout.format = ShardFormat::LlmC;
  layout.token_bytes = magic == kLlmcMagic16 ? 2 : 4;
  layout.offset = kLlmcHeaderBytes;
  layout.tokens = tokens;
  const uint64_t expected =
      kLlmcHeaderBytes + static_cast<uint64_t>(tokens) * static_cast<uint64_t>(layout.token_bytes);
  check(file.size() == expected, ErrorKind::Format, name, "the file has ", file.size(),
        " bytes, expected ", expected, " (llm.c header and ", tokens, " tokens of ",
        layout.token_bytes, " bytes)");
  return layout;
}

ShardLayout parse_nanogpt(std::span<const std::byte> file, std::string_view name) {
  refuse_empty(file, name);
  check(
      file.size() % 2 == 0, ErrorKind::Format, name, "the file has ", file.size(),
      " bytes, expected an even number (tokens of 2 bytes and no header, as nanoGPT writes them)");
  ShardLayout layout;
  layout.format = ShardFormat::NanoGpt;
  layout.tokens = static_cast<int64_t>(file.size() / 2);
  return layout;
}

ShardLayout parse_megatron(std::span<const std::byte> index, uint64_t data_bytes,
                           std::string_view name) {
  const MegatronIndex arrays(index, name);
  ShardLayout layout;
  layout.format = ShardFormat::Megatron;
  layout.token_bytes = arrays.token_bytes;
  layout.tokens = check_sequences(arrays, data_bytes, name);
  layout.document_starts = find_document_starts(arrays, name);
  return layout;
}

ShardLayout parse_shard(std::span<const std::byte> file, std::string_view name) {
  const int32_t magic = magic_of(file);
  const bool is_llmc =
      magic == kLlmcMagic16 || magic == kLlmcMagic32 || magic == kLlmcEvaluationMagic;
  if (is_llmc) return parse_llmc(file, name);
  check(!is_text(file), ErrorKind::Format, name,
        "is text, expected token ids; plinth tokenize makes files of them, and plinth eval takes a "
        "text as --text");
  return parse_nanogpt(file, name);
}

}  // namespace plinth
