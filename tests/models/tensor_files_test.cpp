#include "models/tensor_files.h"

#include <gtest/gtest.h>

#include "core/ops/factories.h"
#include "nn/layers.h"
#include "nn/optim/adamw.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

TEST(TensorFiles, AModelAndItsOptimizerGoOnFromTheirFiles) {
  const TemporaryDirectory folder;
  nn::Linear model(3, 2), again(3, 2);
  nn::AdamW optimizer(nn::all_parameters(model)), optimizer_again(nn::all_parameters(again));
  const auto step = [](nn::Linear& layer, nn::Optimizer& of_layer) {
    layer.zero_grad();
    layer(ones({1, 3})).backward(ones({1, 2}));
    of_layer.step();
  };
  step(model, optimizer);
  write_tensors(folder.path() / "model.safetensors", model.state_dict());
  write_tensors(folder.path() / "optimizer.safetensors", optimizer.state_dict());
  again.load_state_dict(read_tensors(folder.path() / "model.safetensors"));
  optimizer_again.load_state_dict(read_tensors(folder.path() / "optimizer.safetensors"));
  step(model, optimizer);
  step(again, optimizer_again);
  EXPECT_EQ(to_vector(again.weight()), to_vector(model.weight()));
  EXPECT_EQ(to_vector(again.bias()), to_vector(model.bias()));
}

TEST(TensorFiles, AnyStridesAreWrittenRowByRow) {
  const TemporaryDirectory folder;
  const std::filesystem::path file = folder.path() / "a.safetensors";
  const Tensor x = from_values<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  write_tensors(file, {{"turned", x.transpose(0, 1)}, {"part", x.select(1, 1)}});
  const nn::StateDict read = read_tensors(file);
  EXPECT_EQ(to_vector(nn::find(read, "turned")), (std::vector<double>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(to_vector(nn::find(read, "part")), (std::vector<double>{2, 5}));
}

TEST(TensorFiles, RefusesWhatItCannotWrite) {
  const TemporaryDirectory folder;
  const std::filesystem::path file = folder.path() / "a.safetensors";
  expect_error(ErrorKind::Argument, "x is undefined", [&] { write_tensors(file, {{"x", {}}}); });
  expect_error(ErrorKind::Argument, "x", [&] {
    write_tensors(file, {{"x", ones({1})}, {"x", ones({1})}});
  });
  EXPECT_FALSE(std::filesystem::exists(file));
}

}  // namespace
}  // namespace plinth
