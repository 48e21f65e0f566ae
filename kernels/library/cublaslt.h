#pragma once

// NVIDIA's cuBLASLt, as far as Plinth calls it. Matrices are column-major there:
// D = alpha op(A) op(B) + beta C, and an epilogue on D. Source: cublasLt.h of CUDA 12 and 13, whose
// documentation of a name holds here. `.so.13` or `.so.12` is looked for, or the file that the
// environment variable PLINTH_CUBLASLT names.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace plinth::kernels::cuda::lt {

// cublasStatus_t
inline constexpr int kSuccess = 0;
inline constexpr int kInvalidValue = 7;
inline constexpr int kNotSupported = 15;

enum DataType : int32_t {
  kFloat32 = 0,
  kFloat64 = 1,
  kFloat16 = 2,
  kBFloat16 = 14,
  kFloat8E4m3 = 28,
  kFloat8E5m2 = 29,
};

enum ComputeType : int32_t {
  kComputeFloat32 = 68,
  kComputeFloat64 = 70,
  kComputeTf32 = 77,  // float32 operands rounded to TF32
};

enum Operation : int32_t { kAsIs = 0, kTransposed = 1 };

enum Epilogue : uint32_t {
  kDefault = 1,
  kBias = 4,                // + bias of D's rows
  kGeluAuxBias = 164,       // GELU of D + bias, which itself goes to the auxiliary matrix
  kGeluGradientBias = 208,  // D times GELU' of the auxiliary matrix; bias gradient: D's row sums
  kBiasGradientOfB = 512,   // bias gradient: sums of op(B) over k, one a column of D
};

enum DescAttribute : int {
  kDescTransposeA = 3,
  kDescTransposeB = 4,
  kDescEpilogue = 7,
  kDescBias = 8,
  kDescAux = 11,
  kDescAuxStride = 12,  // leading dimension
  kDescScaleA = 17,
  kDescScaleB = 18,
};

enum LayoutAttribute : int { kLayoutBatches = 5, kLayoutBatchStride = 6 };

enum PreferenceAttribute : int {
  kPreferWorkspace = 1,
  kPreferReductions = 3,
  kPreferAlignmentA = 5,
  kPreferAlignmentB = 6,
  kPreferAlignmentC = 7,
  kPreferAlignmentD = 8,
};

// How parts of a sum over k are joined where it is split: cublasLtReductionScheme_t.
enum Reduction : uint32_t {
  kReductionNone = 0,
  kReductionInPlace = 1,
  kReductionComputeType = 2,  // in the workspace, in the compute type, by a step of its own
  kReductionOutputType = 4,
};

enum AlgorithmAttribute : int { kAlgorithmReduction = 3 };

// May be kept and used again with the library of the same version.
struct Algorithm {
  std::array<uint64_t, 8> words{};
  bool operator==(const Algorithm&) const = default;
};

struct Candidate {
  Algorithm algorithm;
  size_t workspace = 0;
  int status = 0;  // the rest is valid if it is kSuccess
  float waves = 0;
  int reserved[4] = {};
};

// The library's functions. Handles, descriptors and layouts are pointers to its own structures.
struct Library {
  std::string error;  // why it cannot be used; empty if it can

  size_t (*version)();
  const char* (*status_string)(int status);
  int (*create)(void** handle);
  int (*desc_create)(void** desc, int compute_type, int scale_type);
  int (*desc_destroy)(void* desc);
  int (*desc_set)(void* desc, int attribute, const void* value, size_t bytes);
  int (*layout_create)(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading);
  int (*layout_destroy)(void* layout);
  int (*layout_set)(void* layout, int attribute, const void* value, size_t bytes);
  int (*preference_create)(void** preference);
  int (*preference_destroy)(void* preference);
  int (*preference_set)(void* preference, int attribute, const void* value, size_t bytes);
  int (*heuristic)(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference,
                   int requested, Candidate* candidates, int* found);
  int (*algorithm_check)(void* handle, void* desc, void* a, void* b, void* c, void* d,
                         const Algorithm* algorithm, Candidate* result);
  int (*algorithm_get)(const Algorithm* algorithm, int attribute, void* value, size_t bytes,
                       size_t* written);
  int (*matmul)(void* handle, void* desc, const void* alpha, const void* a, void* a_layout,
                const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                void* d, void* d_layout, const Algorithm* algorithm, void* workspace,
                size_t workspace_bytes, void* stream);
};

// Loads the library when it is first called.
const Library& library();

}  // namespace plinth::kernels::cuda::lt
