#pragma once

// How well a language model predicts a text.

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "data/loader/masking.h"
#include "data/shards/token_dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "models/language_model.h"

namespace plinth {

// A sequence of tokens, in files or in memory. What it is made from must outlive it.
struct TokenText {
  TokenText(const TokenDataset& data);            // NOLINT(google-explicit-constructor)
  TokenText(const std::vector<int32_t>& tokens);  // NOLINT(google-explicit-constructor)

  int64_t size = 0;
  std::function<void(int64_t begin, int64_t end, int64_t* out)> copy;
};

struct EvaluationOptions {
  int64_t context = 0;                   // tokens of a window; 0: the model's
  int64_t batch = 8;                     // windows at once
  int64_t max_windows = 0;               // evenly spread over the text; 0: all of it
  const Tokenizer* tokenizer = nullptr;  // for bits per byte
  // The mean loss of ids and targets [batch, time], in place of model.loss().
  std::function<Tensor(const Tensor& ids, const Tensor& targets)> loss = {};
  // For a model that fills in masked tokens, and only there.
  const TokenMasker* masker = nullptr;
};

struct Evaluation {
  int64_t tokens = 0;  // predicted
  int64_t bytes =
      0;  // that these tokens stand for; 0 with masked tokens, and without a tokenizer of bytes
  double loss = std::numeric_limits<double>::quiet_NaN();  // nats per token

  double perplexity() const;
  double bits_per_byte() const;  // NaN without a tokenizer
};

// Cuts the tokens into windows that do not overlap and predicts each token but a window's first
// from those before it in its window (the first is predicted by no one; the last of a window is the
// first of the next). Or masks each window, of which the last is left out if it is shorter than
// others, and predicts what was masked. In evaluation mode, without a graph. Throws Error(Argument)
// for a text of less than two tokens, or a masker where the model takes none or the other way
// round, Error(Format) for an id outside the vocabulary.
Evaluation evaluate(LanguageModel& model, const TokenText& text,
                    const EvaluationOptions& options = {});

// Nats per token of the best prediction that knows only how often each token occurs: what a model
// that learned nothing but frequencies reaches. Counts at most `most` tokens.
double unigram_entropy(const TokenText& text, int64_t vocab_size,
                       int64_t most = int64_t{100} << 20);

}  // namespace plinth
