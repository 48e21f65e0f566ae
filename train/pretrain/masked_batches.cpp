#include "train/pretrain/masked_batches.h"

#include "core/error.h"

namespace plinth {

namespace {

LoaderOptions without_added(LoaderOptions options, const TokenMasker& masker, int64_t length) {
  check(length > masker.added(), ErrorKind::Config, "model.context", "got ", length,
        ", takes more than the ", masker.added(), " tokens that stand around a sequence");
  options.samples.length = length - masker.added();
  return options;
}

}  // namespace

MaskingOptions masking_options(const Tokenizer* tokenizer, int64_t vocab_size, int64_t mask_token) {
  MaskingOptions options;
  options.vocab_size = vocab_size;
  if (tokenizer) {
    if (mask_token < 0) mask_token = tokenizer->id("[MASK]").value_or(-1);
    const std::optional<int32_t> first = tokenizer->id("[CLS]"), last = tokenizer->id("[SEP]");
    if (first && last) options.first = *first, options.last = *last;
    for (int64_t id = 0; id < tokenizer->vocab_size(); ++id) {
      if (tokenizer->is_special(static_cast<int32_t>(id))) options.kept.push_back(id);
    }
  }
  check(mask_token >= 0, ErrorKind::Config, "masking.token",
        "is missing; set it to the id of a token that stands for masked ones: ",
        tokenizer ? "the tokenizer has no [MASK]" : "there is no tokenizer with a [MASK]");
  check(mask_token < vocab_size, ErrorKind::Config, "masking.token", "got ", mask_token,
        ", takes an id below the ", vocab_size, " of the vocabulary");
  options.mask_token = mask_token;
  return options;
}

MaskingOptions masking_options(const PretrainConfig& config, const Tokenizer* tokenizer,
                               int64_t vocab_size) {
  MaskingOptions options = masking_options(tokenizer, vocab_size, config.masking.token);
  options.share = config.masking.share;
  options.seed = config.run.seed;
  if (!config.masking.whole_word) return options;
  if (tokenizer) options.continues = tokenizer->word_continuations();
  check(!options.continues.empty(), ErrorKind::Config, "masking.whole_word",
        "got true, takes a data.tokenizer of word pieces (WordPiece), which tells what a word is");
  return options;
}

MaskedBatches::MaskedBatches(std::shared_ptr<const TokenDataset> data, LoaderOptions options,
                             TokenMasker masker, int64_t length)
    : rows_(options.rows),
      length_(length),
      masker_(std::move(masker)),
      loader_(std::move(data), without_added(options, masker_, length)) {}

Batch MaskedBatches::next(int64_t count) {
  check(count == rows_, ErrorKind::Argument, "MaskedBatches", "next got ", count,
        " samples, gives ", rows_);
  const TokenBatch batch = loader_.next();
  const Tensor ids = Tensor::empty({rows_, length_}, {DType::Int64, {}});
  const Tensor targets = Tensor::empty({rows_, length_}, {DType::Int64, {}});
  const std::span<const int64_t> tokens = batch.inputs;
  for (int64_t row = 0; row < rows_; ++row) {
    const auto own =
        tokens.subspan(static_cast<size_t>(row * batch.length), static_cast<size_t>(batch.length));
    masker_.mask(batch.first_sample + row, own, ids.data<int64_t>() + row * length_,
                 targets.data<int64_t>() + row * length_);
  }
  return {ids, targets};
}

}  // namespace plinth
