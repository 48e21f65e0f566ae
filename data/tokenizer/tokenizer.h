#pragma once

// Byte-level byte pair encoding, as GPT-2 and Llama 3 have it, and SentencePiece's unigram models
// and byte pairs, as T5 and Llama 2 have them, BERT's WordPiece, and CLIP's byte pairs, which end
// words: load, train (but CLIP's), save, encode, decode.
//
//   Tokenizer tokenizer = Tokenizer::load("gpt2");            // a folder, or a tokenizer.json
//   std::vector<int32_t> ids = tokenizer.encode("Hello");
//   std::string text = tokenizer.decode(ids);                 // "Hello"
//
// Token ids are those of Hugging Face's `tokenizers` on the same file and text, checked on every
// code point; a file that asks for something else than these, or for a step that Plinth does
// not take (another normalizer, ...), is refused by name rather than read differently. Lengths that
// a file cuts or fills texts to are passed over, as by transformers: they belong to who makes
// batches.
//
// A model file of SentencePiece's ("tokenizer.model", "spiece.model") is read by libsentencepiece,
// and gives what the package sentencepiece gives; a tokenizer.json that came from one gives what
// `tokenizers` gives, which differs in places. Both normalize a text, so that decoding gives it
// back but for that, and a character that has no tokens is unknown.
//
// WordPiece keeps the words of a text, not the text: it may drop case and accents, and a word that
// no tokens make up is [UNK]. With byte pairs, any bytes can be encoded, and decode gives them
// back. Where they are not valid UTF-8, they are cut into pre-tokens as if each ill-formed part
// were U+FFFD (where Python's errors="replace" puts one); the tokens hold the bytes as they were.
// The exceptions to the round trip are what a file asks for: add_prefix_space adds a space, and an
// added token with lstrip or rstrip swallows spaces.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/pattern.h"
#include "data/tokenizer/word_piece.h"

namespace plinth {

struct EncodeOptions {
  // Whether "<|endoftext|>" in the text becomes the special token. Off, as for any text that comes
  // from elsewhere, it is text like any other. (Added tokens that are not special always count.)
  bool allow_special = false;
  // Adds what the file's post-processor puts around a text, such as Llama 3's <|begin_of_text|>.
  bool add_special = false;
};

struct DecodeOptions {
  bool skip_special = false;
};

enum class TokenizerKind { ByteLevelBpe, Unigram, SentencePieceBpe, WordPiece };

struct TrainOptions {
  TokenizerKind kind = TokenizerKind::ByteLevelBpe;
  int64_t vocab_size = 32768;  // special tokens and the 256 bytes, or the characters, included
  int64_t min_frequency = 2;   // of a pair that is merged
  std::vector<std::string> special_tokens = {"<|endoftext|>"};  // ids 0, 1, ...
  std::string pattern = std::string(kGpt2Pattern);              // as in tokenizer.json's Split
  bool add_prefix_space = false;
  // In place of min_frequency and the rest, for SentencePiece's kinds (train_sentence_piece()):
  // T5's sentinels, <extra_id_0> the last token of all.
  int64_t sentinels = 0;
  // WordPiece has BERT's special tokens, and no more of the rest than min_frequency.
  bool lowercase = true;  // which also strips accents
};

class Tokenizer {
 public:
  // Reads a tokenizer.json or a SentencePiece .model, or a folder with the first that there is of
  // tokenizer.json, tokenizer.model, spiece.model, vocab.txt, and vocab.json with merges.txt.
  // Beside it, tokenizer_config.json or special_tokens_map.json may name the tokens that end, begin
  // and pad texts: of each the first file that does counts.
  // Throws Error(Io) or Error(Format) naming the file.
  static Tokenizer load(const std::filesystem::path& path);

  // From a tokenizer.json's text; `name` is for errors.
  static Tokenizer parse(std::string_view tokenizer_json, std::string_view name = "tokenizer.json");

  // Learns a vocabulary, the same as Hugging Face's BpeTrainer with ByteLevel's alphabet does from
  // these texts, or its WordPieceTrainer (bpe_trainer.h). It is smaller than asked for if the texts
  // have too few pairs. Uses all threads, the result does not depend on their number. Throws
  // Error(Argument).
  static Tokenizer train(std::span<const std::string_view> texts, const TrainOptions& options = {});

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Writes tokenizer.json, or a SentencePiece model, and tokenizer_config.json, which Hugging
  // Face's libraries load, into the folder; makes it if need be.
  void save(const std::filesystem::path& folder) const;
  // The same files by name.
  std::map<std::string, std::string> files() const;
  // Throws Error(Argument) for a model of SentencePiece's.
  std::string to_json() const;
  // Whether load() finds a tokenizer in the folder.
  static bool is_in(const std::filesystem::path& folder);

  // Const members may be called from several threads at once. A text of 1 MiB or more is encoded by
  // all threads, with the same result.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string_view> texts,
                                                 const EncodeOptions& options = {}) const;

  // The tokens of encode(text) with the bytes that each stands for. Throws Error(Argument) unless
  // these are word pieces, and the text is UTF-8.
  std::vector<TokenSpan> encode_spans(std::string_view text) const;

  // Throws Error(Argument) for an id that is no token's.
  std::string decode(std::span<const int32_t> ids, const DecodeOptions& options = {}) const;

  // The bytes of one token: of a word piece its spelling.
  std::string_view token_bytes(int32_t id) const;
  // What it adds to a decoded text: a word piece also the space before a word, unless it is first.
  std::string token_text(int32_t id, bool is_first) const;
  // Whether the next token is first still behind a first one, which may give no text.
  bool stays_first(int32_t id) const;
  // Whether the bytes of a text's tokens are the text.
  bool is_byte_level() const;
  bool is_special(int32_t id) const;
  // By id, whether a token goes on with the word before it (WordPiece::continues); empty unless
  // these are word pieces.
  std::vector<bool> word_continuations() const;

  // One more than the highest id: the rows that an embedding needs.
  int64_t vocab_size() const;
  // Whether the id is a token's: a vocabulary may leave gaps, and a model have rows behind it.
  bool has(int64_t id) const;

  // What the file's post-processor puts before a text, such as Llama 3's <|begin_of_text|>.
  const std::vector<int32_t>& tokens_before() const;

  // The id of an added token, or of a token by its bytes.
  std::optional<int32_t> id(std::string_view token) const;

  // From the files beside tokenizer.json; else the first that exists of <|endoftext|>,
  // <|end_of_text|>, </s>, <eos>, [SEP].
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> pad_id() const;  // of word pieces else [PAD]

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Text from ids as they come, for printing while generating: gives only whole characters. What is
// not valid UTF-8 becomes U+FFFD, as by Python's errors="replace".
class StreamDecoder {
 public:
  // The tokenizer must outlive it.
  explicit StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options = {})
      : tokenizer_(&tokenizer), options_(options) {}

  // What this token completes; may be empty, as it is for an id that is no token's.
  std::string push(int32_t id);
  // What is left, at the end.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  std::string pending_;   // the start of a character
  bool is_first_ = true;  // no token has come yet
};

}  // namespace plinth
