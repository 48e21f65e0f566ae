#include "data/tokenizer/train_tokenizer.h"

#include "core/error.h"
#include "core/io/text.h"
#include "data/tokenizer/bpe_trainer.h"
#include "data/tokenizer/sentence_piece.h"
#include "data/tokenizer/word_counter.h"

namespace plinth {
namespace {

constexpr std::string_view kTrain = "Tokenizer::train";

TrainedTokenizer train_pieces(std::span<const std::string_view> texts,
                              const TrainOptions& options) {
  const bool is_bpe = options.kind == TokenizerKind::SentencePieceBpe;
  const int64_t least = options.sentinels + (is_bpe ? 3 + 256 : 3) + 1;
  check(options.sentinels >= 0 && options.sentinels <= 1000, ErrorKind::Argument, kTrain,
        "sentinels is ", options.sentinels, ", expected 0 to 1000");
  check(options.vocab_size >= least && options.vocab_size <= kMostTokens, ErrorKind::Argument,
        kTrain, "vocab_size is ", options.vocab_size, ", expected ", least,
        " (special tokens, bytes, sentinels, and one more) to ", kMostTokens);
  std::string bytes = train_sentence_piece(
      texts, {.is_bpe = is_bpe, .vocab_size = options.vocab_size - options.sentinels});
  TokenizerSpec spec = read_sentence_piece(is_bpe ? "tokenizer.model" : "spiece.model",
                                           std::move(bytes), "", kTrain);
  add_sentinels(options.sentinels, spec, kTrain);
  TokenRoles roles{.eos = "</s>", .bos = is_bpe ? "<s>" : "", .pad = is_bpe ? "" : "<pad>"};
  return {std::move(spec), std::move(roles)};
}

TrainedTokenizer train_words(std::span<const std::string_view> texts, const TrainOptions& options) {
  const std::vector<std::string> special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  check(options.vocab_size > 0 && options.vocab_size <= kMostTokens, ErrorKind::Argument, kTrain,
        "vocab_size is ", options.vocab_size, ", expected 1 to ", kMostTokens);
  WordPieceSpec pieces;
  pieces.normalizer.lowercase = options.lowercase;
  const std::vector<std::string> vocabulary =
      train_word_pieces(count_bert_words(texts, pieces.normalizer), special, pieces.prefix,
                        options.vocab_size, options.min_frequency);
  check(std::ssize(vocabulary) <= options.vocab_size, ErrorKind::Argument, kTrain, "vocab_size is ",
        options.vocab_size, ", expected at least ", vocabulary.size(),
        " (special tokens, and the texts' characters at a word's beginning and inside one)");
  return {word_piece_spec(vocabulary, pieces.normalizer),
          {.eos = "",
           .bos = "",
           .pad = "[PAD]",
           .unknown = "[UNK]",
           .first = "[CLS]",
           .last = "[SEP]",
           .mask = "[MASK]"}};
}

TrainedTokenizer train_bytes(std::span<const std::string_view> texts, const TrainOptions& options) {
  const int64_t least = 256 + static_cast<int64_t>(options.special_tokens.size());
  check(options.vocab_size >= least && options.vocab_size <= kMostTokens, ErrorKind::Argument,
        kTrain, "vocab_size is ", options.vocab_size, ", expected ", least,
        " (the bytes and the special tokens) to ", kMostTokens);
  TokenizerSpec spec;
  for (const std::string& token : options.special_tokens) {
    check(!token.empty() && !first_invalid_utf8(token), ErrorKind::Argument, kTrain,
          "a special token is empty or not UTF-8");
    const auto id = static_cast<int32_t>(spec.added.size());
    for (const AddedToken& other : spec.added) {
      check(other.content != token, ErrorKind::Argument, kTrain, "special token ", printable(token),
            " is given twice");
    }
    spec.added.push_back({.content = token, .id = id, .special = true});
  }
  const bool is_gpt2 = options.pattern == kGpt2Pattern;
  if (!is_gpt2) spec.pre_tokenizer.splits = {options.pattern};
  spec.pre_tokenizer.use_gpt2_pattern = is_gpt2;
  spec.pre_tokenizer.add_prefix_space = options.add_prefix_space;
  const PreTokenizer pre_tokenizer(spec.pre_tokenizer, kTrain);
  BpeVocabulary learned = train_bpe(count_words(texts, pre_tokenizer), options.special_tokens,
                                    options.vocab_size, options.min_frequency);
  spec.vocabulary = std::move(learned.spellings);
  spec.merges = std::move(learned.merges);
  spec.merged_ids = std::move(learned.merged_ids);
  return {std::move(spec), {}};
}

}  // namespace

TrainedTokenizer train_tokenizer(std::span<const std::string_view> texts,
                                 const TrainOptions& options) {
  if (options.kind == TokenizerKind::WordPiece) return train_words(texts, options);
  if (options.kind == TokenizerKind::ByteLevelBpe) return train_bytes(texts, options);
  return train_pieces(texts, options);
}

}  // namespace plinth
