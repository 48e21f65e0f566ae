// Ten steps of each optimizer, against PyTorch's (tests/fixtures/make_optimizer_fixtures.py).

#include <functional>
#include <memory>

#include "core/io/safetensors.h"
#include "nn/optim/adafactor.h"
#include "nn/optim/adamw.h"
#include "nn/optim/muon.h"
#include "nn/optim/sgd.h"
#include "tests/fixtures.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using Groups = std::vector<ParameterGroup>;

struct RecordedRun {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const Groups&, DType)> make;
};

std::unique_ptr<Optimizer> muon(const Groups& groups, DType dtype, MuonOptions options) {
  options.iteration_dtype = dtype;
  return std::make_unique<Muon>(groups, Groups{}, options);
}

const RecordedRun kRuns[] = {
    {"sgd",
     [](const Groups& groups, DType) {
       return std::make_unique<Sgd>(groups, SgdOptions{.lr = 0.1, .weight_decay = 0.1});
     }},
    {"momentum",
     [](const Groups& groups, DType) {
       return std::make_unique<Sgd>(groups, SgdOptions{.lr = 0.1, .momentum = 0.9});
     }},
    {"nesterov",
     [](const Groups& groups, DType) {
       return std::make_unique<Sgd>(
           groups, SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1});
     }},
    {"adamw",
     [](const Groups& groups, DType) {
       return std::make_unique<AdamW>(
           groups, AdamWOptions{.lr = 0.01, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1});
     }},
    {"adafactor",
     [](const Groups& groups, DType) {
       return std::make_unique<Adafactor>(groups, AdafactorOptions{.lr = 0.05});
     }},
    {"adafactor_decay",
     [](const Groups& groups, DType) {
       return std::make_unique<Adafactor>(groups, AdafactorOptions{.lr = 0.5,
                                                                   .beta2_decay = -0.5,
                                                                   .eps1 = 1e-10,
                                                                   .eps2 = 1e-2,
                                                                   .clip = 1.05,
                                                                   .weight_decay = 0.1});
     }},
    {"muon",
     [](const Groups& groups, DType dtype) {
       return muon(groups, dtype, {.lr = 0.02, .scale = MuonScale::Original});
     }},
    {"muon_adamw_size",
     [](const Groups& groups, DType dtype) {
       return muon(groups, dtype, {.lr = 0.02, .momentum = 0.9, .nesterov = false});
     }},
};

// float64 shows that the arithmetic is PyTorch's, float32 that its rounding is about PyTorch's.
void expect_trajectory(const RecordedRun& run, DType dtype, double tolerance) {
  const SafetensorsFile file =
      SafetensorsFile::open(std::string(PLINTH_FIXTURES) + "/optimizers/trajectories.safetensors");
  const std::string prefix = run.name + "." + std::string(name(dtype)) + ".";
  ParameterGroup group;
  for (const std::string tensor : {"wide", "tall", "vector"}) {
    if (!file.find(prefix + tensor)) continue;
    Tensor value = read(file, "initial." + tensor).to(dtype).clone();
    group.parameters.push_back({tensor, value.set_requires_grad()});
  }
  ASSERT_GE(group.parameters.size(), 2u);
  const auto optimizer = run.make({group}, dtype);
  for (int64_t step = 0; step < 10; ++step) {
    for (auto& [tensor, parameter] : group.parameters) {
      parameter.set_grad(read(file, "gradient." + tensor)[step].to(dtype));
    }
    optimizer->step();
    for (auto& [tensor, parameter] : group.parameters) {
      expect_close(parameter, read(file, prefix + tensor)[step], tolerance,
                   detail::concat(prefix, tensor, ", step ", step));
    }
  }
}

class Trajectory : public testing::TestWithParam<RecordedRun> {};

TEST_P(Trajectory, Float64AgreesWithPyTorch) {
  expect_trajectory(GetParam(), DType::Float64, 1e-12);
}
TEST_P(Trajectory, Float32AgreesWithPyTorch) {
  expect_trajectory(GetParam(), DType::Float32, 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Trajectory, testing::ValuesIn(kRuns),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace plinth::nn
