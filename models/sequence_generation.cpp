#include "models/sequence_generation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"

namespace plinth {

namespace {

constexpr std::string_view kGenerateSequences = "generate_sequences";
constexpr int64_t kMostTokens = 1 << 20;
// Added to the score of what cannot be chosen; finite, so that such scores still have an order.
constexpr float kImpossible = -1e9F;
// Of a length to the power of the penalty: sums of log-probabilities over it stay in range.
constexpr double kMostLogWeight = 500;

struct Beam {
  std::vector<int64_t> ids = {};  // behind the prompt, with the end token
  float score = kImpossible;
};

struct Finished {
  std::vector<int64_t> ids = {};
  double score = -std::numeric_limits<double>::infinity();
  bool is_whole = false;  // else it stands for a sequence that is yet to be found
};

// A way to go on: the beam of a source, and the token.
struct Continuation {
  float score = 0;
  int64_t beam = 0, token = 0;
  bool ends = false;
};

struct Choice {
  int64_t token = 0;
  double score = 0;
};

// What is known of one source.
struct Search {
  std::vector<Beam> running;
  std::vector<Finished> finished;  // the best first
  bool can_improve = true;
};

// Logits of the next token, float32 [rows, vocab_size], by the decoder's caches.
class Decoder {
 public:
  Decoder(EncoderDecoder& model, EncoderStates source, int64_t positions)
      : model_(model),
        source_(std::move(source)),
        caches_(model.make_caches(source_.states.size(0), positions, source_.states.size(1))) {}

  Tensor read(const std::vector<int64_t>& ids, int64_t rows) {
    const Tensor tokens = from_values(ids, {rows, std::ssize(ids) / rows}).to(model_.device());
    const Tensor x = model_.decode(tokens, source_, &caches_);
    return model_.head(x.narrow(1, x.size(1) - 1, 1)).select(1, 0).to(DType::Float32);
  }
  // Each row `times` over.
  void repeat(int64_t times) {
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < source_.states.size(0); ++row)
      rows.insert(rows.end(), static_cast<size_t>(times), row);
    const Tensor index = index_of(rows);
    source_ = source_.select(index);
    caches_.select(index);
  }
  // Row i goes on from what the row rows[i] has read, which has the same source.
  void go_on_from(const std::vector<int64_t>& rows) { caches_.select_read(index_of(rows)); }

 private:
  Tensor index_of(const std::vector<int64_t>& rows) const {
    return from_values(rows, {std::ssize(rows)}).to(model_.device());
  }

  EncoderDecoder& model_;
  EncoderStates source_;
  DecoderCaches caches_;
};

std::vector<float> host_values(const Tensor& values) {
  const std::vector<double> wide = to_vector(values);
  return {wide.begin(), wide.end()};
}

// The logarithm of the sum of their exponentials.
double log_normalizer(std::span<const float> logits) {
  const double most = static_cast<double>(std::ranges::max(logits));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  return most + std::log(sum);
}

class Generation {
 public:
  Generation(EncoderDecoder& model, const SequenceGenerationOptions& options)
      : options_(options), prompts_(options.prompts), stops_(options.stop_tokens) {
    const EncoderDecoderInfo& info = model.info();
    if (prompts_.empty())
      prompts_ = {options.prompt.empty() ? std::vector{info.start_token} : options.prompt};
    if (stops_.empty()) stops_ = info.eos_tokens;
    check(options.max_tokens > 0 && options.max_tokens <= kMostTokens && options.beams > 0,
          ErrorKind::Argument, kGenerateSequences, "got max_tokens ", options.max_tokens,
          " and beams ", options.beams, ", takes at least 1 of each, and at most ", kMostTokens,
          " tokens");
    const int64_t most_beams = info.vocab_size / candidates_per_beam();
    check(options.beams == 1 || options.beams <= most_beams, ErrorKind::Argument,
          kGenerateSequences, "beams is ", options.beams, ", takes at most ", most_beams,
          ": each has ", candidates_per_beam(), " ways to go on in a vocabulary of ",
          info.vocab_size);
    check(options.beams == 1 || !draws(), ErrorKind::Argument, kGenerateSequences, "beams is ",
          options.beams, ", takes 1 with a temperature or a repetition_penalty");
    const double most_penalty =
        kMostLogWeight / std::log(std::max(2.0, static_cast<double>(options.max_tokens)));
    check(std::abs(options.length_penalty) <= most_penalty, ErrorKind::Argument, kGenerateSequences,
          "length_penalty is ", options.length_penalty, ", takes at most ", most_penalty,
          " either way for max_tokens ", options.max_tokens);
    check(!model.is_training(), ErrorKind::Argument, kGenerateSequences,
          "the model is in training mode, and would drop activations; call eval()");
  }

  std::vector<GeneratedSequence> run(EncoderDecoder& model, const Tensor& source,
                                     const Tensor& lengths) {
    const NoGradGuard no_grad;
    EncoderStates states = model.encode(source, lengths);
    const int64_t sources = states.states.size(0);
    check(sources > 0, ErrorKind::Shape, kGenerateSequences, "got no source");
    const std::vector<int64_t> ids = prompt_ids(sources);
    Decoder decoder(model, std::move(states), std::ssize(ids) / sources + options_.max_tokens - 1);
    const Tensor first = decoder.read(ids, sources);
    return options_.beams == 1 ? single(decoder, first) : beam_search(decoder, first);
  }

 private:
  bool draws() const {
    return options_.sampling.temperature != 0 || options_.sampling.repetition_penalty != 1;
  }

  bool is_stop(int64_t token) const { return std::ranges::find(stops_, token) != stops_.end(); }

  // Each beam may end by every one of the stop tokens, and must have a way to go on.
  int64_t candidates_per_beam() const { return std::max<int64_t>(2, 1 + std::ssize(stops_)); }

  // What is read for each source, one after the other.
  std::vector<int64_t> prompt_ids(int64_t sources) const {
    check(prompts_.size() == 1 || std::ssize(prompts_) == sources, ErrorKind::Argument,
          kGenerateSequences, "got ", prompts_.size(), " prompts for ", sources, " sources");
    std::vector<int64_t> ids;
    for (int64_t row = 0; row < sources; ++row) {
      const std::vector<int64_t>& prompt = prompt_of(static_cast<size_t>(row));
      check(!prompt.empty() && prompt.size() == prompts_.front().size(), ErrorKind::Argument,
            kGenerateSequences, "got prompts of ", prompts_.front().size(), " and ", prompt.size(),
            " tokens, takes at least one token, and as many for each source");
      ids.insert(ids.end(), prompt.begin(), prompt.end());
    }
    return ids;
  }

  const std::vector<int64_t>& prompt_of(size_t row) const {
    return prompts_[prompts_.size() == 1 ? 0 : row];
  }

  // The log-probabilities [rows, vocab_size] as the rules leave them; `ids(row)` gives what stands
  // behind a row's prompt.
  template <class Ids>
  Tensor ruled(const Tensor& log_probabilities, const Ids& ids) const {
    if (options_.rules.empty()) return log_probabilities;
    std::vector<float> values = host_values(log_probabilities);
    const auto vocabulary = static_cast<size_t>(log_probabilities.size(1));
    for (size_t row = 0; row * vocabulary < values.size(); ++row)
      apply_rules(ids(row), std::span(values).subspan(row * vocabulary, vocabulary));
    return from_values(values, log_probabilities.shape()).to(log_probabilities.device());
  }
  void apply_rules(std::span<const int64_t> ids, std::span<float> scores) const {
    for (const auto& rule : options_.rules) rule->apply(ids, scores);
  }

  // One sequence a source.
  std::vector<GeneratedSequence> single(Decoder& decoder, Tensor logits) const {
    std::vector<GeneratedSequence> found(static_cast<size_t>(logits.size(0)));
    std::vector<bool> ended(found.size());
    for (int64_t length = 1;; ++length) {
      const std::vector<Choice> choices = draws() ? drawn(logits, found) : likeliest(logits, found);
      std::vector<int64_t> next;
      for (size_t row = 0; row < found.size(); ++row) {
        const auto& [token, score] = choices[row];
        next.push_back(token);
        if (ended[row]) continue;
        found[row].score += score;
        if (is_stop(token)) ended[row] = true;
        if (!ended[row]) found[row].ids.push_back(token);
      }
      if (length == options_.max_tokens || std::ranges::all_of(ended, std::identity{}))
        return found;
      logits = decoder.read(next, std::ssize(found));
    }
  }

  // The most likely next token of each row, and its log-probability.
  std::vector<Choice> likeliest(const Tensor& logits,
                                const std::vector<GeneratedSequence>& found) const {
    const Tensor left =
        ruled(log_softmax(logits, -1), [&](size_t row) { return std::span(found[row].ids); });
    const TopK best = topk(left, 1);
    const std::vector<double> scores = to_vector(best.values), tokens = to_vector(best.indices);
    std::vector<Choice> choices;
    for (size_t row = 0; row < scores.size(); ++row)
      choices.push_back({static_cast<int64_t>(tokens[row]), scores[row]});
    return choices;
  }

  // The next token of each row as the sampler draws it, and its log-probability. As transformers
  // does, the penalty acts on logits, whose sign counts, and before the rules.
  std::vector<Choice> drawn(const Tensor& logits,
                            const std::vector<GeneratedSequence>& found) const {
    SamplingOptions sampling = options_.sampling;
    sampling.repetition_penalty = 1;
    Sampler sampler(sampling);
    std::vector<Choice> choices;
    std::vector<float> values = host_values(logits);
    const auto vocabulary = static_cast<size_t>(logits.size(1));
    for (size_t row = 0; row < found.size(); ++row) {
      const auto of_row = std::span(values).subspan(row * vocabulary, vocabulary);
      const std::vector<float> raw(of_row.begin(), of_row.end());
      const std::vector<int64_t>& prompt = prompt_of(row);
      const std::vector<int32_t> ids(found[row].ids.begin(), found[row].ids.end());
      std::vector<int32_t> history(prompt.begin(), prompt.end());
      history.insert(history.end(), ids.begin(), ids.end());
      penalize_repetitions(of_row, history, options_.sampling.repetition_penalty);
      apply_rules(found[row].ids, of_row);
      const int64_t token = sampler.next(of_row, ids);
      choices.push_back(
          {token, static_cast<double>(raw[static_cast<size_t>(token)]) - log_normalizer(raw)});
    }
    return choices;
  }

  std::vector<GeneratedSequence> beam_search(Decoder& decoder, const Tensor& first) {
    const int64_t beams = options_.beams;
    std::vector<Search> searches(static_cast<size_t>(first.size(0)));
    for (Search& search : searches) {
      search.running.resize(static_cast<size_t>(beams));
      search.running.front().score = 0;  // the others are the same, and would find the same
      search.finished.resize(static_cast<size_t>(beams));
    }
    decoder.repeat(beams);
    Tensor log_probabilities = log_softmax(
        first.unsqueeze(1).expand({first.size(0), beams, first.size(1)}).flatten(0, 1), -1);
    for (int64_t length = 1;; ++length) {
      std::vector<int64_t> rows, next;
      if (!step(searches, log_probabilities, length, rows, next)) return best_of(searches);
      decoder.go_on_from(rows);
      log_probabilities = log_softmax(decoder.read(next, std::ssize(next)), -1);
    }
  }

  // Adds the token number `length` to every beam; of each the row that it goes on from, and the
  // token, are left in `rows` and `next`. False if the search is over.
  bool step(std::vector<Search>& searches, const Tensor& log_probabilities, int64_t length,
            std::vector<int64_t>& rows, std::vector<int64_t>& next) const {
    const Tensor left = ruled(log_probabilities, [&](size_t row) {
      const auto beams = static_cast<size_t>(options_.beams);
      return std::span(searches[row / beams].running[row % beams].ids);
    });
    const std::vector<std::vector<Continuation>> all = candidates(searches, left, length);
    bool can_improve = false, is_full = true, can_go_on = false;
    for (size_t i = 0; i < searches.size(); ++i) {
      Search& search = searches[i];
      finish(search, all[i], length);
      go_on(search, all[i], static_cast<int64_t>(i) * options_.beams, rows, next);
      search.can_improve = search.can_improve && may_improve(search, length);
      can_improve = can_improve || search.can_improve;
      is_full = is_full && std::ranges::all_of(search.finished, &Finished::is_whole);
      can_go_on = can_go_on || !std::ranges::all_of(all[i], &Continuation::ends);
    }
    return can_improve && can_go_on && !(is_full && options_.early_stopping == EarlyStopping::Yes);
  }

  // The best ways to go on for each source: should all of the first end, there are beams still.
  std::vector<std::vector<Continuation>> candidates(const std::vector<Search>& searches,
                                                    const Tensor& log_probabilities,
                                                    int64_t length) const {
    const int64_t count = std::ssize(searches), beams = options_.beams,
                  vocabulary = log_probabilities.size(1);
    std::vector<float> before;
    for (const Search& search : searches) {
      for (const Beam& beam : search.running) before.push_back(beam.score);
    }
    const Tensor scores =
        log_probabilities + from_values(before, {count * beams, 1}).to(log_probabilities.device());
    const int64_t kept = candidates_per_beam() * beams;
    const TopK best = topk(scores.reshape({count, beams * vocabulary}), kept);
    const std::vector<double> values = to_vector(best.values), places = to_vector(best.indices);
    std::vector<std::vector<Continuation>> all(searches.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto place = static_cast<int64_t>(places[i]);
      const int64_t token = place % vocabulary;
      all[i / static_cast<size_t>(kept)].push_back(
          {.score = static_cast<float>(values[i]),
           .beam = place / vocabulary,
           .token = token,
           .ends = is_stop(token) || length == options_.max_tokens});
    }
    return all;
  }

  // Keeps the best of what was finished and of what ends now among the first candidates.
  void finish(Search& search, const std::vector<Continuation>& candidates, int64_t length) const {
    const bool is_full = std::ranges::all_of(search.finished, &Finished::is_whole);
    const bool is_closed =
        !search.can_improve || (is_full && options_.early_stopping == EarlyStopping::Yes);
    if (is_closed) return;
    for (int64_t i = 0; i < options_.beams; ++i) {
      const Continuation& candidate = candidates[static_cast<size_t>(i)];
      if (!candidate.ends) continue;
      Beam beam = search.running[static_cast<size_t>(candidate.beam)];
      beam.ids.push_back(candidate.token);
      search.finished.push_back({std::move(beam.ids), scored(candidate.score, length), true});
    }
    std::ranges::stable_sort(search.finished, std::greater{}, &Finished::score);
    search.finished.resize(static_cast<size_t>(options_.beams));
  }

  // The best candidates that do not end are the beams from now on.
  void go_on(Search& search, const std::vector<Continuation>& candidates, int64_t first_row,
             std::vector<int64_t>& rows, std::vector<int64_t>& next) const {
    std::vector<Continuation> order = candidates;
    for (Continuation& candidate : order) candidate.score += candidate.ends ? kImpossible : 0;
    std::ranges::stable_sort(order, std::greater{}, &Continuation::score);
    std::vector<Beam> running;
    for (int64_t i = 0; i < options_.beams; ++i) {
      const Continuation& candidate = order[static_cast<size_t>(i)];
      Beam beam = search.running[static_cast<size_t>(candidate.beam)];
      beam.ids.push_back(candidate.token);
      beam.score = candidate.score;
      running.push_back(std::move(beam));
      rows.push_back(first_row + candidate.beam);
      next.push_back(candidate.token);
    }
    search.running = std::move(running);
  }

  bool may_improve(const Search& search, int64_t length) const {
    const bool grows =
        options_.early_stopping == EarlyStopping::Never && options_.length_penalty > 0;
    const double best = scored(search.running.front().score, grows ? options_.max_tokens : length);
    return best > search.finished.back().score;
  }

  double scored(float sum, int64_t length) const {
    return static_cast<double>(sum) /
           std::pow(static_cast<double>(length), options_.length_penalty);
  }

  std::vector<GeneratedSequence> best_of(const std::vector<Search>& searches) const {
    std::vector<GeneratedSequence> found;
    for (const Search& search : searches) {
      const Finished& best = search.finished.front();
      found.push_back({best.ids, best.score});
      if (!best.ids.empty() && is_stop(best.ids.back())) found.back().ids.pop_back();
    }
    return found;
  }

  SequenceGenerationOptions options_;
  std::vector<std::vector<int64_t>> prompts_;  // of each source, or one for all
  std::vector<int64_t> stops_;
};

}  // namespace

std::vector<GeneratedSequence> generate_sequences(EncoderDecoder& model, const Tensor& source,
                                                  const Tensor& lengths,
                                                  const SequenceGenerationOptions& options) {
  return Generation(model, options).run(model, source, lengths);
}

}  // namespace plinth
