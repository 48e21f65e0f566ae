#include "data/images/preprocessing.h"

#include <cmath>
#include <cstring>

#include "core/io/file.h"
#include "core/ops/factories.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/images/image_fixture.h"

namespace plinth {
namespace {

// The largest difference of an image as a model takes it from what transformers made of it.
double distance_from_reference(const ImagePreprocessing& preprocessing, const std::string& folder,
                               const std::string& name) {
  static const SafetensorsFile file = SafetensorsFile::open(image_fixture("prepared.safetensors"));
  const Image image = preprocessing.apply(read_image(image_fixture(name)));
  const std::vector<double> pixels = to_vector(to_tensor({&image, 1}, preprocessing.normalization));
  const std::span<const std::byte> bytes = file.data(folder + "." + name);
  if (bytes.size() != pixels.size() * sizeof(float)) return INFINITY;
  double distance = 0;
  for (size_t i = 0; i < pixels.size(); ++i) {
    float expected = 0;
    std::memcpy(&expected, bytes.data() + i * sizeof expected, sizeof expected);
    distance = std::max(distance, std::abs(pixels[i] - static_cast<double>(expected)));
  }
  return distance;
}

TEST(ImagePreprocessing, CutsTheMiddleAsTransformersDoes) {
  const std::pair<const char*, Size2d> folders[] = {
      {"clip", 12}, {"clip_wide", {9, 16}}, {"deit", {10, 12}}};
  for (const auto& [folder, size] : folders) {
    const auto read = ImagePreprocessing::of(image_fixture(folder), size);
    const TemporaryDirectory here;
    write_file_atomically(here / kPreprocessingFile, read.to_json());
    const auto again = ImagePreprocessing::of(here.path(), size);
    for (const char* name : {"colour.jpg", "alpha.png"}) {
      EXPECT_LE(distance_from_reference(read, folder, name), 1e-6) << folder << " " << name;
      EXPECT_LE(distance_from_reference(again, folder, name), 1e-6) << folder << " " << name;
    }
  }
}

TEST(ImagePreprocessing, TakesWhatAFileLeavesOutFromItsClass) {
  const TemporaryDirectory here;
  const auto read = [&](const char* text) {
    write_file_atomically(here / kPreprocessingFile, text);
    return ImagePreprocessing::of(here.path(), 8);
  };
  const ImagePreprocessing vit = read(R"({"image_processor_type": "ViTImageProcessor"})");
  EXPECT_FALSE(vit.cuts());
  EXPECT_EQ(vit.filter, ResizeFilter::Bilinear);
  EXPECT_EQ(vit.normalization.mean[1], 0.5F);
  for (const char* text : {R"({"image_processor_type": "CLIPImageProcessor"})",
                           R"({"feature_extractor_type": "CLIPFeatureExtractor", "size": 8})"}) {
    const ImagePreprocessing clip = read(text);
    EXPECT_EQ(clip.shortest_edge, 8) << text;
    EXPECT_EQ(clip.filter, ResizeFilter::Bicubic) << text;
    EXPECT_EQ(clip.normalization.mean[1], 0.4578275F) << text;
  }
  EXPECT_FALSE(read(ImagePreprocessing{.size = 8}.to_json("CLIPImageProcessor").c_str()).cuts());
  EXPECT_EQ(read(R"({"do_center_crop": true, "size": 9})").resized_to->width, 9);
}

TEST(ImagePreprocessing, RefusesCutsThatTheModelCannotTake) {
  const TemporaryDirectory here;
  const auto refuse = [&](const char* text, const char* message) {
    write_file_atomically(here / kPreprocessingFile, text);
    expect_error(ErrorKind::Format, message, [&] { ImagePreprocessing::of(here.path(), 8); });
  };
  refuse(R"({"do_center_crop": 1})", "do_center_crop got 1");
  refuse(R"({"do_center_crop": true, "crop_size": 9})", "the model takes 8 x 8");
  refuse(R"({"do_center_crop": true, "crop_size": {"height": 8}})", "crop_size got");
  refuse(R"({"do_center_crop": true, "size": {"shortest_edge": 7}})", "cannot be cut");
  refuse(R"({"do_center_crop": true, "size": {"height": 9, "width": 7}})", "cannot be cut");
  refuse(R"({"do_center_crop": true, "size": {"shortest_edge": 1e9}})", "size got");
  refuse(R"({"do_center_crop": true, "size": -1})", "size got");
}

TEST(ImagePreprocessing, RefusesAnImageThatWouldGrowBeyondAllMeasure) {
  const ImagePreprocessing clip{.size = 12, .shortest_edge = 12};
  expect_error(ErrorKind::Shape, "12 x 6000000", [&] { clip.apply(Image(1, 500000)); });
}

}  // namespace
}  // namespace plinth
