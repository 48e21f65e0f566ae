// The emulator's cuBLASLt: refuses what NVIDIA's documentation forbids, and computes on the host in
// the stream's order.

#include "kernels/device/emulate/library/cublaslt.h"

#include <cstring>
#include <map>

#include "kernels/device/emulate/library/cublaslt_problem.h"
#include "kernels/device/emulate/stream.h"

namespace plinth::emulate {
namespace {

// Why the last call was refused.
std::string& lt_refusal() {
  thread_local std::string why;
  return why;
}

int lt_refused(std::string why, int status = lt::kInvalidValue) {
  lt_refusal() = std::move(why);
  return status;
}

const char* status_string(int status) {
  return status == lt::kSuccess ? "success" : lt_refusal().c_str();
}

// ---- descriptors ----

// Where an attribute lies, and its size.
struct Place {
  void* at = nullptr;
  size_t bytes = 0;
};
template <class T>
Place place_of(T& member) {
  return {&member, sizeof member};
}

int set(std::map<int, Place> places, int attribute, const void* value, size_t bytes) {
  const auto found = places.find(attribute);
  if (found == places.end()) return lt_refused("no such attribute");
  if (!value || bytes != found->second.bytes) return lt_refused("an attribute of another size");
  std::memcpy(found->second.at, value, bytes);
  return lt::kSuccess;
}

int desc_create(void** desc, int compute, int scale) {
  *desc = new LtDesc{.compute = compute, .scale = scale};
  return lt::kSuccess;
}
int desc_destroy(void* desc) {
  delete static_cast<LtDesc*>(desc);
  return lt::kSuccess;
}
int desc_set(void* object, int attribute, const void* value, size_t bytes) {
  LtDesc& desc = *static_cast<LtDesc*>(object);
  return set({{lt::kDescTransposeA, place_of(desc.transpose_a)},
              {lt::kDescTransposeB, place_of(desc.transpose_b)},
              {lt::kDescEpilogue, place_of(desc.epilogue)},
              {lt::kDescBias, place_of(desc.bias)},
              {lt::kDescAux, place_of(desc.aux)},
              {lt::kDescAuxStride, place_of(desc.aux_leading)},
              {lt::kDescScaleA, place_of(desc.scale_a)},
              {lt::kDescScaleB, place_of(desc.scale_b)}},
             attribute, value, bytes);
}

int layout_create(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  *layout = new LtLayout{.type = type,
                         .rows = static_cast<int64_t>(rows),
                         .columns = static_cast<int64_t>(columns),
                         .leading = leading};
  return lt::kSuccess;
}
int layout_destroy(void* layout) {
  delete static_cast<LtLayout*>(layout);
  return lt::kSuccess;
}
int layout_set(void* object, int attribute, const void* value, size_t bytes) {
  LtLayout& layout = *static_cast<LtLayout*>(object);
  return set({{lt::kLayoutBatches, place_of(layout.batches)},
              {lt::kLayoutBatchStride, place_of(layout.batch_stride)}},
             attribute, value, bytes);
}

int preference_create(void** preference) {
  *preference = new LtPreference;
  return lt::kSuccess;
}
int preference_destroy(void* preference) {
  delete static_cast<LtPreference*>(preference);
  return lt::kSuccess;
}
int preference_set(void* object, int attribute, const void* value, size_t bytes) {
  LtPreference& preference = *static_cast<LtPreference*>(object);
  return set({{lt::kPreferWorkspace, place_of(preference.workspace)},
              {lt::kPreferReductions, place_of(preference.reductions)},
              {lt::kPreferAlignmentA, place_of(preference.alignment_a)},
              {lt::kPreferAlignmentB, place_of(preference.alignment_b)},
              {lt::kPreferAlignmentC, place_of(preference.alignment_c)},
              {lt::kPreferAlignmentD, place_of(preference.alignment_d)}},
             attribute, value, bytes);
}

// ---- algorithms ----

// An algorithm's words: its number, the problem that it is for, the alignment that it needs, how
// many parts it makes of a sum, how it joins them, its workspace.
enum Word { kWordNumber, kWordProblem, kWordAlignment, kWordParts, kWordReduction, kWordWorkspace };

uint64_t fingerprint(const LtProblem& p) {
  uint64_t hash = p.desc.epilogue;
  const auto mix = [&](int64_t value) {
    hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u + (hash >> 29);
  };
  for (const int64_t value : {p.desc.compute, p.desc.transpose_a, p.desc.transpose_b}) mix(value);
  for (const LtLayout* x : {&p.a, &p.b, &p.c, &p.d})
    for (const int64_t value :
         {int64_t{x->type}, x->rows, x->columns, x->leading, int64_t{x->batches}, x->batch_stride})
      mix(value);
  return hash;
}

LtProblem problem_of(void* desc, void* a, void* b, void* c, void* d) {
  const auto layout = [](void* x) { return *static_cast<LtLayout*>(x); };
  return {*static_cast<LtDesc*>(desc), layout(a), layout(b), layout(c), layout(d)};
}

// What the heuristics offer: sums in one piece, and in two that are joined in each of the ways.
lt::Candidate candidate_of(const LtProblem& p, uint64_t number, uint32_t alignment) {
  constexpr uint32_t kSchemes[] = {lt::kReductionNone, lt::kReductionComputeType,
                                   lt::kReductionInPlace, lt::kReductionOutputType};
  const uint32_t scheme = kSchemes[number];
  const uint64_t parts = scheme == lt::kReductionNone ? 1 : 2;
  const uint64_t elements = p.rows() * p.columns() * p.d.batches;
  const uint64_t workspace = scheme == lt::kReductionNone ? 0 : elements * parts * sizeof(float);
  lt::Candidate result;
  result.algorithm.words = {number, fingerprint(p), alignment, parts, scheme, workspace};
  result.workspace = workspace;
  return result;
}

int heuristic(void*, void* desc, void* a, void* b, void* c, void* d, void* preference,
              int requested, lt::Candidate* candidates, int* found) {
  ++cublaslt().heuristics;
  const LtProblem problem = problem_of(desc, a, b, c, d);
  *found = 0;
  if (std::string why = why_invalid(problem); !why.empty())
    return lt_refused(std::move(why), lt::kNotSupported);
  const LtPreference& wish = *static_cast<LtPreference*>(preference);
  const uint32_t alignment = std::min(
      {wish.alignment_a, wish.alignment_b, wish.alignment_c, wish.alignment_d, uint32_t{16}});
  for (uint64_t number = 0; number < 4 && *found < requested; ++number) {
    const lt::Candidate offer = candidate_of(problem, number, alignment);
    const uint64_t scheme = offer.algorithm.words[kWordReduction];
    const bool wanted = scheme == lt::kReductionNone || (wish.reductions & scheme) != 0;
    const bool splits = problem.depth() >= 64 && problem.desc.epilogue == lt::kDefault;
    if (!wanted || (scheme != lt::kReductionNone && !splits) || offer.workspace > wish.workspace)
      continue;
    candidates[(*found)++] = offer;
  }
  return lt::kSuccess;
}

int algorithm_check(void*, void* desc, void* a, void* b, void* c, void* d,
                    const lt::Algorithm* algorithm, lt::Candidate* result) {
  const LtProblem problem = problem_of(desc, a, b, c, d);
  if (std::string why = why_invalid(problem); !why.empty())
    return lt_refused(std::move(why), lt::kNotSupported);
  const uint64_t number = algorithm->words[kWordNumber];
  if (number >= 4 ||
      *algorithm !=
          candidate_of(problem, number, static_cast<uint32_t>(algorithm->words[kWordAlignment]))
              .algorithm)
    return lt_refused("an algorithm of another problem");
  result->workspace = algorithm->words[kWordWorkspace];
  result->status = lt::kSuccess;
  return lt::kSuccess;
}

int algorithm_get(const lt::Algorithm* algorithm, int attribute, void* value, size_t bytes,
                  size_t* written) {
  if (attribute != lt::kAlgorithmReduction || bytes != sizeof(uint32_t))
    return lt_refused("no such attribute of this size");
  const auto scheme = static_cast<uint32_t>(algorithm->words[kWordReduction]);
  std::memcpy(value, &scheme, sizeof scheme);
  *written = sizeof scheme;
  return lt::kSuccess;
}

// ---- the product ----

double read_scalar(const void* value, int32_t type) {
  return type == lt::kFloat64 ? *static_cast<const double*>(value)
                              : *static_cast<const float*>(value);
}

int matmul(void* handle, void* desc, const void* alpha, const void* a, void* a_layout,
           const void* b, void* b_layout, const void* beta, const void* c, void* c_layout, void* d,
           void* d_layout, const lt::Algorithm* algorithm, void* workspace, size_t workspace_bytes,
           void* stream) {
  const LtProblem problem = problem_of(desc, a_layout, b_layout, c_layout, d_layout);
  lt::Candidate checked;
  const int status =
      algorithm_check(handle, desc, a_layout, b_layout, c_layout, d_layout, algorithm, &checked);
  if (status != lt::kSuccess) return status;
  const LtOperands operands{.alpha = read_scalar(alpha, problem.desc.scale),
                            .beta = read_scalar(beta, problem.desc.scale),
                            .a = a,
                            .b = b,
                            .c = c,
                            .d = d,
                            .workspace = workspace,
                            .workspace_bytes = workspace_bytes};
  const auto alignment = static_cast<uint32_t>(algorithm->words[kWordAlignment]);
  if (std::string why = why_invalid(problem, operands, alignment); !why.empty())
    return lt_refused(std::move(why));
  if (workspace_bytes < checked.workspace) return lt_refused("too small a workspace");
  if (algorithm->words[kWordNumber] < cublaslt().refused)
    return lt_refused("an algorithm that the test lets fail", lt::kNotSupported);
  ++cublaslt().products;
  cublaslt().last_algorithm = algorithm->words[kWordNumber];
  const int parts = static_cast<int>(algorithm->words[kWordParts]);
  submit(stream, [=] { compute(problem, operands, parts); });
  return lt::kSuccess;
}

size_t version() {
  return cublaslt().version;
}

int handle_create(void** handle) {
  static int context;
  *handle = &context;
  return lt::kSuccess;
}

lt::Library lt_functions(std::string error) {
  return {.error = std::move(error),
          .version = version,
          .status_string = status_string,
          .create = handle_create,
          .desc_create = desc_create,
          .desc_destroy = desc_destroy,
          .desc_set = desc_set,
          .layout_create = layout_create,
          .layout_destroy = layout_destroy,
          .layout_set = layout_set,
          .preference_create = preference_create,
          .preference_destroy = preference_destroy,
          .preference_set = preference_set,
          .heuristic = heuristic,
          .algorithm_check = algorithm_check,
          .algorithm_get = algorithm_get,
          .matmul = matmul};
}

}  // namespace

CublasLtState& cublaslt() {
  static CublasLtState state;
  return state;
}

}  // namespace plinth::emulate

namespace plinth::kernels::cuda::lt {

const Library& library() {
  static const Library present = emulate::lt_functions("");
  static const Library missing = emulate::lt_functions("libcublasLt.so: not found");
  return emulate::cublaslt().missing ? missing : present;
}

}  // namespace plinth::kernels::cuda::lt
