#include "data/shards/token_shard.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>

#include "core/error.h"

namespace plinth {
namespace {

constexpr uint64_t kEndBytes = 64 << 10;
constexpr uint64_t kSamples = 64;
constexpr uint64_t kSampleBytes = 4 << 10;

}  // namespace

TokenShard::TokenShard(MappedFile file, ShardLayout layout, std::string name)
    : file_(std::move(file)), layout_(std::move(layout)), name_(std::move(name)) {}

TokenShard TokenShard::open(const std::filesystem::path& path, std::optional<ShardFormat> format) {
  std::filesystem::path data = path;
  std::filesystem::path index = path;
  data.replace_extension(".bin");
  index.replace_extension(".idx");
  const std::string extension = path.extension().string();
  const bool has_index =
      extension == ".idx" || (extension == ".bin" && std::filesystem::exists(index));
  if (format == ShardFormat::Megatron || (!format && has_index)) {
    check(path == data || std::filesystem::exists(data), ErrorKind::Io, path.string(),
          "is an index, and its tokens, ", data.filename().string(), ", do not lie beside it");
    MappedFile file(data);
    const MappedFile index_file(index);
    ShardLayout layout = parse_megatron(index_file.bytes(), file.bytes().size(), index.string());
    return {std::move(file), std::move(layout), data.string()};
  }
  MappedFile file(path);
  ShardLayout layout;
  if (!format) {
    layout = parse_shard(file.bytes(), path.string());
  } else if (*format == ShardFormat::LlmC) {
    layout = parse_llmc(file.bytes(), path.string());
  } else {
    layout = parse_nanogpt(file.bytes(), path.string());
  }
  return {std::move(file), std::move(layout), path.string()};
}

// Calls use(first, last) with pointers to the tokens in their own type.
template <class Use>
void TokenShard::with_tokens(int64_t begin, int64_t end, Use&& use) const {
  check(begin >= 0 && begin <= end && end <= layout_.tokens, ErrorKind::Argument, name_,
        "asked for tokens ", begin, " to ", end, " of ", layout_.tokens);
  if (begin == end) return;
  const std::byte* tokens = file_.bytes().data() + layout_.offset;
  if (layout_.token_bytes == 2) {
    const auto* typed = reinterpret_cast<const uint16_t*>(tokens);
    use(typed + begin, typed + end);
  } else {
    const auto* typed = reinterpret_cast<const uint32_t*>(tokens);
    use(typed + begin, typed + end);
  }
}

uint32_t TokenShard::token(int64_t index) const {
  check(index >= 0 && index < layout_.tokens, ErrorKind::Argument, name_, "asked for token ", index,
        " of ", layout_.tokens);
  uint32_t token = 0;
  with_tokens(index, index + 1, [&](const auto* first, const auto*) { token = *first; });
  return token;
}

void TokenShard::copy(int64_t begin, int64_t end, int32_t* out) const {
  with_tokens(begin, end,
              [&](const auto* first, const auto* last) { std::copy(first, last, out); });
}

void TokenShard::copy(int64_t begin, int64_t end, int64_t* out) const {
  with_tokens(begin, end,
              [&](const auto* first, const auto* last) { std::copy(first, last, out); });
}

void TokenShard::find(uint32_t id, int64_t shift, std::vector<int64_t>& positions) const {
  with_tokens(0, layout_.tokens, [&](const auto* first, const auto* last) {
    for (const auto* at = first; at != last; ++at) {
      if (*at == id) positions.push_back(shift + (at - first));
    }
  });
}

void TokenShard::validate(int64_t vocab_size) const {
  const bool is_guessed = layout_.format == ShardFormat::NanoGpt;
  const char* const guess =
      is_guessed ? "; without llm.c's header, it is read as tokens of 2 bytes" : "";
  with_tokens(0, layout_.tokens, [&](const auto* first, const auto* last) {
    const auto* bad =
        std::find_if(first, last, [&](auto id) { return static_cast<int64_t>(id) >= vocab_size; });
    check(bad == last, ErrorKind::Format, name_, "token ", bad - first, " has id ",
          bad == last ? 0 : *bad, ", but the vocabulary has ", vocab_size, guess);
  });
}

uint64_t TokenShard::fingerprint() const {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  const auto add = [&](const void* data, size_t bytes) { XXH3_64bits_update(&state, data, bytes); };
  const int64_t shape[] = {layout_.token_bytes, layout_.tokens,
                           static_cast<int64_t>(layout_.document_starts.size())};
  add(shape, sizeof shape);
  const std::span<const std::byte> tokens = file_.bytes().subspan(layout_.offset);
  const uint64_t end = std::min<uint64_t>(tokens.size(), kEndBytes);
  add(tokens.data(), end);
  add(tokens.data() + tokens.size() - end, end);
  if (tokens.size() > kSamples * kSampleBytes) {
    for (uint64_t i = 0; i < kSamples; ++i) {
      add(tokens.data() + (tokens.size() - kSampleBytes) / kSamples * i, kSampleBytes);
    }
  }
  add(layout_.document_starts.data(), layout_.document_starts.size() * sizeof(int64_t));
  return XXH3_64bits_digest(&state);
}

}  // namespace plinth
