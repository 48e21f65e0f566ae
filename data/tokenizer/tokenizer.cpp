#include "data/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/io/text.h"
#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/parallel_tasks.h"
#include "data/tokenizer/piece_decoder.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/tokenizer/sentence_piece.h"
#include "data/tokenizer/tokenizer_spec.h"
#include "data/tokenizer/train_tokenizer.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

constexpr uint64_t kMostFileBytes = uint64_t{1} << 30;

// Scratch of the threads that are encoding now, with their caches, handed from call to call.
class ScratchPool {
 public:
  class Lease {
   public:
    Lease(ScratchPool& pool, std::unique_ptr<BpeScratch> scratch)
        : pool_(&pool), scratch_(std::move(scratch)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      const std::lock_guard lock(pool_->mutex_);
      pool_->free_.push_back(std::move(scratch_));
    }
    BpeScratch& operator*() const { return *scratch_; }

   private:
    ScratchPool* pool_;
    std::unique_ptr<BpeScratch> scratch_;
  };

  Lease take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return {*this, std::make_unique<BpeScratch>()};
    std::unique_ptr<BpeScratch> scratch = std::move(free_.back());
    free_.pop_back();
    return {*this, std::move(scratch)};
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<BpeScratch>> free_;
};

std::string read_beside(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_text_file(path, kMostFileBytes) : "";
}

// Each from the first of the folder's small files that names it: BERT's name no end-of-text token,
// but one that pads.
TokenRoles read_roles(const std::filesystem::path& folder) {
  TokenRoles roles;
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::filesystem::path path = folder / file;
    const std::string text = read_beside(path);
    if (text.empty()) continue;
    const TokenRoles named = parse_token_roles(text, path.string());
    for (const auto role : {&TokenRoles::eos, &TokenRoles::bos, &TokenRoles::pad}) {
      if ((roles.*role).empty()) roles.*role = named.*role;
    }
  }
  return roles;
}

// Without the white space at its ends.
std::string trimmed(const std::string& text) {
  constexpr const char* kWhite = " \t\n\r\f\v";
  const size_t first = text.find_first_not_of(kWhite);
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(kWhite) - first + 1);
}

bool is_model_file(const std::filesystem::path& path) {
  return path.extension() == ".model";
}

constexpr std::array<const char*, 4> kFiles = {"tokenizer.json", "tokenizer.model", "spiece.model",
                                               "vocab.txt"};

// The first of them that is in a folder; empty if none is.
std::filesystem::path file_in(const std::filesystem::path& folder) {
  for (const char* file : kFiles) {
    if (std::filesystem::exists(folder / file)) return folder / file;
  }
  return {};
}

TokenizerSpec read_spec(const std::filesystem::path& path) {
  const bool is_folder = std::filesystem::is_directory(path);
  const std::filesystem::path file = is_folder ? file_in(path) : path;
  if (!file.empty()) {
    std::string text = read_text_file(file, kMostFileBytes);
    const std::string config = read_beside(file.parent_path() / "tokenizer_config.json");
    if (is_model_file(file))
      return read_sentence_piece(file.filename().string(), std::move(text), config, file.string());
    if (is_folder && file.extension() == ".txt")
      return parse_word_pieces(text, config, path.string());
    return parse_tokenizer_json(text, file.string());
  }
  const std::filesystem::path vocab = path / "vocab.json";
  const std::filesystem::path merges = path / "merges.txt";
  check(std::filesystem::exists(vocab) && std::filesystem::exists(merges), ErrorKind::Io,
        path.string(),
        "no tokenizer here: expected tokenizer.json, tokenizer.model, spiece.model, vocab.txt, or "
        "vocab.json and merges.txt");
  return parse_vocab_and_merges(read_text_file(vocab, kMostFileBytes),
                                read_text_file(merges, kMostFileBytes), path.string());
}

}  // namespace

struct Tokenizer::State {
  State(TokenizerSpec parsed, TokenRoles token_roles, std::string_view name);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;
  void encode_segment(const RepairedText& text, const AddedTokens::Segment& segment,
                      std::vector<int32_t>& ids) const;
  void encode_pieces(const PieceBlock& pieces, const RepairedText& text, size_t offset,
                     std::vector<int32_t>& ids) const;
  void make_byte_pairs();
  void take_bytes();
  void take_spellings();
  Bpe make_merges() const;
  std::optional<int32_t> find(std::string_view token) const;
  std::optional<int32_t> first_of(std::initializer_list<std::string_view> tokens) const;
  bool has(int64_t id) const;
  const std::string& token_bytes(int32_t id) const;

  TokenizerSpec spec;
  TokenRoles roles;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  std::vector<std::string> bytes;  // of each token, by id; "" where there is none
  WordMap ids;                     // by bytes; added tokens first
  Bpe bpe;
  // In place of pre_tokenizer and bpe, one of:
  std::optional<WordPiece> word_piece;
  std::optional<Metaspace> metaspace;
  std::optional<SentencePiece> sentence_piece;
  std::optional<WordEndBpe> word_end;
  std::optional<PieceDecoder> pieces;  // with metaspace and sentence_piece
  mutable ScratchPool scratch;
};

Tokenizer::State::State(TokenizerSpec parsed, TokenRoles token_roles, std::string_view name)
    : spec(std::move(parsed)),
      roles(std::move(token_roles)),
      added(spec.added),
      pre_tokenizer(spec.pre_tokenizer, name),
      bytes(spec.vocabulary.size()) {
  for (const AddedToken& token : spec.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id >= bytes.size()) bytes.resize(id + 1);
    bytes[id] = token.content;
    ids.emplace(token.content, token.id);
  }
  if (spec.word_piece) {
    word_piece.emplace(*spec.word_piece, spec.vocabulary, name);
    take_spellings();
  } else if (spec.metaspace) {
    metaspace.emplace(*spec.metaspace, make_merges());
    pieces.emplace(spec.metaspace->decoder);
    take_spellings();
  } else if (spec.sentence_piece) {
    sentence_piece.emplace(spec.sentence_piece->bytes, name);
    pieces.emplace(spec.sentence_piece->decoder);
    take_spellings();
  } else if (spec.word_end) {
    word_end.emplace(*spec.word_end, spec.vocabulary, spec.merges, spec.merged_ids, name);
    take_bytes();
  } else {
    make_byte_pairs();
  }
}

void Tokenizer::State::make_byte_pairs() {
  Bpe::Spec parts;
  parts.byte_ids.fill(-1);
  for (size_t i = 0; i < spec.vocabulary.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::optional<std::string> spelled = bytes_of_spelling(spec.vocabulary[i]);
    // A token that is not spelled in the byte alphabet stands for itself; no text gives it.
    if (bytes[i].empty()) bytes[i] = spelled.value_or(spec.vocabulary[i]);
    if (!spelled || spelled->empty()) continue;
    if (spelled->size() == 1) parts.byte_ids[static_cast<uint8_t>(spelled->front())] = id;
    if (spec.ignore_merges) parts.whole_words.emplace(*spelled, id);
    ids.emplace(*spelled, id);
  }
  parts.merges = spec.merges;
  parts.merged_ids = spec.merged_ids;
  bpe = Bpe(std::move(parts));
}

// Of a vocabulary that is spelled in the byte alphabet. A token that is not stands for itself; no
// text gives it.
void Tokenizer::State::take_bytes() {
  for (size_t i = 0; i < spec.vocabulary.size(); ++i) {
    if (bytes[i].empty())
      bytes[i] = bytes_of_spelling(spec.vocabulary[i]).value_or(spec.vocabulary[i]);
    if (!bytes[i].empty()) ids.emplace(bytes[i], static_cast<int32_t>(i));
  }
}

// Of a vocabulary that is spelled as texts are.
void Tokenizer::State::take_spellings() {
  for (size_t i = 0; i < spec.vocabulary.size(); ++i) {
    if (bytes[i].empty()) bytes[i] = spec.vocabulary[i];
    if (!bytes[i].empty()) ids.emplace(bytes[i], static_cast<int32_t>(i));
  }
}

// Of byte pairs that begin with characters.
Bpe Tokenizer::State::make_merges() const {
  Bpe::Spec parts;
  parts.byte_ids.fill(-1);
  parts.merges = spec.merges;
  parts.merged_ids = spec.merged_ids;
  return Bpe(std::move(parts));
}

void Tokenizer::State::encode_pieces(const PieceBlock& pieces, const RepairedText& text,
                                     size_t offset, std::vector<int32_t>& out) const {
  const ScratchPool::Lease lease = scratch.take();
  for (const Piece& piece : pieces) {
    const std::string_view word = text.original(offset + piece.begin, offset + piece.end);
    if (piece.prefixed) {
      bpe.encode(with_prefix(word), *lease, out);
    } else {
      bpe.encode(word, *lease, out);
    }
  }
}

void Tokenizer::State::encode_segment(const RepairedText& text, const AddedTokens::Segment& segment,
                                      std::vector<int32_t>& out) const {
  const std::string_view part = text.text().substr(segment.begin, segment.end - segment.begin);
  if (part.size() < kLongText) {
    PieceBlock pieces;
    pre_tokenizer.split(part, pieces);
    return encode_pieces(pieces, text, segment.begin, out);
  }
  pre_tokenizer.split_long(part, [&](std::span<const PieceBlock> blocks) {
    std::vector<std::vector<int32_t>> encoded(blocks.size());
    parallel_tasks(static_cast<int64_t>(blocks.size()), [&](int64_t b) {
      encode_pieces(blocks[static_cast<size_t>(b)], text, segment.begin,
                    encoded[static_cast<size_t>(b)]);
    });
    for (const std::vector<int32_t>& block : encoded)
      out.insert(out.end(), block.begin(), block.end());
  });
}

std::vector<int32_t> Tokenizer::State::encode(std::string_view text,
                                              const EncodeOptions& options) const {
  const RepairedText repaired(text);
  std::vector<int32_t> out;
  if (options.add_special) out = spec.before;
  for (const AddedTokens::Segment& segment : added.split(repaired.text(), options.allow_special)) {
    const std::string_view part =
        repaired.text().substr(segment.begin, segment.end - segment.begin);
    if (segment.id >= 0) {
      out.push_back(segment.id);
    } else if (word_piece) {
      word_piece->encode(part, out);
    } else if (metaspace) {
      const ScratchPool::Lease lease = scratch.take();
      metaspace->encode(part, segment.begin == 0, options.allow_special, *lease, out);
    } else if (sentence_piece) {
      sentence_piece->encode(part, out);
    } else if (word_end) {
      const ScratchPool::Lease lease = scratch.take();
      word_end->encode(part, *lease, out);
    } else {
      encode_segment(repaired, segment, out);
    }
  }
  if (options.add_special) out.insert(out.end(), spec.after.begin(), spec.after.end());
  return out;
}

std::optional<int32_t> Tokenizer::State::find(std::string_view token) const {
  const auto found = ids.find(token);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

std::optional<int32_t> Tokenizer::State::first_of(
    std::initializer_list<std::string_view> tokens) const {
  for (const std::string_view token : tokens) {
    if (const std::optional<int32_t> id = find(token); !token.empty() && id) return id;
  }
  return std::nullopt;
}

bool Tokenizer::State::has(int64_t id) const {
  return id >= 0 && id < std::ssize(bytes) && !bytes[static_cast<size_t>(id)].empty();
}

const std::string& Tokenizer::State::token_bytes(int32_t id) const {
  check(has(id), ErrorKind::Argument, "tokenizer", "id ", id,
        " is no token's; the vocabulary has ids below ", bytes.size());
  return bytes[static_cast<size_t>(id)];
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  TokenizerSpec spec = read_spec(path);
  const std::filesystem::path folder =
      std::filesystem::is_directory(path) ? path : path.parent_path();
  return Tokenizer(std::make_unique<State>(std::move(spec), read_roles(folder), path.string()));
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view name) {
  return Tokenizer(
      std::make_unique<State>(parse_tokenizer_json(tokenizer_json, name), TokenRoles{}, name));
}

Tokenizer Tokenizer::train(std::span<const std::string_view> texts, const TrainOptions& options) {
  TrainedTokenizer trained = train_tokenizer(texts, options);
  return Tokenizer(std::make_unique<State>(std::move(trained.spec), std::move(trained.roles),
                                           "Tokenizer::train"));
}

std::string Tokenizer::to_json() const {
  check(!state_->sentence_piece, ErrorKind::Argument, "tokenizer",
        "is a SentencePiece model, which has no tokenizer.json");
  return write_tokenizer_json(state_->spec);
}

bool Tokenizer::is_in(const std::filesystem::path& folder) {
  return !file_in(folder).empty() || std::filesystem::exists(folder / "vocab.json");
}

std::map<std::string, std::string> Tokenizer::files() const {
  const auto name = [&](std::optional<int32_t> id) {
    return id ? state_->token_bytes(*id) : std::string();
  };
  TokenRoles roles{.eos = name(eos_id()), .bos = name(bos_id()), .pad = name(pad_id())};
  if (const std::optional<SentencePieceSpec>& model = state_->spec.sentence_piece) {
    roles.unknown = name(id("<unk>"));
    return {{model->file, model->bytes},
            {"tokenizer_config.json", write_sentence_piece_config(state_->spec, roles)}};
  }
  roles.unknown = name(id("[UNK]"));
  roles.first = name(id("[CLS]"));
  roles.last = name(id("[SEP]"));
  roles.mask = name(id("[MASK]"));
  return {{"tokenizer.json", to_json()}, {"tokenizer_config.json", write_tokenizer_config(roles)}};
}

void Tokenizer::save(const std::filesystem::path& folder) const {
  make_directories(folder);
  for (const auto& [file, text] : files()) write_file_atomically(folder / file, text);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return state_->encode(text, options);
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                                          const EncodeOptions& options) const {
  std::vector<std::vector<int32_t>> encoded(texts.size());
  parallel_tasks(static_cast<int64_t>(texts.size()), [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    if (texts[at].size() < kLongText) encoded[at] = encode(texts[at], options);
  });
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() >= kLongText) encoded[i] = encode(texts[i], options);
  }
  return encoded;
}

std::vector<TokenSpan> Tokenizer::encode_spans(std::string_view text) const {
  check(state_->word_piece.has_value(), ErrorKind::Argument, "tokenizer",
        "has byte pairs, takes word pieces for spans of tokens");
  check(!first_invalid_utf8(text), ErrorKind::Argument, "tokenizer",
        "got text that is not UTF-8 for spans of tokens");
  std::vector<TokenSpan> tokens;
  for (const AddedTokens::Segment& segment : state_->added.split(text, false)) {
    if (segment.id >= 0) {
      tokens.push_back({segment.id, segment.begin, segment.end});
    } else {
      state_->word_piece->encode(text.substr(segment.begin, segment.end - segment.begin),
                                 segment.begin, tokens);
    }
  }
  return tokens;
}

std::vector<bool> Tokenizer::word_continuations() const {
  std::vector<bool> continues;
  if (!state_->word_piece) return continues;
  for (const std::string& token : state_->bytes)
    continues.push_back(state_->word_piece->continues(token));
  return continues;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, const DecodeOptions& options) const {
  std::string text;
  std::vector<int32_t> shown;
  for (const int32_t id : ids) {
    if (options.skip_special && is_special(id)) continue;
    if (state_->pieces) {
      state_->token_bytes(id);  // throws unless it is a token's
      shown.push_back(id);
    } else {
      text += token_text(id, text.empty());
    }
  }
  if (state_->pieces) return state_->pieces->decode(shown);
  return state_->word_end ? trimmed(text) : text;
}

bool Tokenizer::stays_first(int32_t id) const {
  return state_->pieces && state_->pieces->stays_first(id);
}

std::string Tokenizer::token_text(int32_t id, bool is_first) const {
  const std::string& bytes = state_->token_bytes(id);
  if (state_->pieces) return state_->pieces->text_of(id, is_first);
  if (state_->word_end) return state_->word_end->decoded(bytes);
  return state_->word_piece ? state_->word_piece->decoded(bytes, is_first) : bytes;
}

bool Tokenizer::is_byte_level() const {
  return !state_->word_piece && !state_->pieces && !state_->word_end;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return state_->token_bytes(id);
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = state_->added.find(id);
  return token != nullptr && token->special;
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(state_->bytes.size());
}

bool Tokenizer::has(int64_t id) const {
  return state_->has(id);
}

const std::vector<int32_t>& Tokenizer::tokens_before() const {
  return state_->spec.before;
}

std::optional<int32_t> Tokenizer::id(std::string_view token) const {
  return state_->find(token);
}

std::optional<int32_t> Tokenizer::eos_id() const {
  return state_->first_of(
      {state_->roles.eos, "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]"});
}
std::optional<int32_t> Tokenizer::bos_id() const {
  return state_->first_of({state_->roles.bos});
}
std::optional<int32_t> Tokenizer::pad_id() const {
  return state_->first_of({state_->roles.pad, state_->word_piece ? "[PAD]" : ""});
}

}  // namespace plinth
