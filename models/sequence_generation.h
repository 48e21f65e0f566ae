#pragma once

// Sequences from an encoder-decoder, greedily or by beam search.

#include <cstdint>
#include <optional>
#include <vector>

#include "models/encoder_decoder.h"

namespace plinth {

// When a search by beams ends.
enum class EarlyStopping {
  No,     // no running beam scores above the worst finished one, both by their present length
  Yes,    // there are as many finished sequences as beams
  Never,  // as No, but running beams count as if they grew to the length that suits them best
};

struct SequenceGenerationOptions {
  int64_t max_tokens = 128;  // of a sequence, the end token among them; at most 2^20
  int64_t beams = 1;         // 1: greedy, the most likely token each time
  // A finished sequence scores the sum of its tokens' log-probabilities, over its length (the end
  // token counts) to this power: above 0, longer ones gain.
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::No;
  // What the decoder reads before it generates; left out: the model's start token.
  std::vector<int64_t> prompt = {};
  std::optional<int64_t> stop_token = {};  // ends a sequence; left out: the model's end token
};

struct GeneratedSequence {
  std::vector<int64_t> ids;  // behind the prompt, without the end token
  double score = 0;          // as the search ranks it; greedily the sum of log-probabilities
};

// The best sequence for each row of `source`, which encode() takes with `lengths`. Searches as
// transformers' generate() does. The model is to be in evaluation mode. Throws what encode() and
// decode() do, Error(Argument) for options out of range.
std::vector<GeneratedSequence> generate_sequences(EncoderDecoder& model, const Tensor& source,
                                                  const Tensor& lengths = {},
                                                  const SequenceGenerationOptions& options = {});

}  // namespace plinth
