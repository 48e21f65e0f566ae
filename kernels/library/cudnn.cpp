#include "kernels/library/cudnn.h"

#include <cuda_runtime_api.h>

// The header need not be there: it is compared with, and the library is looked for at first use.
#if __has_include(<cudnn.h>)
#include <cudnn.h>
#endif

#include "kernels/library/shared_library.h"

namespace plinth::kernels::cuda::dnn {
namespace {

#ifdef CUDNN_MAJOR
// What cudnn.h declares for itself is what the library's header says.
#define SAME(ours, theirs) static_assert(int{ours} == int{theirs})
SAME(kSuccess, CUDNN_STATUS_SUCCESS);
SAME(kFloat32, CUDNN_DATA_FLOAT);
SAME(kFloat64, CUDNN_DATA_DOUBLE);
SAME(kFloat16, CUDNN_DATA_HALF);
SAME(kBFloat16, CUDNN_DATA_BFLOAT16);
SAME(kCrossCorrelation, CUDNN_CROSS_CORRELATION);
SAME(kHeuristicFallback, CUDNN_HEUR_MODE_FALLBACK);
SAME(kHeuristicA, CUDNN_HEUR_MODE_A);
SAME(kNoteTensorCore, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
SAME(kNoteDownConvertInputs, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
SAME(kNoteReducedPrecisionReduction, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
SAME(kNoteFft, CUDNN_NUMERICAL_NOTE_FFT);
SAME(kNoteNondeterministic, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
SAME(kNoteWinograd, CUDNN_NUMERICAL_NOTE_WINOGRAD);
SAME(kNoteWinograd4x4, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4);
SAME(kNoteWinograd6x6, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6);
SAME(kNoteWinograd13x13, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13);
SAME(kNoteCount, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
SAME(kConvolution, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
SAME(kEngine, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
SAME(kEngineConfig, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
SAME(kEngineHeuristic, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
SAME(kExecutionPlan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
SAME(kConvolutionForward, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
SAME(kConvolutionBackwardFilter, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
SAME(kConvolutionBackwardData, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
SAME(kOperationGraph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
SAME(kVariantPack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
SAME(kTensor, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
SAME(kTypeHandle, CUDNN_TYPE_HANDLE);
SAME(kTypeDataType, CUDNN_TYPE_DATA_TYPE);
SAME(kTypeInt64, CUDNN_TYPE_INT64);
SAME(kTypeFloat, CUDNN_TYPE_FLOAT);
SAME(kTypePointer, CUDNN_TYPE_VOID_PTR);
SAME(kTypeConvolutionMode, CUDNN_TYPE_CONVOLUTION_MODE);
SAME(kTypeHeuristicMode, CUDNN_TYPE_HEUR_MODE);
SAME(kTypeNumericalNote, CUDNN_TYPE_NUMERICAL_NOTE);
SAME(kTypeDescriptor, CUDNN_TYPE_BACKEND_DESCRIPTOR);
SAME(kConvolutionComputeType, CUDNN_ATTR_CONVOLUTION_COMP_TYPE);
SAME(kConvolutionMode, CUDNN_ATTR_CONVOLUTION_CONV_MODE);
SAME(kConvolutionDilations, CUDNN_ATTR_CONVOLUTION_DILATIONS);
SAME(kConvolutionStrides, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
SAME(kConvolutionPostPaddings, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
SAME(kConvolutionPrePaddings, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
SAME(kConvolutionSpatialDims, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
SAME(kHeuristicModeOf, CUDNN_ATTR_ENGINEHEUR_MODE);
SAME(kHeuristicGraph, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
SAME(kHeuristicResults, CUDNN_ATTR_ENGINEHEUR_RESULTS);
SAME(kEngineConfigEngine, CUDNN_ATTR_ENGINECFG_ENGINE);
SAME(kPlanHandle, CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
SAME(kPlanEngineConfig, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
SAME(kPlanWorkspaceSize, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
SAME(kForwardAlpha, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA);
SAME(kForwardBeta, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
SAME(kForwardConvolution, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
SAME(kForwardW, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W);
SAME(kForwardX, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X);
SAME(kForwardY, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
SAME(kBackwardDataAlpha, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA);
SAME(kBackwardDataBeta, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
SAME(kBackwardDataConvolution, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC);
SAME(kBackwardDataW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W);
SAME(kBackwardDataDx, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX);
SAME(kBackwardDataDy, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY);
SAME(kBackwardFilterAlpha, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA);
SAME(kBackwardFilterBeta, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
SAME(kBackwardFilterConvolution, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC);
SAME(kBackwardFilterDw, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW);
SAME(kBackwardFilterX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X);
SAME(kBackwardFilterDy, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY);
SAME(kGraphHandle, CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
SAME(kGraphOperations, CUDNN_ATTR_OPERATIONGRAPH_OPS);
SAME(kTensorAlignment, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
SAME(kTensorDataType, CUDNN_ATTR_TENSOR_DATA_TYPE);
SAME(kTensorDimensions, CUDNN_ATTR_TENSOR_DIMENSIONS);
SAME(kTensorStrides, CUDNN_ATTR_TENSOR_STRIDES);
SAME(kTensorUniqueId, CUDNN_ATTR_TENSOR_UNIQUE_ID);
SAME(kPackUniqueIds, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
SAME(kPackPointers, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
SAME(kPackWorkspace, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
SAME(kEngineNumericalNotes, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
#undef SAME
#endif

int current_device() {
  int device = 0;
  cudaGetDevice(&device);
  return device;
}

Library load() {
  SharedLibrary file({"libcudnn.so.9"}, "PLINTH_CUDNN");
  Library found{};
  file.find("cudnnCreate", found.create);
  file.find("cudnnSetStream", found.set_stream);
  file.find("cudnnBackendCreateDescriptor", found.create_descriptor);
  file.find("cudnnBackendDestroyDescriptor", found.destroy_descriptor);
  file.find("cudnnBackendSetAttribute", found.set_attribute);
  file.find("cudnnBackendGetAttribute", found.get_attribute);
  file.find("cudnnBackendFinalize", found.finalize);
  file.find("cudnnBackendExecute", found.execute);
  file.find("cudnnGetLastErrorString", found.last_error);
  found.current_device = current_device;
  found.error = file.error();
  return found;
}

}  // namespace

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace plinth::kernels::cuda::dnn
