// Reading the parts of tokenizer.json that came from SentencePiece: see tokenizer_spec.h.

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/text.h"
#include "data/json_fields.h"
#include "data/tokenizer/char_map.h"
#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/metaspace_read.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/utf8.h"
#include "data/tokenizer/vocabulary.h"

namespace plinth {
namespace {

using json_fields::Json;
using json_fields::refuse;

std::string decoded_base64(std::string_view text, std::string_view name) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t digit = kDigits.find(c);
    check(digit != std::string_view::npos, ErrorKind::Format, name,
          "precompiled_charsmap is not base64");
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xFF));
  }
  return bytes;
}

MetaspaceSpec::TextStep read_replace(const Json& step, std::string_view name) {
  const Json& pattern = json_fields::at(step, "pattern", name);
  const std::string& by = json_fields::string(step, "content", name);
  const bool is_literal = pattern.contains("String");
  const std::string& what = json_fields::string(pattern, is_literal ? "String" : "Regex", name);
  check(!what.empty(), ErrorKind::Format, name, "normalizer Replace has an empty pattern");
  const auto found = std::make_shared<Pattern>(is_literal ? escape_pattern(what) : what, name);
  return [found, by](std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const Pattern::Match match = found->find(text, at);
      out += text.substr(at, match.begin - at);
      if (match.begin < text.size()) out += by;
      at = match.end;
    }
    return out;
  };
}

MetaspaceSpec::TextStep read_strip(const Json& step, std::string_view name) {
  const bool left = json_fields::boolean(step, "strip_left", false, name);
  const bool right = json_fields::boolean(step, "strip_right", false, name);
  return [left, right](std::string_view text) {
    size_t begin = text.size(), end = 0;  // of what is not white space
    for (size_t at = 0; at < text.size();) {
      const Utf8Step character = next_utf8(text.substr(at));
      const size_t after = at + static_cast<size_t>(character.length);
      if (!is_white_space(character.code_point)) {
        begin = std::min(begin, at);
        end = after;
      }
      at = after;
    }
    if (!left) begin = 0;
    if (!right) end = text.size();
    return std::string(text.substr(begin, end - std::min(begin, end)));
  };
}

void read_normalizer(const Json& json, MetaspaceSpec& spec, std::string_view name) {
  const std::string type = json_fields::type_of(json, name);
  if (type == "null") return;
  if (type == "Sequence") {
    for (const Json& step : json_fields::array(json, "normalizers", name)) {
      check(json_fields::type_of(step, name) != "Sequence", ErrorKind::Format, name,
            "normalizer has a Sequence in a Sequence, which is not supported");
      read_normalizer(step, spec, name);
    }
  } else if (type == "Precompiled") {
    const std::string& text = json_fields::string(json, "precompiled_charsmap", name);
    const auto map = std::make_shared<CharMap>(decoded_base64(text, name), name);
    spec.normalizer.emplace_back([map](std::string_view part) { return map->apply(part); });
  } else if (type == "Prepend") {
    spec.normalizer.emplace_back(
        [by = json_fields::string(json, "prepend", name)](std::string_view text) {
          return text.empty() ? std::string() : by + std::string(text);
        });
  } else if (type == "Replace") {
    spec.normalizer.push_back(read_replace(json, name));
  } else if (type == "Strip") {
    spec.normalizer.push_back(read_strip(json, name));
  } else {
    refuse(name, "normalizer", type);
  }
}

MetaspaceSpec::Prepend prepend_of(const Json& step, std::string_view name) {
  using Prepend = MetaspaceSpec::Prepend;
  if (json_fields::get(step, "prepend_scheme", name).is_null()) {
    return json_fields::boolean(step, "add_prefix_space", true, name) ? Prepend::Always
                                                                      : Prepend::Never;
  }
  const std::string& scheme = json_fields::string(step, "prepend_scheme", name);
  if (scheme == "always") return Prepend::Always;
  if (scheme == "first") return Prepend::First;
  if (scheme != "never") refuse(name, "prepend_scheme", scheme);
  return Prepend::Never;
}

void require_mark(const Json& step, std::string_view name) {
  const std::string& mark = json_fields::string(step, "replacement", name);
  if (mark != kSpaceMark) refuse(name, "replacement of Metaspace", mark);
}

void read_pre_tokenizer(const Json& json, MetaspaceSpec& spec, std::string_view name) {
  const std::string type = json_fields::type_of(json, name);
  if (type == "null") return;
  if (type == "Sequence") {
    for (const Json& step : json_fields::array(json, "pretokenizers", name)) {
      check(json_fields::type_of(step, name) != "Sequence", ErrorKind::Format, name,
            "pre_tokenizer has a Sequence in a Sequence, which is not supported");
      read_pre_tokenizer(step, spec, name);
    }
  } else if (type == "WhitespaceSplit" && !spec.marks_spaces) {
    spec.splits_white_space = true;
  } else if (type == "Metaspace" && !spec.marks_spaces) {
    require_mark(json, name);
    spec.marks_spaces = true;
    spec.prepend = prepend_of(json, name);
    spec.splits_at_marks = json_fields::boolean(json, "split", true, name);
  } else {
    refuse(name, "pre_tokenizer of a model of pieces", type);
  }
}

void read_strip_decoder(const Json& step, PieceDecoderSpec& spec, std::string_view name) {
  const Json &start = json_fields::at(step, "start", name),
             &stop = json_fields::at(step, "stop", name);
  if (json_fields::string(step, "content", name) != " " || start != 1 || stop != 0)
    refuse(name, "decoder Strip", step.dump());
  spec.leading = PieceDecoderSpec::Leading::OneDropped;
}

// Metaspace, behind ByteFallback or not; or Replace, ByteFallback, Fuse, Strip.
void read_decoder(const Json& json, PieceDecoderSpec& spec, bool& has_bytes,
                  std::string_view name) {
  Json one = Json::array({json});
  const bool is_sequence = json_fields::type_of(json, name) == "Sequence";
  bool marks = false, fused = false;
  for (const Json& step : is_sequence ? json_fields::array(json, "decoders", name) : one) {
    const std::string type = json_fields::type_of(step, name);
    if (type == "Metaspace" && !marks) {
      require_mark(step, name);
      marks = true;
      if (prepend_of(step, name) != MetaspaceSpec::Prepend::Never)
        spec.leading = PieceDecoderSpec::Leading::FirstsDropped;
    } else if (type == "Replace" && !marks) {
      const Json pattern = {{"String", kSpaceMark}};
      if (step.value("pattern", Json()) != pattern || step.value("content", Json()) != Json(" "))
        refuse(name, "decoder Replace", step.dump());
      marks = true;
    } else if (type == "ByteFallback" && !fused) {
      has_bytes = true;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip" && marks && fused) {
      read_strip_decoder(step, spec, name);
    } else {
      refuse(name, "decoder of a model of pieces", type);
    }
  }
  check(marks, ErrorKind::Format, name,
        "decoder turns no marks into spaces, which is not supported");
}

// The ids of <0x00> to <0xFF>.
std::array<int32_t, 256> byte_ids(const std::vector<std::string>& vocabulary,
                                  std::string_view name) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::optional<uint8_t> byte = byte_of_piece(vocabulary[id]);
    if (byte) ids[*byte] = static_cast<int32_t>(id);
  }
  for (size_t byte = 0; byte < ids.size(); ++byte)
    check(ids[byte] >= 0, ErrorKind::Format, name,
          "byte_fallback is set, but the vocabulary has no token for byte ", byte);
  return ids;
}

void read_decoder_texts(const Json& json, TokenizerSpec& spec, std::string_view name) {
  PieceDecoderSpec& decoder = spec.metaspace->decoder;
  bool has_bytes = false;
  decoder.is_hugging_face = true;
  read_decoder(json_fields::get(json, "decoder", name), decoder, has_bytes, name);
  decoder.texts = spec.vocabulary;
  for (const AddedToken& token : spec.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id >= decoder.texts.size()) decoder.texts.resize(id + 1);
    decoder.texts[id] = token.content;
  }
  decoder.is_literal.resize(decoder.texts.size());
  decoder.bytes.resize(decoder.texts.size(), -1);
  for (size_t id = 0; has_bytes && id < spec.vocabulary.size(); ++id) {
    const std::optional<uint8_t> byte = byte_of_piece(spec.vocabulary[id]);
    if (byte) decoder.bytes[id] = *byte;
  }
}

std::vector<bool> special_ids(const TokenizerSpec& spec) {
  std::vector<bool> special(spec.vocabulary.size());
  for (const AddedToken& token : spec.added) {
    if (token.special && static_cast<size_t>(token.id) < special.size())
      special[static_cast<size_t>(token.id)] = true;
  }
  return special;
}

}  // namespace

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
  const size_t high = kDigits.find(piece[3]), low = kDigits.find(piece[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

bool is_metaspace(const Json& json, std::string_view name) {
  const Json& model = json_fields::at(json, "model", name);
  const Json& type = json_fields::get(model, "type", name);
  if (type == "Unigram") return true;
  if (type == "WordPiece") return false;
  const Json& pre_tokenizer = json_fields::get(json, "pre_tokenizer", name);
  return json_fields::boolean(model, "byte_fallback", false, name) ||
         json_fields::type_of(pre_tokenizer, name) == "Metaspace";
}

void read_unigram(const Json& model, TokenizerSpec& spec, std::string_view name) {
  const Json& tokens = json_fields::array(model, "vocab", name);
  Vocabulary vocabulary(tokens.size(), name);
  UnigramSpec& unigram = spec.metaspace->unigram.emplace();
  check(std::ssize(tokens) < kMostTokens, ErrorKind::Format, name, "vocab has ", tokens.size(),
        " tokens, expected fewer than ", kMostTokens);
  for (const Json& token : tokens) {
    check(token.is_array() && token.size() == 2 && token[0].is_string() && token[1].is_number(),
          ErrorKind::Format, name, "a token of a Unigram model must be [token, score]");
    const auto score = token[1].get<double>();
    check(std::isfinite(score), ErrorKind::Format, name, "a token's score is not finite");
    vocabulary.add(token[0].get_ref<const std::string&>(),
                   static_cast<int32_t>(unigram.scores.size()));
    unigram.scores.push_back(score);
  }
  vocabulary.move_to(spec);
  const Json& unknown = json_fields::get(model, "unk_id", name);
  if (unknown.is_null()) return;
  check(unknown.is_number_unsigned() && unknown.get<uint64_t>() < tokens.size(), ErrorKind::Format,
        name, "unk_id is ", unknown.dump(), ", expected that of a token");
  unigram.unknown = unknown.get<int32_t>();
}

void read_metaspace(const Json& json, TokenizerSpec& spec, std::string_view name) {
  MetaspaceSpec& metaspace = *spec.metaspace;
  metaspace.source = json.dump();
  read_normalizer(json_fields::get(json, "normalizer", name), metaspace, name);
  read_pre_tokenizer(json_fields::get(json, "pre_tokenizer", name), metaspace, name);
  read_decoder_texts(json, spec, name);
  for (const AddedToken& token : spec.added) {
    if (token.normalized && !metaspace.normalizer.empty())
      refuse(name, "an added token that is normalized", token.content);
  }
  const Json& model = json_fields::at(json, "model", name);
  const bool has_bytes = json_fields::boolean(model, "byte_fallback", false, name);
  if (metaspace.unigram) {
    if (has_bytes) metaspace.unigram->byte_ids = byte_ids(spec.vocabulary, name);
    metaspace.unigram->tokens = spec.vocabulary;
    metaspace.unigram->special = special_ids(spec);
    return;
  }
  CharacterBpeSpec& bpe = metaspace.bpe;
  if (has_bytes) bpe.byte_ids = byte_ids(spec.vocabulary, name);
  bpe.fuses_unknown = json_fields::boolean(model, "fuse_unk", false, name);
  const Json& unknown = json_fields::get(model, "unk_token", name);
  for (size_t id = 0; id < spec.vocabulary.size(); ++id) {
    const std::string& token = spec.vocabulary[id];
    if (token.empty()) continue;
    if (std::cmp_equal(next_utf8(token).length, token.size()))
      bpe.characters.emplace(token, static_cast<int32_t>(id));
    if (unknown == token) bpe.unknown = static_cast<int32_t>(id);
  }
  check(unknown.is_null() || bpe.unknown, ErrorKind::Format, name,
        "unk_token is no token of the vocabulary");
  if (spec.ignore_merges) refuse(name, "ignore_merges of a model of pieces", "true");
}

}  // namespace plinth
