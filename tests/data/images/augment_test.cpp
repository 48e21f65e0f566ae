#include "data/images/augment.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/ops/factories.h"
#include "data/images/image_dataset.h"
#include "data/images/rand_augment.h"
#include "data/images/resize.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/images/image_fixture.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

Image cropped(const Image& image, const PixelBox& part) {
  return cropped(image, part.top, part.left, part.height, part.width);
}

Image all_of(const Image& image, const SampleKey& key) {
  const PixelBox part = random_part(image.height, image.width, key);
  const Image shown = resized(cropped(image, part), 9, 10);
  return rand_augment(draws_flip(key) ? flipped(shown) : shown, key);
}

TEST(Augment, DependsOnSeedEpochAndSampleAlone) {
  const Image image = expected_image("dim");
  const SampleKey key{.seed = 1, .epoch = 2, .sample = 3};
  const Image first = all_of(image, key);
  EXPECT_EQ(first.height, 9);
  EXPECT_EQ(first.width, 10);
  EXPECT_EQ(all_of(image, key), first);
  EXPECT_NE(all_of(image, {.seed = 2, .epoch = 2, .sample = 3}), first);
  EXPECT_NE(all_of(image, {.seed = 1, .epoch = 3, .sample = 3}), first);
  EXPECT_NE(all_of(image, {.seed = 1, .epoch = 2, .sample = 4}), first);
}

TEST(Augment, FlipsHalfOfTheSamples) {
  const Image image = read_image(image_fixture("colour.png"));
  EXPECT_EQ(flipped(flipped(image)), image);
  int flips = 0;
  constexpr int kSamples = 2000;
  for (int i = 0; i < kSamples; ++i) flips += draws_flip({.seed = 5, .epoch = 0, .sample = i});
  EXPECT_NEAR(flips, kSamples / 2, 4 * std::sqrt(kSamples) / 2);
  EXPECT_FALSE(draws_flip({}, 0));
  EXPECT_TRUE(draws_flip({}, 1));
}

// A whole image of one aspect is itself; one that no try fits is cut in the middle.
TEST(Augment, CropsWhatItIsAskedFor) {
  const Image image = read_image(image_fixture("colour.png"));
  const double aspect = 14.0 / 11;
  const CropOptions whole{.min_area = 1, .min_aspect = aspect, .max_aspect = aspect};
  EXPECT_EQ(cropped(image, random_part(11, 14, {}, whole)), image);
  const CropOptions square{.min_area = 1, .min_aspect = 1, .max_aspect = 1};
  EXPECT_EQ(random_part(11, 14, {}, square), (PixelBox{0, 1, 11, 11}));
  expect_error(ErrorKind::Argument, "areas are 0 to 1, takes a range inside (0, 1]",
               [] { random_part(11, 14, {}, {.min_area = 0}); });
  expect_error(ErrorKind::Argument, "aspects are 2 to 1",
               [] { random_part(11, 14, {}, {.min_aspect = 2, .max_aspect = 1}); });
  expect_error(ErrorKind::Argument, "takes a part of 11 x 14", [&] { cropped(image, 8, 0, 4, 4); });
}

TEST(Augment, RandAugmentOfNoStrengthChangesLittle) {
  const Image image = expected_image("dim");
  EXPECT_EQ(rand_augment(image, {}, {.count = 0}), image);
  int changed = 0;
  for (int i = 0; i < 50; ++i)
    changed += rand_augment(image, {.seed = 1, .epoch = 0, .sample = i}) != image;
  EXPECT_GT(changed, 40);
  expect_error(ErrorKind::Argument, "magnitude is 31, takes 0 to 30",
               [&] { rand_augment(image, {}, {.magnitude = 31}); });
}

TEST(SampleRandom, BetaHasItsMeanAndVariance) {
  for (const double alpha : {0.2, 0.8, 3.0}) {
    constexpr int kDraws = 4000;
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      SampleRandom random({.seed = 7, .epoch = 0, .sample = i}, RandomPurpose::Mix);
      const double x = random.beta(alpha);
      sum += x;
      squares += (x - 0.5) * (x - 0.5);
    }
    EXPECT_NEAR(sum / kDraws, 0.5, 0.03) << alpha;
    EXPECT_NEAR(squares / kDraws, 1 / (4 * (2 * alpha + 1)), 0.012) << alpha;
  }
}

// Images of one value each, so that a mixture's value tells its shares.
struct Batch {
  Tensor pixels = Tensor::empty({3, 2, 8, 8});
  Tensor labels = from_values<int64_t>({4, 5, 6}, {3});
  std::vector<SampleKey> keys = {{1, 0, 10}, {1, 0, 20}, {1, 0, 30}};
  Batch() {
    for (int64_t i = 0; i < 3; ++i) pixels[i].fill_(std::pow(10.0, static_cast<double>(i)));
  }
};

TEST(Mixup, MixesEachImageWithTheNext) {
  const Batch batch;
  const MixedBatch mixed = mixup(batch.pixels, batch.labels, batch.keys);
  EXPECT_EQ(to_vector(mixed.labels), to_vector(batch.labels));
  EXPECT_EQ(to_vector(mixed.other_labels), (std::vector<double>{5, 6, 4}));
  for (int64_t i = 0; i < 3; ++i) {
    const double share = mixed.share[i].item(), x = batch.pixels[i][0][0][0].item(),
                 y = batch.pixels[(i + 1) % 3][0][0][0].item();
    EXPECT_GT(share, 0);
    EXPECT_LT(share, 1);
    for (const double value : to_vector(mixed.pixels[i]))
      EXPECT_NEAR(value, share * x + (1 - share) * y, 1e-4);
  }
  // Another place in the batch, another partner, but the same share.
  const std::vector<SampleKey> keys = {batch.keys[2]};
  const MixedBatch alone = mixup(batch.pixels.narrow(0, 2, 1), batch.labels.narrow(0, 2, 1), keys);
  EXPECT_EQ(alone.share.item(), mixed.share[2].item());
}

TEST(Cutmix, SharesAreThoseOfPixels) {
  const Batch batch;
  const MixedBatch mixed = cutmix(batch.pixels, batch.labels, batch.keys);
  for (int64_t i = 0; i < 3; ++i) {
    const std::vector<double> values = to_vector(mixed.pixels[i]);
    const auto own = std::ranges::count(values, std::pow(10.0, static_cast<double>(i)));
    EXPECT_EQ(static_cast<float>(own) / static_cast<float>(values.size()), mixed.share[i].item());
    EXPECT_EQ(own + std::ranges::count(values, std::pow(10.0, static_cast<double>((i + 1) % 3))),
              std::ssize(values));
  }
  expect_error(ErrorKind::Argument, "cutmix: alpha is 0, takes a number above 0",
               [&] { cutmix(batch.pixels, batch.labels, batch.keys, 0); });
  expect_error(ErrorKind::Shape, "mixup: labels are int64 [3] and keys 0",
               [&] { mixup(batch.pixels, batch.labels, {}); });
}

// A folder of two classes, one of whose files is garbage and one truncated.
void fill(const fs::path& folder) {
  make_directories(folder / "cat" / "more");
  make_directories(folder / "dog");
  const auto copy = [&](const char* from, const fs::path& to) {
    fs::copy(image_fixture(from), folder / to);
  };
  copy("colour.png", "cat/b.PNG");
  copy("colour.jpg", "cat/more/a.jpg");
  copy("grey.jpg", "dog/c.jpeg");
  write_file_atomically(folder / "dog" / "a.png", "garbage");
  const std::string whole = read_text_file(image_fixture("palette.png"));
  write_file_atomically(folder / "dog" / "b.png", whole.substr(0, 100));
  write_file_atomically(folder / "dog" / "notes.txt", "no image");
}

TEST(ImageDataset, OfAFolderLeavesOutBadFilesByName) {
  const TemporaryDirectory here;
  fill(here.path());
  const ImageDataset data = ImageDataset::from_folder(here.path());
  EXPECT_EQ(data.classes(), (std::vector<std::string>{"cat", "dog"}));
  ASSERT_EQ(data.size(), 5);
  EXPECT_EQ(data.sample(1).path.filename(), "a.jpg");
  EXPECT_EQ(data.sample(4).label, 1);

  std::vector<fs::path> paths;
  for (int64_t i = 4; i >= 0; --i) paths.push_back(data.sample(i).path);
  BadFiles bad;
  const auto transform = [](const Image& image, int64_t place) {
    return all_of(image, {.seed = 1, .epoch = 2, .sample = place});
  };
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto images = read_image_files(paths, transform, bad);
  omp_set_num_threads(4);
  EXPECT_EQ(read_image_files(paths, transform, bad), images);
  omp_set_num_threads(threads);
  ASSERT_EQ(images.size(), 5);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(images[i].has_value(), i == 0 || i > 2) << i;
  EXPECT_EQ(images[3], transform(read_image(paths[3]), 3));
  EXPECT_EQ(bad.count(), 2);
  const std::string report = bad.report(data.size());
  EXPECT_TRUE(report.starts_with("2 of 5 images were left out: ")) << report;
  EXPECT_NE(report.find("dog/a.png: is neither a PNG"), std::string::npos) << report;
  EXPECT_NE(report.find("dog/b.png: is a damaged PNG"), std::string::npos) << report;
  EXPECT_EQ(BadFiles().report(5), "");
  expect_error(ErrorKind::Argument, "got sample 5, takes one of 5", [&] { data.sample(5); });
}

TEST(ImageDataset, OfCommaSeparatedValues) {
  const TemporaryDirectory here;
  const fs::path file = here / "labels.csv";
  const auto from = [&](const std::string& text) {
    write_file_atomically(file, text);
    return ImageDataset::from_csv(file);
  };
  const ImageDataset data = from(
      "label,path,note\r\n10,a.png,\r\n\r\n2,\"b, \"\"c\"\".png\",\"two\nlines\"\r\n10,d.png,x");
  EXPECT_EQ(data.classes(), (std::vector<std::string>{"2", "10"}));
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.sample(0).path, here / "a.png");
  EXPECT_EQ(data.sample(0).label, 1);
  EXPECT_EQ(data.sample(1).path, here / "b, \"c\".png");
  EXPECT_EQ(data.sample(1).label, 0);
  EXPECT_EQ(from("\xEF\xBB\xBFpath,label\na,x\nb,y\n").size(), 2);  // as spreadsheets write it
  EXPECT_EQ(from("path,label\na,x\nb,10\nc,2\n").classes(),
            (std::vector<std::string>{"10", "2", "x"}));
  const auto refused = [&](const std::string& text, const std::string& message) {
    expect_error(ErrorKind::Format, "labels.csv: " + message, [&] { from(text); });
  };
  refused("", "has 0 rows");
  refused("path,label\n", "has 1 rows");
  refused("path,class\na,b\n", "has no column \"label\" in its first row");
  refused("path,label\na,b\nc\n", "line 3 has 1 fields, takes 2");
  refused("path,label\na,\n", "line 2 has an empty path or label");
  refused("path,label\n\"a,b\n", "line 2 has a quote that is not closed");
  refused("path,label\na\"b,c\n", "line 2 has a quote inside a field");
}

TEST(ImageDataset, RefusesFoldersWithoutImages) {
  const TemporaryDirectory here;
  expect_error(ErrorKind::Io, "absent", [&] { ImageDataset::from_folder(here / "absent"); });
  expect_error(ErrorKind::Format, "has no folder, takes one a class",
               [&] { ImageDataset::from_folder(here.path()); });
  make_directories(here / "empty");
  expect_error(ErrorKind::Format, "has no image in its classes",
               [&] { ImageDataset::from_folder(here.path()); });
  expect_error(ErrorKind::Argument, "label of a is 2, takes one of 1 classes", [] {
    ImageDataset({{"a", 2}}, {"only"});
  });
}

// A model's config.json, which is UTF-8, could not hold them: training would end in an error.
TEST(ImageDataset, RefusesClassesThatAreNotUtf8) {
  const TemporaryDirectory here;
  make_directories(here / "caf\xE9");
  write_file_atomically(here / "caf\xE9" / "a.png", "");
  const std::string message = ": has the class 'caf\\xe9', whose name is not UTF-8";
  expect_error(ErrorKind::Format, here.path().string() + message,
               [&] { ImageDataset::from_folder(here.path()); });
  write_file_atomically(here / "labels.csv", "path,label\na.png,caf\xE9\n");
  expect_error(ErrorKind::Format, "labels.csv" + message,
               [&] { ImageDataset::from_csv(here / "labels.csv"); });
}

// Once, and of several bad files the first that was asked for.
TEST(ReadWholeImages, NamesTheFirstBadFile) {
  const TemporaryDirectory here;
  fill(here.path());
  const auto message_of = [&](std::vector<fs::path> paths) -> std::string {
    for (fs::path& path : paths) path = here / path;
    try {
      read_whole_images(paths, [](const Image& image, int64_t) { return image; });
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message_of({"cat/b.PNG", "dog/c.jpeg"}), "");
  EXPECT_EQ(message_of({"cat/b.PNG", "none.png", "dog/a.png"}),
            (here / "none.png").string() + ": cannot open: No such file or directory");
  EXPECT_EQ(message_of({"dog/c.jpeg", "dog/a.png", "cat/none.png"}),
            (here / "dog/a.png").string() + ": is neither a PNG nor a JPEG image");
}

}  // namespace
}  // namespace plinth
