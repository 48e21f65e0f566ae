// plinth predict and eval of a CLIP: labels that it was never told, by their texts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "data/images/encode.h"
#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;

// Images of one colour with captions, and a CLIP without weights.
class ZeroShotWorkplace : public TemporaryDirectory {
 public:
  ZeroShotWorkplace() {
    std::string captions, pairs = "image,text\n", labels = "path,label\n";
    for (int i = 0; i < 24; ++i) {
      const auto colour = static_cast<size_t>(i) % 3;
      const std::string file = std::to_string(i) + ".png", name = kColours[colour];
      write_file_atomically(path() / file, png_of(colour, static_cast<uint8_t>(150 + 4 * i)));
      const std::string caption = i % 2 == 0 ? "an image in " + name : name;
      captions += caption + "\n";
      pairs += file + "," + caption + "\n";
      labels += file + "," + name + "\n";
    }
    write_file_atomically(path() / "captions.txt", captions);
    write_file_atomically(path() / "pairs.csv", pairs);
    write_file_atomically(path() / "labels.csv", labels);
    std::filesystem::create_directory(path() / "clip");
    write_file_atomically(path() / "clip" / "config.json", kModel);
    write_file_atomically(path() / "run.toml", kSettings);
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"tokenize", "captions.txt", "--documents", "line",
                                                "--train-vocab", "264", "--out", "tokens"},
                                               {"pretrain", "run.toml", "--threads", "1"}}) {
      const Outcome outcome = run(arguments);
      EXPECT_EQ(outcome.status, 0) << outcome.errors;
    }
  }

  Outcome run(std::vector<std::string> arguments) const {
    return plinth_program(path(), std::move(arguments));
  }

 private:
  static constexpr const char* kColours[] = {"red", "green", "blue"};

  static std::string png_of(size_t channel, uint8_t value) {
    Image image(8, 8);
    for (size_t i = channel; i < image.bytes.size(); i += 3) image.bytes[i] = value;
    return encode_png(image);
  }

  static constexpr const char* kModel = R"({"model_type": "clip", "projection_dim": 8,
      "text_config": {"vocab_size": 264, "max_position_embeddings": 16, "hidden_size": 16,
      "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
      "bos_token_id": -1, "eos_token_id": 0},
      "vision_config": {"image_size": 8, "patch_size": 4, "hidden_size": 16,
      "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[data]
train = ["pairs.csv"]
tokenizer = "tokens"
[model]
config = "clip"
[train]
steps = 60
batch = 12
[optimizer]
lr = 0.005
)";
};

TEST(ZeroShot, TellsLabelsByTheirTexts) {
  const ZeroShotWorkplace here;
  const Outcome scored = here.run({"eval", "run", "--data", "labels.csv", "--labels",
                                   "red,green,blue", "--prompt", "an image in {}", "--json"});
  ASSERT_EQ(scored.status, 0) << scored.errors;
  EXPECT_EQ(nlohmann::json::parse(scored.output)["accuracy"], 1);
  const Outcome said = here.run({"predict", "run", "1.png", "2.png", "--labels", "blue,green",
                                 "--prompt", "{}", "--prompt", "an image in {}"});
  ASSERT_EQ(said.status, 0) << said.errors;
  std::istringstream lines(said.output);
  for (const char* label : {"green", "blue"}) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_EQ(nlohmann::json::parse(line)["label"], label);
  }

  const auto refuse = [&](std::vector<std::string> more, const char* message) {
    more.insert(more.begin(), {"predict", "run", "1.png"});
    expect_one_line(here.run(more), 2, message);
  };
  refuse({}, "--labels: got 0, takes the 2 or more");
  refuse({"--labels", "red,red"}, "red");
  refuse({"--labels", "red,blue", "--prompt", "an image"}, "takes a text with {}");
}

}  // namespace
}  // namespace plinth
