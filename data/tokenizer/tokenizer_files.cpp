// Writing tokenizer.json, and the small files beside it: see tokenizer_spec.h.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/json_fields.h"
#include "data/tokenizer/tokenizer_spec.h"
#include "data/tokenizer/vocabulary.h"

namespace plinth {
namespace {

using json_fields::Json;
using json_fields::json_text;

constexpr std::string_view kGpt2EndOfText = "<|endoftext|>";

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json write_pre_tokenizer(const PreTokenizerSpec& spec) {
  const Json last = byte_level(spec.add_prefix_space, spec.use_gpt2_pattern);
  if (spec.splits.empty()) return last;
  Json steps = Json::array();
  for (const std::string& split : spec.splits) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", split}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back(last);
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

Json write_added_tokens(const std::vector<AddedToken>& tokens) {
  Json array = Json::array();
  for (const AddedToken& token : tokens) {
    array.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  return array;
}

// By id, which a Json object, sorted by key, would lose.
std::string write_vocabulary(const std::vector<std::string>& vocabulary) {
  std::string out = "{";
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary[id].empty()) continue;
    out += (out.size() > 1 ? ",\n" : "\n") + json_text(vocabulary[id]) + ":" + std::to_string(id);
  }
  return out + "}";
}

std::string write_merges(const TokenizerSpec& spec) {
  std::string out = "[";
  for (const auto& [left, right] : spec.merges) {
    out += (out.size() > 1 ? ",\n[" : "\n[") +
           json_text(spec.vocabulary[static_cast<size_t>(left)]) + "," +
           json_text(spec.vocabulary[static_cast<size_t>(right)]) + "]";
  }
  return out + "]";
}

// What follows the added tokens.
std::string write_word_pieces(const TokenizerSpec& spec) {
  const WordPieceSpec& pieces = *spec.word_piece;
  const std::optional<bool>& strips = pieces.normalizer.strip_accents;
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", pieces.normalizer.clean_text},
                           {"handle_chinese_chars", pieces.normalizer.handle_chinese_chars},
                           {"strip_accents", strips ? Json(*strips) : Json()},
                           {"lowercase", pieces.normalizer.lowercase}};
  const Json decoder = {
      {"type", "WordPiece"}, {"prefix", pieces.prefix}, {"cleanup", pieces.cleanup}};
  std::string out = ",\n\"normalizer\":" + normalizer.dump();
  out += ",\n\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}";
  out += ",\n\"post_processor\":" + spec.post_processor + ",\n\"decoder\":" + decoder.dump();
  out += ",\n\"model\":{\"type\":\"WordPiece\",\"unk_token\":" + json_text(pieces.unknown);
  out += ",\"continuing_subword_prefix\":" + json_text(pieces.prefix) +
         ",\"max_input_chars_per_word\":" + std::to_string(pieces.most_characters);
  return out + ",\n\"vocab\":" + write_vocabulary(spec.vocabulary) + "}}\n";
}

// The next line, without its end; the text is what follows.
std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::string role(const Json& json, std::string_view key, std::string_view name) {
  const Json& value = json_fields::get(json, key, name);
  if (value.is_object()) return json_fields::string(value, "content", name);
  return value.is_string() ? value.get<std::string>() : "";
}

// [CLS] before and [SEP] behind a text, if the vocabulary has both.
void add_bert_tokens(TokenizerSpec& spec) {
  for (const std::string token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    const auto found = std::ranges::find(spec.vocabulary, token);
    if (found == spec.vocabulary.end()) continue;
    const auto id = static_cast<int32_t>(found - spec.vocabulary.begin());
    spec.added.push_back({.content = token, .id = id, .special = true});
    if (token == "[CLS]") spec.before = {id};
    if (token == "[SEP]") spec.after = {id};
  }
  if (spec.before.size() + spec.after.size() != 2) return;
  spec.post_processor = Json{{"type", "BertProcessing"},
                             {"cls", {"[CLS]", spec.before[0]}},
                             {"sep", {"[SEP]", spec.after[0]}}}
                            .dump();
}

}  // namespace

std::string write_tokenizer_json(const TokenizerSpec& spec) {
  if (spec.metaspace) return spec.metaspace->source;
  if (spec.word_end) return spec.word_end->source;
  const Json decoder = byte_level(true, true);
  std::string out = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n\"added_tokens\":";
  out += write_added_tokens(spec.added).dump();
  if (spec.word_piece) return out + write_word_pieces(spec);
  out += ",\n\"normalizer\":null,\n\"pre_tokenizer\":";
  out += write_pre_tokenizer(spec.pre_tokenizer).dump() +
         ",\n\"post_processor\":" + spec.post_processor;
  out += ",\n\"decoder\":" + decoder.dump() + ",\n\"model\":{\"type\":\"BPE\",\"dropout\":null,";
  out += "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,";
  out += "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":";
  out += spec.ignore_merges ? "true" : "false";
  out += ",\n\"vocab\":" + write_vocabulary(spec.vocabulary) +
         ",\n\"merges\":" + write_merges(spec) + "}}\n";
  return out;
}

TokenizerSpec parse_vocab_and_merges(std::string_view vocab, std::string_view merges,
                                     std::string_view name) {
  const Json json = parse_json(vocab, name);
  check(json.is_object(), ErrorKind::Format, name, "vocab.json must be an object, got ",
        json.type_name());
  Vocabulary vocabulary(json.size(), name);
  for (const auto& [spelling, id] : json.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(kMostTokens)) {
      throw Error(ErrorKind::Format, name,
                  detail::concat("token ", printable(spelling), " has id ", printable(id.dump()),
                                 ", expected 0 to ", kMostTokens - 1));
    }
    vocabulary.add(spelling, id.get<int32_t>());
  }
  while (!merges.empty()) {
    const std::string_view line = take_line(merges);
    if (!line.empty() && !line.starts_with("#version")) vocabulary.add_merge(line);
  }
  TokenizerSpec spec;
  vocabulary.move_to(spec);
  const auto word_end = std::ranges::find_if(spec.vocabulary, [](const std::string& token) {
    return token.ends_with("</w>") && token.size() > 5;
  });
  if (word_end != spec.vocabulary.end())
    throw Error(
        ErrorKind::Format, name,
        "has tokens that end words, as " + printable(*word_end) + ", takes a tokenizer.json");
  const auto end_of_text =
      std::find(spec.vocabulary.begin(), spec.vocabulary.end(), kGpt2EndOfText);
  if (end_of_text != spec.vocabulary.end()) {
    const auto id = static_cast<int32_t>(end_of_text - spec.vocabulary.begin());
    spec.added.push_back({.content = std::string(kGpt2EndOfText), .id = id, .special = true});
  }
  return spec;
}

TokenizerSpec parse_word_pieces(std::string_view vocab, std::string_view config,
                                std::string_view name) {
  const Json settings = config.empty() ? Json::object() : parse_json(config, name);
  TokenizerSpec spec;
  BertNormalizerSpec& normalizer = spec.word_piece.emplace().normalizer;
  normalizer.lowercase = json_fields::boolean(settings, "do_lower_case", true, name);
  normalizer.handle_chinese_chars =
      json_fields::boolean(settings, "tokenize_chinese_chars", true, name);
  if (!json_fields::get(settings, "strip_accents", name).is_null())
    normalizer.strip_accents = json_fields::boolean(settings, "strip_accents", true, name);
  Vocabulary vocabulary(static_cast<size_t>(std::ranges::count(vocab, '\n')), name);
  check(!first_invalid_utf8(vocab), ErrorKind::Format, name, "vocab.txt is not UTF-8");
  for (int32_t id = 0; !vocab.empty(); ++id) {
    check(id < kMostTokens, ErrorKind::Format, name, "vocab.txt has more than ", kMostTokens,
          " lines");
    const std::string_view line = take_line(vocab);
    if (!line.empty()) vocabulary.add(std::string(line), id);
  }
  vocabulary.move_to(spec);
  add_bert_tokens(spec);
  check(spec.before.size() + spec.after.size() == 2, ErrorKind::Format, name,
        "vocab.txt lacks [CLS] or [SEP]");
  return spec;
}

TokenizerSpec word_piece_spec(std::vector<std::string> vocabulary,
                              const BertNormalizerSpec& normalizer) {
  TokenizerSpec spec;
  spec.word_piece.emplace().normalizer = normalizer;
  spec.vocabulary = std::move(vocabulary);
  add_bert_tokens(spec);
  return spec;
}

TokenRoles parse_token_roles(std::string_view text, std::string_view name) {
  const Json json = parse_json(text, name);
  return {role(json, "eos_token", name), role(json, "bos_token", name),
          role(json, "pad_token", name)};
}

std::string write_tokenizer_config(const TokenRoles& roles) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"clean_up_tokenization_spaces", false}};
  if (!roles.eos.empty()) json["eos_token"] = roles.eos;
  if (!roles.bos.empty()) json["bos_token"] = roles.bos;
  if (!roles.pad.empty()) json["pad_token"] = roles.pad;
  if (!roles.unknown.empty()) json["unk_token"] = roles.unknown;
  if (!roles.first.empty()) json["cls_token"] = roles.first;
  if (!roles.last.empty()) json["sep_token"] = roles.last;
  if (!roles.mask.empty()) json["mask_token"] = roles.mask;
  return json.dump(2) + "\n";
}

}  // namespace plinth
