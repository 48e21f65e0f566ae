#include "core/ops/paged_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/index_check.h"
#include "core/op_scope.h"
#include "core/ops/attention_plan.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/attention/paged_attention.h"
#include "kernels/attention/paged_attention_cuda.h"
#include "kernels/attention/problem.h"

namespace plinth {
namespace {

using kernels::cpu::AttentionDesc;
using kernels::cpu::PagedAttentionDesc;

constexpr std::string_view kName = "paged_attention";

void check_queries_and_pages(const Tensor& q, const Tensor& k, const Tensor& v) {
  check_floating(q, kName, "q");
  check(q.dim() == 4 && q.size(3) > 0, ErrorKind::Shape, kName, "q has shape ", q.shape(),
        ", expected [batch, heads, queries, head_dim]");
  check_like(k, q, kName, "k_pages", "q");
  check_like(v, q, kName, "v_pages", "q");
  check(k.dim() == 4 && k.size(1) > 0 && k.size(3) == q.size(3), ErrorKind::Shape, kName,
        "k_pages has shape ", k.shape(), ", expected [pages, page_size, kv_heads, ", q.size(3),
        "] (q is ", q.shape(), ")");
  check_shape(v, k.shape(), kName, "v_pages", "that of k_pages");
  const int64_t heads = q.size(1), kv_heads = k.size(2);
  check(kv_heads > 0 ? heads % kv_heads == 0 : heads == 0, ErrorKind::Shape, kName, "q has ", heads,
        " heads, expected a multiple of k_pages' ", kv_heads);
  check(!needs_grad({q, k, v}), ErrorKind::Argument, kName,
        "q, k_pages or v_pages requires grad, but there is no gradient; hold a NoGradGuard");
}

void check_places(const Tensor& q, const Tensor& k, const Tensor& table, const Tensor& lengths) {
  check(table.defined(), ErrorKind::Argument, kName, "block_table is undefined");
  check(table.dtype() == DType::Int32 || table.dtype() == DType::Int64, ErrorKind::DType, kName,
        "block_table has dtype ", name(table.dtype()), ", takes int32, int64");
  check(table.dim() == 2 && table.size(0) == q.size(0), ErrorKind::Shape, kName,
        "block_table has shape ", table.shape(), ", expected [", q.size(0),
        ", max_pages] (batch size of q)");
  check_int64(lengths, kName, "kv_lengths");
  check_shape(lengths, {q.size(0)}, kName, "kv_lengths", "batch size of q");
  check_same_device(kName, {&q, &table, &lengths});
  constexpr int64_t kMostKeys = std::numeric_limits<int32_t>::max();
  check(table.size(1) <= kMostKeys / k.size(1), ErrorKind::Shape, kName, "block_table has shape ",
        table.shape(), ", expected fewer than 2^31 keys in pages of ", k.size(1));
}

void check_options(const Tensor& q, const PagedAttentionOptions& o) {
  check_score_options(q, o.window, o.scale, o.soft_cap, kName);
  for (const auto& [argument, x] :
       {std::pair<std::string_view, const Tensor&>("alibi_slopes", o.alibi_slopes),
        {"sinks", o.sinks}}) {
    if (!x.defined()) continue;
    check(x.dtype() == compute_dtype(q.dtype()), ErrorKind::DType, kName, argument, " has dtype ",
          name(x.dtype()), ", expected ", name(compute_dtype(q.dtype())), " for a q of ",
          name(q.dtype()));
    check_shape(x, {q.size(1)}, kName, argument, "heads of q");
    check_same_device(kName, {&q, &x});
  }
}

PagedAttentionDesc describe(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& table,
                            const PagedAttentionOptions& o) {
  PagedAttentionDesc desc;
  desc.block_table = table.raw_data();
  desc.wide_table = table.dtype() == DType::Int64;
  desc.table_stride = table.size(1);
  desc.page_size = k.size(1), desc.pages = k.size(0);
  AttentionDesc& d = desc.attention;
  d.batch = q.size(0), d.heads = q.size(1), d.kv_heads = k.size(2);
  d.q_len = q.size(2), d.kv_len = table.size(1) * k.size(1), d.head_dim = q.size(3);
  d.q = strides_of(q);
  d.k = strides_of(k.transpose(1, 2)), d.v = strides_of(v.transpose(1, 2));
  d.scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(d.head_dim));
  d.causal = o.causal, d.window = std::min(o.window, d.q_len + d.kv_len);
  d.soft_cap = o.soft_cap;
  return desc;
}

IndexCheck check_of(std::string_view argument, int64_t limit) {
  return {.op = std::string(kName), .argument = std::string(argument), .limit = limit};
}

// Throws the error of a bad length or page at once on the CPU, later on a GPU.
void check_bounds(const Tensor& q, const PagedAttentionDesc& d) {
  const IndexCheck lengths = check_of("kv_lengths", d.attention.kv_len + 1);
  const IndexCheck pages = check_of("block_table", d.pages);
  if (q.device().is_cuda()) {
#ifdef PLINTH_CUDA_BACKEND
    const DeferredCheck of_lengths = deferred(lengths, q.device());
    const DeferredCheck of_pages = deferred(pages, q.device());
    kernels::cuda::report_bad_pages(stream_of(q), d, of_lengths.number, of_pages.number,
                                    of_pages.slot);
#endif
    return;
  }
  for (int64_t b = 0; b < d.attention.batch; ++b) {
    const int64_t length = d.attention.kv_lengths[b];
    if (length < 0 || length > d.attention.kv_len) throw lengths.error(b, length);
  }
  const int64_t bad = kernels::cpu::first_bad_page(d);
  if (bad >= 0) throw pages.error(bad, kernels::cpu::page_at(d, bad));
}

// On a GPU, whether the kernel takes the rows of the pages.
template <class T>
void check_layout(const Tensor& k, const Tensor& v, const PagedAttentionDesc& d) {
#ifdef PLINTH_CUDA_BACKEND
  if (k.device().is_cpu()) return;
  const auto aligned = [](const Tensor& x) {
    return reinterpret_cast<uintptr_t>(x.raw_data()) % 16 == 0;
  };
  check(kernels::cuda::paged_attention_takes<T>(d) && aligned(k) && aligned(v), ErrorKind::Shape,
        kName, "k_pages ", k.shape(), " and v_pages have strides ", k.strides(), " and ",
        v.strides(),
        "; a GPU takes a head_dim of at most 256 and rows that begin and end at "
        "multiples of 16 bytes, ",
        16 / size_of(k.dtype()), " elements");
#else
  static_cast<void>(k), static_cast<void>(v), static_cast<void>(d);
#endif
}

// Two operations for each element of k and of v that a query sees.
void count_flops(PagedAttentionDesc desc, const Tensor& lengths) {
  if (!FlopCounter::counting()) return;
  const Tensor there = lengths.to(Device{});
  AttentionDesc& d = desc.attention;
  int64_t pairs = 0;
  for (int64_t b = 0; b < d.batch; ++b) {
    const int64_t length = there.data<int64_t>()[b];
    const kernels::cpu::attention::Problem problem{
        .q_len = d.q_len, .kv_len = length, .kv_visible = length};
    for (int64_t i = 0; i < d.q_len; ++i) {
      const auto keys = kernels::cpu::attention::visible_keys(d, problem, i);
      pairs += std::max<int64_t>(0, keys.end - keys.begin);
    }
  }
  FlopCounter::add(4 * pairs * d.heads * d.head_dim);
}

}  // namespace

Tensor paged_attention(const Tensor& queries, const Tensor& k_pages, const Tensor& v_pages,
                       const Tensor& block_table, const Tensor& kv_lengths,
                       const PagedAttentionOptions& options) {
  const OpScope scope(__func__);
  check_queries_and_pages(queries, k_pages, v_pages);
  const NoGradGuard no_grad;
  const Tensor q = adjacent(queries);
  check_places(q, k_pages, block_table, kv_lengths);
  check_options(q, options);
  const Tensor k = adjacent(k_pages), v = adjacent(v_pages), table = plain(block_table);
  const Tensor lengths = plain(kv_lengths), slopes = plain(options.alibi_slopes);
  const Tensor sinks = plain(options.sinks);
  const Tensor out =
      Tensor::empty({q.size(0), q.size(2), q.size(1), q.size(3)}, q.options()).transpose(1, 2);
  const Tensor lse =
      Tensor::empty({q.size(0), q.size(1), q.size(2)}, {compute_dtype(q.dtype()), q.device()});
  PagedAttentionDesc desc = describe(q, k, v, table, options);
  desc.attention.out = strides_of(out);
  desc.attention.kv_lengths = lengths.data<int64_t>();
  if (slopes.defined()) desc.attention.alibi_slopes = slopes.raw_data();
  if (sinks.defined()) desc.attention.sinks = sinks.raw_data();
  check_bounds(q, desc);
  count_flops(desc, lengths);
  dispatch_floating(q.dtype(), kName, [&]<class T>() {
    check_layout<T>(k, v, desc);
    PLINTH_RUN_WITH(q, paged_attention_workspace<T>(desc), paged_attention_forward, desc,
                    q.data<T>(), k.data<T>(), v.data<T>(), out.data<T>(), lse.data<compute_t<T>>());
  });
  return out;
}

}  // namespace plinth
