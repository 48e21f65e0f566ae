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

std::string role(const Json& json, std::string_view key, std::string_view name) {
  const Json& value = json_fields::get(json, key, name);
  if (value.is_object()) return json_fields::string(value, "content", name);
  return value.is_string() ? value.get<std::string>() : "";
}

}  // namespace

std::string write_tokenizer_json(const TokenizerSpec& spec) {
  const Json decoder = byte_level(true, true);
  std::string out = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n\"added_tokens\":";
  out += write_added_tokens(spec.added).dump() + ",\n\"normalizer\":null,\n\"pre_tokenizer\":";
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
    const size_t end = std::min(merges.find('\n'), merges.size());
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(std::min(end + 1, merges.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !line.starts_with("#version")) vocabulary.add_merge(line);
  }
  TokenizerSpec spec;
  vocabulary.move_to(spec);
  const auto end_of_text =
      std::find(spec.vocabulary.begin(), spec.vocabulary.end(), kGpt2EndOfText);
  if (end_of_text != spec.vocabulary.end()) {
    const auto id = static_cast<int32_t>(end_of_text - spec.vocabulary.begin());
    spec.added.push_back({.content = std::string(kGpt2EndOfText), .id = id, .special = true});
  }
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
  return json.dump(2) + "\n";
}

}  // namespace plinth
