#include "data/tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "core/io/text.h"
#include "data/json_fields.h"
#include "data/tokenizer/gguf_steps.h"
#include "data/tokenizer/metaspace_read.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/piece_decoder.h"
#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {

namespace {

using Type = SentencePieceFile::Type;
using json_fields::Json;
using json_fields::json_text;

constexpr std::string_view kModel = "tokenizer.ggml.model", kPre = "tokenizer.ggml.pre",
                           kTokens = "tokenizer.ggml.tokens", kScores = "tokenizer.ggml.scores",
                           kTypes = "tokenizer.ggml.token_type", kMerges = "tokenizer.ggml.merges",
                           kAddBos = "tokenizer.ggml.add_bos_token",
                           kAddEos = "tokenizer.ggml.add_eos_token",
                           kAddSpace = "tokenizer.ggml.add_space_prefix",
                           kBos = "tokenizer.ggml.bos_token_id",
                           kEos = "tokenizer.ggml.eos_token_id",
                           kPad = "tokenizer.ggml.padding_token_id",
                           kUnknown = "tokenizer.ggml.unknown_token_id";
constexpr std::string_view kSubject = "gguf";
// Longer than SentencePiece's pieces are; all ways to cut one are looked at.
constexpr size_t kMostPieceBytes = 1024;
// Of the merges of a vocabulary by scores; a small file of long tokens could ask for any number.
constexpr size_t kMostMergeBytes = size_t{1} << 30;

// What GGUF calls the patterns that Plinth knows.
constexpr std::string_view kGpt2Pre = "gpt-2";
constexpr std::array<std::string_view, 3> kLlama3Pres = {"llama-bpe", "llama3", "llama-v3"};

// Tokens that play a part.
struct TokenIds {
  std::optional<int32_t> bos, eos, pad, unknown;
};

// A vocabulary to write: a token is spelled as its model has it.
struct TokenList {
  std::vector<std::string> tokens;
  std::vector<double> scores, types;

  void set_type(size_t id, Type type) { types[id] = static_cast<double>(type); }
};

// Added tokens count, and ids up to `size` that have none get one.
void complete(const TokenizerSpec& spec, int64_t size, TokenList& list) {
  for (const AddedToken& token : spec.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id >= list.tokens.size()) {
      list.tokens.resize(id + 1);
      list.types.resize(id + 1, static_cast<double>(Type::Normal));
    }
    list.tokens[id] = token.content;
    const bool is_unknown = list.types[id] == static_cast<double>(Type::Unknown);
    if (!is_unknown) list.set_type(id, token.special ? Type::Control : Type::UserDefined);
  }
  check(std::ssize(list.tokens) <= size, ErrorKind::Argument, kSubject, "tokenizer has ",
        list.tokens.size(), " tokens, the model takes at most ", size);
  list.tokens.resize(static_cast<size_t>(size));
  list.types.resize(list.tokens.size(), static_cast<double>(Type::Normal));
  list.scores.resize(list.tokens.size());
  for (size_t id = 0; id < list.tokens.size(); ++id) {
    if (!list.tokens[id].empty()) continue;
    list.tokens[id] = detail::concat("[PAD", id, "]");
    list.set_type(id, Type::Unused);
  }
}

std::string_view pre_of(const PreTokenizerSpec& spec) {
  if (spec.splits.empty() && spec.use_gpt2_pattern) return kGpt2Pre;
  const bool is_llama3 =
      spec.splits.size() == 1 && spec.splits[0] == kLlama3Pattern && !spec.use_gpt2_pattern;
  check(is_llama3, ErrorKind::Argument, kSubject,
        "tokenizer has a pattern that is not GPT-2's or Llama 3's");
  return kLlama3Pres[0];
}

void add_merges(const TokenizerSpec& spec, std::vector<GgufField>& fields) {
  std::vector<std::string> merges;
  for (const auto& [left, right] : spec.merges) {
    merges.push_back(spec.vocabulary[static_cast<size_t>(left)] + " " +
                     spec.vocabulary[static_cast<size_t>(right)]);
  }
  fields.push_back({std::string(kMerges), GgufValue::list(std::move(merges))});
}

// SentencePiece's scores of byte pairs: minus the place of a piece among those that were learned.
std::vector<double> scores_of_merges(const TokenizerSpec& spec) {
  const auto last = static_cast<double>(spec.merges.size());
  std::vector<double> scores(spec.vocabulary.size(), -last);
  for (size_t i = spec.merges.size(); i-- > 0;)
    scores[static_cast<size_t>(spec.merged_ids[i])] = -static_cast<double>(i);
  return scores;
}

TokenList pieces_of_model(const SentencePieceSpec& spec) {
  const SentencePieceFile file = parse_sentence_piece_file(spec.bytes, spec.file);
  check(!file.is_unigram && !file.maps_characters, ErrorKind::Argument, kSubject, "tokenizer is a ",
        file.is_unigram ? "unigram model" : "model with a table of characters",
        ", takes byte pairs over the text as it is");
  TokenList list;
  for (const SentencePieceFile::Piece& piece : file.pieces) {
    list.tokens.push_back(piece.text);
    list.scores.push_back(piece.score);
    list.types.push_back(static_cast<double>(piece.type));
  }
  return list;
}

TokenList pieces_of_json(const TokenizerSpec& spec) {
  check(!spec.metaspace->unigram, ErrorKind::Argument, kSubject,
        "tokenizer is a unigram model, takes byte pairs");
  TokenList list{spec.vocabulary, scores_of_merges(spec), {}};
  for (const std::string& token : spec.vocabulary) {
    const bool is_byte = spec.metaspace->bpe.byte_ids && byte_of_piece(token).has_value();
    list.types.push_back(static_cast<double>(is_byte ? Type::Byte : Type::Normal));
  }
  return list;
}

bool adds_space(const TokenizerSpec& spec) {
  if (spec.sentence_piece)
    return parse_sentence_piece_file(spec.sentence_piece->bytes, spec.sentence_piece->file)
        .adds_dummy_prefix;
  if (!spec.metaspace) return spec.pre_tokenizer.add_prefix_space;
  std::string text = "a";
  for (const auto& step : spec.metaspace->normalizer) text = step(text);
  return text.starts_with(kSpaceMark) || spec.metaspace->prepend != MetaspaceSpec::Prepend::Never;
}

// What a tokenizer is, by the files that it would save.
TokenizerSpec spec_of(const Tokenizer& tokenizer) {
  std::map<std::string, std::string> files = tokenizer.files();
  const std::string config = std::move(files.at("tokenizer_config.json"));
  files.erase("tokenizer_config.json");
  auto& [name, content] = *files.begin();
  if (name == "tokenizer.json") return parse_tokenizer_json(content, name);
  return read_sentence_piece(name, std::move(content), config, name);
}

// ---- reading ----

void refuse_unless(bool ok, const GgufFile& file, std::string_view key, const auto&... parts) {
  check(ok, ErrorKind::Format, file.subject(), "field ", key, " ", parts...);
}

// The types of all tokens, which are normal where the file does not say.
std::vector<Type> read_types(const GgufFile& file, size_t tokens) {
  const std::vector<double>& given = file.numbers(kTypes);
  refuse_unless(given.empty() || given.size() == tokens, file, kTypes, "has ", given.size(),
                " elements, takes one for each of ", tokens, " tokens");
  std::vector<Type> types(tokens, Type::Normal);
  for (size_t i = 0; i < given.size(); ++i) {
    refuse_unless(given[i] >= 1 && given[i] <= 6, file, kTypes, "has a ", given[i],
                  ", takes 1 to 6");
    types[i] = static_cast<Type>(given[i]);
  }
  return types;
}

struct GgufVocabulary {
  std::vector<std::string> tokens;
  std::vector<Type> types;
};

GgufVocabulary read_vocabulary(const GgufFile& file) {
  GgufVocabulary vocabulary{file.texts(kTokens), {}};
  refuse_unless(!vocabulary.tokens.empty() && std::cmp_less(vocabulary.tokens.size(), kMostTokens),
                file, kTokens, "has ", vocabulary.tokens.size(), " elements, takes 1 to ",
                kMostTokens - 1);
  vocabulary.types = read_types(file, vocabulary.tokens.size());
  // What fills a vocabulary up to the model's size is no token.
  while (vocabulary.tokens.size() > 1 && vocabulary.types.back() == Type::Unused &&
         vocabulary.tokens.back() == detail::concat("[PAD", vocabulary.tokens.size() - 1, "]")) {
    vocabulary.tokens.pop_back();
    vocabulary.types.pop_back();
  }
  return vocabulary;
}

std::string vocabulary_json(const GgufVocabulary& vocabulary) {
  std::string out = "{";
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (id > 0) out += ',';
    out += json_text(vocabulary.tokens[id]);
    out += ':';
    out += std::to_string(id);
  }
  return out + "}";
}

Json added_json(const GgufVocabulary& vocabulary) {
  Json added = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Type type = vocabulary.types[id];
    if (type != Type::Control && type != Type::UserDefined && type != Type::Unknown) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != Type::UserDefined}});
  }
  return added;
}

// The id in a field, and that token; "" if there is no such field.
std::string token_of(const GgufFile& file, std::string_view key) {
  const int64_t id = file.integer(key, -1);
  const std::vector<std::string>& tokens = file.texts(kTokens);
  if (id < 0) return "";
  refuse_unless(std::cmp_less(id, tokens.size()), file, key, "is ", id, ", takes one of ",
                tokens.size(), " tokens");
  return tokens[static_cast<size_t>(id)];
}

// Puts the tokens around a text that the file wants.
Json post_processor_json(const GgufFile& file, bool adds_bos) {
  Json single = Json::array(), tokens = Json::object();
  const auto add = [&](std::string_view flag, std::string_view key, bool otherwise) {
    const std::string token = token_of(file, key);
    if (token.empty() || !file.boolean(flag, otherwise)) return;
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    tokens[token] = {{"id", token}, {"ids", {file.integer(key)}}, {"tokens", {token}}};
  };
  add(kAddBos, kBos, adds_bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(kAddEos, kEos, false);
  if (tokens.empty()) return nullptr;
  Json pair = single;
  for (Json part : single) {
    if (part.contains("Sequence")) part["Sequence"]["id"] = "B";
    pair.push_back(part);
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

// A tokenizer.json of steps, all in JSON, and the model's text.
std::string finished(Json steps, const std::string& model) {
  steps["version"] = "1.0";
  steps["truncation"] = steps["padding"] = nullptr;
  std::string text = steps.dump();
  text.pop_back();
  return text + ",\"model\":" + model + "}";
}

std::string byte_level_json(const GgufFile& file, const GgufVocabulary& vocabulary) {
  const std::string pre = file.text(kPre, std::string(kGpt2Pre));
  const bool is_llama3 = std::ranges::find(kLlama3Pres, pre) != kLlama3Pres.end();
  refuse_unless(is_llama3 || pre == kGpt2Pre, file, kPre, "is ", printable(pre),
                ", takes gpt-2 or llama-bpe");
  Json byte_level = {{"type", "ByteLevel"},
                     {"add_prefix_space", file.boolean(kAddSpace, false)},
                     {"trim_offsets", true},
                     {"use_regex", !is_llama3}};
  Json steps;
  steps["added_tokens"] = added_json(vocabulary);
  steps["normalizer"] = nullptr;
  steps["post_processor"] = post_processor_json(file, is_llama3);
  steps["decoder"] = byte_level;
  if (is_llama3) {
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", kLlama3Pattern}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    steps["pre_tokenizer"] = {{"type", "Sequence"},
                              {"pretokenizers", Json::array({split, byte_level})}};
  } else {
    steps["pre_tokenizer"] = byte_level;
  }
  std::string merges = "[";
  for (const std::string& merge : file.texts(kMerges)) {
    if (merges.size() > 1) merges += ',';
    merges += json_text(merge);
  }
  return finished(std::move(steps),
                  std::string(R"({"type":"BPE","byte_fallback":false,"ignore_merges":)") +
                      (is_llama3 ? "true" : "false") + ",\"vocab\":" + vocabulary_json(vocabulary) +
                      ",\"merges\":" + merges + "]}");
}

struct Merge {
  double score;
  std::string_view left, right;
};

// All pairs of tokens that make a token, the best first.
std::vector<Merge> merges_of_scores(const GgufFile& file, const GgufVocabulary& vocabulary,
                                    const std::vector<double>& scores) {
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) ids.emplace(vocabulary.tokens[id], id);
  const auto is_text = [&](std::string_view token) {
    const auto found = ids.find(token);
    return found != ids.end() && vocabulary.types[found->second] == Type::Normal;
  };
  std::vector<Merge> merges;
  size_t bytes = 0;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string_view token = vocabulary.tokens[id];
    if (vocabulary.types[id] != Type::Normal) continue;
    refuse_unless(token.size() <= kMostPieceBytes, file, kTokens, "has one of ", token.size(),
                  " bytes, takes at most ", kMostPieceBytes);
    for (size_t at = 1; at < token.size(); ++at) {
      const std::string_view left = token.substr(0, at), right = token.substr(at);
      if (!is_text(left) || !is_text(right)) continue;
      bytes += sizeof(Merge) + token.size();
      refuse_unless(bytes <= kMostMergeBytes, file, kTokens, "has tokens of ", merges.size(),
                    " pairs, takes at most ", kMostMergeBytes, " bytes of them");
      merges.push_back({scores[id], left, right});
    }
  }
  std::ranges::stable_sort(merges, [](const Merge& a, const Merge& b) {
    return std::tuple(-a.score, b.left.size()) < std::tuple(-b.score, a.left.size());
  });
  return merges;
}

std::string pieces_json(const GgufFile& file, const GgufVocabulary& vocabulary) {
  const std::vector<double>& scores = file.numbers(kScores);
  refuse_unless(scores.size() == file.texts(kTokens).size(), file, kScores, "has ", scores.size(),
                " elements, takes one for each of ", file.texts(kTokens).size(), " tokens");
  refuse_unless(std::ranges::all_of(scores, [](double x) { return std::isfinite(x); }), file,
                kScores, "has a score that is not finite");
  const bool adds_space = file.boolean(kAddSpace, true);
  const Json to_mark = {
      {"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}};
  const Json prepend = {{"type", "Prepend"}, {"prepend", kSpaceMark}};
  const Json from_mark = {
      {"type", "Replace"}, {"pattern", {{"String", kSpaceMark}}}, {"content", " "}};
  const Json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  Json before = Json::array(), after = Json::array({from_mark});
  if (adds_space) before.push_back(prepend);
  before.push_back(to_mark);
  after.push_back({{"type", "ByteFallback"}});
  after.push_back({{"type", "Fuse"}});
  if (adds_space) after.push_back(strip);
  Json steps;
  steps["added_tokens"] = added_json(vocabulary);
  steps["normalizer"] = {{"type", "Sequence"}, {"normalizers", before}};
  steps["pre_tokenizer"] = nullptr;
  steps["post_processor"] = post_processor_json(file, true);
  steps["decoder"] = {{"type", "Sequence"}, {"decoders", after}};
  std::string merges = "[";
  for (const Merge& merge : merges_of_scores(file, vocabulary, scores)) {
    merges += merges.size() > 1 ? ",[" : "[";
    merges += json_text(merge.left);
    merges += ',';
    merges += json_text(merge.right);
    merges += ']';
  }
  const bool has_bytes = std::ranges::find(vocabulary.types, Type::Byte) != vocabulary.types.end();
  const std::string unknown = token_of(file, kUnknown);
  return finished(std::move(steps),
                  std::string(R"({"type":"BPE","fuse_unk":true,"byte_fallback":)") +
                      (has_bytes ? "true" : "false") +
                      ",\"unk_token\":" + (unknown.empty() ? "null" : json_text(unknown)) +
                      ",\"vocab\":" + vocabulary_json(vocabulary) + ",\"merges\":" + merges + "]}");
}

}  // namespace

std::vector<GgufField> gguf_fields(const Tokenizer& tokenizer, int64_t vocab_size) {
  const TokenizerSpec spec = spec_of(tokenizer);
  const TokenIds ids{tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id(),
                     tokenizer.id("<unk>")};
  check(!spec.word_piece, ErrorKind::Argument, kSubject,
        "tokenizer has word pieces, takes byte pairs");
  check(!spec.word_end, ErrorKind::Argument, kSubject,
        "tokenizer has tokens that end words, takes byte pairs without");
  const bool is_pieces = spec.metaspace || spec.sentence_piece;
  TokenList list{spec.vocabulary, {}, {}};
  list.types.resize(list.tokens.size(), static_cast<double>(Type::Normal));
  std::vector<GgufField> fields;
  const auto add = [&](std::string_view key, GgufValue value) {
    fields.push_back({std::string(key), std::move(value)});
  };
  add(kModel, GgufValue::of(std::string(is_pieces ? "llama" : "gpt2")));
  if (spec.sentence_piece) list = pieces_of_model(*spec.sentence_piece);
  if (spec.metaspace) list = pieces_of_json(spec);
  if (is_pieces) check_gguf_steps(spec, kSubject);
  add(kPre, GgufValue::of(std::string(is_pieces ? "default" : pre_of(spec.pre_tokenizer))));
  complete(spec, vocab_size, list);
  // It may be an added token behind the vocabulary, which only now has a place.
  if (spec.metaspace && ids.unknown)
    list.set_type(static_cast<size_t>(*ids.unknown), Type::Unknown);
  add(kTokens, GgufValue::list(std::move(list.tokens)));
  if (is_pieces) add(kScores, GgufValue::list(GgufType::Float32, std::move(list.scores)));
  add(kTypes, GgufValue::list(GgufType::Int32, std::move(list.types)));
  if (!is_pieces) add_merges(spec, fields);
  const auto add_id = [&](std::string_view key, const std::optional<int32_t>& id) {
    if (id) add(key, GgufValue::of(static_cast<uint32_t>(*id)));
  };
  const bool begins = !ids.bos && !spec.before.empty();
  add_id(kBos, begins ? std::optional(spec.before.front()) : ids.bos);
  add_id(kEos, ids.eos);
  add_id(kPad, ids.pad);
  add_id(kUnknown, ids.unknown);
  add(kAddBos, GgufValue::of(!spec.before.empty()));
  add(kAddEos, GgufValue::of(!spec.after.empty()));
  add(kAddSpace, GgufValue::of(adds_space(spec)));
  return fields;
}

std::map<std::string, std::string> gguf_tokenizer_files(const GgufFile& file) {
  const std::string model = file.text(kModel);
  refuse_unless(model == "gpt2" || model == "llama", file, kModel, "is ", printable(model),
                ", takes gpt2 or llama");
  const GgufVocabulary vocabulary = read_vocabulary(file);
  std::string json =
      model == "gpt2" ? byte_level_json(file, vocabulary) : pieces_json(file, vocabulary);
  Tokenizer::parse(json, file.subject());  // throws where the fields do not fit together
  const TokenRoles roles{
      .eos = token_of(file, kEos), .bos = token_of(file, kBos), .pad = token_of(file, kPad)};
  return {{"tokenizer.json", std::move(json)},
          {"tokenizer_config.json", write_tokenizer_config(roles)}};
}

}  // namespace plinth
