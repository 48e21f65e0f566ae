// A tag for each word.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/tasks/conll.h"
#include "metrics/entities.h"
#include "train/finetune/bert_tasks.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

ConllOptions conll_options(const TaskSettings& settings) {
  return {settings.word_column, settings.tag_column};
}

Words words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

class TokenLabelData final : public BertTaskData {
 public:
  TokenLabelData(const BertFinetuneTask& task, const std::vector<fs::path>& files)
      : BertTaskData(task) {
    BadLines bad(task.settings().max_bad_lines);
    for (const fs::path& file : files) {
      for (TaggedSentence& sentence : read_conll(file, conll_options(task.settings()), bad)) {
        const auto unknown = std::ranges::find_if(
            sentence.tags, [&](const std::string& tag) { return !task.labels().find(tag); });
        if (unknown != sentence.tags.end()) {
          bad.skip(file, sentence.line + (unknown - sentence.tags.begin()),
                   "has the tag " + printable(*unknown) + ", which the model has not");
          continue;
        }
        add_sentence(std::move(sentence.words), &sentence.tags);
        tags_.push_back(std::move(sentence.tags));
      }
    }
    set_faults(bad.summary());
  }
  TokenLabelData(const BertFinetuneTask& task, std::span<const TaskInput> inputs)
      : BertTaskData(task) {
    for (const TaskInput& input : inputs) {
      check(input.second.empty(), ErrorKind::Argument, "token-classification",
            "got a second text, takes one text or its words");
      add_sentence(input.words.empty() ? words_of(input.text) : input.words, nullptr);
    }
  }

  std::vector<TaskScore> score(const TaskOutputs& outputs) const override {
    std::vector<metrics::Tags> predicted;
    int64_t right = 0, words = 0;
    for (int64_t i = 0; i < size(); ++i) {
      predicted.push_back(tags_of(i, outputs[static_cast<size_t>(i)]));
      const metrics::Tags& actual = tags_[static_cast<size_t>(i)];
      for (size_t word = 0; word < actual.size(); ++word)
        right += predicted.back()[word] == actual[word] ? 1 : 0;
      words += std::ssize(actual);
    }
    const metrics::EntityScores scores = metrics::score_entities(predicted, tags_);
    return {{"f1", scores.micro.f1},
            {"precision", scores.micro.precision},
            {"recall", scores.micro.recall},
            {"macro_f1", scores.macro.f1},
            {"accuracy", static_cast<double>(right) / static_cast<double>(words)}};
  }

  std::vector<std::string> predictions(const TaskOutputs& outputs) const override {
    std::vector<std::string> lines;
    for (int64_t i = 0; i < size(); ++i) {
      const Words& words = words_[static_cast<size_t>(i)];
      const metrics::Tags tags = tags_of(i, outputs[static_cast<size_t>(i)]);
      nlohmann::ordered_json line;
      line["words"] = words;
      line["tags"] = tags;
      line["entities"] = nlohmann::json::array();
      for (const metrics::Entity& entity : metrics::entities_of(tags)) {
        std::string text;
        for (int64_t word = entity.begin; word < entity.end; ++word)
          text += (text.empty() ? "" : " ") + words[static_cast<size_t>(word)];
        line["entities"].push_back(
            {{"type", entity.type}, {"text", text}, {"begin", entity.begin}, {"end", entity.end}});
      }
      lines.push_back(json_text(line));
    }
    return lines;
  }

 private:
  // A word's first token has its label; the others, and words that were cut off, have none.
  void add_sentence(Words words, const Words* tags) {
    EncodedWords encoded = task().encoder().encode_words(words);
    BertSample sample{std::move(encoded.ids), 0, {}};
    sample.second = std::ssize(sample.ids);
    if (tags) {
      sample.targets.assign(sample.ids.size(), -100);
      for (size_t word = 0; word < words.size(); ++word) {
        if (encoded.first[word] >= 0)
          sample.targets[static_cast<size_t>(encoded.first[word])] =
              *task().labels().find((*tags)[word]);
      }
    }
    add(std::move(sample));
    words_.push_back(std::move(words));
    first_.push_back(std::move(encoded.first));
  }

  // Of each word of a sample; "O" where no token stands for it.
  metrics::Tags tags_of(int64_t i, const std::vector<double>& logits) const {
    metrics::Tags tags;
    for (const int64_t token : first_[static_cast<size_t>(i)]) {
      const auto begin = logits.begin() + std::max<int64_t>(token, 0) * task().labels().size();
      const auto best = std::max_element(begin, begin + task().labels().size()) - begin;
      tags.push_back(token < 0 ? "O" : task().labels().name(best));
    }
    return tags;
  }

  std::vector<Words> words_;
  std::vector<std::vector<int64_t>> first_;  // of each word its first token
  std::vector<metrics::Tags> tags_;          // as the files have them
};

class TokenTask final : public BertFinetuneTask {
 public:
  using BertFinetuneTask::BertFinetuneTask;

  std::vector<std::string> score_names() const override {
    return {"f1", "precision", "recall", "macro_f1", "accuracy"};
  }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<TokenLabelData>(*this, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<TokenLabelData>(*this, inputs);
  }
};

}  // namespace

std::unique_ptr<FinetuneTask> make_bert_token_task(const TaskSettings& settings,
                                                   std::unique_ptr<BertClassifier> model,
                                                   Tokenizer tokenizer) {
  return std::make_unique<TokenTask>(settings, std::move(model), std::move(tokenizer));
}

Labels tag_labels(const TaskSettings& settings, const std::vector<fs::path>& files) {
  Words seen;
  BadLines bad(settings.max_bad_lines);
  for (const fs::path& file : files) {
    for (const TaggedSentence& sentence : read_conll(file, conll_options(settings), bad))
      seen.insert(seen.end(), sentence.tags.begin(), sentence.tags.end());
  }
  return Labels::of(seen);
}

}  // namespace plinth
