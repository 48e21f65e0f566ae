// plinth finetune, eval and predict of objects in images.

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

// Images with one bright square each, red or blue, in one of two places.
class DetectionWorkplace : public TemporaryDirectory {
 public:
  DetectionWorkplace() {
    fs::create_directories(path() / "data" / "images");
    fs::create_directory(path() / "yolos");
    json boxes = {{"images", json::array()}, {"annotations", json::array()}};
    boxes["categories"] = {{{"id", 4}, {"name", "red"}}, {{"id", 9}, {"name", "blue"}}};
    for (int i = 0; i < 8; ++i) {
      const int left = i % 2 * 12 + 1, top = i % 2 * 8 + 1, label = i / 4;
      const std::string name = "images/" + std::to_string(i) + ".png";
      write_file_atomically(path() / "data" / name, square(left, top, label));
      boxes["images"].push_back({{"id", i}, {"file_name", name}, {"height", 16}, {"width", 24}});
      boxes["annotations"].push_back(
          {{"image_id", i}, {"category_id", label == 0 ? 4 : 9}, {"bbox", {left, top, 10, 6}}});
    }
    write_file_atomically(path() / "data" / "boxes.json", boxes.dump());
    write_file_atomically(path() / "yolos" / "config.json", kModel);
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
  json boxes() const { return json::parse(read_text_file(path() / "data" / "boxes.json")); }
  void write_boxes(const json& content) const {
    write_file_atomically(path() / "data" / "boxes.json", content.dump());
  }
  std::string weights(const std::string& run) const {
    return read_text_file(path() / run / "model" / "model.safetensors");
  }

 private:
  static std::string square(int64_t left, int64_t top, int label) {
    Image image(16, 24);
    for (int64_t y = top; y < top + 6; ++y) {
      for (int64_t x = left; x < left + 10; ++x) image.pixel(y, x)[label == 0 ? 0 : 2] = 255;
    }
    return encode_png(image);
  }

  static constexpr const char* kModel = R"({"model_type": "yolos",
      "image_size": [16, 16], "patch_size": 4, "num_channels": 3, "hidden_size": 32,
      "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
      "num_detection_tokens": 3, "use_mid_position_embeddings": true})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "yolos"
[task]
name = "object-detection"
[data]
train = ["data/boxes.json"]
validation = ["data/boxes.json"]
[train]
steps = 400
batch = 8
[optimizer]
lr = 0.004
[validation]
every = 80
metric = "map"
)";
};

TEST(FinetuneDetection, LearnsEvaluatesAndPredicts) {
  const DetectionWorkplace here;
  const Outcome trained = here.finetune();
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("all begin at random"),
                                    HasSubstr("yolos, object-detection, 2 labels"),
                                    HasSubstr("8 training examples")));
  const Outcome scored = here.run({"eval", "run/model", "--data", "data/boxes.json", "--json"});
  ASSERT_EQ(scored.status, 0) << scored.errors;
  const json scores = json::parse(scored.output);
  EXPECT_GT(scores["map_50"].get<double>(), 0.9);
  EXPECT_EQ(scores["map_large"], -1);  // there are none

  const Outcome said = here.run({"predict", "run/model", "data/images/7.png", "--threshold", "0.3",
                                 "--picture", "found.png"});
  ASSERT_EQ(said.status, 0) << said.errors;
  const json line = json::parse(said.output);
  EXPECT_EQ(line["image"], "data/images/7.png");
  ASSERT_FALSE(line["objects"].empty());
  const json& object = line["objects"][0];
  EXPECT_EQ(object["label"], "blue");
  EXPECT_GT(object["score"].get<double>(), 0.3);
  const std::vector<double> box = object["box"], truth = {13, 9, 23, 15};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(box[i], truth[i], 2.5) << said.output;
  // The frame lies on the image, in the colour of the label.
  const Image picture = read_image(here / "found.png");
  const Image plain = read_image(here / "data/images/7.png");
  EXPECT_EQ(picture.height, plain.height);
  EXPECT_NE(picture, plain);
  const Outcome sure = here.run({"predict", "run/model", "data/images/7.png", "--threshold", "1"});
  EXPECT_TRUE(json::parse(sure.output)["objects"].empty()) << sure.output;

  // Heads that know the labels stay; a new label begins anew.
  const std::vector<std::string> again = {"model.directory=run/model", "run.directory=again",
                                          "train.steps=1"};
  EXPECT_THAT(here.finetune(again).output, testing::Not(HasSubstr("random")));
  json boxes = here.boxes();
  boxes["categories"][0]["name"] = "green";
  here.write_boxes(boxes);
  EXPECT_THAT(here.finetune({again[0], again[2], "run.directory=new"}).output,
              HasSubstr("the heads begin with random weights"));
}

TEST(FinetuneDetection, ChangesImagesTheSameOnAnyNumberOfThreads) {
  const DetectionWorkplace here;
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

TEST(FinetuneDetection, LeavesOutWhatIsDamagedAndNamesIt) {
  const DetectionWorkplace here;
  json boxes = here.boxes();
  boxes["annotations"][0]["bbox"] = {1, 2, 0, 0};
  boxes["images"][1]["width"] = 25;
  here.write_boxes(boxes);
  write_file_atomically(here / "data/images/2.png", "\x89PNG\r\n\x1a\n and no more");
  const Outcome outcome = here.finetune({"train.steps=2"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(
      outcome.output,
      AllOf(HasSubstr("1 bad line left out, the first data/boxes.json:1: annotation 1: "),
            HasSubstr("2 of 8 images were left out"),
            HasSubstr("1.png: is 16 x 24 pixels high and wide, its annotations say 16 x 25"),
            HasSubstr("2.png"), HasSubstr("6 training examples")));
  expect_one_line(here.finetune({"data.max_bad_lines=0"}), 2, "has more than 0 bad lines");
}

TEST(FinetuneDetection, RefusesWhatItCannotDo) {
  const DetectionWorkplace here;
  const auto refuse = [&](const std::vector<std::string>& more, int status, const char* message) {
    SCOPED_TRACE(message);
    expect_one_line(here.finetune(more), status, message);
  };
  refuse({"image.mixup=1"}, 2, "image.mixup: is for image-classification");
  refuse({"image.rand_augment=2"}, 2, "image.rand_augment");
  refuse({"task.class_weights=[1, 2]"}, 2, "task.class_weights");
  refuse({"task.labels=[\"red\"]"}, 2, "has the category blue, which the model has not");
  refuse({"validation.metric=accuracy"}, 2, "takes one of loss, map, map_50");
  refuse({"data.image_folder=nowhere"}, 2, "has no examples");
  const fs::path other = here / "other";
  fs::create_directory(other);
  fs::copy_file(here / "data/boxes.json", other / "boxes.json");
  ASSERT_EQ(here.finetune({"train.steps=1", "data.train=[\"other/boxes.json\"]",
                           "data.validation=[\"other/boxes.json\"]", "data.image_folder=data"})
                .status,
            0);
  expect_one_line(here.run({"predict", "run/model", "other/boxes.json"}), 2, "boxes.json");
  expect_one_line(here.run({"predict", "run/model", "data/images/1.png", "data/images/2.png",
                            "--picture", "p"}),
                  2, "--picture: got 2 images, takes one");
}

}  // namespace
}  // namespace plinth
