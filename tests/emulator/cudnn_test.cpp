// The emulator's cuDNN refuses what the library's documentation forbids: each attribute left out or
// wrong, each descriptor misused.

#include "kernels/device/emulate/library/cudnn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "kernels/conv/cudnn_descriptor.h"
#include "kernels/device/emulate/error.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

using testing::HasSubstr;
using Sizes = std::vector<int64_t>;

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const DnnError& error) {
    return error.what();
  }
  return "no error";
}

// One attribute of a descriptor.
struct Setting {
  dnn::Attribute attribute;
  std::function<void(Descriptor&)> set;
};

Setting numbers(dnn::Attribute attribute, const Sizes& values) {
  return {attribute, [=](Descriptor& d) {
            d.set(attribute, dnn::kTypeInt64, std::span<const int64_t>(values));
          }};
}
template <class T>
Setting value(dnn::Attribute attribute, dnn::AttributeType type, T value) {
  return {attribute, [=](Descriptor& d) { d.set(attribute, type, value); }};
}
Setting part(dnn::Attribute attribute, const Descriptor& other) {
  return {attribute, [=, &other](Descriptor& d) { d.set(attribute, other); }};
}

using Settings = std::vector<Setting>;

Descriptor make(dnn::DescriptorType type, const Settings& settings) {
  Descriptor result(type);
  for (const Setting& setting : settings) setting.set(result);
  result.finalize();
  return result;
}

// The settings with one in the place of that of the same attribute.
Settings with(Settings settings, const Setting& other) {
  for (Setting& setting : settings) {
    if (setting.attribute == other.attribute) setting = other;
  }
  return settings;
}

Settings tensor(int64_t id, const Sizes& sizes) {
  return {value(dnn::kTensorDataType, dnn::kTypeDataType, dnn::kFloat32),
          numbers(dnn::kTensorDimensions, sizes),
          numbers(dnn::kTensorStrides,
                  {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1}),
          numbers(dnn::kTensorUniqueId, {id}), numbers(dnn::kTensorAlignment, {16})};
}

Settings convolution() {
  return {value(dnn::kConvolutionComputeType, dnn::kTypeDataType, dnn::kFloat32),
          value(dnn::kConvolutionMode, dnn::kTypeConvolutionMode, dnn::kCrossCorrelation),
          numbers(dnn::kConvolutionSpatialDims, {2}),
          numbers(dnn::kConvolutionDilations, {1, 1}),
          numbers(dnn::kConvolutionStrides, {1, 1}),
          numbers(dnn::kConvolutionPrePaddings, {1, 1}),
          numbers(dnn::kConvolutionPostPaddings, {1, 1})};
}

const Sizes kX{2, 4, 5, 6}, kW{6, 2, 3, 3}, kY{2, 6, 5, 6};

void* handle() {
  static void* one = [] {
    void* made = nullptr;
    dnn::library().create(&made);
    return made;
  }();
  return one;
}

// A convolution from its tensors to its plan.
struct Built {
  Descriptor x = make(dnn::kTensor, tensor(1, kX)), w = make(dnn::kTensor, tensor(2, kW)),
             y = make(dnn::kTensor, tensor(3, kY)), how = make(dnn::kConvolution, convolution());
  Descriptor operation = make(dnn::kConvolutionForward, operation_settings());
  Descriptor graph = make(dnn::kOperationGraph, graph_settings());
  Descriptor heuristic = make(dnn::kEngineHeuristic, heuristic_settings());
  Descriptor config = first_config();
  Descriptor plan = make(dnn::kExecutionPlan, plan_settings());

  Settings operation_settings() const {
    return {part(dnn::kForwardConvolution, how),
            part(dnn::kForwardX, x),
            part(dnn::kForwardW, w),
            part(dnn::kForwardY, y),
            value(dnn::kForwardAlpha, dnn::kTypeFloat, 1.0f),
            value(dnn::kForwardBeta, dnn::kTypeFloat, 0.0f)};
  }
  Settings graph_settings() const {
    return {value(dnn::kGraphHandle, dnn::kTypeHandle, handle()),
            part(dnn::kGraphOperations, operation)};
  }
  Settings heuristic_settings() const {
    return {part(dnn::kHeuristicGraph, graph),
            value(dnn::kHeuristicModeOf, dnn::kTypeHeuristicMode, dnn::kHeuristicFallback)};
  }
  Descriptor first_config() const {
    Descriptor result(dnn::kEngineConfig);
    void* object = result.object();
    heuristic.get(dnn::kHeuristicResults, dnn::kTypeDescriptor, std::span(&object, 1));
    return result;
  }
  Settings plan_settings() const {
    return {value(dnn::kPlanHandle, dnn::kTypeHandle, handle()),
            part(dnn::kPlanEngineConfig, config)};
  }
};

void expect_every_attribute_is_needed(dnn::DescriptorType type, const Settings& settings) {
  EXPECT_EQ(message_of([&] { make(type, settings); }), "no error");
  for (size_t left_out = 0; left_out < settings.size(); ++left_out) {
    Settings some = settings;
    some.erase(some.begin() + static_cast<int64_t>(left_out));
    EXPECT_THAT(
        message_of([&] { make(type, some); }),
        HasSubstr("attribute " + std::to_string(settings[left_out].attribute) + " is not set"));
  }
}

Settings pack_settings(const Sizes& ids, const std::vector<void*>& pointers, void* workspace) {
  return {numbers(dnn::kPackUniqueIds, ids),
          {dnn::kPackPointers,
           [=](Descriptor& d) {
             d.set(dnn::kPackPointers, dnn::kTypePointer, std::span<void* const>(pointers));
           }},
          value(dnn::kPackWorkspace, dnn::kTypePointer, workspace)};
}

TEST(EmulatedCudnn, NeedsEveryAttribute) {
  const Built built;
  expect_every_attribute_is_needed(dnn::kTensor, tensor(1, kX));
  expect_every_attribute_is_needed(dnn::kConvolution, convolution());
  expect_every_attribute_is_needed(dnn::kConvolutionForward, built.operation_settings());
  expect_every_attribute_is_needed(dnn::kOperationGraph, built.graph_settings());
  expect_every_attribute_is_needed(dnn::kEngineHeuristic, built.heuristic_settings());
  expect_every_attribute_is_needed(dnn::kExecutionPlan, built.plan_settings());
  int memory = 0;
  expect_every_attribute_is_needed(dnn::kVariantPack, pack_settings({1}, {&memory}, &memory));
}

TEST(EmulatedCudnn, RefusesWrongTensors) {
  const auto why = [](const Setting& wrong) {
    return message_of([&] { make(dnn::kTensor, with(tensor(1, kX), wrong)); });
  };
  EXPECT_THAT(why(numbers(dnn::kTensorDimensions, {2, 4, 5})), HasSubstr("as many strides"));
  EXPECT_THAT(why(numbers(dnn::kTensorDimensions, {2, 0, 5, 6})), HasSubstr("at least 1"));
  EXPECT_THAT(why(numbers(dnn::kTensorStrides, {120, 30, 0, 1})),
              HasSubstr("strides are at least"));
  EXPECT_THAT(why(numbers(dnn::kTensorAlignment, {2})), HasSubstr("alignment"));
  EXPECT_THAT(why(numbers(dnn::kTensorAlignment, {12})), HasSubstr("alignment"));
  EXPECT_THAT(why(numbers(dnn::kTensorUniqueId, {1, 2})),
              HasSubstr("too few elements, or too many"));
  EXPECT_THAT(why(value(dnn::kTensorDataType, dnn::kTypeDataType, int32_t{77})),
              HasSubstr("data type"));
  EXPECT_THAT(why(value(dnn::kTensorUniqueId, dnn::kTypeFloat, 1.0f)),
              HasSubstr("an attribute of another type"));
}

TEST(EmulatedCudnn, RefusesWrongConvolutions) {
  const auto why = [](const Setting& wrong) {
    return message_of([&] { make(dnn::kConvolution, with(convolution(), wrong)); });
  };
  EXPECT_THAT(why(numbers(dnn::kConvolutionStrides, {0, 1})), HasSubstr("strides"));
  EXPECT_THAT(why(numbers(dnn::kConvolutionDilations, {1, 0})), HasSubstr("dilations"));
  EXPECT_THAT(why(numbers(dnn::kConvolutionPrePaddings, {1, -1})), HasSubstr("paddings"));
  EXPECT_THAT(why(numbers(dnn::kConvolutionPostPaddings, {1})), HasSubstr("paddings"));
  EXPECT_THAT(why(numbers(dnn::kConvolutionSpatialDims, {4})), HasSubstr("spatial dimensions"));
  EXPECT_THAT(why(value(dnn::kConvolutionMode, dnn::kTypeConvolutionMode, int32_t{0})),
              HasSubstr("cross-correlation"));
}

TEST(EmulatedCudnn, RefusesOperandsThatDisagree) {
  const Built built;
  const auto why = [&](dnn::Attribute operand, const Settings& settings,
                       dnn::DescriptorType type = dnn::kTensor) {
    const Descriptor other = make(type, settings);
    return message_of([&] {
      make(dnn::kConvolutionForward, with(built.operation_settings(), part(operand, other)));
    });
  };
  EXPECT_THAT(why(dnn::kForwardY, tensor(1, kY)), HasSubstr("one unique id"));
  EXPECT_THAT(why(dnn::kForwardY, tensor(3, {2, 6, 5, 5})), HasSubstr("y's sizes"));
  EXPECT_THAT(why(dnn::kForwardY, tensor(3, {2, 5, 5, 6})), HasSubstr("y's batch or channels"));
  EXPECT_THAT(why(dnn::kForwardW, tensor(2, {6, 3, 3, 3})), HasSubstr("whole groups"));
  EXPECT_THAT(why(dnn::kForwardW, tensor(2, {5, 2, 3, 3})), HasSubstr("whole groups"));
  EXPECT_THAT(why(dnn::kForwardX, convolution(), dnn::kConvolution), HasSubstr("another type"));
  EXPECT_THAT(why(dnn::kForwardConvolution, tensor(4, kX)), HasSubstr("another type"));
  EXPECT_THAT(why(dnn::kForwardX, with(tensor(1, kX), value(dnn::kTensorDataType,
                                                            dnn::kTypeDataType, dnn::kFloat16))),
              HasSubstr("different data types"));
  EXPECT_THAT(why(dnn::kForwardConvolution,
                  with(convolution(),
                       value(dnn::kConvolutionComputeType, dnn::kTypeDataType, dnn::kFloat16)),
                  dnn::kConvolution),
              HasSubstr("compute type"));
}

TEST(EmulatedCudnn, KnowsFinalizedDescriptorsAndDestroyedOnes) {
  Descriptor x = make(dnn::kTensor, tensor(1, kX));
  EXPECT_THAT(message_of([&] { tensor(1, kX)[0].set(x); }), HasSubstr("is finalized"));
  EXPECT_THAT(message_of([&] { x.finalize(); }), HasSubstr("finalized already"));
  const Descriptor unfinished(dnn::kTensor);
  Descriptor operation(dnn::kConvolutionForward);
  EXPECT_THAT(message_of([&] { operation.set(dnn::kForwardX, unfinished); }),
              HasSubstr("not finalized"));
  EXPECT_THAT(message_of([&] { operation.set(dnn::kTensorUniqueId, x); }),
              HasSubstr("no such attribute"));
  Built built;
  Descriptor late(dnn::kConvolutionForward);
  {
    const Descriptor gone = make(dnn::kTensor, tensor(1, kX));
    for (const Setting& s : with(built.operation_settings(), part(dnn::kForwardX, gone)))
      s.set(late);
  }
  EXPECT_THAT(message_of([&] { late.finalize(); }), HasSubstr("was destroyed"));
  std::vector<int> notes(4);
  EXPECT_THAT(message_of([&] {
                unfinished.get(dnn::kPlanWorkspaceSize, dnn::kTypeInt64, std::span<int64_t>());
              }),
              HasSubstr("not finalized"));
  EXPECT_THAT(message_of([&] {
                built.plan.get(dnn::kEngineNumericalNotes, dnn::kTypeNumericalNote,
                               std::span(notes));
              }),
              HasSubstr("no such attribute to get"));
}

// A plan of a convolution, its memory, and what the pack says.
struct Execution {
  explicit Execution(const Sizes& unique_ids = {1, 2, 3}, int64_t y_elements = 360,
                     int64_t workspace_bytes = 512)
      : y(y_elements), workspace(workspace_bytes), ids(unique_ids) {}

  Built built;
  Buffer<float> x{240}, w{108}, y;
  Buffer<uint8_t> workspace;
  Sizes ids;
  std::vector<void*> pointers{x.data(), w.data(), y.data()};
  void* scratch = workspace.data();

  void run(void* by = handle()) {
    const Descriptor pack = make(dnn::kVariantPack, pack_settings(ids, pointers, scratch));
    require(dnn::library().execute(by, built.plan.object(), pack.object()), "execute");
  }
  std::string why(void* by = handle()) {
    return message_of([&] { run(by); });
  }
};

TEST(EmulatedCudnn, RefusesWrongPacks) {
  EXPECT_EQ(Execution().why(), "no error");
  EXPECT_THAT((Execution({1, 2}).why()), HasSubstr("a pointer for each unique id"));
  EXPECT_THAT((Execution({1, 2, 2}).why()), HasSubstr("one unique id twice"));
  EXPECT_THAT((Execution({1, 2, 4}).why()), HasSubstr("lacks a tensor"));
  Execution null;
  null.pointers[1] = nullptr;
  EXPECT_THAT(null.why(), HasSubstr("null pointer"));
  Execution shifted;
  shifted.pointers[0] = shifted.x.data() + 1;
  EXPECT_THAT(shifted.why(), HasSubstr("not aligned"));
  Execution without;
  without.scratch = nullptr;
  EXPECT_THAT(without.why(), HasSubstr("needs a workspace"));
  void* other = nullptr;
  dnn::library().create(&other);
  EXPECT_THAT(Execution().why(other), HasSubstr("another handle's"));
}

TEST(EmulatedCudnn, FailsOutsideDeviceMemory) {
  EXPECT_THROW((Execution({1, 2, 3}, 359).run()), emulate::KernelError);
  EXPECT_THROW((Execution({1, 2, 3}, 360, 511).run()), emulate::KernelError);
  Execution host;
  alignas(16) float memory[360];
  host.pointers[2] = memory;
  EXPECT_THROW(host.run(), emulate::KernelError);
}

TEST(EmulatedCudnn, RefusesAPlanOfAnEngineThatDoesNotFit) {
  Built built;
  const Descriptor heuristic =
      make(dnn::kEngineHeuristic,
           with(built.heuristic_settings(),
                value(dnn::kHeuristicModeOf, dnn::kTypeHeuristicMode, dnn::kHeuristicA)));
  std::vector<Descriptor> configs;
  std::vector<void*> objects;
  for (int i = 0; i < 3; ++i) objects.push_back(configs.emplace_back(dnn::kEngineConfig).object());
  EXPECT_EQ(heuristic.get(dnn::kHeuristicResults, dnn::kTypeDescriptor, std::span(objects)), 3);
  EXPECT_THAT(message_of([&] {
                make(dnn::kExecutionPlan,
                     with(built.plan_settings(),
                          part(dnn::kPlanEngineConfig, configs[emulate::kEngineUnfit])));
              }),
              HasSubstr("does not take this problem"));
}

}  // namespace
}  // namespace plinth::kernels::cuda
