#include "kernels/library/cublaslt.h"

// The header need not be there: it is compared with, and the library is looked for at first use.
#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#endif

#include "kernels/library/shared_library.h"

namespace plinth::kernels::cuda::lt {
namespace {

#ifdef CUBLAS_VERSION
// What cublaslt.h declares for itself is what the library's header says.
static_assert(kSuccess == CUBLAS_STATUS_SUCCESS && kInvalidValue == CUBLAS_STATUS_INVALID_VALUE);
static_assert(kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(int{kFloat32} == CUDA_R_32F && int{kFloat64} == CUDA_R_64F);
static_assert(int{kFloat16} == CUDA_R_16F && int{kBFloat16} == CUDA_R_16BF);
static_assert(int{kFloat8E4m3} == CUDA_R_8F_E4M3 && int{kFloat8E5m2} == CUDA_R_8F_E5M2);
static_assert(int{kComputeFloat32} == CUBLAS_COMPUTE_32F);
static_assert(int{kComputeFloat64} == CUBLAS_COMPUTE_64F);
static_assert(int{kComputeTf32} == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(int{kAsIs} == CUBLAS_OP_N && int{kTransposed} == CUBLAS_OP_T);
static_assert(uint32_t{kDefault} == CUBLASLT_EPILOGUE_DEFAULT);
static_assert(uint32_t{kBias} == CUBLASLT_EPILOGUE_BIAS);
static_assert(uint32_t{kGeluAuxBias} == CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
static_assert(uint32_t{kGeluGradientBias} == CUBLASLT_EPILOGUE_DGELU_BGRAD);
static_assert(uint32_t{kBiasGradientOfB} == CUBLASLT_EPILOGUE_BGRADB);
static_assert(int{kDescTransposeA} == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(int{kDescTransposeB} == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(int{kDescEpilogue} == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(int{kDescBias} == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(int{kDescAux} == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
static_assert(int{kDescAuxStride} == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
static_assert(int{kDescScaleA} == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
static_assert(int{kDescScaleB} == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
static_assert(int{kLayoutBatches} == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
static_assert(int{kLayoutBatchStride} == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(int{kPreferWorkspace} == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int{kPreferReductions} == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(int{kPreferAlignmentA} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(int{kPreferAlignmentB} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(int{kPreferAlignmentC} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(int{kPreferAlignmentD} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(uint32_t{kReductionNone} == CUBLASLT_REDUCTION_SCHEME_NONE);
static_assert(uint32_t{kReductionInPlace} == CUBLASLT_REDUCTION_SCHEME_INPLACE);
static_assert(uint32_t{kReductionComputeType} == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
static_assert(uint32_t{kReductionOutputType} == CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
static_assert(int{kAlgorithmReduction} == CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(Candidate) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(Candidate, workspace) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(Candidate, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(offsetof(Candidate, waves) == offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));
#endif

Library load() {
  SharedLibrary file({"libcublasLt.so.13", "libcublasLt.so.12"}, "PLINTH_CUBLASLT");
  Library found;
  file.find("cublasLtGetVersion", found.version);
  file.find("cublasLtGetStatusString", found.status_string);
  file.find("cublasLtCreate", found.create);
  file.find("cublasLtMatmulDescCreate", found.desc_create);
  file.find("cublasLtMatmulDescDestroy", found.desc_destroy);
  file.find("cublasLtMatmulDescSetAttribute", found.desc_set);
  file.find("cublasLtMatrixLayoutCreate", found.layout_create);
  file.find("cublasLtMatrixLayoutDestroy", found.layout_destroy);
  file.find("cublasLtMatrixLayoutSetAttribute", found.layout_set);
  file.find("cublasLtMatmulPreferenceCreate", found.preference_create);
  file.find("cublasLtMatmulPreferenceDestroy", found.preference_destroy);
  file.find("cublasLtMatmulPreferenceSetAttribute", found.preference_set);
  file.find("cublasLtMatmulAlgoGetHeuristic", found.heuristic);
  file.find("cublasLtMatmulAlgoCheck", found.algorithm_check);
  file.find("cublasLtMatmulAlgoConfigGetAttribute", found.algorithm_get);
  file.find("cublasLtMatmul", found.matmul);
  found.error = file.error();
  return found;
}

}  // namespace

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace plinth::kernels::cuda::lt
