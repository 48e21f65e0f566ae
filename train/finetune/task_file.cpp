#include "train/finetune/task_file.h"

namespace plinth {
namespace {

ConfigSchema task_schema(TaskSettings& task) {
  ConfigSchema schema;
  declare_reading(schema, task);
  declare_columns(schema, task);
  declare_language(schema, task);
  return schema;
}

}  // namespace

void declare_reading(ConfigSchema& schema, TaskSettings& task) {
  schema.field("task.name", &task.name).words(task_names()).help("what the head does");
  schema.field("task.max_length", &task.max_length)
      .range(5, 1 << 16)
      .help("tokens of a sample; what is longer is cut, or, of contexts, read in windows");
  schema.field("task.stride", &task.stride)
      .range(0, 1 << 16)
      .help("tokens that a window of a context shares with the last (question-answering)");
  schema.field("task.answer_length", &task.answer_length)
      .range(1, 1 << 16)
      .help("the most tokens of an answer (question-answering)");
  schema.field("task.target_length", &task.target_length)
      .range(2, 1 << 16)
      .help("the most tokens of a text that is written (seq2seq)");
  schema.field("task.beams", &task.beams)
      .range(1, 1 << 10)
      .help("of the search for it in validation; 1: greedy (seq2seq)");
}

void declare_columns(ConfigSchema& schema, TaskSettings& task) {
  schema.field("data.text_column", &task.text_column)
      .help("the text (text-classification); columns of a file without a header are 1, 2, ...");
  schema.field("data.pair_column", &task.pair_column).help("the second of two texts; none: one");
  schema.field("data.label_column", &task.label_column).help("the label, a name or a number");
  schema.field("data.header", &task.header).help("whether .csv and .tsv begin with one");
  schema.field("data.word_column", &task.word_column)
      .range(-1000, 1000)
      .help("of CoNLL's columns, from 1; from the last, -1 (token-classification)");
  schema.field("data.tag_column", &task.tag_column).range(-1000, 1000).help("likewise");
}

void declare_language(ConfigSchema& schema, TaskSettings& task) {
  schema.field("speech.language", &task.language)
      .help("that is spoken, as en, of a model that knows several (speech-seq2seq)");
  schema.field("speech.translate", &task.translate)
      .help("texts are English whatever is spoken (speech-seq2seq)");
}

std::string task_file_text(TaskSettings settings) {
  return task_schema(settings).to_toml();
}

TaskSettings read_task_file(const std::filesystem::path& directory) {
  TaskSettings settings;
  if (std::filesystem::exists(directory / kTaskFile))
    task_schema(settings).load(directory / kTaskFile);
  return settings;
}

}  // namespace plinth
