// One label for a text, or for a pair of texts.

#include "core/error.h"
#include "core/io/text.h"
#include "data/tasks/table.h"
#include "train/finetune/bert_tasks.h"
#include "train/finetune/class_scores.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

TableOptions table_options(const TaskSettings& settings) {
  TableOptions options{{settings.text_column, settings.label_column}, settings.header};
  if (!settings.pair_column.empty()) options.columns.push_back(settings.pair_column);
  return options;
}

class TextData final : public BertTaskData {
 public:
  TextData(const BertFinetuneTask& task, const std::vector<fs::path>& files) : BertTaskData(task) {
    const TableOptions options = table_options(task.settings());
    BadLines bad(task.settings().max_bad_lines);
    for (const fs::path& file : files) {
      read_table(file, options, bad, [&](int64_t line, const std::vector<std::string>& values) {
        const std::optional<int64_t> label = task.labels().find(values[1]);
        if (!label)
          return bad.skip(file, line,
                          "has the label " + printable(values[1]) + ", which the model has not");
        add_text(values[0], values.size() > 2 ? std::optional(values[2]) : std::nullopt, {*label});
      });
    }
    set_faults(bad.summary());
  }
  TextData(const BertFinetuneTask& task, std::span<const TaskInput> inputs) : BertTaskData(task) {
    for (const TaskInput& input : inputs) {
      check(input.words.empty(), ErrorKind::Argument, "text-classification",
            "got words, takes a text or a pair of texts");
      add_text(input.text, input.second.empty() ? std::nullopt : std::optional(input.second), {});
    }
  }

  std::vector<TaskScore> score(const TaskOutputs& outputs) const override {
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < size(); ++i) labels.push_back(sample(i).targets[0]);
    return class_scores(outputs, labels);
  }

  std::vector<std::string> predictions(const TaskOutputs& outputs) const override {
    return class_predictions(outputs, task().labels());
  }

 private:
  void add_text(const std::string& text, const std::optional<std::string>& second,
                std::vector<int64_t> targets) {
    const BertEncoder& encoder = task().encoder();
    EncodedText encoded = second ? encoder.encode(text, *second) : encoder.encode(text);
    add({std::move(encoded.ids), encoded.second, std::move(targets)});
  }
};

class TextTask final : public BertFinetuneTask {
 public:
  using BertFinetuneTask::BertFinetuneTask;

  std::vector<std::string> score_names() const override {
    return class_score_names(labels().size());
  }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<TextData>(*this, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<TextData>(*this, inputs);
  }
};

}  // namespace

std::unique_ptr<FinetuneTask> make_bert_text_task(const TaskSettings& settings,
                                                  std::unique_ptr<BertClassifier> model,
                                                  Tokenizer tokenizer) {
  return std::make_unique<TextTask>(settings, std::move(model), std::move(tokenizer));
}

Labels text_labels(const TaskSettings& settings, const std::vector<fs::path>& files) {
  std::vector<std::string> seen;
  BadLines bad(settings.max_bad_lines);
  for (const fs::path& file : files)
    read_table(file, table_options(settings), bad,
               [&](int64_t, const std::vector<std::string>& values) { seen.push_back(values[1]); });
  return Labels::of(seen);
}

}  // namespace plinth
