// Whole runs of pretraining by each objective: the loss falls, a run goes on with the same bits,
// and ranks have together what one process has.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/io/expect_error.h"
#include "tests/data/images/image_fixture.h"
#include "tests/train/layout_draw.h"
#include "train/pretrain/dry_run.h"
#include "train/pretrain/objectives.h"
#include "train/pretrain/prepare.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using Words = std::vector<std::string>;

// Texts in which a word tells much of the next.
std::string corpus(int lines) {
  const char* subjects[] = {"the cat", "a dog", "the farmer", "my sister", "a bird"};
  const char* verbs[] = {"sees", "follows", "remembers"};
  const char* objects[] = {"the house", "a red ball", "the river", "an apple", "rain"};
  std::string text;
  for (int i = 0; i < lines; ++i)
    text += std::string(subjects[i * 7 % 5]) + " " + verbs[i * 11 % 3] + " " + objects[i * 13 % 5] +
            (i % 3 == 0 ? ".\n" : " and sleeps.\n");
  return text;
}

constexpr const char* kWordPieces =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\na\nan\nmy\ncat\ndog\nfarm\n##er\nsis\n##ter\nbird\n"
    "see\n##s\nfollow\nremember\nhouse\nred\nball\nriv\napple\nrain\nand\nsleep\n.\n";

constexpr const char* kMae = R"({"model_type": "vit_mae", "image_size": 8, "patch_size": 2,
    "num_channels": 3, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "hidden_act": "gelu", "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32, "mask_ratio": 0.5})";

constexpr const char* kClip = R"({"model_type": "clip", "projection_dim": 16,
    "text_config": {"vocab_size": 320, "max_position_embeddings": 12, "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "bos_token_id": -1, "eos_token_id": 0},
    "vision_config": {"image_size": 8, "patch_size": 2, "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32}})";

// What there is to train on, made once.
class Place : public TemporaryDirectory {
 public:
  Place() {
    for (const char* folder : {"vocab", "images", "mae", "clip"})
      fs::create_directory(path() / folder);
    write_file_atomically(path() / "corpus.txt", corpus(500));
    write_file_atomically(path() / "vocab" / "vocab.txt", kWordPieces);
    PrepareOptions pieces, spans, bytes;
    pieces.tokenizer = path() / "vocab";
    spans.train_vocab = 90;
    spans.kind = "unigram";
    spans.sentinels = 20;
    bytes.train_vocab = 300;
    prepare("pieces", pieces);
    prepare("spans", spans);
    prepare("bytes", bytes);
    std::string table = "image,text\n";
    for (const auto& [file, text] : kImages) {
      fs::create_directories(path() / "images" / "below");
      fs::copy_file(image_fixture(file), path() / "images" / "below" / file);
      table += "images/below/" + file + ",\"" + text + "\"\n";
    }
    write_file_atomically(path() / "pairs.csv", table);
    write_file_atomically(path() / "images" / "bad.png", "no image");
    write_file_atomically(path() / "mae" / "config.json", kMae);
    write_file_atomically(path() / "clip" / "config.json", kClip);
  }

  std::string operator()(const char* name) const { return (path() / name).string(); }

 private:
  void prepare(const char* out, PrepareOptions options) const {
    options.out = path() / out;
    options.texts = {(path() / "corpus.txt").string()};
    options.documents = "line";
    options.validation_share = 0.2;
    prepare_corpus(options);
  }
  static inline const std::vector<std::pair<std::string, std::string>> kImages = {
      {"colour.png", "a colourful picture"},
      {"grey.png", "a grey picture"},
      {"palette.png", "few colours"},
      {"bits.png", "black and white"},
      {"alpha.png", "one that is translucent"},
      {"halved.jpg", "half of it"},
      {"grey.jpg", "a grey picture, compressed"},
      {"colour.jpg", "a colourful one, compressed"}};
};

const Place& place() {
  static const Place made;
  return made;
}

struct Family {
  const char* name;
  Words words;
};

// Sizes that are learned in a second.
std::vector<Family> families() {
  const Place& at = place();
  const auto tokens = [&](const char* folder) {
    const std::string data = at(folder);
    return Words{"data.train=" + data + "/train_*.bin",
                 "data.validation=" + data + "/validation_*.bin",
                 "data.tokenizer=" + data,
                 "model.layers=1",
                 "model.dim=16",
                 "model.heads=2",
                 "model.context=24"};
  };
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  return {
      {"T5", with(tokens("spans"), {"model.type=t5"})},
      {"Sentences", with(tokens("pieces"), {"model.type=bert", "masking.next_sentence=true",
                                            "masking.whole_word=true"})},
      {"WholeWords", with(tokens("pieces"), {"model.type=bert", "masking.whole_word=true"})},
      {"Mae",
       {"model.config=" + at("mae"), "data.train=" + at("images"),
        "data.validation=" + at("pairs.csv"), "image.min_crop_area=0.5", "image.flip=true"}},
      {"Clip",
       {"model.config=" + at("clip") + "/config.json", "data.train=" + at("pairs.csv"),
        "data.validation=" + at("pairs.csv"), "data.tokenizer=" + at("bytes")}},
  };
}

struct Trained {
  PretrainResult result;
  std::vector<std::string> lines;
};

Trained pretrain_words(const fs::path& directory, Words words, bool resume = false,
                       const std::shared_ptr<distributed::ProcessGroup>& group = nullptr) {
  omp_set_num_threads(1);
  const Words common = {"run.directory=" + directory.string(),
                        "run.seed=5",
                        "train.batch=8",
                        "train.micro_batch=4",
                        "train.steps=60",
                        "optimizer.lr=0.01",
                        "schedule.warmup_steps=5",
                        "validation.batches=4",
                        "log.report=false",
                        "log.tensorboard=false",
                        "log.every=1000"};
  words.insert(words.begin(), common.begin(), common.end());
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);
  for (const std::string& word : words) schema.set(word);
  schema.finish();
  Trained run;
  run.result = pretrain(
      config, schema, resume, [&](const std::string& line) { run.lines.push_back(line); }, {},
      group);
  return run;
}

Words plus(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string weights(const fs::path& run, int64_t step) {
  return read_text_file(run / checkpoint_name(step) / "model.safetensors");
}

class Objectives : public testing::TestWithParam<size_t> {
 protected:
  static Words words() { return families()[GetParam()].words; }
};

TEST_P(Objectives, LowerTheirLoss) {
  const TemporaryDirectory here;
  const auto loss_after = [&](const char* steps, const char* rate) {
    const Trained run = pretrain_words(
        here / steps,
        plus(words(), {std::string("train.steps=") + steps, std::string("optimizer.lr=") + rate}));
    EXPECT_THAT(run.lines, testing::Contains(HasSubstr("parameters")));
    return run.result.training.validation_loss;
  };
  // A step at a rate of 0 leaves the weights as they were drawn.
  const double first = loss_after("6", "0"), last = loss_after("120", "0.01");
  EXPECT_GT(first, 0);
  EXPECT_LT(last, 0.8 * first);
}

TEST_P(Objectives, GoOnWithTheSameBits) {
  const TemporaryDirectory here;
  const Words settings =
      plus(words(), {"train.steps=9", "checkpoint.every=5", "schedule.warmup_steps=2",
                     "checkpoint.keep_best=false", "model.activation_checkpointing=true"});
  pretrain_words(here / "run", settings);
  const std::string whole = weights(here / "run", 9);
  fs::remove_all(here / "run" / checkpoint_name(9));
  pretrain_words(here / "run", settings, true);
  EXPECT_TRUE(weights(here / "run", 9) == whole);
  EXPECT_NE(weights(here / "run", 5), whole);
}

TEST_P(Objectives, HaveTheSameBitsOnRanks) {
  const TemporaryDirectory here;
  const Words settings =
      plus(words(), {"train.steps=6", "schedule.warmup_steps=2", "checkpoint.keep_best=false"});
  pretrain_words(here / "alone", settings);
  for (const char* zero : {"0", "1"}) {
    const fs::path run = here / (std::string("ranks") + zero);
    distributed::on_ranks(2, [&](const std::shared_ptr<distributed::ProcessGroup>& group) {
      pretrain_words(run, plus(settings, {std::string("parallel.zero=") + zero}), false, group);
    });
    EXPECT_TRUE(weights(run, 6) == weights(here / "alone", 6)) << zero;
  }
}

std::string family_name(const testing::TestParamInfo<size_t>& made) {
  return families()[made.param].name;
}
INSTANTIATE_TEST_SUITE_P(Of, Objectives, testing::Range(size_t{0}, size_t{5}), family_name);

TEST(ObjectiveRuns, GoOnFromAnothersWeights) {
  const TemporaryDirectory here;
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Words settings = plus(family.words, {"train.steps=6"});
    pretrain_words(here / family.name, settings);
    Words from = plus(
        settings,
        {"model.config=", "model.init_from=" + (here / family.name).string(), "optimizer.lr=0"});
    const fs::path second = here / (std::string(family.name) + "2");
    pretrain_words(second, from);
    EXPECT_TRUE(weights(second, 6) == weights(here / family.name, 6));
  }
}

TEST(ObjectiveRuns, TellWhatIsLeftOutAndHowWellTheyDo) {
  const TemporaryDirectory here;
  const std::vector<Family> all = families();
  const Trained mae = pretrain_words(here / "mae", plus(all[3].words, {"train.steps=6"}));
  EXPECT_THAT(mae.lines, testing::Contains(
                             AllOf(HasSubstr("data.train: 1 of 9 images"), HasSubstr("bad.png"))));
  const Trained clip = pretrain_words(here / "clip", plus(all[4].words, {"train.steps=6"}));
  EXPECT_THAT(clip.lines, testing::Contains(HasSubstr("recall@1")));
  const Trained bert = pretrain_words(here / "bert", plus(all[1].words, {"train.steps=6"}));
  EXPECT_THAT(bert.lines, testing::Contains(HasSubstr("next_sentence_accuracy")));
  for (const char* file : {"mae/step-000006/preprocessor_config.json",
                           "clip/step-000006/tokenizer.json", "bert/step-000006/config.json"})
    EXPECT_TRUE(fs::exists(here / file)) << file;
}

TEST(ObjectiveRuns, NameTheKeyThatDoesNotFit) {
  const TemporaryDirectory here;
  const std::vector<Family> all = families();
  const Place& at = place();
  const auto refused = [&](size_t family, const Words& more, const char* message) {
    SCOPED_TRACE(message);
    expect_error(ErrorKind::Config, message,
                 [&] { pretrain_words(here / "run", plus(all[family].words, more)); });
  };
  refused(0, {"parallel.tp=2"}, "parallel.tp: got 2, takes 1 for t5");
  refused(0, {"parallel.zero=3"}, "parallel.zero: got 3, takes 0 or 1 for t5");
  refused(0, {"train.float8=current"}, "train.float8: got current, takes off for t5");
  refused(0, {"sample.every=3"}, "sample.every: got 3, takes 0 for t5");
  refused(0, {"data.tokenizer=", "model.vocab_size=128"}, "data.tokenizer: is missing; t5 takes");
  refused(0, {"data.tokenizer=" + at("bytes")}, "has 0 sentinels, takes 2 or more");
  refused(0, {"model.context=2"}, "model.context: got 2, takes 3 or more for t5");
  refused(0, {"model.context=2000"}, "spans; takes fewer than the tokenizer's 20 sentinels");
  refused(0, {"masking.next_sentence=true"}, "masking.next_sentence: got true, takes false for t5");
  refused(1, {"data.tokenizer=" + at("bytes"), "masking.token=3", "masking.whole_word=false"},
          "has no [CLS] and [SEP], takes both for masking.next_sentence");
  refused(2, {"data.tokenizer=" + at("bytes"), "masking.token=3"},
          "masking.whole_word: got true, takes a data.tokenizer of word pieces");
  refused(2, {"model.type=gpt2"}, "masking.whole_word: got true, takes false for gpt2");
  refused(3, {"model.config=", "model.type=vit_mae", "model.vocab_size=8"},
          "model.config: is missing; vit_mae takes");
  refused(3, {"model.init_from=" + at("mae")}, "takes none beside model.init_from");
  refused(4, {"data.train=" + at("images")}, "takes a .csv, .tsv or .jsonl with a text");
  refused(4, {"data.tokenizer=" + at("pieces")}, "ends a text with token 3, takes text_config");
  refused(4, {"train.micro_batch=1"}, "takes 2 or more pairs for clip");
}

TEST(ObjectiveRuns, AreNoDryRuns) {
  const TemporaryDirectory here;
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);
  const std::vector<std::string> words = families()[0].words;
  for (const std::string& word : words) schema.set(word);
  schema.set("run.directory=" + (here / "run").string());
  expect_error(ErrorKind::Config, "model.type: got t5, takes a language model",
               [&] { dry_model(config, schema); });
}

}  // namespace
}  // namespace plinth
