// plinth finetune, eval and predict of the classes of pixels.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/images/encode.h"
#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Images of 16 x 24 pixels with a red and a blue half, at one of several places; a row of each
// mask does not count.
class SegmentationWorkplace : public TemporaryDirectory {
 public:
  SegmentationWorkplace() {
    fs::create_directory(path() / "segmenter");
    for (const char* part : {"images", "masks"}) fs::create_directories(path() / "data" / part);
    for (int i = 0; i < 6; ++i) {
      Image image(16, 24);
      Mask mask(16, 24);
      for (int64_t y = 0; y < 16; ++y) {
        for (int64_t x = 0; x < 24; ++x) {
          const bool red = (x < 6 + 6 * (i / 2)) == (i % 2 == 0);
          image.pixel(y, x)[red ? 0 : 2] = 255;
          mask.at(y, x) = y == 0 ? 255 : red ? 1 : 2;
        }
      }
      const std::string name = std::to_string(i) + ".png";
      write_file_atomically(path() / "data/images" / name, encode_png(image));
      write_file_atomically(path() / "data/masks" / name, encode_png(mask));
      table_ += "data/images/" + name + ",data/masks/" + name + "\n";
    }
    write_file_atomically(path() / "pairs.csv", table_);
    write_file_atomically(path() / "segmenter/config.json", kModel);
    write_file_atomically(path() / "run.toml", kSettings);
  }

  Outcome run(const std::vector<std::string>& arguments) const {
    return plinth_program(path(), arguments);
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
  std::string table_ = "path,mask\n";
  static constexpr const char* kModel = R"({"model_type": "vit_segmenter",
      "image_size": 16, "patch_size": 4, "num_channels": 3, "hidden_size": 16,
      "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "segmenter"
[task]
name = "semantic-segmentation"
[data]
train = ["data"]
validation = ["pairs.csv"]
[train]
steps = 80
batch = 6
[optimizer]
lr = 0.005
[validation]
every = 40
metric = "miou"
)";
};

TEST(FinetuneSegmentation, LearnsEvaluatesAndPredicts) {
  const SegmentationWorkplace here;
  const Outcome trained = here.finetune();
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("all begin at random"),
                                    HasSubstr("vit, semantic-segmentation, 3 labels"),
                                    HasSubstr("6 training examples")));
  const Outcome scored = here.run({"eval", "run/model", "--data", "pairs.csv", "--json"});
  ASSERT_EQ(scored.status, 0) << scored.errors;
  const json scores = json::parse(scored.output);
  EXPECT_GT(scores["miou"].get<double>(), 0.9);
  EXPECT_GT(scores["pixel_accuracy"].get<double>(), 0.9);

  const Outcome said =
      here.run({"predict", "run/model", "data/images/0.png", "--picture", "mask.png"});
  ASSERT_EQ(said.status, 0) << said.errors;
  const json line = json::parse(said.output);
  EXPECT_EQ(line["image"], "data/images/0.png");
  EXPECT_NEAR(line["shares"]["LABEL_1"].get<double>(), 0.25, 0.1);
  EXPECT_NEAR(line["shares"]["LABEL_2"].get<double>(), 0.75, 0.1);
  const Mask mask = read_mask(here / "mask.png");
  ASSERT_EQ(mask.height, 16);
  ASSERT_EQ(mask.width, 24);
  EXPECT_EQ(mask.at(8, 1), 1);
  EXPECT_EQ(mask.at(8, 20), 2);
  const std::array<uint8_t, 3> colour = class_colour(2);
  EXPECT_TRUE(std::ranges::equal(std::span(read_image(here / "mask.png").pixel(8, 20), 3), colour));

  const std::vector<std::string> again = {"model.directory=run/model", "run.directory=again",
                                          "train.steps=1"};
  EXPECT_THAT(here.finetune(again).output, testing::Not(HasSubstr("random")));
  EXPECT_THAT(here.finetune({again[0], again[2], "run.directory=new",
                             "task.labels=[\"none\", \"red\", \"blue\", \"green\"]"})
                  .output,
              HasSubstr("the head begins with random weights"));
}

TEST(FinetuneSegmentation, ChangesImagesTheSameOnAnyNumberOfThreads) {
  const SegmentationWorkplace here;
  std::vector<std::string> weights;
  for (const char* threads : {"1", "3"}) {
    const std::string run = std::string("run") + threads;
    const Outcome outcome =
        here.finetune({"image.min_crop_area=0.4", "image.flip=true", "train.steps=5",
                       "run.directory=" + run, "--threads", threads});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    weights.push_back(here.weights(run));
  }
  EXPECT_EQ(weights[0], weights[1]);
  ASSERT_EQ(here.finetune({"train.steps=5", "run.directory=plain"}).status, 0);
  EXPECT_NE(here.weights("plain"), weights[0]);
}

TEST(FinetuneSegmentation, LeavesOutWhatIsDamagedAndNamesIt) {
  const SegmentationWorkplace here;
  write_file_atomically(here / "data/masks/0.png", encode_png(Mask(15, 24)));
  write_file_atomically(here / "data/masks/1.png", encode_png(Image(16, 24)));
  fs::remove(here / "data/masks/2.png");
  write_file_atomically(here / "data/images/3.png", "garbage");
  const Outcome outcome = here.finetune({"train.steps=2", "data.validation=[\"data\"]"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("4 of 6 images were left out"),
                    HasSubstr("masks/0.png: is 15 x 24 pixels, its image 16 x 24"),
                    HasSubstr("masks/1.png: is a PNG of colours"), HasSubstr("masks/2.png"),
                    HasSubstr("images/3.png"), HasSubstr("2 training examples")));
  const Outcome few = here.finetune({"task.labels=[\"none\", \"red\"]"});
  expect_one_line(few, 2, "has no examples");
  EXPECT_THAT(few.output, HasSubstr("has the class 2, the model has 2, and 255 for none"));
}

TEST(FinetuneSegmentation, RefusesWhatItCannotDo) {
  const SegmentationWorkplace here;
  const auto refuse = [&](const std::vector<std::string>& more, int status, const char* message) {
    SCOPED_TRACE(message);
    expect_one_line(here.finetune(more), status, message);
  };
  refuse({"image.cutmix=1"}, 2, "image.cutmix: is for image-classification");
  refuse({"task.labels=[\"all\"]"}, 2, "task.labels: got 1, takes 2 to 255");
  refuse({"data.train=[\"data/images\"]"}, 2, "has no folder images");
  refuse({"data.train=[\"none.csv\"]"}, 1, "none.csv");
  write_file_atomically(here / "segmenter/config.json", R"({"model_type": "clip"})");
  refuse({}, 2, "holds a clip, takes a vit_segmenter, vit or vit_mae");
}

}  // namespace
}  // namespace plinth
