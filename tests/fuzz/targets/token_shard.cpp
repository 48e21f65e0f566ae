// Files of tokens: m, Megatron's, whose .idx follows as many bytes of .bin as the next two bytes
// say; else llm.c's or nanoGPT's.

#include "core/io/file.h"
#include "data/shards/token_dataset.h"
#include "tests/fuzz/target.h"

namespace {

using namespace plinth;

std::filesystem::path write_files(std::string_view input) {
  static const fuzz::Folder megatron, other;
  const auto [kind, rest] = fuzz::take_kind(input);
  if (kind != 'm' || rest.size() < 2) return other.write("tokens.bin", rest);
  const auto low = static_cast<unsigned char>(rest[0]), high = static_cast<unsigned char>(rest[1]);
  const std::string_view files = rest.substr(2);
  const size_t cut = std::min<size_t>(low + 256 * size_t{high}, files.size());
  megatron.write("tokens.idx", files.substr(cut));
  return megatron.write("tokens.bin", files.substr(0, cut));
}

}  // namespace

PLINTH_FUZZ_TARGET(token_shard) {
  const TokenDataset data = TokenDataset::open(write_files(input).string());
  data.fingerprint();
  std::vector<int64_t> tokens(static_cast<size_t>(data.size()));
  data.copy(0, data.size(), tokens.data());
  fuzz::touch(std::as_bytes(std::span(tokens)));
  int64_t last = -1;
  for (const int64_t start : data.document_starts({.eos = 1})) {
    fuzz::require(start > last && start <= data.size(), "documents are not in order");
    last = start;
  }
  data.validate(50257);
}
