#pragma once

// NVIDIA's cuDNN 9, as far as Plinth calls it: the backend API, in which an operation is a graph of
// descriptors with attributes. Source: cudnn_graph.h, whose documentation of a name holds here.
// libcudnn.so.9 is looked for, or the file that the environment variable PLINTH_CUDNN names.

#include <cstddef>
#include <cstdint>
#include <string>

namespace plinth::kernels::cuda::dnn {

inline constexpr int kSuccess = 0;  // cudnnStatus_t

enum DataType : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 9 };

enum ConvolutionMode : int { kCrossCorrelation = 1 };

enum HeuristicMode : int { kHeuristicFallback = 2, kHeuristicA = 3 };

// What an engine does beside the plain sums in the compute type.
enum NumericalNote : int {
  kNoteTensorCore = 0,
  kNoteDownConvertInputs = 1,
  kNoteReducedPrecisionReduction = 2,
  kNoteFft = 3,
  kNoteNondeterministic = 4,
  kNoteWinograd = 5,
  kNoteWinograd4x4 = 6,
  kNoteWinograd6x6 = 7,
  kNoteWinograd13x13 = 8,
  kNoteCount = 10,
};

enum DescriptorType : int {
  kConvolution = 1,
  kEngine = 2,
  kEngineConfig = 3,
  kEngineHeuristic = 4,
  kExecutionPlan = 5,
  kConvolutionForward = 10,
  kConvolutionBackwardFilter = 11,
  kConvolutionBackwardData = 12,
  kOperationGraph = 15,
  kVariantPack = 16,
  kTensor = 17,
};

// The type of an attribute's elements.
enum AttributeType : int {
  kTypeHandle = 0,
  kTypeDataType = 1,
  kTypeInt64 = 3,
  kTypeFloat = 4,
  kTypePointer = 6,
  kTypeConvolutionMode = 7,
  kTypeHeuristicMode = 8,
  kTypeNumericalNote = 11,
  kTypeDescriptor = 15,
};

enum Attribute : int {
  kConvolutionComputeType = 100,
  kConvolutionMode = 101,
  kConvolutionDilations = 102,
  kConvolutionStrides = 103,
  kConvolutionPostPaddings = 104,
  kConvolutionPrePaddings = 105,
  kConvolutionSpatialDims = 106,
  kHeuristicModeOf = 200,
  kHeuristicGraph = 201,
  kHeuristicResults = 202,
  kEngineConfigEngine = 300,
  kPlanHandle = 400,
  kPlanEngineConfig = 401,
  kPlanWorkspaceSize = 402,
  kForwardAlpha = 700,
  kForwardBeta = 701,
  kForwardConvolution = 702,
  kForwardW = 703,
  kForwardX = 704,
  kForwardY = 705,
  kBackwardDataAlpha = 706,
  kBackwardDataBeta = 707,
  kBackwardDataConvolution = 708,
  kBackwardDataW = 709,
  kBackwardDataDx = 710,
  kBackwardDataDy = 711,
  kBackwardFilterAlpha = 712,
  kBackwardFilterBeta = 713,
  kBackwardFilterConvolution = 714,
  kBackwardFilterDw = 715,
  kBackwardFilterX = 716,
  kBackwardFilterDy = 717,
  kGraphHandle = 800,
  kGraphOperations = 801,
  kTensorAlignment = 900,
  kTensorDataType = 901,
  kTensorDimensions = 902,
  kTensorStrides = 903,
  kTensorUniqueId = 906,
  kPackUniqueIds = 1000,
  kPackPointers = 1001,
  kPackWorkspace = 1003,
  kEngineNumericalNotes = 1303,
};

// The library's functions. Handles and descriptors are pointers to its own structures; every
// function but the last gives a status.
struct Library {
  std::string error;  // why it cannot be used; empty if it can

  int (*create)(void** handle);
  int (*set_stream)(void* handle, void* stream);
  int (*create_descriptor)(int type, void** descriptor);
  int (*destroy_descriptor)(void* descriptor);
  int (*set_attribute)(void* descriptor, int attribute, int type, int64_t count,
                       const void* elements);
  int (*get_attribute)(void* descriptor, int attribute, int type, int64_t requested, int64_t* count,
                       void* elements);
  int (*finalize)(void* descriptor);
  int (*execute)(void* handle, void* plan, void* pack);
  // Why this thread's last call failed.
  void (*last_error)(char* message, size_t size);

  // The number of the thread's current device: CUDA's, not cuDNN's.
  int (*current_device)();
};

// Loads the library when it is first called.
const Library& library();

}  // namespace plinth::kernels::cuda::dnn
