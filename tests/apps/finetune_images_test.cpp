// plinth finetune, eval and predict of images.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "data/images/encode.h"
#include "tests/apps/plinth_program.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

// Folders of grey and of coloured images, a table of them, and a ViT without weights.
class ImageWorkplace : public TemporaryDirectory {
 public:
  ImageWorkplace() {
    std::string table = "path,label\n";
    for (const auto& [label, files] : kImages) {
      fs::create_directories(path() / "images" / label);
      for (const std::string& file : files) {
        fs::copy_file(fs::path(PLINTH_FIXTURES) / "images" / file,
                      path() / "images" / label / file);
        table += "images/" + label + "/" + file + "," + label + "\n";
      }
    }
    write_file_atomically(path() / "images.csv", table);
    fs::create_directory(path() / "vit");
    write_file_atomically(path() / "vit" / "config.json", kModel);
    write_file_atomically(path() / "run.toml", kSettings);
  }

  Outcome run(std::vector<std::string> arguments) const {
    return plinth_program(path(), std::move(arguments));
  }
  Outcome finetune(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"finetune", "run.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  std::string weights(const std::string& run) const {
    return read_text_file(path() / run / "model" / "model.safetensors");
  }

 private:
  static inline const std::vector<std::pair<std::string, std::vector<std::string>>> kImages = {
      {"coloured", {"colour.png", "colour.jpg", "palette.png"}},
      {"grey", {"grey.png", "grey.jpg", "bits.png"}}};
  static constexpr const char* kModel = R"({"model_type": "vit", "architectures": ["ViTModel"],
      "image_size": 8, "patch_size": 4, "num_channels": 3, "hidden_size": 16, "num_hidden_layers": 2,
      "num_attention_heads": 2, "intermediate_size": 24, "hidden_act": "gelu"})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "vit"
[task]
name = "image-classification"
[data]
train = ["images"]
validation = ["images.csv"]
[train]
steps = 80
batch = 4
[optimizer]
lr = 0.003
[validation]
every = 40
metric = "accuracy"
)";
};

TEST(FinetuneImages, LearnsEvaluatesAndPredicts) {
  const ImageWorkplace here;
  const Outcome trained = here.finetune({"image.min_crop_area=0.8", "image.flip=true"});
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, HasSubstr("all begin at random"));
  const Outcome scored = here.run({"eval", "run/model", "--data", "images.csv", "--json"});
  ASSERT_EQ(scored.status, 0) << scored.errors;
  const auto scores = nlohmann::json::parse(scored.output);
  EXPECT_EQ(scores["examples"], 6);
  EXPECT_EQ(scores["accuracy"], 1);
  const Outcome said =
      here.run({"predict", "run/model", "images/grey/grey.jpg", "images/coloured/palette.png"});
  ASSERT_EQ(said.status, 0) << said.errors;
  std::istringstream lines(said.output);
  for (const char* label : {"grey", "coloured"}) {
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(nlohmann::json::parse(line)["label"], label);
  }
  // The same by a list as editors may write it.
  write_file_atomically(here / "list.txt",
                        "\xEF\xBB\xBFimages/grey/grey.jpg\r\nimages/coloured/palette.png\r\n");
  EXPECT_EQ(here.run({"predict", "run/model", "--file", "list.txt"}).output, said.output);
  write_file_atomically(here / "gap.txt", "images/grey/grey.jpg\n\n");
  expect_one_line(here.run({"predict", "run/model", "--file", "gap.txt"}), 2,
                  "image-classification: got an empty text, takes the path of an image");
  // A head that knows the labels stays.
  const Outcome again = here.finetune({"model.directory=run/model", "run.directory=again"});
  ASSERT_EQ(again.status, 0) << again.errors;
  EXPECT_THAT(again.output, testing::Not(HasSubstr("random")));
}

TEST(FinetuneImages, EveryWayToChangeImagesIsTheSameOnAnyNumberOfThreads) {
  const ImageWorkplace here;
  for (const char* mix : {"image.mixup=0.8", "image.cutmix=1"}) {
    std::vector<std::string> weights;
    for (const char* threads : {"1", "3"}) {
      const std::string run = std::string(mix) + threads;
      const Outcome outcome =
          here.finetune({mix, "image.rand_augment=2", "image.min_crop_area=0.3", "image.flip=true",
                         "train.steps=5", "run.directory=" + run, "--threads", threads});
      ASSERT_EQ(outcome.status, 0) << outcome.errors;
      weights.push_back(here.weights(run));
    }
    EXPECT_EQ(weights[0], weights[1]) << mix;
  }
  EXPECT_NE(here.weights("image.mixup=0.81"), here.weights("image.cutmix=11"));
}

TEST(FinetuneImages, LeavesOutBadFilesAndNamesThem) {
  const ImageWorkplace here;
  write_file_atomically(here / "images" / "grey" / "broken.png", "\x89PNG\r\n\x1a\n and no more");
  const Outcome outcome = here.finetune({"train.steps=2"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("1 of 7 images were left out"));
  EXPECT_THAT(outcome.output, HasSubstr("broken.png"));
  EXPECT_THAT(outcome.output, HasSubstr("6 training examples"));
}

// One that keeps its aspect while its shorter side grows would have more pixels than any file may.
TEST(FinetuneImages, PredictNamesTheImageThatIsTooLong) {
  const ImageWorkplace here;
  write_file_atomically(here / "vit" / "preprocessor_config.json",
                        R"({"do_center_crop": true, "size": {"shortest_edge": 64}})");
  const Outcome trained = here.finetune({"train.steps=1"});
  ASSERT_EQ(trained.status, 0) << trained.errors;
  write_file_atomically(here / "long.png", encode_png(Image(1, 60000)));
  expect_one_line(here.run({"predict", "run", "images/grey/grey.png", "long.png"}), 2,
                  "plinth: long.png: has 1 x 60000 pixels, which to cut its middle out");
}

TEST(FinetuneImages, RefusesWhatItCannotDo) {
  const ImageWorkplace here;
  const auto refuse = [&](const std::vector<std::string>& more, int status, const char* message) {
    SCOPED_TRACE(message);
    expect_one_line(here.finetune(more), status, message);
  };
  refuse({"image.mixup=1", "image.cutmix=1"}, 2, "image.mixup");
  refuse({"image.min_crop_area=0"}, 2, "image.min_crop_area");
  refuse({"task.class_weights=[1, 2]"}, 2, "task.class_weights");
  refuse({"task.labels=[\"grey\", \"blue\"]"}, 2, "has the label coloured");
  refuse({"data.train=[\"none\"]"}, 1, "none");
  write_file_atomically(here / "vit" / "preprocessor_config.json", R"({"resample": "x"})");
  refuse({}, 2, "resample");
  write_file_atomically(here / "vit" / "preprocessor_config.json", R"({"image_std": [1, 0, 1]})");
  refuse({}, 2, "image_std");
  write_file_atomically(here / "vit" / "preprocessor_config.json",
                        R"({"do_center_crop": true, "crop_size": 5})");
  refuse({}, 2, "crop_size");
  ASSERT_EQ(here.run({"predict", "vit", "images/grey/grey.png"}).status, 2);
}

}  // namespace
}  // namespace plinth
