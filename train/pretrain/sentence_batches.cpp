#include "train/pretrain/sentence_batches.h"

#include <algorithm>

#include "core/error.h"

namespace plinth {
namespace {

constexpr int64_t kAround = 3;  // [CLS] and two [SEP]

LoaderOptions of_chunks(LoaderOptions options, int64_t length) {
  check(length >= kAround + 2, ErrorKind::Config, "model.context", "got ", length, ", takes ",
        kAround + 2, " or more for two texts, [CLS] and two [SEP]");
  options.samples.length = length - kAround;
  return options;
}

MaskingOptions checked(const MaskingOptions& masking) {
  check(masking.first && masking.last, ErrorKind::Argument, "SentenceBatches",
        "takes a masker with [CLS] and [SEP], which stand around texts");
  return masking;
}

}  // namespace

SentenceBatches::SentenceBatches(const std::shared_ptr<const TokenDataset>& data,
                                 LoaderOptions options, const MaskingOptions& masking,
                                 int64_t length)
    : rows_(options.rows),
      length_(length),
      separator_(checked(masking).last.value()),
      masker_(masking),
      pairs_(data,
             {.continues = masking.continues, .seed = masking.seed, .stream = masking.stream}),
      loader_(data, of_chunks(options, length)) {}

Batch SentenceBatches::next(int64_t count) {
  check(count == rows_, ErrorKind::Argument, "SentenceBatches", "next got ", count,
        " samples, gives ", rows_);
  const TokenBatch batch = loader_.next();
  const TensorOptions int64s{DType::Int64, {}};
  const Tensor ids = Tensor::empty({rows_, length_}, int64s);
  const Tensor segments = Tensor::empty({rows_, length_}, int64s);
  const Tensor targets = Tensor::empty({rows_, length_}, int64s);
  const Tensor labels = Tensor::empty({rows_}, int64s);
  const std::span<const int64_t> tokens = batch.inputs;
  for (int64_t row = 0; row < rows_; ++row) {
    const int64_t sample = batch.first_sample + row, at = row * length_;
    SentencePair pair = pairs_.pair(sample, tokens.subspan(static_cast<size_t>(row * batch.length),
                                                           static_cast<size_t>(batch.length)));
    pair.tokens.insert(pair.tokens.begin() + pair.first_length, separator_);
    masker_.mask(sample, pair.tokens, ids.data<int64_t>() + at, targets.data<int64_t>() + at);
    int64_t* const segment = segments.data<int64_t>() + at;
    const int64_t second = pair.first_length + 2;  // behind [CLS] A [SEP]
    std::fill(segment, segment + second, 0);
    std::fill(segment + second, segment + length_, 1);
    labels.data<int64_t>()[row] = pair.is_next ? 0 : 1;
  }
  return {ids, segments, targets, labels};
}

}  // namespace plinth
