// The span of a context that answers a question.

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "data/tasks/squad.h"
#include "metrics/questions.h"
#include "train/finetune/bert_tasks.h"
#include "train/finetune/probabilities.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

// What a question is answered with.
struct FoundAnswer {
  double logit = -std::numeric_limits<double>::infinity();  // of start and end together
  double share = 0;                                         // its probability in its window
  size_t begin = 0, end = 0;                                // bytes of the context
};

class SpanData final : public BertTaskData {
 public:
  SpanData(const BertFinetuneTask& task, const std::vector<fs::path>& files) : BertTaskData(task) {
    BadLines bad(task.settings().max_bad_lines);
    for (const fs::path& file : files) {
      for (SquadQuestion& question : read_squad(file, bad)) add_question(std::move(question), true);
    }
    set_faults(bad.summary());
  }
  SpanData(const BertFinetuneTask& task, std::span<const TaskInput> inputs) : BertTaskData(task) {
    for (const TaskInput& input : inputs) {
      check(input.words.empty() && !input.second.empty(), ErrorKind::Argument, "question-answering",
            "takes a question and its context");
      add_question({"", input.text, std::make_shared<const std::string>(input.second), {}}, false);
    }
  }

  int64_t examples() const override { return std::ssize(questions_); }

  std::vector<TaskScore> score(const TaskOutputs& outputs) const override {
    // Where no question of the data is without an answer, "" would be wrong for all.
    const bool may_be_none = task().settings().no_answer ||
                             std::ranges::any_of(questions_, [](const SquadQuestion& one) {
                               return one.answers.empty();
                             });
    std::vector<std::string> answers;
    std::vector<std::vector<std::string>> references;
    for (size_t i = 0; i < questions_.size(); ++i) {
      answers.push_back(text_of(i, best_answer(i, outputs, may_be_none)));
      references.emplace_back();
      for (const SquadAnswer& answer : questions_[i].answers)
        references.back().push_back(answer.text);
    }
    const metrics::AnswerScores scores = metrics::score_answers(answers, references);
    return {{"f1", scores.f1 / 100}, {"exact_match", scores.exact_match / 100}};
  }

  std::vector<std::string> predictions(const TaskOutputs& outputs) const override {
    std::vector<std::string> lines;
    for (size_t i = 0; i < questions_.size(); ++i) {
      const FoundAnswer answer = best_answer(i, outputs, task().settings().no_answer);
      nlohmann::ordered_json line;
      line["answer"] = text_of(i, answer);
      line["score"] = answer.share;
      line["begin"] = answer.begin;
      line["end"] = answer.end;
      lines.push_back(json_text(line));
    }
    return lines;
  }

 private:
  // Windows that lack the answer are to give their first token, [CLS], for both ends.
  void add_question(SquadQuestion question, bool has_targets) {
    const TaskSettings& settings = task().settings();
    first_window_.push_back(size());
    for (EncodedWindow& window :
         task().encoder().encode_windows(question.question, *question.context, settings.stride)) {
      BertSample sample{std::move(window.ids), window.second, {}};
      if (has_targets) sample.targets = ends_of(question.answers, window);
      add(std::move(sample));
      windows_.push_back(std::move(window.context));
    }
    questions_.push_back(std::move(question));
  }

  static std::vector<int64_t> ends_of(const std::vector<SquadAnswer>& answers,
                                      const EncodedWindow& window) {
    const std::vector<TokenSpan>& tokens = window.context;
    if (answers.empty() || tokens.empty()) return {0, 0};
    const auto begin = static_cast<size_t>(answers[0].begin);
    const size_t end = begin + answers[0].text.size();
    if (begin < tokens.front().begin || end > tokens.back().end) return {0, 0};
    const auto first = std::ranges::upper_bound(tokens, begin, {}, &TokenSpan::begin) - 1;
    const auto last = std::ranges::lower_bound(tokens, end, {}, &TokenSpan::end);
    return {window.second + (first - tokens.begin()), window.second + (last - tokens.begin())};
  }

  // Over all windows of a question.
  FoundAnswer best_answer(size_t question, const TaskOutputs& outputs, bool may_be_none) const {
    const int64_t begin = first_window_[question];
    const int64_t end = question + 1 < first_window_.size() ? first_window_[question + 1] : size();
    FoundAnswer best, none;
    none.logit = std::numeric_limits<double>::infinity();
    for (int64_t i = begin; i < end; ++i) {
      const FoundAnswer here = best_of_window(i, outputs[static_cast<size_t>(i)]);
      if (here.logit > best.logit) best = here;
      // A question has no answer where no window has one: the least of them speaks for that.
      const Ends ends(outputs[static_cast<size_t>(i)], sample(i).ids.size());
      if (ends.logit(0, 0) < none.logit) {
        none.logit = ends.logit(0, 0);
        none.share = ends.share(0, 0);
      }
    }
    return may_be_none && none.logit > best.logit ? none : best;
  }

  // Logits [time, 2] of a sample's own tokens.
  struct Ends {
    Ends(const std::vector<double>& logits, size_t tokens) {
      for (size_t i = 0; i < tokens; ++i) {
        starts.push_back(logits[2 * i]);
        stops.push_back(logits[2 * i + 1]);
      }
    }
    double logit(size_t start, size_t stop) const { return starts[start] + stops[stop]; }
    double share(size_t start, size_t stop) const {
      return probabilities(starts)[start] * probabilities(stops)[stop];
    }
    std::vector<double> starts, stops;
  };

  FoundAnswer best_of_window(int64_t i, const std::vector<double>& logits) const {
    const std::vector<TokenSpan>& context = windows_[static_cast<size_t>(i)];
    const auto shift = static_cast<size_t>(sample(i).second);
    const Ends ends(logits, sample(i).ids.size());
    FoundAnswer best;
    size_t first = 0, last = 0;
    const auto most = static_cast<size_t>(task().settings().answer_length);
    for (size_t start = 0; start < context.size(); ++start) {
      for (size_t stop = start; stop < std::min(context.size(), start + most); ++stop) {
        const double logit = ends.logit(shift + start, shift + stop);
        if (logit > best.logit) best.logit = logit, first = start, last = stop;
      }
    }
    if (context.empty()) return best;
    best.share = ends.share(shift + first, shift + last);
    best.begin = context[first].begin;
    best.end = context[last].end;
    return best;
  }

  std::string text_of(size_t question, const FoundAnswer& answer) const {
    return questions_[question].context->substr(answer.begin, answer.end - answer.begin);
  }

  std::vector<SquadQuestion> questions_;
  std::vector<int64_t> first_window_;            // of each question its first sample
  std::vector<std::vector<TokenSpan>> windows_;  // of each sample the context's tokens
};

class SpanTask final : public BertFinetuneTask {
 public:
  SpanTask(const TaskSettings& settings, std::unique_ptr<BertClassifier> model, Tokenizer tokenizer)
      : BertFinetuneTask(settings, std::move(model), std::move(tokenizer)) {
    check(settings.stride < settings.max_length - 3, ErrorKind::Config, "task.stride", "got ",
          settings.stride, ", takes less than task.max_length - 3, ", settings.max_length - 3);
  }

  std::vector<std::string> score_names() const override { return {"f1", "exact_match"}; }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<SpanData>(*this, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<SpanData>(*this, inputs);
  }
};

}  // namespace

std::unique_ptr<FinetuneTask> make_bert_span_task(const TaskSettings& settings,
                                                  std::unique_ptr<BertClassifier> model,
                                                  Tokenizer tokenizer) {
  return std::make_unique<SpanTask>(settings, std::move(model), std::move(tokenizer));
}

}  // namespace plinth
