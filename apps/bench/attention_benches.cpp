// Attention's benches, and which kernel serves them.

#include <numeric>

#include "apps/bench/bench_case.h"
#include "core/ops/attention.h"
#include "core/ops/factories.h"
#include "core/ops/paged_attention.h"
#include "core/ops/views.h"
#include "kernels/attention/attention.h"
#ifdef PLINTH_CUDA_BACKEND
#include "kernels/attention/attention_cuda.h"
#endif

namespace plinth::apps {

namespace {

using kernels::cpu::AttentionDesc;

// ---- training: batch,heads,time,head_dim ----

template <bool causal>
DifferentiableOp attention_op(const OpSizes& s, TensorOptions options) {
  const Shape full{std::span<const int64_t>(s)};
  // Half of the products of scores and values is masked where the mask is causal.
  const double m = elements(s), products = m * static_cast<double>(s[2]) * (causal ? 1 : 2);
  const auto attend = [](const Tensors& in) -> Tensors {
    return {attention(in[0], in[1], in[2], {.causal = causal})};
  };
  return {attend,
          {randn(full, options), randn(full, options), randn(full, options)},
          {4 * m * element_bytes(options), 2 * products},
          {8 * m * element_bytes(options), 5 * products}};
}

// ---- generation: batch,heads,kv_heads,keys,head_dim ----

// One query a sequence: k and v are read once.
PassCost decode_cost(const OpSizes& s, TensorOptions options) {
  const double queries = elements({s[0], s[1], s[4]}), keys = static_cast<double>(s[3]);
  const double cached = 2 * elements({s[0], s[2], s[3], s[4]});
  return {(cached + 2 * queries) * element_bytes(options), 4 * queries * keys};
}

PlainOp decode_op(const OpSizes& s, TensorOptions options) {
  const Tensor q = randn({s[0], s[1], 1, s[4]}, options);
  const Tensor k = randn({s[0], s[2], s[3], s[4]}, options);
  const Tensor v = randn({s[0], s[2], s[3], s[4]}, options);
  return {[=] { attention(q, k, v, {.causal = true}); }, decode_cost(s, options)};
}

// Sequences in pages of 16 tokens, which lie in the pool in an order far from the sequences' own.
PlainOp paged_op(const OpSizes& s, TensorOptions options) {
  constexpr int64_t kPageSize = 16;
  const int64_t columns = (s[3] + kPageSize - 1) / kPageSize, pages = s[0] * columns;
  std::vector<int64_t> table(pages);
  // Steps that share no factor with the number of pages reach each of them once.
  int64_t step = pages * 5 / 8 + 1;
  while (std::gcd(step, pages) > 1) ++step;
  for (int64_t i = 0; i < pages; ++i) table[i] = i * step % pages;
  const Tensor q = randn({s[0], s[1], 1, s[4]}, options);
  const Tensor k = randn({pages, kPageSize, s[2], s[4]}, options);
  const Tensor v = randn({pages, kPageSize, s[2], s[4]}, options);
  const Tensor places = from_values(table, {s[0], columns}).to(options.device);
  const Tensor lengths = full({s[0]}, static_cast<double>(s[3]), {DType::Int64, options.device});
  return {[=] { paged_attention(q, k, v, places, lengths); }, decode_cost(s, options)};
}

// ---- which kernel ----

AttentionDesc::Strides contiguous(int64_t heads, int64_t rows, int64_t head_dim) {
  return {heads * rows * head_dim, rows * head_dim, head_dim};
}

AttentionDesc describe(int64_t batch, int64_t heads, int64_t kv_heads, int64_t q_len,
                       int64_t kv_len, int64_t head_dim, bool causal) {
  AttentionDesc d;
  d.batch = batch, d.heads = heads, d.kv_heads = kv_heads;
  d.q_len = q_len, d.kv_len = kv_len, d.head_dim = head_dim;
  d.q = d.dq = contiguous(heads, q_len, head_dim);
  d.k = d.v = d.dk = d.dv = contiguous(kv_heads, kv_len, head_dim);
  d.out = d.dout = {q_len * heads * head_dim, head_dim, heads * head_dim};
  d.scale = 1;
  d.causal = causal;
  return d;
}

#ifdef PLINTH_CUDA_BACKEND
template <class T>
std::string on_gpu(const AttentionDesc& d, bool backward) {
  const auto path = kernels::cuda::attention_path<T>(d, backward);
  const std::string name = kernels::cuda::name_of(path.kernel);
  return path.why.empty() ? name : name + " (" + path.why + ")";
}
#endif

std::string kernel_of(const AttentionDesc& d, TensorOptions options, bool backward) {
#ifdef PLINTH_CUDA_BACKEND
  if (options.device.is_cuda()) {
    switch (options.dtype) {
      case DType::BFloat16: return on_gpu<BFloat16>(d, backward);
      case DType::Float16: return on_gpu<Float16>(d, backward);
      default: return on_gpu<float>(d, backward);
    }
  }
#else
  static_cast<void>(options);
#endif
  const auto path = kernels::cpu::attention_path(d, backward);
  return std::string(path.kernel) + " (" + path.why + ")";
}

template <bool causal>
std::string explain_attention(const OpSizes& s, TensorOptions options) {
  const AttentionDesc d = describe(s[0], s[1], s[1], s[2], s[2], s[3], causal);
  return "forward: " + kernel_of(d, options, false) + "; backward: " + kernel_of(d, options, true);
}

std::string explain_decode(const OpSizes& s, TensorOptions options) {
  return "forward: " + kernel_of(describe(s[0], s[1], s[2], 1, s[3], s[4], true), options, false);
}

}  // namespace

std::vector<OpBench> attention_benches() {
  constexpr std::string_view kTraining = "batch,heads,time,head_dim";
  constexpr std::string_view kDecoding = "batch,heads,kv_heads,keys,head_dim";
  return {
      {"attention", kTraining, {8, 8, 256, 32}, attention_op<true>, {}, explain_attention<true>},
      {"attention_full",
       kTraining,
       {8, 8, 256, 32},
       attention_op<false>,
       {},
       explain_attention<false>},
      {"attention_decode", kDecoding, {8, 32, 8, 2048, 128}, {}, decode_op, explain_decode},
      {"paged_attention", kDecoding, {8, 32, 8, 2048, 128}, {}, paged_op},
  };
}

}  // namespace plinth::apps
