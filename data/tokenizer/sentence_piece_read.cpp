// A tokenizer from SentencePiece's model file and the small file beside it: see tokenizer_spec.h.

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/json_fields.h"
#include "data/tokenizer/metaspace_read.h"
#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {
namespace {

using json_fields::Json;
using Type = SentencePieceFile::Type;

PieceDecoderSpec decoder_of(const SentencePieceFile& file, std::string_view name) {
  using Leading = PieceDecoderSpec::Leading;
  PieceDecoderSpec decoder;
  if (file.adds_dummy_prefix) decoder.leading = Leading::OneDropped;
  if (file.removes_extra_spaces) decoder.leading = Leading::Dropped;
  for (const SentencePieceFile::Piece& piece : file.pieces) {
    std::string text = piece.text;
    if (piece.type == Type::Control) text.clear();
    if (piece.type == Type::Unknown) text = file.unknown_surface;
    decoder.texts.push_back(std::move(text));
    decoder.is_literal.push_back(piece.type == Type::Unknown);
    decoder.bytes.push_back(-1);
    if (piece.type != Type::Byte) continue;
    const std::optional<uint8_t> byte = byte_of_piece(piece.text);
    check(byte.has_value(), ErrorKind::Format, name, "piece ", printable(piece.text),
          " is of type byte, but is none of <0x00> to <0xFF>");
    decoder.bytes.back() = *byte;
  }
  return decoder;
}

// A token behind the pieces, or one of them.
void add_token(AddedToken token, TokenizerSpec& spec, std::string_view name) {
  const auto id = static_cast<size_t>(token.id);
  const bool is_piece = id < spec.vocabulary.size() && !spec.vocabulary[id].empty();
  check(!token.content.empty() && (!is_piece || spec.vocabulary[id] == token.content),
        ErrorKind::Format, name, "tokenizer_config.json gives id ", token.id, " to ",
        printable(token.content), is_piece ? ", which is a piece's" : "");
  if (is_piece) return;
  if (id >= spec.vocabulary.size()) spec.vocabulary.resize(id + 1);
  spec.vocabulary[id] = token.content;
  PieceDecoderSpec& decoder = spec.sentence_piece->decoder;
  decoder.texts.resize(spec.vocabulary.size());
  decoder.bytes.resize(spec.vocabulary.size(), -1);
  decoder.is_literal.resize(spec.vocabulary.size());
  decoder.texts[id] = token.content;
  decoder.is_literal[id] = true;
  spec.added.push_back(std::move(token));
}

void read_sentinels(const Json& config, TokenizerSpec& spec, std::string_view name) {
  constexpr int64_t kMost = 1000;
  const Json& count = json_fields::get(config, "extra_ids", name);
  if (count.is_null()) return;
  check(count.is_number_unsigned() && count.get<uint64_t>() <= kMost, ErrorKind::Format, name,
        "extra_ids is ", count.dump(), ", expected 0 to ", kMost);
  add_sentinels(count.get<int64_t>(), spec, name);
}

void read_added(const Json& config, TokenizerSpec& spec, std::string_view name) {
  const size_t most = spec.vocabulary.size() + 65536;
  for (const auto& [key, entry] : json_fields::get(config, "added_tokens_decoder", name).items()) {
    const bool is_number =
        !key.empty() && key.size() < 9 && key.find_first_not_of("0123456789") == std::string::npos;
    const auto id = is_number ? static_cast<size_t>(std::stoll(key)) : most;
    check(id < most, ErrorKind::Format, name, "added_tokens_decoder has id ", printable(key),
          ", expected one near the ", spec.vocabulary.size(), " of the model");
    add_token({.content = json_fields::string(entry, "content", name),
               .id = static_cast<int32_t>(id),
               .special = json_fields::boolean(entry, "special", false, name),
               .normalized = json_fields::boolean(entry, "normalized", false, name),
               .single_word = json_fields::boolean(entry, "single_word", false, name),
               .lstrip = json_fields::boolean(entry, "lstrip", false, name),
               .rstrip = json_fields::boolean(entry, "rstrip", false, name)},
              spec, name);
  }
}

}  // namespace

void add_sentinels(int64_t count, TokenizerSpec& spec, std::string_view name) {
  const auto first = static_cast<int64_t>(spec.vocabulary.size());
  for (int64_t i = 0; i < count; ++i) {
    add_token({.content = detail::concat("<extra_id_", count - 1 - i, ">"),
               .id = static_cast<int32_t>(first + i),
               .special = true},
              spec, name);
  }
  spec.sentence_piece->sentinels = count;
}

TokenizerSpec read_sentence_piece(std::string file, std::string bytes, std::string_view config,
                                  std::string_view name) {
  const SentencePieceFile parsed = parse_sentence_piece_file(bytes, name);
  TokenizerSpec spec;
  spec.sentence_piece = {std::move(file), std::move(bytes), decoder_of(parsed, name), 0};
  std::optional<int32_t> begin, end;
  for (size_t i = 0; i < parsed.pieces.size(); ++i) {
    const SentencePieceFile::Piece& piece = parsed.pieces[i];
    const auto id = static_cast<int32_t>(i);
    spec.vocabulary.push_back(piece.text);
    if (piece.type == Type::Control && piece.text == "<s>") begin = id;
    if (piece.type == Type::Control && piece.text == "</s>") end = id;
    if (piece.type == Type::Control || piece.type == Type::Unknown)
      spec.added.push_back({.content = piece.text, .id = id, .special = true});
  }
  const Json settings = config.empty() ? Json::object() : parse_json(config, name);
  read_added(settings, spec, name);
  if (json_fields::get(settings, "added_tokens_decoder", name).is_null())
    read_sentinels(settings, spec, name);
  if (begin && json_fields::boolean(settings, "add_bos_token", true, name)) spec.before = {*begin};
  if (end && json_fields::boolean(settings, "add_eos_token", !begin, name)) spec.after = {*end};
  return spec;
}

std::string write_sentence_piece_config(const TokenizerSpec& spec, const TokenRoles& roles) {
  Json json = Json::parse(write_tokenizer_config(roles));
  const auto begin = std::ranges::find(spec.vocabulary, "<s>");
  json["tokenizer_class"] = begin == spec.vocabulary.end() ? "T5Tokenizer" : "LlamaTokenizer";
  json["legacy"] = true;
  json["add_bos_token"] = !spec.before.empty();
  json["add_eos_token"] = !spec.after.empty();
  if (spec.sentence_piece->sentinels > 0 || begin == spec.vocabulary.end())
    json["extra_ids"] = spec.sentence_piece->sentinels;
  if (spec.sentence_piece->sentinels > 0) return json.dump(2) + "\n";
  for (const AddedToken& token : spec.added) {
    json["added_tokens_decoder"][std::to_string(token.id)] = {
        {"content", token.content},       {"special", token.special},
        {"normalized", token.normalized}, {"single_word", token.single_word},
        {"lstrip", token.lstrip},         {"rstrip", token.rstrip}};
  }
  return json.dump(2) + "\n";
}

}  // namespace plinth
