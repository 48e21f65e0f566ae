#pragma once

// A small pretrained BERT with a vocabulary, and labelled files that are easy to learn.

#include "tests/apps/plinth_program.h"
#include "tests/fixtures.h"

namespace plinth {

class FinetuneWorkplace : public TemporaryDirectory {
 public:
  FinetuneWorkplace() {
    namespace fs = std::filesystem;
    fs::create_directory(path() / "bert");
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(fs::path(PLINTH_FIXTURES) / "bert" / file, path() / "bert" / file);
    write_file_atomically(path() / "bert" / "vocab.txt", kVocabulary);
    write_file_atomically(path() / "train.csv", texts(0, 60));
    write_file_atomically(path() / "validation.csv", texts(60, 80));
    write_file_atomically(path() / "train.conll", tagged(0, 40));
    write_file_atomically(path() / "validation.conll", tagged(40, 60));
    write_file_atomically(path() / "train.json", questions(0, 40));
    write_file_atomically(path() / "validation.json", questions(40, 60));
    write_file_atomically(path() / "run.toml", kSettings);
  }

  Outcome run(std::vector<std::string> arguments) const {
    return plinth_program(path(), std::move(arguments));
  }
  Outcome finetune(const std::vector<std::string>& more = {}) const { return run(command(more)); }
  static std::vector<std::string> command(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"finetune", "run.toml", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // What makes run.toml that of another task.
  static std::vector<std::string> task(const std::string& name, const std::string& suffix) {
    return {"task.name=" + name, "data.train=train" + suffix, "data.validation=validation" + suffix,
            "validation.metric=f1"};
  }

 private:
  static std::string pick(int i, std::initializer_list<const char*> words) {
    return words.begin()[i % static_cast<int>(words.size())];
  }
  static std::string noun(int i) { return pick(i * 7 + i / 3, {"film", "book", "house", "song"}); }
  static std::string name(int i) { return pick(i * 5 + i / 4, {"anna", "peter", "maria"}); }

  // A word tells the label.
  static std::string texts(int begin, int end) {
    std::string text = "label,text\n";
    for (int i = begin; i < end; ++i) {
      const bool good = i * 11 % 3 != 0;
      text += good ? "good,\"" : "bad,\"";
      text +=
          "the " + noun(i) + " is " + (good ? "fine" : "dull") + ", and " + noun(i + 1) + "\"\n";
    }
    return text;
  }
  static std::string tagged(int begin, int end) {
    std::string text;
    for (int i = begin; i < end; ++i)
      text +=
          "the O\n" + noun(i) + " O\nis O\n" + name(i) + " B-PER\nand O\n" + noun(i + 2) + " O\n\n";
    return text;
  }
  static std::string questions(int begin, int end) {
    std::string text = R"({"version": "1", "data": [{"paragraphs": [)";
    for (int i = begin; i < end; ++i) {
      const std::string context = "the " + noun(i) + " is " + name(i) + " and " + noun(i + 1);
      text += std::string(i > begin ? "," : "") + R"({"context": ")" + context +
              R"(", "qas": [{"id": ")" + std::to_string(i) +
              R"(", "question": "the", "answers": [{"text": ")" + name(i) +
              R"(", "answer_start": )" + std::to_string(context.find(name(i))) + "}]}]}";
    }
    return text + "]}]}";
  }

  static constexpr const char* kVocabulary =
      "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nfilm\nbook\nhouse\nsong\nis\nfine\ndull\nand\n,\n"
      "anna\npe\n##ter\nmaria\n";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
seed = 3
[model]
directory = "bert"
[task]
name = "text-classification"
max_length = 20
stride = 4
[data]
train = ["train.csv"]
validation = ["validation.csv"]
[train]
steps = 60
batch = 16
micro_batch = 8
[optimizer]
lr = 0.005
[schedule]
warmup_steps = 5
[validation]
every = 10
metric = "accuracy"
)";
};

}  // namespace plinth
