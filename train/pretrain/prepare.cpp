#include "train/pretrain/prepare.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "data/shards/shard_writer.h"
#include "data/tokenizer/tokenizer.h"
#include "kernels/philox.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

using Documents = std::vector<std::string_view>;

constexpr size_t kBatchBytes = size_t{16} << 20;

struct Split {
  Documents train;
  Documents validation;
};

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Between two documents.
struct Break {
  size_t begin, end;
};

// The first line end, or the first with an empty line behind it; "\r\n" is one, too.
Break find_break(std::string_view text, bool ends_paragraph) {
  for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
    std::string_view behind = text.substr(at + 1);
    if (ends_paragraph) {
      if (behind.starts_with("\r\n")) behind.remove_prefix(1);
      if (!behind.starts_with('\n')) continue;
      behind.remove_prefix(1);
    }
    const bool is_windows = at > 0 && text[at - 1] == '\r';
    return {is_windows ? at - 1 : at, text.size() - behind.size()};
  }
  return {text.size(), text.size()};
}

bool continues_character(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) == 0x80;
}

// The beginning of the character at that byte.
size_t character_begin(std::string_view text, size_t at) {
  constexpr size_t kMostContinuations = 3;
  const size_t least = at - std::min(at, kMostContinuations);
  size_t begin = at;
  while (begin > least && begin < text.size() && continues_character(text[begin])) --begin;
  return begin;
}

// A single document, cut before its last `share`: at the line end nearest before, unless that lies
// so far that more than twice the share would be held out; then between characters.
Split cut(std::string_view document, double share) {
  const auto wanted = static_cast<size_t>(static_cast<double>(document.size()) * (1 - share));
  const size_t most_before = document.size() - wanted;
  const size_t line_end = document.rfind('\n', wanted);
  const bool is_near = line_end != std::string_view::npos && line_end + 1 + most_before >= wanted;
  const size_t at = is_near ? line_end + 1 : character_begin(document, wanted);
  return {{document.substr(0, at)}, {document.substr(at)}};
}

bool has_text(const Documents& documents) {
  return std::ranges::any_of(documents, [](std::string_view text) { return !is_blank(text); });
}

Split draw(const Documents& documents, double share, uint64_t seed) {
  const auto stream = kernels::philox_stream({.seed = seed});
  Split split;
  for (size_t i = 0; i < documents.size(); ++i) {
    const float draw = kernels::uniform(kernels::philox(stream, 0, static_cast<int64_t>(i))[0]);
    (draw < share ? split.validation : split.train).push_back(documents[i]);
  }
  if (split.validation.empty()) {  // too few documents for the share to fall on one
    split.validation.push_back(split.train.back());
    split.train.pop_back();
  }
  return split;
}

Split hold_out(const Documents& documents, double share, uint64_t seed) {
  if (share == 0) return {documents, {}};
  const Split split =
      documents.size() == 1 ? cut(documents.front(), share) : draw(documents, share, seed);
  const bool trains = has_text(split.train);
  check(trains && has_text(split.validation), ErrorKind::Argument, "tokenize", "--validation ",
        share, " of ", documents.size(), " documents leaves no text to ",
        trains ? "hold out" : "train on", ", takes more text, or another share");
  return split;
}

Tokenizer make_tokenizer(const PrepareOptions& options, const Documents& texts) {
  if (!options.tokenizer.empty()) return Tokenizer::load(options.tokenizer);
  check(options.train_vocab > 0, ErrorKind::Argument, "tokenize",
        "takes either --tokenizer or --train-vocab");
  TrainOptions training;
  training.vocab_size = options.train_vocab;
  training.sentinels = options.sentinels;
  if (options.kind == "unigram") training.kind = TokenizerKind::Unigram;
  if (options.kind == "sentencepiece-bpe") training.kind = TokenizerKind::SentencePieceBpe;
  if (options.kind == "wordpiece") training.kind = TokenizerKind::WordPiece;
  training.lowercase = !options.cased;
  const bool is_sentence_piece =
      training.kind == TokenizerKind::Unigram || training.kind == TokenizerKind::SentencePieceBpe;
  check(options.sentinels == 0 || is_sentence_piece, ErrorKind::Argument, "tokenize",
        "--sentinels takes a SentencePiece --kind");
  check(!options.cased || training.kind == TokenizerKind::WordPiece, ErrorKind::Argument,
        "tokenize", "--cased takes --kind wordpiece");
  return Tokenizer::train(texts, training);
}

// Gives the number of tokens.
int64_t write_shards(const PrepareOptions& options, const std::string& name,
                     const Tokenizer& tokenizer, const Documents& documents) {
  DatasetWriter writer(options.out, name, tokenizer.vocab_size(), options.shard_tokens);
  const std::optional<int32_t> end = tokenizer.eos_id();
  for (size_t begin = 0; begin < documents.size();) {
    // As many documents at once as keep all threads busy.
    size_t last = begin, bytes = 0;
    while (last < documents.size() && bytes < kBatchBytes) bytes += documents[last++].size();
    const std::span batch(documents.data() + begin, last - begin);
    for (std::vector<int32_t>& tokens : tokenizer.encode_batch(batch)) {
      if (end) tokens.push_back(*end);
      writer.append_document(tokens);
    }
    begin = last;
  }
  writer.finish();
  return writer.tokens();
}

bool is_tokenizers_own(const PrepareOptions& options) {
  std::error_code is_absent;
  return !options.tokenizer.empty() && fs::equivalent(options.out, options.tokenizer, is_absent);
}

// The tokenizer goes beside its shards. A folder that has it keeps its own files, in which other
// programs read more than Plinth would write.
std::map<std::string, std::string> files_to_add(const PrepareOptions& options,
                                                const Tokenizer& tokenizer) {
  if (is_tokenizers_own(options)) return {};
  std::map<std::string, std::string> files = tokenizer.files();
  std::erase_if(files, [&](const auto& file) {
    const fs::path path = options.out / file.first;
    if (!fs::exists(path)) return false;
    check(read_text_file(path) == file.second, ErrorKind::Argument, path.string(),
          "exists already, with another content; choose another folder, or remove it");
    return true;
  });
  return files;
}

}  // namespace

Documents split_documents(std::string_view text, std::string_view documents) {
  if (documents == "file") return is_blank(text) ? Documents() : Documents{text};
  Documents parts;
  while (!text.empty()) {
    const Break found = find_break(text, documents == "paragraph");
    const std::string_view part = text.substr(0, found.begin);
    if (!is_blank(part)) parts.push_back(part);
    text.remove_prefix(found.end);
  }
  return parts;
}

PreparedCorpus prepare_corpus(const PrepareOptions& options) {
  std::vector<MappedFile> files;
  Documents documents;
  PreparedCorpus corpus;
  for (const std::string& text : options.texts) {
    files.emplace_back(text);
    const Documents parts = split_documents(text_of(files.back().bytes()), options.documents);
    check(!parts.empty(), ErrorKind::Format, text, "holds no text");
    documents.insert(documents.end(), parts.begin(), parts.end());
  }
  for (const std::string_view document : documents)
    corpus.bytes += static_cast<int64_t>(document.size());
  corpus.documents = static_cast<int64_t>(documents.size());

  const Split split = hold_out(documents, options.validation_share, options.seed);
  const Tokenizer tokenizer = make_tokenizer(options, split.train);
  const fs::path first = options.out / "train_00000.bin";  // a folder with shards has both
  check(!fs::exists(first), ErrorKind::Argument, first.string(),
        "exists already; choose another folder, or remove it");
  const auto tokenizer_files = files_to_add(options, tokenizer);
  make_directories(options.out);
  corpus.train_tokens = write_shards(options, "train", tokenizer, split.train);
  if (!split.validation.empty())
    corpus.validation_tokens = write_shards(options, "validation", tokenizer, split.validation);
  for (const auto& [name, text] : tokenizer_files) write_file_atomically(options.out / name, text);
  corpus.vocab_size = tokenizer.vocab_size();
  return corpus;
}

}  // namespace plinth
