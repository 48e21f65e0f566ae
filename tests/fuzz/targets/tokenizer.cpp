// tokenizer.json, of byte pairs and of word pieces.

#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"

namespace {

constexpr std::string_view kText =
    "Hello  World's 12345 caf\xC3\xA9, \xE4\xB8\xAD\xE6\x96\x87!\r\n\t we'll unaffable \xFF [UNK] "
    "<|endoftext|> cat";

}  // namespace

PLINTH_FUZZ_TARGET(tokenizer) {
  using namespace plinth;
  const Tokenizer tokenizer = Tokenizer::parse(input, "input");
  const EncodeOptions options = {.allow_special = true, .add_special = true};
  const std::vector<int32_t> ids = tokenizer.encode(kText, options);
  for (const int32_t id : ids)
    fuzz::require(id >= 0 && id < tokenizer.vocab_size(), "gives an id outside the vocabulary");
  tokenizer.decode(ids, {.skip_special = true});
  if (!tokenizer.is_byte_level()) tokenizer.encode_spans("un\xC3\xA9 able [MASK] Hello");
  const Tokenizer again =
      fuzz::must_read([&] { return Tokenizer::parse(tokenizer.to_json(), "written"); });
  fuzz::require(again.encode(kText, options) == ids, "gives other ids when saved and loaded");
}
