#include "data/tokenizer/gguf_steps.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/json_fields.h"

namespace plinth {
namespace {

using json_fields::Json;

bool marks_spaces(const Json& step) {
  return step == Json{{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}};
}

// Whether the normalizer marks spaces; one that does anything else but to put a mark before the
// text is refused.
bool normalizer_marks_spaces(const Json& normalizer, std::string_view subject) {
  const Json steps = normalizer.is_null()               ? Json::array()
                     : normalizer["type"] == "Sequence" ? normalizer["normalizers"]
                                                        : Json::array({normalizer});
  const Json prepend = {{"type", "Prepend"}, {"prepend", kSpaceMark}};
  int64_t prepended = 0;
  for (const Json& step : steps) {
    const bool is_one = step == prepend && ++prepended == 1;
    check(is_one || marks_spaces(step), ErrorKind::Argument, subject,
          "tokenizer has the normalizer ", step["type"].get<std::string>(), " ",
          printable(step.dump()), ", takes Prepend of U+2581 and Replace of a space by U+2581");
  }
  return std::ranges::any_of(steps, marks_spaces);
}

// Where pieces end at marks, merges never cross one; in GGUF nothing keeps them from it.
void check_split(const TokenizerSpec& spec, std::string_view subject) {
  if (!spec.metaspace->splits_at_marks) return;
  for (const std::string& token : spec.vocabulary) {
    const bool is_crossed = token.find(kSpaceMark, 1) != std::string::npos;
    check(!is_crossed, ErrorKind::Argument, subject,
          "tokenizer has the pre_tokenizer Metaspace with split, and the token ", printable(token),
          ", takes tokens without a mark inside, or no split");
  }
}

}  // namespace

void check_gguf_steps(const TokenizerSpec& spec, std::string_view subject) {
  if (spec.sentence_piece) {
    const SentencePieceFile file =
        parse_sentence_piece_file(spec.sentence_piece->bytes, spec.sentence_piece->file);
    check(!file.removes_extra_spaces, ErrorKind::Argument, subject,
          "tokenizer has remove_extra_whitespaces, takes a model without");
    return;
  }
  const MetaspaceSpec& metaspace = *spec.metaspace;
  check(!metaspace.splits_white_space, ErrorKind::Argument, subject,
        "tokenizer has the pre_tokenizer WhitespaceSplit, takes Metaspace or none");
  const Json json = parse_json(metaspace.source, subject);
  const bool is_marked =
      normalizer_marks_spaces(json_fields::get(json, "normalizer", subject), subject);
  check(is_marked || metaspace.marks_spaces, ErrorKind::Argument, subject,
        "tokenizer has spaces as they are, takes one that makes them U+2581");
  check_split(spec, subject);
}

}  // namespace plinth
