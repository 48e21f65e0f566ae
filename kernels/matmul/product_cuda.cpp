#include "kernels/matmul/product_cuda.h"

#include <cstdio>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <unordered_map>

#include "kernels/matmul/matmul_cuda.h"
#include "kernels/matmul/plan.h"

namespace plinth::kernels::cuda {

uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | 16;
  return static_cast<uint32_t>(bits & -bits);
}

std::string name_of(const Product& p, const LtProblem& problem) {
  std::string name(plinth::name(p.a_dtype));
  name.append("-").append(plinth::name(p.b_dtype)).append("-").append(plinth::name(p.c_dtype));
  const void* vector = p.bias ? p.bias : p.bias_gradient;
  const int64_t numbers[] = {static_cast<int64_t>(p.epilogue),
                             p.allow_tf32,
                             p.shape.accumulate,
                             p.shape.batch,
                             p.shape.m,
                             p.shape.n,
                             p.shape.k,
                             problem.a.transposed,
                             problem.a.leading,
                             problem.a.batch_stride,
                             problem.b.transposed,
                             problem.b.leading,
                             problem.b.batch_stride,
                             problem.d.leading,
                             problem.d.batch_stride,
                             alignment_of(p.a),
                             alignment_of(p.b),
                             alignment_of(p.c),
                             alignment_of(vector),
                             alignment_of(p.aux)};
  for (const int64_t number : numbers) name.append(",").append(std::to_string(number));
  return name;
}

namespace {

constexpr int64_t kFloat8Multiple = 16;  // of elements, which are bytes

// What keeps a product from cuBLASLt.
constexpr std::string_view kEmpty = "a dimension is 0";
constexpr std::string_view kLarge = "a dimension or the batch is beyond int32";
constexpr std::string_view kStridesOfOperand = "an operand has neither stride 1";
constexpr std::string_view kStridesOfResult = "the result's columns are not adjacent";
constexpr std::string_view kBatchStride =
    "the results of a batch overlap or are negative steps apart";
constexpr std::string_view kFloat8Device = "float8 needs compute capability 8.9";
constexpr std::string_view kFloat8Layout =
    "float8 needs k adjacent, multiples of 16 and alignment to 16 bytes";
constexpr std::string_view kFloat8Types = "float8 needs one operand of e4m3, and no float64 result";
constexpr std::string_view kEpilogueType = "the epilogue has no form of this dtype";
constexpr std::string_view kWideGelu =
    "cuBLASLt's GELU has errors of 1e-6, which float32 results show";
constexpr std::string_view kAuxiliary = "the GELU's input needs rows of a multiple of 8 elements";
constexpr std::string_view kNoAlgorithm = "cuBLASLt has no algorithm for it";
constexpr std::string_view kTaken = "cuBLASLt takes it";

// Of [rows, columns] with strides `row` and `column`, read as column-major. Of two readings of a
// vector the one with adjacent columns.
std::optional<LtMatrix> as_column_major(int64_t rows, int64_t columns,
                                        const std::array<int64_t, 3>& strides) {
  const auto [batch, row, column] = strides;
  const int64_t leading = rows == 1 ? columns : row;
  if ((column == 1 || columns == 1) && leading >= columns)
    return LtMatrix{columns, rows, leading, batch, false};
  const int64_t other = columns == 1 ? rows : column;
  if ((row == 1 || rows == 1) && other >= rows) return LtMatrix{rows, columns, other, batch, true};
  return {};
}

// Empty where cuBLASLt may be asked.
std::string_view why_not_float8(const Product& p, const LtProblem& problem, int capability) {
  if (capability < 89) return kFloat8Device;
  const bool both_e5m2 = p.a_dtype == DType::Float8_e5m2 && p.b_dtype == DType::Float8_e5m2;
  if (both_e5m2 || !is_float8(p.a_dtype) || !is_float8(p.b_dtype) || p.c_dtype == DType::Float64)
    return kFloat8Types;
  // A "transposed", B not: k is adjacent in both.
  bool fits = problem.a.transposed && !problem.b.transposed;
  for (const int64_t size : {p.shape.m, p.shape.n, p.shape.k, problem.a.leading, problem.b.leading,
                             problem.a.batch_stride, problem.b.batch_stride})
    fits = fits && size % kFloat8Multiple == 0;
  for (const void* pointer : {p.a, p.b, static_cast<const void*>(p.c), p.bias})
    fits = fits && alignment_of(pointer) == 16;
  if (!fits) return kFloat8Layout;
  // Beside a float32 result a bias would be bfloat16.
  const bool takes_bias = p.c_dtype != DType::Float32;
  const bool bias = p.epilogue == Epilogue::Bias && takes_bias;
  return p.epilogue == Epilogue::None || bias ? "" : kEpilogueType;
}

std::string_view why_not(const Product& p, LtProblem& problem, int capability) {
  const cpu::MatmulDesc& s = p.shape;
  if (s.batch == 0 || s.m == 0 || s.n == 0 || s.k == 0) return kEmpty;
  for (const int64_t size : {s.batch, s.m, s.n, s.k})
    if (size > std::numeric_limits<int32_t>::max()) return kLarge;
  // A = b^T is [n, k], B = a^T [k, m], D = c^T [n, m].
  const auto a = as_column_major(s.k, s.n, s.b), b = as_column_major(s.m, s.k, s.a);
  const auto d = as_column_major(s.m, s.n, s.c);
  if (!a || !b) return kStridesOfOperand;
  if (!d || d->transposed) return kStridesOfResult;
  problem = {*a, *b, *d};
  if (s.batch > 1 && (s.c[0] < d->leading * (s.m - 1) + s.n || s.a[0] < 0 || s.b[0] < 0))
    return kBatchStride;
  if (is_float8(p.a_dtype) || is_float8(p.b_dtype)) return why_not_float8(p, problem, capability);
  const bool other_than_bias = p.epilogue != Epilogue::None && p.epilogue != Epilogue::Bias;
  if (other_than_bias && (p.c_dtype == DType::Float64 || s.batch > 1)) return kEpilogueType;
  const bool gelu = p.epilogue == Epilogue::GeluBias || p.epilogue == Epilogue::GeluGradient;
  if (gelu && p.c_dtype == DType::Float32) return kWideGelu;
  if (p.aux && (d->leading % 8 != 0 || alignment_of(p.aux) < 16)) return kAuxiliary;
  return "";
}

// Everything that tells one problem from another, ready to be looked up.
struct Key {
  std::array<int64_t, 18> words;
  bool operator==(const Key&) const = default;
};

Key key_of(const Product& p) {
  const cpu::MatmulDesc& s = p.shape;
  const void* vector = p.bias ? p.bias : p.bias_gradient;
  const int64_t kinds = static_cast<int64_t>(p.a_dtype) | static_cast<int64_t>(p.b_dtype) << 8 |
                        static_cast<int64_t>(p.c_dtype) << 16 |
                        static_cast<int64_t>(p.epilogue) << 24 | int64_t{p.allow_tf32} << 32 |
                        int64_t{s.accumulate} << 33;
  const int64_t alignments = alignment_of(p.a) | alignment_of(p.b) << 5 | alignment_of(p.c) << 10 |
                             alignment_of(vector) << 15 | alignment_of(p.aux) << 20;
  return {{kinds, alignments, s.batch, s.m, s.n, s.k, s.a[0], s.a[1], s.a[2], s.b[0], s.b[1],
           s.b[2], s.c[0], s.c[1], s.c[2], p.aux != nullptr, p.a_scale != nullptr,
           p.b_scale != nullptr}};
}

struct Hash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 0;
    for (const int64_t word : key.words)  // the multiplier of Fibonacci hashing (Knuth, 6.4)
      hash = (hash ^ static_cast<uint64_t>(word)) * 0x9e3779b97f4a7c15u + (hash >> 29);
    return hash;
  }
};

struct Known {
  std::unique_ptr<Plan> plan;
  std::string_view why;
};

// Of one device. A handle of cuBLASLt belongs to the device that was current when it was made.
struct DevicePlans {
  void* handle = nullptr;
  std::unordered_map<Key, Known, Hash> plans;
};

struct Plans {
  std::mutex mutex;
  std::map<int, DevicePlans> devices;
  std::set<std::string, std::less<>> told;
};

// Never destroyed: the library's descriptors must not outlive the library.
Plans& plans() {
  static auto* const all = new Plans;
  return *all;
}

Known plan_for(DevicePlans& device, void* stream, MatmulTuner& tuner, const Product& product) {
  LtProblem problem;
  const std::string_view obstacle = why_not(product, problem, tuner.capability());
  if (!obstacle.empty()) return {nullptr, obstacle};
  if (!device.handle) require(lt::library().create(&device.handle), "Create");
  auto plan = make_plan(device.handle, stream, tuner, product, problem);
  const std::string_view why = plan ? kTaken : kNoAlgorithm;
  return {std::move(plan), why};
}

// ---- the plain kernel ----

template <class A, class B, class C>
void run_plain(void* stream, const Product& p) {
  matmul(stream, p.shape, static_cast<const A*>(p.a), static_cast<const B*>(p.b),
         static_cast<C*>(p.c), static_cast<const C*>(p.bias), p.a_scale, p.b_scale);
}

template <class A, class B>
void run_plain_float8(void* stream, const Product& p) {
  switch (p.c_dtype) {
    case DType::BFloat16: return run_plain<A, B, BFloat16>(stream, p);
    case DType::Float16: return run_plain<A, B, Float16>(stream, p);
    default: return run_plain<A, B, float>(stream, p);
  }
}

template <class T>
void run_plain_narrow(void* stream, const Product& p) {
  if (p.c_dtype == DType::Float32) return run_plain<T, T, float>(stream, p);
  run_plain<T, T, T>(stream, p);
}

void run_plain(void* stream, const Product& p) {
  using E4m3 = Float8_e4m3;
  using E5m2 = Float8_e5m2;
  switch (p.a_dtype) {
    case DType::Float64: return run_plain<double, double, double>(stream, p);
    case DType::BFloat16: return run_plain_narrow<BFloat16>(stream, p);
    case DType::Float16: return run_plain_narrow<Float16>(stream, p);
    case DType::Float8_e5m2: return run_plain_float8<E5m2, E4m3>(stream, p);
    case DType::Float8_e4m3:
      return p.b_dtype == DType::Float8_e4m3 ? run_plain_float8<E4m3, E4m3>(stream, p)
                                             : run_plain_float8<E4m3, E5m2>(stream, p);
    default: return run_plain<float, float, float>(stream, p);
  }
}

void tell_once(std::string_view why) {
  if (why == kEmpty || !plans().told.emplace(why).second) return;
  std::fprintf(stderr,
               "plinth: a matrix product on the GPU takes a plain kernel, which is many times "
               "slower than cuBLASLt: %.*s\n",
               static_cast<int>(why.size()), why.data());
}

}  // namespace

Choice choose(void* stream, MatmulTuner& tuner, const Product& product) {
  const lt::Library& library = lt::library();
  if (!library.error.empty()) return {.why = library.error};
  const std::lock_guard lock(plans().mutex);
  DevicePlans& device = plans().devices[tuner.device()];
  const Key key = key_of(product);
  auto found = device.plans.find(key);
  if (found == device.plans.end())
    found = device.plans.emplace(key, plan_for(device, stream, tuner, product)).first;
  const Known& known = found->second;
  return {known.plan.get(), known.why, known.plan ? known.plan->workspace : 0};
}

void run(void* stream, const Choice& choice, const Product& product, void* workspace) {
  const std::lock_guard lock(plans().mutex);
  if (choice.plan) return run_plan(*choice.plan, product, workspace, stream);
  if (product.epilogue != Epilogue::None && product.epilogue != Epilogue::Bias)
    throw std::logic_error("a plain matrix product has no such epilogue");
  tell_once(choice.why);
  run_plain(stream, product);
}

}  // namespace plinth::kernels::cuda
