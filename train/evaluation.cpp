#include "train/evaluation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "data/loader/sample_source.h"
#include "train/evaluation_mode.h"

namespace plinth {

namespace {

// `rows` windows of time + 1 tokens, as inputs and targets.
struct Windows {
  Tensor ids;
  Tensor targets;
};

Windows read_windows(const TokenText& text, const std::vector<int64_t>& starts, int64_t time) {
  const auto rows = static_cast<int64_t>(starts.size());
  Tensor tokens = Tensor::empty({rows, time + 1}, {DType::Int64, {}});
  int64_t* out = tokens.data<int64_t>();
  for (int64_t row = 0; row < rows; ++row)
    text.copy(starts[row], starts[row] + time + 1, out + row * (time + 1));
  return {tokens.narrow(1, 0, time).contiguous(), tokens.narrow(1, 1, time).contiguous()};
}

// The same, of `time` tokens and those that the masker adds. A window's number is its sample's.
Windows read_masked_windows(const TokenText& text, const std::vector<int64_t>& starts, int64_t time,
                            const TokenMasker& masker) {
  const int64_t length = time + masker.added();
  const Shape shape = {static_cast<int64_t>(starts.size()), length};
  const Windows windows{Tensor::empty(shape, {DType::Int64, {}}),
                        Tensor::empty(shape, {DType::Int64, {}})};
  std::vector<int64_t> tokens(static_cast<size_t>(time));
  int64_t at = 0;
  for (const int64_t start : starts) {
    text.copy(start, start + time, tokens.data());
    masker.mask(start / time, tokens, windows.ids.data<int64_t>() + at,
                windows.targets.data<int64_t>() + at);
    at += length;
  }
  return windows;
}

int64_t predicted(const Tensor& targets) {
  const int64_t* ids = targets.data<int64_t>();
  return targets.numel() - std::count(ids, ids + targets.numel(), kIgnoredTarget);
}

int64_t bytes_of(const Tensor& targets, const Tokenizer& tokenizer) {
  int64_t bytes = 0;
  const int64_t* ids = targets.data<int64_t>();
  for (int64_t i = 0; i < targets.numel(); ++i) {
    const auto id = static_cast<int32_t>(ids[i]);
    if (!tokenizer.is_special(id)) bytes += static_cast<int64_t>(tokenizer.token_bytes(id).size());
  }
  return bytes;
}

void add(Evaluation& sum, LanguageModel& model, const Windows& windows,
         const EvaluationOptions& options) {
  const OpScope scope("evaluate_batch", ScopeKind::Phase);
  const int64_t tokens = predicted(windows.targets);
  const Device device = model.device();
  const Tensor ids = windows.ids.to(device), targets = windows.targets.to(device);
  const Tensor loss = options.loss ? options.loss(ids, targets) : model.loss(ids, targets);
  const double nats = loss.item() * static_cast<double>(tokens);
  sum.loss = (sum.tokens ? sum.loss : 0) + nats;
  sum.tokens += tokens;
  if (options.tokenizer && options.tokenizer->is_byte_level() && !options.masker)
    sum.bytes += bytes_of(windows.targets, *options.tokenizer);
}

}  // namespace

TokenText::TokenText(const TokenDataset& data)
    : size(data.size()),
      copy([&data](int64_t begin, int64_t end, int64_t* out) { data.copy(begin, end, out); }) {}

TokenText::TokenText(const std::vector<int32_t>& tokens)
    : size(static_cast<int64_t>(tokens.size())),
      copy([&tokens](int64_t begin, int64_t end, int64_t* out) {
        std::copy(tokens.begin() + begin, tokens.begin() + end, out);
      }) {}

double Evaluation::perplexity() const {
  return std::exp(loss);
}

double Evaluation::bits_per_byte() const {
  return bytes ? loss * static_cast<double>(tokens) / std::log(2.0) / static_cast<double>(bytes)
               : std::nan("");
}

Evaluation evaluate(LanguageModel& model, const TokenText& text, const EvaluationOptions& options) {
  check(text.size >= 2, ErrorKind::Argument, "evaluate", "got ", text.size,
        " tokens, takes at least 2");
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(model);
  const TokenMasker* const masker = options.masker;
  check((masker != nullptr) != model.info().causal, ErrorKind::Argument, "evaluate", "got ",
        masker ? "a" : "no", " masker for ", model.info().type, ", which predicts ",
        masker ? "the next token" : "masked tokens");
  const int64_t context = options.context ? options.context : model.info().context;
  // Tokens of a window, besides what a masker adds, and those of the text that begin one.
  const int64_t room = context - (masker ? masker->added() : 0);
  const int64_t size = text.size - (masker ? 0 : 1);
  check(room > 0, ErrorKind::Argument, "evaluate", "context is ", context,
        ", takes more than what stands around a sequence");
  const int64_t time = std::min(room, size);
  const int64_t whole = size / time;
  const int64_t count = options.max_windows ? std::min(options.max_windows, whole) : whole;
  Evaluation result;
  const auto read = [&](const std::vector<int64_t>& begins, int64_t length) {
    return masker ? read_masked_windows(text, begins, length, *masker)
                  : read_windows(text, begins, length);
  };
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < count; ++i) {
    starts.push_back(i * whole / count * time);
    if (static_cast<int64_t>(starts.size()) < options.batch && i + 1 < count) continue;
    add(result, model, read(starts, time), options);
    starts.clear();
  }
  const int64_t rest = size - whole * time;
  if (count == whole && rest > 0 && !masker)
    add(result, model, read({whole * time}, rest), options);
  result.loss /= static_cast<double>(result.tokens);
  return result;
}

double unigram_entropy(const TokenText& text, int64_t vocab_size, int64_t most) {
  std::vector<int64_t> counts(static_cast<size_t>(vocab_size));
  std::vector<int64_t> block(1 << 16);
  const int64_t total = std::min(most, text.size);
  for (int64_t begin = 0; begin < total; begin += static_cast<int64_t>(block.size())) {
    const int64_t end = std::min(total, begin + static_cast<int64_t>(block.size()));
    text.copy(begin, end, block.data());
    for (int64_t i = 0; i < end - begin; ++i) {
      check(block[i] >= 0 && block[i] < vocab_size, ErrorKind::Format, "tokens", "token ",
            begin + i, " is ", block[i], ", the vocabulary has ", vocab_size);
      ++counts[block[i]];
    }
  }
  double entropy = 0;
  for (const int64_t count : counts) {
    if (count == 0) continue;
    const double p = static_cast<double>(count) / static_cast<double>(total);
    entropy -= p * std::log(p);
  }
  return entropy;
}

}  // namespace plinth
