// Folders of a tokenizer in older forms: w, vocab.txt; s, spiece.model; else vocab.json and
// merges.txt. Bytes of 0 part the files of text, of which tokenizer_config.json is the last.

#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(tokenizer_files) {
  using namespace plinth;
  static const fuzz::Folder pieces, model, pairs;
  const auto [kind, rest] = fuzz::take_kind(input);
  const fuzz::Folder& folder = kind == 'w' ? pieces : kind == 's' ? model : pairs;
  if (kind == 's') {
    folder.write("spiece.model", rest);
  } else if (kind == 'w') {
    const auto parts = fuzz::parts_of(rest, 2);
    folder.write("vocab.txt", parts[0]);
    folder.write("tokenizer_config.json", parts[1]);
  } else {
    const auto parts = fuzz::parts_of(rest, 3);
    folder.write("vocab.json", parts[0]);
    folder.write("merges.txt", parts[1]);
    folder.write("tokenizer_config.json", parts[2]);
  }
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  tokenizer.eos_id();
  const std::vector<int32_t> ids =
      tokenizer.encode("Hello, hello un\xC3\xA9 the \xE2\x85\xA7 \xFF", {.add_special = true});
  for (const int32_t id : ids)
    fuzz::require(id >= 0 && id < tokenizer.vocab_size(), "gives an id outside the vocabulary");
  tokenizer.decode(ids);
}
