#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "kernels/matmul/plan.h"

namespace plinth::kernels::cuda {
namespace {

constexpr int kCandidates = 8;
// What an algorithm may ask for.
constexpr uint64_t kMaxWorkspace = uint64_t{32} << 20;

lt::DataType data_type(DType dtype) {
  switch (dtype) {
    case DType::Float64: return lt::kFloat64;
    case DType::BFloat16: return lt::kBFloat16;
    case DType::Float16: return lt::kFloat16;
    case DType::Float8_e4m3: return lt::kFloat8E4m3;
    case DType::Float8_e5m2: return lt::kFloat8E5m2;
    default: return lt::kFloat32;
  }
}

lt::Epilogue epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::Bias: return lt::kBias;
    case Epilogue::GeluBias: return lt::kGeluAuxBias;
    case Epilogue::GeluGradient: return lt::kGeluGradientBias;
    case Epilogue::BiasGradient: return lt::kBiasGradientOfB;
    default: return lt::kDefault;
  }
}

template <class T>
void set(int (*function)(void*, int, const void*, size_t), void* object, int attribute, T value) {
  require(function(object, attribute, &value, sizeof value), "SetAttribute");
}

// The pointers differ from call to call.
void set_pointers(const Plan& plan, const Product& p) {
  const auto set_desc = [&](int attribute, const void* pointer) {
    set(lt::library().desc_set, plan.desc.get(), attribute, pointer);
  };
  if (const void* vector = p.bias ? p.bias : p.bias_gradient) set_desc(lt::kDescBias, vector);
  if (p.aux) set_desc(lt::kDescAux, p.aux);
  // Its A is our b.
  if (p.b_scale) set_desc(lt::kDescScaleA, p.b_scale);
  if (p.a_scale) set_desc(lt::kDescScaleB, p.a_scale);
}

Owned make_desc(const Product& p, const LtProblem& problem) {
  const bool is_float64 = p.c_dtype == DType::Float64;
  const bool tf32 = p.allow_tf32 && p.a_dtype == DType::Float32;
  const lt::ComputeType compute = is_float64 ? lt::kComputeFloat64
                                  : tf32     ? lt::kComputeTf32
                                             : lt::kComputeFloat32;
  const lt::Library& library = lt::library();
  void* made = nullptr;
  require(library.desc_create(&made, compute, is_float64 ? lt::kFloat64 : lt::kFloat32),
          "MatmulDescCreate");
  Owned desc(made, {library.desc_destroy});
  const auto operation = [](const LtMatrix& x) -> int32_t {
    return x.transposed ? lt::kTransposed : lt::kAsIs;
  };
  set(library.desc_set, made, lt::kDescTransposeA, operation(problem.a));
  set(library.desc_set, made, lt::kDescTransposeB, operation(problem.b));
  set(library.desc_set, made, lt::kDescEpilogue, uint32_t{epilogue_of(p.epilogue)});
  if (p.aux) set(library.desc_set, made, lt::kDescAuxStride, problem.d.leading);
  return desc;
}

Owned make_layout(const LtMatrix& x, DType dtype, int64_t batch) {
  const lt::Library& library = lt::library();
  void* made = nullptr;
  require(library.layout_create(&made, data_type(dtype), x.rows, x.columns, x.leading),
          "MatrixLayoutCreate");
  Owned layout(made, {library.layout_destroy});
  if (batch > 1) {
    set(library.layout_set, made, lt::kLayoutBatches, static_cast<int32_t>(batch));
    set(library.layout_set, made, lt::kLayoutBatchStride, x.batch_stride);
  }
  return layout;
}

Owned make_preference(const Product& p) {
  const lt::Library& library = lt::library();
  void* made = nullptr;
  require(library.preference_create(&made), "MatmulPreferenceCreate");
  Owned preference(made, {library.preference_destroy});
  set(library.preference_set, made, lt::kPreferWorkspace, kMaxWorkspace);
  set(library.preference_set, made, lt::kPreferReductions, uint32_t{lt::kReductionComputeType});
  set(library.preference_set, made, lt::kPreferAlignmentA, alignment_of(p.b));
  set(library.preference_set, made, lt::kPreferAlignmentB, alignment_of(p.a));
  set(library.preference_set, made, lt::kPreferAlignmentC, alignment_of(p.c));
  set(library.preference_set, made, lt::kPreferAlignmentD, alignment_of(p.c));
  return preference;
}

// Not those that join parts of a sum in the result itself: in the order in which they come, or
// rounded to its dtype.
bool is_deterministic(const lt::Algorithm& algorithm) {
  uint32_t reduction = 0;
  size_t written = 0;
  require(lt::library().algorithm_get(&algorithm, lt::kAlgorithmReduction, &reduction,
                                      sizeof reduction, &written),
          "MatmulAlgoConfigGetAttribute");
  return reduction == lt::kReductionNone || reduction == lt::kReductionComputeType;
}

// The heuristics' best first.
std::vector<lt::Candidate> candidates_for(const Plan& plan, const Product& p) {
  const Owned preference = make_preference(p);
  std::vector<lt::Candidate> found(kCandidates);
  int count = 0;
  const int status = lt::library().heuristic(plan.handle, plan.desc.get(), plan.a.get(),
                                             plan.b.get(), plan.d.get(), plan.d.get(),
                                             preference.get(), kCandidates, found.data(), &count);
  if (status == lt::kNotSupported) count = 0;
  if (status != lt::kNotSupported) require(status, "MatmulAlgoGetHeuristic");
  found.resize(count);
  std::erase_if(found, [](const lt::Candidate& candidate) {
    return candidate.status != lt::kSuccess || !is_deterministic(candidate.algorithm);
  });
  return found;
}

bool use_kept(Plan& plan, const lt::Algorithm& kept) {
  lt::Candidate result;
  const int status =
      lt::library().algorithm_check(plan.handle, plan.desc.get(), plan.a.get(), plan.b.get(),
                                    plan.d.get(), plan.d.get(), &kept, &result);
  if (status != lt::kSuccess || result.workspace > kMaxWorkspace || !is_deterministic(kept))
    return false;
  plan.algorithm = kept;
  plan.workspace = result.workspace;
  return true;
}

void use(Plan& plan, const lt::Candidate& candidate) {
  plan.algorithm = candidate.algorithm;
  plan.workspace = candidate.workspace;
}

// The elements between c's first and its last.
int64_t reach_of_c(const cpu::MatmulDesc& s) {
  return (s.batch - 1) * s.c[0] + (s.m - 1) * s.c[1] + s.n;
}

// Gives the product to the stream, and returns the library's status.
int start(const Plan& plan, const Product& p, void* workspace, void* stream) {
  set_pointers(plan, p);
  const double alpha64 = 1, beta64 = p.shape.accumulate ? 1 : 0;
  const float alpha32 = 1, beta32 = p.shape.accumulate ? 1 : 0;
  const void* alpha = plan.is_float64 ? static_cast<const void*>(&alpha64) : &alpha32;
  const void* beta = plan.is_float64 ? static_cast<const void*>(&beta64) : &beta32;
  return lt::library().matmul(plan.handle, plan.desc.get(), alpha, p.b, plan.a.get(), p.a,
                              plan.b.get(), beta, p.c, plan.d.get(), p.c, plan.d.get(),
                              &plan.algorithm, workspace, plan.workspace, stream);
}

// Leaves in `plan` the candidate that is the fastest: the first, unless another is ahead by more
// than what timings differ by. The library may refuse, when it is to run, an algorithm that it
// proposed: whether it ran any of them.
bool time_candidates(Plan& plan, const std::vector<lt::Candidate>& candidates, Product product,
                     MatmulTuner& tuner, void* stream) {
  constexpr int kRounds = 3;
  constexpr double kMilliseconds = 0.5;  // that a timing should take
  constexpr double kAhead = 0.98;
  std::shared_ptr<void> sums;
  if (product.shape.accumulate) {  // in memory that nobody reads
    sums = tuner.scratch(reach_of_c(product.shape) * size_of(product.c_dtype));
    product.c = sums.get();
  }
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<double> best(candidates.size(), kNever);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      use(plan, candidates[i]);
      const std::shared_ptr<void> workspace = tuner.scratch(plan.workspace);
      int status = lt::kSuccess;
      const auto once = [&] { status = start(plan, product, workspace.get(), stream); };
      const double first = tuner.milliseconds(once);  // also warms up
      if (status == lt::kNotSupported) continue;
      require(status, "Matmul");
      const int times = static_cast<int>(std::clamp(kMilliseconds / first, 1.0, 20.0));
      const double all = tuner.milliseconds([&] {
        for (int time = 0; time < times; ++time) once();
      });
      best[i] = std::min(best[i], all / times);
    }
  }
  const auto fastest = std::min_element(best.begin(), best.end());
  use(plan, candidates[*fastest < kAhead * best[0] ? fastest - best.begin() : 0]);
  return *fastest < kNever;
}

}  // namespace

void require(int status, const char* call) {
  if (status == lt::kSuccess) return;
  throw std::runtime_error(std::string("cublasLt") + call + ": " +
                           lt::library().status_string(status));
}

std::unique_ptr<Plan> make_plan(void* handle, void* stream, MatmulTuner& tuner, const Product& p,
                                const LtProblem& problem) {
  auto plan = std::make_unique<Plan>();
  plan->handle = handle;
  plan->is_float64 = p.c_dtype == DType::Float64;
  plan->desc = make_desc(p, problem);
  plan->a = make_layout(problem.a, p.b_dtype, p.shape.batch);
  plan->b = make_layout(problem.b, p.a_dtype, p.shape.batch);
  plan->d = make_layout(problem.d, p.c_dtype, p.shape.batch);
  set_pointers(*plan, p);  // the heuristics look at their alignment

  const std::string name = name_of(p, problem);
  if (const auto kept = tuner.kept(name); kept && use_kept(*plan, *kept)) return plan;
  const std::vector<lt::Candidate> candidates = candidates_for(*plan, p);
  if (candidates.empty()) return nullptr;
  use(*plan, candidates[0]);
  if (tuner.may_time()) {
    if (!time_candidates(*plan, candidates, p, tuner, stream)) return nullptr;
    tuner.keep(name, plan->algorithm);
  }
  return plan;
}

void run_plan(const Plan& plan, const Product& p, void* workspace, void* stream) {
  require(start(plan, p, workspace, stream), "Matmul");
}

}  // namespace plinth::kernels::cuda
