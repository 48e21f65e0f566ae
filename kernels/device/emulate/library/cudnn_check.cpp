// What a descriptor of the emulator's cuDNN must have and agree on before it is finalized.

#include <algorithm>
#include <set>

#include "kernels/device/emulate/library/cudnn_descriptor.h"

namespace plinth::emulate {
namespace {

constexpr int64_t kMostDims = 8;  // CUDNN_DIM_MAX

std::vector<DnnRule> operation_rules(int convolution, int x, int weight, int y, int alpha,
                                     int beta) {
  return {{convolution, dnn::kTypeDescriptor, 1, 1},
          {x, dnn::kTypeDescriptor, 1, 1},
          {weight, dnn::kTypeDescriptor, 1, 1},
          {y, dnn::kTypeDescriptor, 1, 1},
          {alpha, dnn::kTypeFloat, 1, 1},
          {beta, dnn::kTypeFloat, 1, 1}};
}

int64_t bytes_of_data(int data_type) {
  switch (data_type) {
    case dnn::kFloat64: return 8;
    case dnn::kFloat32: return 4;
    case dnn::kFloat16:
    case dnn::kBFloat16: return 2;
    default: return 0;
  }
}

std::string check_tensor(const DnnDescriptor& d) {
  const auto sizes = d.all<int64_t>(dnn::kTensorDimensions);
  const auto strides = d.all<int64_t>(dnn::kTensorStrides);
  const int64_t bytes = bytes_of_data(d.one<int>(dnn::kTensorDataType));
  const int64_t alignment = d.one<int64_t>(dnn::kTensorAlignment);
  if (sizes.size() != strides.size()) return "a tensor has as many strides as dimensions";
  if (std::ranges::any_of(sizes, [](int64_t n) { return n < 1; }))
    return "a tensor's dimensions are at least 1";
  if (std::ranges::any_of(strides, [](int64_t n) { return n < 1; }))
    return "a tensor's strides are at least 1";
  if (bytes == 0) return "a tensor's data type is float32, float64, float16 or bfloat16";
  if (alignment < bytes || (alignment & (alignment - 1)) != 0)
    return "a tensor's alignment is a power of two, an element at least";
  return "";
}

std::string check_convolution(const DnnDescriptor& d) {
  const int64_t dims = d.one<int64_t>(dnn::kConvolutionSpatialDims);
  if (dims < 1 || dims > 3) return "a convolution has 1 to 3 spatial dimensions";
  const auto least = [&](int attribute, int64_t bound) {
    const auto values = d.all<int64_t>(attribute);
    return static_cast<int64_t>(values.size()) == dims &&
           std::ranges::all_of(values, [=](int64_t n) { return n >= bound; });
  };
  if (!least(dnn::kConvolutionStrides, 1) || !least(dnn::kConvolutionDilations, 1))
    return "strides and dilations are at least 1, one a spatial dimension";
  if (!least(dnn::kConvolutionPrePaddings, 0) || !least(dnn::kConvolutionPostPaddings, 0))
    return "paddings are at least 0, one a spatial dimension";
  if (d.one<int>(dnn::kConvolutionMode) != dnn::kCrossCorrelation)
    return "the emulator knows the mode of cross-correlation only";
  return "";
}

std::string check_sizes(const DnnConvolution& c) {
  const auto x = c.x->all<int64_t>(dnn::kTensorDimensions);
  const auto w = c.weight->all<int64_t>(dnn::kTensorDimensions);
  const auto y = c.y->all<int64_t>(dnn::kTensorDimensions);
  const size_t dims = static_cast<size_t>(c.how->one<int64_t>(dnn::kConvolutionSpatialDims)) + 2;
  if (x.size() != dims || w.size() != dims || y.size() != dims)
    return "a tensor has two dimensions more than the convolution";
  if (x[1] % w[1] != 0 || w[0] % (x[1] / w[1]) != 0)
    return "channels are not those of whole groups";
  if (y[0] != x[0] || y[1] != w[0]) return "y's batch or channels are not those of x and w";
  const auto values = [&](int attribute) { return c.how->all<int64_t>(attribute); };
  for (size_t i = 0; i + 2 < dims; ++i) {
    const int64_t padded = x[i + 2] + values(dnn::kConvolutionPrePaddings)[i] +
                           values(dnn::kConvolutionPostPaddings)[i];
    const int64_t room = padded - values(dnn::kConvolutionDilations)[i] * (w[i + 2] - 1) - 1;
    if (room < 0 || y[i + 2] != room / values(dnn::kConvolutionStrides)[i] + 1)
      return "y's sizes are not those of the convolution";
  }
  return "";
}

std::string check_operation(const DnnDescriptor& operation) {
  const DnnConvolution c = convolution_of(operation);
  if (c.how->type != dnn::kConvolution) return "the convolution's descriptor is of another type";
  std::set<int64_t> ids;
  for (const DnnDescriptor* tensor : {c.x, c.weight, c.y}) {
    if (tensor->type != dnn::kTensor) return "an operand's descriptor is of another type";
    if (tensor->one<int>(dnn::kTensorDataType) != c.x->one<int>(dnn::kTensorDataType))
      return "operands are of different data types";
    ids.insert(tensor->one<int64_t>(dnn::kTensorUniqueId));
  }
  if (ids.size() != 3) return "two tensors have one unique id";
  const bool wide = c.x->one<int>(dnn::kTensorDataType) == dnn::kFloat64;
  const int sums = c.how->one<int>(dnn::kConvolutionComputeType);
  if (sums != (wide ? dnn::kFloat64 : dnn::kFloat32))
    return "the compute type does not go with the operands' data type";
  return check_sizes(c);
}

std::string check_pack(const DnnDescriptor& d) {
  const auto ids = d.all<int64_t>(dnn::kPackUniqueIds);
  const auto pointers = d.all<void*>(dnn::kPackPointers);
  if (ids.size() != pointers.size()) return "a variant pack has a pointer for each unique id";
  if (std::set<int64_t>(ids.begin(), ids.end()).size() != ids.size())
    return "a variant pack has one unique id twice";
  if (std::ranges::count(pointers, nullptr) > 0) return "a variant pack has a null pointer";
  return "";
}

bool is_operation(int type) {
  return type == dnn::kConvolutionForward || type == dnn::kConvolutionBackwardData ||
         type == dnn::kConvolutionBackwardFilter;
}

std::string check_agreement(const DnnDescriptor& d) {
  switch (d.type) {
    case dnn::kTensor: return check_tensor(d);
    case dnn::kConvolution: return check_convolution(d);
    case dnn::kConvolutionForward:
    case dnn::kConvolutionBackwardData:
    case dnn::kConvolutionBackwardFilter: return check_operation(d);
    case dnn::kOperationGraph:
      return is_operation(d.descriptor(dnn::kGraphOperations).type) ? ""
                                                                    : "a graph is of operations";
    case dnn::kEngineHeuristic:
      return d.descriptor(dnn::kHeuristicGraph).type == dnn::kOperationGraph
                 ? ""
                 : "a heuristic is of an operation graph";
    case dnn::kExecutionPlan:
      return d.descriptor(dnn::kPlanEngineConfig).type == dnn::kEngineConfig
                 ? ""
                 : "a plan is of an engine configuration";
    case dnn::kVariantPack: return check_pack(d);
    default: return "only the library finalizes this descriptor";
  }
}

}  // namespace

size_t bytes_of_type(int attribute_type) {
  switch (attribute_type) {
    case dnn::kTypeDataType:
    case dnn::kTypeConvolutionMode:
    case dnn::kTypeHeuristicMode:
    case dnn::kTypeNumericalNote:
    case dnn::kTypeFloat: return 4;
    default: return 8;
  }
}

const std::vector<DnnRule>& rules_of(int descriptor_type) {
  using namespace kernels::cuda::dnn;
  static const std::map<int, std::vector<DnnRule>> rules = {
      {kTensor,
       {{kTensorDataType, kTypeDataType, 1, 1},
        {kTensorDimensions, kTypeInt64, 1, kMostDims},
        {kTensorStrides, kTypeInt64, 1, kMostDims},
        {kTensorUniqueId, kTypeInt64, 1, 1},
        {kTensorAlignment, kTypeInt64, 1, 1}}},
      {kConvolution,
       {{kConvolutionComputeType, kTypeDataType, 1, 1},
        {Attribute::kConvolutionMode, kTypeConvolutionMode, 1, 1},
        {kConvolutionSpatialDims, kTypeInt64, 1, 1},
        {kConvolutionDilations, kTypeInt64, 1, 3},
        {kConvolutionStrides, kTypeInt64, 1, 3},
        {kConvolutionPrePaddings, kTypeInt64, 1, 3},
        {kConvolutionPostPaddings, kTypeInt64, 1, 3}}},
      {kConvolutionForward, operation_rules(kForwardConvolution, kForwardX, kForwardW, kForwardY,
                                            kForwardAlpha, kForwardBeta)},
      {kConvolutionBackwardData,
       operation_rules(kBackwardDataConvolution, kBackwardDataDx, kBackwardDataW, kBackwardDataDy,
                       kBackwardDataAlpha, kBackwardDataBeta)},
      {kConvolutionBackwardFilter,
       operation_rules(kBackwardFilterConvolution, kBackwardFilterX, kBackwardFilterDw,
                       kBackwardFilterDy, kBackwardFilterAlpha, kBackwardFilterBeta)},
      {kOperationGraph,
       {{kGraphHandle, kTypeHandle, 1, 1}, {kGraphOperations, kTypeDescriptor, 1, 1}}},
      {kEngineHeuristic,
       {{kHeuristicGraph, kTypeDescriptor, 1, 1}, {kHeuristicModeOf, kTypeHeuristicMode, 1, 1}}},
      {kExecutionPlan,
       {{kPlanHandle, kTypeHandle, 1, 1}, {kPlanEngineConfig, kTypeDescriptor, 1, 1}}},
      {kVariantPack,
       {{kPackUniqueIds, kTypeInt64, 1, 64},
        {kPackPointers, kTypePointer, 1, 64},
        {kPackWorkspace, kTypePointer, 1, 1}}},
  };
  static const std::vector<DnnRule> none;
  const auto found = rules.find(descriptor_type);
  return found == rules.end() ? none : found->second;
}

DnnConvolution convolution_of(const DnnDescriptor& operation) {
  const std::vector<DnnRule>& rules = rules_of(operation.type);
  const auto part = [&](size_t rule) { return &operation.descriptor(rules[rule].attribute); };
  return {operation.type, part(0), part(1), part(2), part(3)};
}

std::string why_unfinished(const DnnDescriptor& descriptor) {
  for (const DnnRule& rule : rules_of(descriptor.type)) {
    if (!descriptor.has(rule.attribute))
      return "attribute " + std::to_string(rule.attribute) + " is not set";
  }
  if (!is_whole(descriptor)) return "a descriptor that is part of it was destroyed";
  return check_agreement(descriptor);
}

}  // namespace plinth::emulate
