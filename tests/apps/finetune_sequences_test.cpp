// finetune, eval and predict of text to text, run as a user runs them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Pairs of sentences, word for word.
class SequenceWorkplace : public TemporaryDirectory {
 public:
  SequenceWorkplace() {
    std::string texts, pairs = "english\tspanish\n";
    for (int i = 0; i < 64; ++i) {
      const auto noun = static_cast<size_t>(i) % 4, verb = static_cast<size_t>(i / 4) % 4;
      const std::string source =
          std::string("the ") + kNouns[noun].first + " " + kVerbs[verb].first + " here now";
      const std::string target =
          std::string("el ") + kNouns[noun].second + " " + kVerbs[verb].second + " aqui ahora";
      texts += source + "\n" + target + "\n";
      pairs += source + "\t" + target + "\n";
    }
    write_file_atomically(path() / "texts.txt", texts);
    write_file_atomically(path() / "pairs.tsv", pairs + "the bad line\t\n");
    fs::create_directory(path() / "t5");
    write_file_atomically(path() / "t5/config.json", kConfig);
    write_file_atomically(path() / "run.toml", kSettings);
  }

  Outcome run(std::vector<std::string> arguments) const {
    return plinth_program(path(), std::move(arguments));
  }
  void make_tokenizer() const {
    const Outcome made = run({"tokenize", "texts.txt", "--documents", "line", "--train-vocab",
                              "257", "--kind", "unigram", "--sentinels", "4", "--out", "shards"});
    ASSERT_EQ(made.status, 0) << made.errors;
    for (const char* file : {"spiece.model", "tokenizer_config.json"})
      fs::copy_file(path() / "shards" / file, path() / "t5" / file);
  }

 private:
  using Pair = std::pair<const char*, const char*>;
  static constexpr std::array<Pair, 4> kNouns = {
      {{"dog", "perro"}, {"cat", "gato"}, {"man", "hombre"}, {"king", "rey"}}};
  static constexpr std::array<Pair, 4> kVerbs = {
      {{"sleeps", "duerme"}, {"sings", "canta"}, {"eats", "come"}, {"runs", "corre"}}};
  static constexpr const char* kConfig = R"({
"model_type": "t5", "vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1,
"num_decoder_layers": 1, "num_heads": 4, "dropout_rate": 0, "feed_forward_proj": "relu",
"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "t5"
[task]
name = "seq2seq"
max_length = 32
target_length = 32
[data]
train = ["pairs.tsv"]
validation = ["pairs.tsv"]
text_column = "english"
label_column = "spanish"
[train]
steps = 150
batch = 16
[optimizer]
lr = 0.01
[validation]
every = 75
metric = "bleu"
)";
};

TEST(FinetuneSequences, LearnsToTranslate) {
  const SequenceWorkplace here;
  ASSERT_NO_FATAL_FAILURE(here.make_tokenizer());
  const Outcome trained = here.run({"finetune", "run.toml", "--threads", "1"});
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output,
              AllOf(HasSubstr("all begin at random"), HasSubstr("t5, seq2seq"),
                    HasSubstr("1 bad line left out"), HasSubstr("has an empty spanish"),
                    HasSubstr("bleu 100.0000"), HasSubstr("chrf 100.0000"),
                    HasSubstr("rouge1 1.0000, rouge2 1.0000, rougeL 1.0000")));
  for (const char* beams : {"1", "3"}) {
    const Outcome scored =
        here.run({"eval", "run", "--data", "pairs.tsv", "--json", "--beams", beams});
    ASSERT_EQ(scored.status, 0) << scored.errors;
    EXPECT_NEAR(json::parse(scored.output)["bleu"].get<double>(), 100, 1e-9);
  }
  const Outcome said = here.run({"predict", "run/model", "the king sings here now"});
  ASSERT_EQ(said.status, 0) << said.errors;
  EXPECT_EQ(json::parse(said.output), json({{"text", "el rey canta aqui ahora"}}));
  const auto drawn = [&](const char* seed) {
    return here
        .run({"predict", "run/model", "the king sings", "--temperature", "30", "--top-k", "20",
              "--seed", seed})
        .output;
  };
  EXPECT_EQ(drawn("1"), drawn("1"));
  EXPECT_NE(drawn("1"), drawn("2"));
}

// Tokens of bytes need not make characters, and predictions are JSON, which is UTF-8.
TEST(FinetuneSequences, PredictsTextWhateverBytesAModelWrites) {
  const SequenceWorkplace here;
  const Outcome made = here.run(
      {"tokenize", "texts.txt", "--documents", "line", "--train-vocab", "257", "--out", "shards"});
  ASSERT_EQ(made.status, 0) << made.errors;
  fs::copy_file(here / "shards/tokenizer.json", here / "t5/tokenizer.json");
  std::string config = read_text_file(here / "t5/config.json");
  const std::string_view size = "\"vocab_size\": 96";
  write_file_atomically(here / "t5/config.json",
                        config.replace(config.find(size), size.size(), "\"vocab_size\": 257"));
  const Outcome trained = here.run({"finetune", "run.toml", "train.steps=1", "--threads", "1"});
  ASSERT_EQ(trained.status, 0) << trained.errors;
  const Outcome said = here.run({"predict", "run/model", "the king", "--temperature", "30"});
  ASSERT_EQ(said.status, 0) << said.errors;
  EXPECT_THAT(json::parse(said.output)["text"].get<std::string>(), HasSubstr("\xEF\xBF\xBD"));
}

TEST(FinetuneSequences, ErrorsNameTheKey) {
  const SequenceWorkplace here;
  const auto refused = [&](const std::vector<std::string>& more, int status, const char* message) {
    std::vector<std::string> arguments = {"finetune", "run.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_one_line(here.run(arguments), status, message);
  };
  refused({}, 1, "no tokenizer here");
  ASSERT_NO_FATAL_FAILURE(here.make_tokenizer());
  refused({"task.beams=0"}, 2, "task.beams");
  refused({"data.label_column=french"}, 2, "french");
  refused({"task.class_weights=[1.0]"}, 2, "takes none for seq2seq");
  refused({"validation.metric=accuracy"}, 2, "takes one of loss, bleu, chrf");
  expect_one_line(here.run({"finetune", "run.toml", "task.name=text-classification"}), 2, "t5");
}

}  // namespace
}  // namespace plinth
