// Reading tokenizer.json: see tokenizer_spec.h.

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/json_fields.h"
#include "data/tokenizer/metaspace_read.h"
#include "data/tokenizer/tokenizer_spec.h"
#include "data/tokenizer/vocabulary.h"

namespace plinth {
namespace {

using json_fields::Json;
using json_fields::refuse;

void require_null(const Json& object, std::string_view key, std::string_view name) {
  const Json& value = json_fields::get(object, key, name);
  if (!value.is_null())
    refuse(name, key, value.contains("type") ? json_fields::type_of(value, name) : value.dump());
}

// `what` and `token` name the number in errors.
int32_t token_id(const Json& value, std::string_view what, std::string_view token,
                 std::string_view name) {
  const auto most = static_cast<uint64_t>(kMostTokens - 1);
  if (!value.is_number_unsigned() || value.get<uint64_t>() > most) {
    throw Error(ErrorKind::Format, name,
                detail::concat(what, ' ', printable(token), " has id ", printable(value.dump()),
                               ", expected 0 to ", most));
  }
  return value.get<int32_t>();
}

void read_split(const Json& step, PreTokenizerSpec& spec, std::string_view name) {
  const std::string& behavior = json_fields::string(step, "behavior", name);
  if (behavior != "Isolated") refuse(name, "pre_tokenizer Split behavior", behavior);
  const Json& pattern = json_fields::at(step, "pattern", name);
  if (pattern.contains("Regex")) {
    spec.splits.push_back(json_fields::string(pattern, "Regex", name));
  } else {
    const std::string& literal = json_fields::string(pattern, "String", name);
    check(!literal.empty(), ErrorKind::Format, name, "pre_tokenizer Split pattern is empty");
    spec.splits.push_back(escape_pattern(literal));
  }
}

void read_byte_level(const Json& step, PreTokenizerSpec& spec, std::string_view name) {
  spec.add_prefix_space = json_fields::boolean(step, "add_prefix_space", true, name);
  spec.use_gpt2_pattern = json_fields::boolean(step, "use_regex", true, name);
}

// ByteLevel alone, or a Sequence of Split and Digits that ends in it.
PreTokenizerSpec read_pre_tokenizer(const Json& json, std::string_view name) {
  PreTokenizerSpec spec;
  const std::string type = json_fields::type_of(json, name);
  if (type == "ByteLevel") {
    read_byte_level(json, spec, name);
    return spec;
  }
  if (type != "Sequence") refuse(name, "pre_tokenizer", type);
  const Json& steps = json_fields::at(json, "pretokenizers", name);
  check(steps.is_array() && !steps.empty(), ErrorKind::Format, name,
        "pre_tokenizer Sequence is empty");
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string step = json_fields::type_of(steps[i], name);
    const bool last = i + 1 == steps.size();
    if (step == "ByteLevel" && last) {
      read_byte_level(steps[i], spec, name);
    } else if (step == "Split" && !last) {
      read_split(steps[i], spec, name);
    } else if (step == "Digits" && !last) {
      const bool single = json_fields::boolean(steps[i], "individual_digits", false, name);
      spec.splits.emplace_back(single ? R"(\p{N})" : R"(\p{N}+)");
    } else {
      refuse(name, last ? "the last pre_tokenizer" : "a pre_tokenizer before the last", step);
    }
  }
  return spec;
}

using Ids = std::vector<int32_t>;

void read_template(const Json& json, Ids& before, Ids& after, std::string_view name) {
  const Json& single = json_fields::at(json, "single", name);
  check(single.is_array(), ErrorKind::Format, name, "post_processor \"single\" must be an array");
  bool seen_text = false;
  for (const Json& item : single) {
    check(item.is_object(), ErrorKind::Format, name, "post_processor \"single\" must hold objects");
    if (item.contains("Sequence")) {
      check(!seen_text, ErrorKind::Format, name,
            "post_processor repeats the text, which is not supported");
      seen_text = true;
      continue;
    }
    const std::string& token =
        json_fields::string(json_fields::at(item, "SpecialToken", name), "id", name);
    const Json& entry = json_fields::at(json_fields::at(json, "special_tokens", name), token, name);
    for (const Json& id : json_fields::at(entry, "ids", name)) {
      (seen_text ? after : before).push_back(token_id(id, "post_processor token", token, name));
    }
  }
  check(seen_text, ErrorKind::Format, name,
        "post_processor drops the text, which is not supported");
}

int32_t read_token_pair(const Json& json, std::string_view key, std::string_view name) {
  const Json& pair = json_fields::at(json, key, name);
  check(pair.is_array() && pair.size() == 2, ErrorKind::Format, name, "post_processor \"", key,
        "\" must be [token, id]");
  return token_id(pair[1], "post_processor token", key, name);
}

// Processors in sequence wrap around what those before them gave.
void read_post_processor(const Json& json, Ids& before, Ids& after, std::string_view name) {
  const std::string type = json_fields::type_of(json, name);
  if (type == "null" || type == "ByteLevel") return;
  Ids prefix;
  Ids suffix;
  if (type == "Sequence") {
    for (const Json& step : json_fields::at(json, "processors", name)) {
      check(json_fields::type_of(step, name) != "Sequence", ErrorKind::Format, name,
            "post_processor has a Sequence in a Sequence, which is not supported");
      read_post_processor(step, before, after, name);
    }
    return;
  }
  if (type == "TemplateProcessing") {
    read_template(json, prefix, suffix, name);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    prefix.push_back(read_token_pair(json, "cls", name));
    suffix.push_back(read_token_pair(json, "sep", name));
  } else {
    refuse(name, "post_processor", type);
  }
  before.insert(before.begin(), prefix.begin(), prefix.end());
  after.insert(after.end(), suffix.begin(), suffix.end());
}

void read_vocabulary(const Json& json, Vocabulary& vocabulary, std::string_view name) {
  check(json.is_object(), ErrorKind::Format, name, "vocab must be an object, got ",
        json.type_name());
  for (const auto& [spelling, id] : json.items())
    vocabulary.add(spelling, token_id(id, "token", spelling, name));
}

void read_merges(const Json& json, Vocabulary& vocabulary, std::string_view name) {
  check(json.is_array(), ErrorKind::Format, name, "merges must be an array, got ",
        json.type_name());
  for (const Json& merge : json) {
    if (merge.is_string()) {
      vocabulary.add_merge(merge.get_ref<const std::string&>());
      continue;
    }
    if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
      throw Error(
          ErrorKind::Format, name,
          detail::concat("merge must be \"a b\" or [\"a\", \"b\"], got ", printable(merge.dump())));
    }
    vocabulary.add_merge(merge[0].get_ref<const std::string&>(),
                         merge[1].get_ref<const std::string&>());
  }
}

void read_word_pieces(const Json& model, TokenizerSpec& spec, std::string_view name) {
  WordPieceSpec& pieces = spec.word_piece.emplace();
  pieces.unknown = json_fields::string(model, "unk_token", name);
  pieces.prefix = json_fields::string(model, "continuing_subword_prefix", name);
  const Json& most = json_fields::at(model, "max_input_chars_per_word", name);
  check(most.is_number_unsigned() && most.get<uint64_t>() <= INT32_MAX, ErrorKind::Format, name,
        "max_input_chars_per_word is ", most.dump(), ", expected 0 to ", INT32_MAX);
  pieces.most_characters = most.get<int64_t>();
  const Json& tokens = json_fields::at(model, "vocab", name);
  Vocabulary vocabulary(tokens.size(), name);
  read_vocabulary(tokens, vocabulary, name);
  vocabulary.move_to(spec);
}

// What goes with word pieces: BERT's steps, and no others.
void read_bert_steps(const Json& json, TokenizerSpec& spec, std::string_view name) {
  const auto step = [&](std::string_view key, std::string_view type) -> const Json& {
    const Json& found = json_fields::get(json, key, name);
    const std::string has = json_fields::type_of(found, name);
    if (has != type) refuse(name, detail::concat(key, " of a WordPiece model"), has);
    return found;
  };
  WordPieceSpec& pieces = *spec.word_piece;
  const Json& normalizer = step("normalizer", "BertNormalizer");
  pieces.normalizer.clean_text = json_fields::boolean(normalizer, "clean_text", true, name);
  pieces.normalizer.handle_chinese_chars =
      json_fields::boolean(normalizer, "handle_chinese_chars", true, name);
  pieces.normalizer.lowercase = json_fields::boolean(normalizer, "lowercase", true, name);
  if (!json_fields::get(normalizer, "strip_accents", name).is_null())
    pieces.normalizer.strip_accents = json_fields::boolean(normalizer, "strip_accents", true, name);
  step("pre_tokenizer", "BertPreTokenizer");
  const Json& decoder = step("decoder", "WordPiece");
  pieces.cleanup = json_fields::boolean(decoder, "cleanup", true, name);
  const std::string& prefix = json_fields::string(decoder, "prefix", name);
  if (prefix != pieces.prefix) refuse(name, "decoder prefix", prefix);
  for (const AddedToken& token : spec.added) {
    if (token.normalized) refuse(name, "an added token that is normalized", token.content);
  }
}

// What goes with tokens that end words: CLIP's steps, and no others but for the pattern.
void read_clip_steps(const Json& json, TokenizerSpec& spec, std::string_view name) {
  const Json normalizer = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "NFC"}},
        {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
        {{"type", "Lowercase"}}}}};
  const Json& given = json_fields::get(json, "normalizer", name);
  if (given != normalizer) refuse(name, "normalizer beside end_of_word_suffix", given.dump());
  const Json& pre_tokenizer = json_fields::at(json, "pre_tokenizer", name);
  const Json& steps = json_fields::get(pre_tokenizer, "pretokenizers", name);
  const bool fits = steps.is_array() && steps.size() == 2 &&
                    json_fields::type_of(steps[0], name) == "Split" &&
                    json_fields::type_of(steps[1], name) == "ByteLevel";
  if (!fits || json_fields::string(steps[0], "behavior", name) != "Removed" ||
      !json_fields::boolean(steps[0], "invert", false, name) ||
      json_fields::boolean(steps[1], "add_prefix_space", true, name))
    refuse(name, "pre_tokenizer beside end_of_word_suffix", pre_tokenizer.dump());
  const Json& pattern = json_fields::at(steps[0], "pattern", name);
  spec.word_end->pattern = json_fields::string(pattern, "Regex", name);
  spec.word_end->use_gpt2_pattern = json_fields::boolean(steps[1], "use_regex", true, name);
  const Json& model = json["model"];
  if (json_fields::boolean(model, "fuse_unk", false, name)) refuse(name, "fuse_unk", "true");
  if (spec.ignore_merges) refuse(name, "ignore_merges beside end_of_word_suffix", "true");
  if (!json_fields::get(model, "unk_token", name).is_null())
    spec.word_end->unknown = json_fields::string(model, "unk_token", name);
  for (const AddedToken& token : spec.added) {
    if (token.normalized && !token.special)
      refuse(name, "an added token that is normalized", token.content);
  }
}

void read_model(const Json& model, TokenizerSpec& spec, std::string_view name) {
  const Json& type = json_fields::get(model, "type", name);
  if (type == "WordPiece") return read_word_pieces(model, spec, name);
  if (type == "Unigram") return read_unigram(model, spec, name);
  if (!type.is_null() && type != "BPE") refuse(name, "model type", type.dump());
  const auto affix = [&](std::string_view key) {
    const Json& value = json_fields::get(model, key, name);
    return value.is_null() ? "" : json_fields::string(model, key, name);
  };
  constexpr std::string_view kPrefix = "continuing_subword_prefix";
  if (const std::string prefix = affix(kPrefix); !prefix.empty()) refuse(name, kPrefix, prefix);
  if (const std::string suffix = affix("end_of_word_suffix"); !suffix.empty())
    spec.word_end.emplace().suffix = suffix;
  const Json& dropout = json_fields::get(model, "dropout", name);
  if (!dropout.is_null() && dropout != 0) refuse(name, "dropout", dropout.dump());
  spec.ignore_merges = json_fields::boolean(model, "ignore_merges", false, name);

  const Json& tokens = json_fields::at(model, "vocab", name);
  Vocabulary vocabulary(tokens.size(), name);
  read_vocabulary(tokens, vocabulary, name);
  read_merges(json_fields::at(model, "merges", name), vocabulary, name);
  vocabulary.move_to(spec);
}

std::vector<AddedToken> read_added_tokens(const Json& json, std::string_view name) {
  std::vector<AddedToken> tokens;
  if (json.is_null()) return tokens;
  check(json.is_array(), ErrorKind::Format, name, "added_tokens must be an array, got ",
        json.type_name());
  for (const Json& item : json) {
    AddedToken token;
    token.content = json_fields::string(item, "content", name);
    check(!token.content.empty(), ErrorKind::Format, name, "an added token is empty");
    token.id = token_id(json_fields::at(item, "id", name), "added token", token.content, name);
    token.special = json_fields::boolean(item, "special", false, name);
    token.normalized = json_fields::boolean(item, "normalized", !token.special, name);
    token.single_word = json_fields::boolean(item, "single_word", false, name);
    token.lstrip = json_fields::boolean(item, "lstrip", false, name);
    token.rstrip = json_fields::boolean(item, "rstrip", false, name);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view text, std::string_view name) {
  const Json json = parse_json(text, name);
  TokenizerSpec spec;
  if (is_metaspace(json, name)) spec.metaspace.emplace();
  read_model(json_fields::at(json, "model", name), spec, name);
  spec.added = read_added_tokens(json_fields::get(json, "added_tokens", name), name);
  const Json& post_processor = json_fields::get(json, "post_processor", name);
  read_post_processor(post_processor, spec.before, spec.after, name);
  spec.post_processor = post_processor.dump();
  check_added_ids(spec, name);
  if (spec.word_piece) {
    read_bert_steps(json, spec, name);
    return spec;
  }
  if (spec.metaspace) {
    read_metaspace(json, spec, name);
    return spec;
  }
  if (spec.word_end) {
    read_clip_steps(json, spec, name);
    spec.word_end->source = std::string(text);
    return spec;
  }
  require_null(json, "normalizer", name);
  spec.pre_tokenizer = read_pre_tokenizer(json_fields::get(json, "pre_tokenizer", name), name);
  const std::string decoder = json_fields::type_of(json_fields::get(json, "decoder", name), name);
  if (decoder != "null" && decoder != "ByteLevel") refuse(name, "decoder", decoder);
  return spec;
}

}  // namespace plinth
