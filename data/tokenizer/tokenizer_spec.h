#pragma once

// What a tokenizer file says, and the files themselves: Hugging Face's tokenizer.json, GPT-2's
// vocab.json with merges.txt, BERT's vocab.txt, and SentencePiece's models. Parsers take text and
// the name to put into errors; they throw Error(Format, name) for what is malformed and, naming it,
// for what Plinth would not do the same.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/tokenizer/sentence_piece_file.h"
#include "data/tokenizer/word_end_bpe.h"
#include "data/tokenizer/word_piece.h"

namespace plinth {

// More ids than any vocabulary has; a file that names a higher one is refused.
inline constexpr int64_t kMostTokens = int64_t{1} << 24;

// A model of SentencePiece's, which libsentencepiece runs.
struct SentencePieceSpec {
  std::string file;   // its name: "tokenizer.model" or "spiece.model"
  std::string bytes;  // its content
  PieceDecoderSpec decoder;
  int64_t sentinels = 0;  // T5's, behind the pieces: <extra_id_0> is the last
};

struct TokenizerSpec {
  // Tokens by id, spelled in the byte alphabet but for WordPiece's; "" where an id has none.
  std::vector<std::string> vocabulary;
  // Pairs of ids, first learned first. The merged token is the one spelled as the two together.
  std::vector<std::pair<int32_t, int32_t>> merges;
  std::vector<int32_t> merged_ids;
  std::vector<AddedToken> added;
  PreTokenizerSpec pre_tokenizer;
  bool ignore_merges = false;  // a piece that is a token needs no merges
  // In place of merges and pre-tokenizer.
  std::optional<WordPieceSpec> word_piece;
  std::optional<MetaspaceSpec> metaspace;  // the merges are then of characters
  std::optional<SentencePieceSpec> sentence_piece;
  std::optional<WordEndSpec> word_end;  // the last byte of a word then has another token
  // What the post-processor puts around a text, and its JSON, kept for saving.
  std::vector<int32_t> before;
  std::vector<int32_t> after;
  std::string post_processor = "null";
};

TokenizerSpec parse_tokenizer_json(std::string_view text, std::string_view name);
std::string write_tokenizer_json(const TokenizerSpec& spec);

// vocab.json and merges.txt as GPT-2 published them: its pattern, no space before the text, and
// <|endoftext|>, if the vocabulary has it, as a special token.
TokenizerSpec parse_vocab_and_merges(std::string_view vocab, std::string_view merges,
                                     std::string_view name);

// vocab.txt as BERT published it, a token a line, with [CLS] before and [SEP] behind a text. What
// tokenizer_config.json, "" if there is none, says of do_lower_case, tokenize_chinese_chars and
// strip_accents counts.
TokenizerSpec parse_word_pieces(std::string_view vocab, std::string_view config,
                                std::string_view name);
// The same of tokens by id.
TokenizerSpec word_piece_spec(std::vector<std::string> vocabulary,
                              const BertNormalizerSpec& normalizer);

// A model of SentencePiece's. Tokens that are its control pieces, or that tokenizer_config.json,
// "" if there is none, adds behind its pieces (extra_ids, added_tokens_decoder), are special. Its
// add_bos_token and add_eos_token say what stands around a text; without them <s> before it if the
// model has that (Llama's), else </s> behind it (T5's).
TokenizerSpec read_sentence_piece(std::string file, std::string bytes, std::string_view config,
                                  std::string_view name);
// Puts T5's sentinels behind the pieces.
void add_sentinels(int64_t count, TokenizerSpec& spec, std::string_view name);

// The tokens that play a part, from tokenizer_config.json or special_tokens_map.json: "" if none.
struct TokenRoles {
  std::string eos;
  std::string bos;
  std::string pad;
  std::string unknown = {}, first = {}, last = {}, mask = {};  // BERT's
};
TokenRoles parse_token_roles(std::string_view text, std::string_view name);
std::string write_tokenizer_config(const TokenRoles& roles);
// The same beside a model of SentencePiece's, with what read_sentence_piece() reads.
std::string write_sentence_piece_config(const TokenizerSpec& spec, const TokenRoles& roles);

}  // namespace plinth
