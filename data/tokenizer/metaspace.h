#pragma once

// What Hugging Face's tokenizers do where a tokenizer.json came from SentencePiece: text is
// normalized, its spaces become U+2581, and a unigram model or byte pairs over characters cut what
// lies between them, or all of it.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/piece_decoder.h"
#include "data/tokenizer/unigram.h"

namespace plinth {

// Byte pairs that begin with characters.
struct CharacterBpeSpec {
  std::unordered_map<std::string, int32_t> characters;  // tokens of one character each
  // Of <0x00> to <0xFF>, which stand for characters without a token; else these are unknown.
  std::optional<std::array<int32_t, 256>> byte_ids;
  std::optional<int32_t> unknown;  // none: such characters are left out
  bool fuses_unknown = false;      // those in a row are one token
};

struct MetaspaceSpec {
  enum class Prepend { Never, First, Always };
  using TextStep = std::function<std::string(std::string_view)>;

  std::vector<TextStep> normalizer;    // each takes and gives valid UTF-8
  bool splits_white_space = false;     // which is then left out
  bool marks_spaces = false;           // by U+2581
  Prepend prepend = Prepend::Never;    // a mark before each piece, or before that at a text's start
  bool splits_at_marks = false;        // before each
  std::optional<UnigramSpec> unigram;  // or else
  CharacterBpeSpec bpe;
  PieceDecoderSpec decoder;
  std::string source;  // the file's text
};

class Metaspace {
 public:
  // `merges` are the byte pairs, if there is no unigram model.
  Metaspace(const MetaspaceSpec& spec, Bpe merges);

  // Appends the ids of valid UTF-8 between added tokens.
  void encode(std::string_view text, bool is_start, bool allow_special, BpeScratch& scratch,
              std::vector<int32_t>& ids) const;

 private:
  void encode_piece(std::string piece, bool is_start, bool allow_special, BpeScratch& scratch,
                    std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, bool allow_special, BpeScratch& scratch,
                   std::vector<int32_t>& ids) const;
  void add_characters(std::string_view word, std::vector<int32_t>& parts) const;

  const MetaspaceSpec* spec_;  // outlives this
  std::optional<Unigram> unigram_;
  Bpe merges_;
};

}  // namespace plinth
