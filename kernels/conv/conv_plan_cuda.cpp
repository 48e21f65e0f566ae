#include "kernels/conv/conv_plan.h"

#include <algorithm>
#include <array>
#include <vector>

namespace plinth::kernels::cuda {
namespace {

// ---- the graph ----

dnn::DataType data_type(DType dtype) {
  switch (dtype) {
    case DType::BFloat16: return dnn::kBFloat16;
    case DType::Float16: return dnn::kFloat16;
    default: return dnn::kFloat32;
  }
}

using Sizes = std::array<int64_t, 4>;

Descriptor tensor(ConvOperand id, DType dtype, const Sizes& sizes) {
  const Sizes strides{sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1};
  Descriptor result(dnn::kTensor);
  result.set(dnn::kTensorDataType, dnn::kTypeDataType, data_type(dtype))
      .set(dnn::kTensorDimensions, dnn::kTypeInt64, std::span<const int64_t>(sizes))
      .set(dnn::kTensorStrides, dnn::kTypeInt64, std::span<const int64_t>(strides))
      .set(dnn::kTensorUniqueId, dnn::kTypeInt64, int64_t{id})
      .set(dnn::kTensorAlignment, dnn::kTypeInt64, kConvAlignment)
      .finalize();
  return result;
}

// Groups are not told: cuDNN has them from the channels of x and weight.
Descriptor convolution(const ConvDesc& d) {
  using Span = std::span<const int64_t>;
  Descriptor result(dnn::kConvolution);
  result.set(dnn::kConvolutionSpatialDims, dnn::kTypeInt64, int64_t{2})
      .set(dnn::kConvolutionComputeType, dnn::kTypeDataType, dnn::kFloat32)
      .set(dnn::kConvolutionMode, dnn::kTypeConvolutionMode, dnn::kCrossCorrelation)
      .set(dnn::kConvolutionPrePaddings, dnn::kTypeInt64, Span(d.padding))
      .set(dnn::kConvolutionPostPaddings, dnn::kTypeInt64, Span(d.padding))
      .set(dnn::kConvolutionDilations, dnn::kTypeInt64, Span(d.dilation))
      .set(dnn::kConvolutionStrides, dnn::kTypeInt64, Span(d.stride))
      .finalize();
  return result;
}

// The names that the operation of a pass has for what all of them have.
struct OperationNames {
  dnn::DescriptorType type;
  dnn::Attribute convolution, x, weight, y, alpha, beta;
};

OperationNames names_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::Forward:
      return {dnn::kConvolutionForward, dnn::kForwardConvolution, dnn::kForwardX,   dnn::kForwardW,
              dnn::kForwardY,           dnn::kForwardAlpha,       dnn::kForwardBeta};
    case ConvPass::BackwardInput:
      return {dnn::kConvolutionBackwardData, dnn::kBackwardDataConvolution, dnn::kBackwardDataDx,
              dnn::kBackwardDataW,           dnn::kBackwardDataDy,          dnn::kBackwardDataAlpha,
              dnn::kBackwardDataBeta};
    default:
      return {dnn::kConvolutionBackwardFilter, dnn::kBackwardFilterConvolution,
              dnn::kBackwardFilterX,           dnn::kBackwardFilterDw,
              dnn::kBackwardFilterDy,          dnn::kBackwardFilterAlpha,
              dnn::kBackwardFilterBeta};
  }
}

template <class... Parts>
std::vector<Descriptor> together(Parts&&... parts) {
  std::vector<Descriptor> all;
  (all.push_back(std::forward<Parts>(parts)), ...);
  return all;
}

// The graph, behind what it was made of.
std::vector<Descriptor> graph(void* handle, const ConvProblem& problem) {
  const ConvDesc& d = problem.desc;
  Descriptor x = tensor(kOperandX, problem.dtype, {d.batch, d.in_channels, d.input[0], d.input[1]});
  Descriptor weight = tensor(kOperandWeight, problem.dtype,
                             {d.out_channels, d.group_inputs(), d.kernel[0], d.kernel[1]});
  Descriptor y =
      tensor(kOperandY, problem.dtype, {d.batch, d.out_channels, d.output(0), d.output(1)});
  Descriptor how = convolution(d);
  const OperationNames names = names_of(problem.pass);
  Descriptor operation(names.type);
  operation.set(names.convolution, how)
      .set(names.x, x)
      .set(names.weight, weight)
      .set(names.y, y)
      .set(names.alpha, dnn::kTypeFloat, 1.0f)
      .set(names.beta, dnn::kTypeFloat, 0.0f)
      .finalize();
  Descriptor result(dnn::kOperationGraph);
  result.set(dnn::kGraphHandle, dnn::kTypeHandle, handle)
      .set(dnn::kGraphOperations, operation)
      .finalize();
  return together(std::move(x), std::move(weight), std::move(y), std::move(how),
                  std::move(operation), std::move(result));
}

// ---- engines ----

// What the heuristics propose, the best first; nothing where they fail.
std::vector<Descriptor> proposals(const Descriptor& graph, dnn::HeuristicMode mode) try {
  Descriptor heuristic(dnn::kEngineHeuristic);
  heuristic.set(dnn::kHeuristicGraph, graph)
      .set(dnn::kHeuristicModeOf, dnn::kTypeHeuristicMode, mode)
      .finalize();
  const int64_t most =
      heuristic.get(dnn::kHeuristicResults, dnn::kTypeDescriptor, std::span<void*>());
  std::vector<Descriptor> configs;
  std::vector<void*> objects;
  for (int64_t i = 0; i < most; ++i)
    objects.push_back(configs.emplace_back(dnn::kEngineConfig).object());
  const int64_t count =
      heuristic.get(dnn::kHeuristicResults, dnn::kTypeDescriptor, std::span(objects));
  while (static_cast<int64_t>(configs.size()) > count) configs.pop_back();
  return configs;
} catch (const DnnError&) {
  return {};
}

std::vector<int> numerical_notes(const Descriptor& config) {
  Descriptor engine(dnn::kEngine);
  void* object = engine.object();
  config.get(dnn::kEngineConfigEngine, dnn::kTypeDescriptor, std::span(&object, 1));
  std::vector<int> notes(dnn::kNoteCount);
  const int64_t count =
      engine.get(dnn::kEngineNumericalNotes, dnn::kTypeNumericalNote, std::span(notes));
  notes.resize(std::min<size_t>(notes.size(), static_cast<size_t>(count)));
  return notes;
}

// Whether an engine gives the same bits every time, and sums in float32: Fourier and Winograd
// transforms have errors of another size. Of float32, tensor cores take TF32 only.
bool keeps_promises(const std::vector<int>& notes, const ConvProblem& problem) {
  const bool exact = problem.dtype == DType::Float32 && !problem.desc.allow_tf32;
  return std::ranges::all_of(notes, [&](int note) {
    switch (note) {
      case dnn::kNoteTensorCore:
      case dnn::kNoteDownConvertInputs: return !exact;
      case dnn::kNoteReducedPrecisionReduction:
      case dnn::kNoteFft:
      case dnn::kNoteNondeterministic:
      case dnn::kNoteWinograd:
      case dnn::kNoteWinograd4x4:
      case dnn::kNoteWinograd6x6:
      case dnn::kNoteWinograd13x13: return false;
      default: return true;
    }
  });
}

// False where the engine does not take the problem after all, which heuristics may not foresee.
bool finish_plan(void* handle, const Descriptor& config, Descriptor& execution) {
  try {
    execution.set(dnn::kPlanHandle, dnn::kTypeHandle, handle)
        .set(dnn::kPlanEngineConfig, config)
        .finalize();
    return true;
  } catch (const DnnError&) {
    return false;
  }
}

int64_t workspace_of(const Descriptor& execution) {
  int64_t bytes = 0;
  execution.get(dnn::kPlanWorkspaceSize, dnn::kTypeInt64, std::span(&bytes, 1));
  return bytes;
}

}  // namespace

std::optional<ConvPlan> make_conv_plan(void* handle, const ConvProblem& problem) {
  ConvPlan plan{graph(handle, problem)};
  for (const auto mode : {dnn::kHeuristicA, dnn::kHeuristicFallback}) {
    for (Descriptor& config : proposals(plan.parts.back(), mode)) {
      if (!keeps_promises(numerical_notes(config), problem)) continue;
      Descriptor execution(dnn::kExecutionPlan);
      if (!finish_plan(handle, config, execution)) continue;
      plan.workspace = workspace_of(execution);
      plan.parts.push_back(std::move(config));
      plan.parts.push_back(std::move(execution));
      return plan;
    }
  }
  return std::nullopt;
}

void execute(void* handle, const ConvPlan& plan, const void* x, const void* weight, const void* y,
             void* workspace) {
  const std::array<int64_t, 3> ids{kOperandX, kOperandWeight, kOperandY};
  const std::array<const void*, 3> pointers{x, weight, y};
  Descriptor pack(dnn::kVariantPack);
  pack.set(dnn::kPackUniqueIds, dnn::kTypeInt64, std::span<const int64_t>(ids))
      .set(dnn::kPackPointers, dnn::kTypePointer, std::span<const void* const>(pointers))
      .set(dnn::kPackWorkspace, dnn::kTypePointer, workspace)
      .finalize();
  require(dnn::library().execute(handle, plan.execution().object(), pack.object()),
          "cudnnBackendExecute");
}

}  // namespace plinth::kernels::cuda
