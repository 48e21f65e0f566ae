#pragma once

// Sequences from an encoder-decoder: greedily, by beam search, or drawn at random.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/encoder_decoder.h"
#include "models/sampler.h"

namespace plinth {

// When a search by beams ends.
enum class EarlyStopping {
  No,     // no running beam scores above the worst finished one, both by their present length
  Yes,    // there are as many finished sequences as beams
  Never,  // as No, but running beams count as if they grew to the length that suits them best
};

// What may come next in a sequence.
class TokenRule {
 public:
  virtual ~TokenRule() = default;
  // Changes the scores [vocab_size] of the token behind `ids`, which stand behind the prompt:
  // -infinity is never chosen where there is another. Scores are log-probabilities, or logits where
  // tokens are drawn or penalised: only what lies between them means something.
  virtual void apply(std::span<const int64_t> ids, std::span<float> scores) const = 0;
};

struct SequenceGenerationOptions {
  int64_t max_tokens = 128;  // of a sequence, the end token among them; at most 2^20
  int64_t beams = 1;         // 1: greedy, the most likely token each time
  // A finished sequence scores the sum of its tokens' log-probabilities, over its length (the end
  // token counts) to this power: above 0, longer ones gain. At most 500 / log(max_tokens), either
  // way.
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::No;
  // With one beam, how the next token is drawn; a temperature of 0 takes the most likely one. The
  // same source gives the same sequence, whatever is beside it. The repetition penalty counts the
  // prompt's tokens too.
  SamplingOptions sampling = {.temperature = 0};
  // What the decoder reads before it generates: for every source the same; or one prompt for each,
  // all of one length. Left out: the model's start token.
  std::vector<int64_t> prompt = {};
  std::vector<std::vector<int64_t>> prompts = {};
  std::vector<std::shared_ptr<const TokenRule>> rules = {};  // in this order, before each choice
  std::vector<int64_t> stop_tokens = {};  // end a sequence; left out: the model's end tokens
};

struct GeneratedSequence {
  std::vector<int64_t> ids;  // behind the prompt, without the end token
  double score = 0;          // as the search ranks it; with one beam the sum of log-probabilities
};

// The best sequence for each row of `source`, which encode() takes with `lengths`. Searches as
// transformers' generate() does. The model is to be in evaluation mode. Throws what encode() and
// decode() do, Error(Argument) for options out of range.
std::vector<GeneratedSequence> generate_sequences(EncoderDecoder& model, const Tensor& source,
                                                  const Tensor& lengths = {},
                                                  const SequenceGenerationOptions& options = {});

}  // namespace plinth
