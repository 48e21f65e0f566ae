// A ViT learns handwritten digits, with images, augmentation, model and optimizer as a user has
// them. tests/fixtures/make_digits_fixture.py --train does the same with PyTorch.

#include <gtest/gtest.h>

#include <cstdio>

#include "core/autograd.h"
#include "core/io/file.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "data/images/augment.h"
#include "data/images/resize.h"
#include "data/loader/permutation.h"
#include "models/vit/vit.h"
#include "nn/clip.h"
#include "nn/optim/adamw.h"
#include "nn/schedule.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

constexpr int64_t kDigit = 8, kSize = 16, kEpochs = 45, kBatch = 64;

struct Digits {
  std::vector<Image> images;
  std::vector<int64_t> labels;
  std::vector<int64_t> trained, held_out;  // every fourth
};

Digits read_digits() {
  const std::filesystem::path folder = std::filesystem::path(PLINTH_FIXTURES) / "digits";
  const Image sheet = read_image(folder / "digits.png");
  const std::string text = read_text_file(folder / "labels.txt");
  Digits digits;
  for (int64_t i = 0; i < sheet.height / kDigit; ++i) {
    digits.images.push_back(cropped(sheet, i * kDigit, 0, kDigit, kDigit));
    digits.labels.push_back(text[static_cast<size_t>(i)] - '0');
    (i % 4 == 0 ? digits.held_out : digits.trained).push_back(i);
  }
  return digits;
}

Tensor labels_of(const Digits& digits, const std::vector<int64_t>& samples) {
  std::vector<int64_t> labels;
  for (const int64_t sample : samples) labels.push_back(digits.labels[static_cast<size_t>(sample)]);
  return from_values(labels, {std::ssize(labels)});
}

template <class Change>
Tensor pixels_of(const Digits& digits, const std::vector<int64_t>& samples, Change&& change) {
  std::vector<Image> images;
  for (const int64_t sample : samples)
    images.push_back(change(digits.images[static_cast<size_t>(sample)], sample));
  return to_tensor(images);
}

void train(ViT& model, const Digits& digits, uint64_t seed) {
  const int64_t count = std::ssize(digits.trained), batches = count / kBatch;
  nn::AdamW optimizer(nn::all_parameters(model), {.weight_decay = 0.05});
  const nn::Schedule schedule{
      .kind = nn::ScheduleKind::Cosine, .peak = 2e-3, .warmup = 50, .steps = kEpochs * batches};
  for (int64_t step = 0; step < schedule.steps; ++step) {
    const int64_t epoch = step / batches;
    const Permutation order(count, seed, static_cast<uint64_t>(epoch));
    std::vector<int64_t> samples;
    for (int64_t i = 0; i < kBatch; ++i)
      samples.push_back(digits.trained[static_cast<size_t>(order(step % batches * kBatch + i))]);
    const Tensor pixels = pixels_of(digits, samples, [&](const Image& image, int64_t sample) {
      const PixelBox part =
          random_part(image.height, image.width, {.seed = seed, .epoch = epoch, .sample = sample},
                      {.min_area = 0.6});
      return resized(cropped(image, part.top, part.left, part.height, part.width), kSize, kSize);
    });
    model.zero_grad();
    model.loss(pixels, labels_of(digits, samples)).backward();
    optimizer.set_lr(schedule.at(step));
    optimizer.step(nn::clip_factor(nn::grad_norm(model.parameters()), 1));
  }
}

double held_out_accuracy(ViT& model, const Digits& digits) {
  const NoGradGuard no_grad;
  model.eval();
  const Tensor pixels = pixels_of(digits, digits.held_out, [](const Image& image, int64_t) {
    return resized(image, kSize, kSize);
  });
  const Tensor right = eq(argmax(model.forward(pixels), 1), labels_of(digits, digits.held_out));
  return mean(right.to(DType::Float32)).item();
}

TEST(ViT, LearnsDigits) {
  const Digits digits = read_digits();
  ASSERT_EQ(digits.images.size(), 1797);
  ViTConfig config{.image_size = kSize,
                   .patch_size = 4,
                   .dim = 48,
                   .layers = 3,
                   .heads = 4,
                   .ffn_dim = 96,
                   .labels = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}};
  ViT model(config);
  model.reset_parameters(1);
  EXPECT_LT(held_out_accuracy(model, digits), 0.3);
  model.train();
  train(model, digits, 1);
  const double accuracy = held_out_accuracy(model, digits);
  std::printf("%.2f %% of %zu held-out digits\n", 100 * accuracy, digits.held_out.size());
  EXPECT_GT(accuracy, 0.97);
}

}  // namespace
}  // namespace plinth
