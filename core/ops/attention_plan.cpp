#include "core/ops/attention_plan.h"

#include <algorithm>
#include <cmath>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/attention_custom.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/random.h"
#include "kernels/attention/attention_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::AttentionDesc;
using kernels::cpu::CustomScore;
using kernels::cpu::FactorRange;

void check_operands(const Tensor& q, const Tensor& k, std::string_view op) {
  check_floating(q, op, "q");
  check(q.dim() == 4 && q.size(3) > 0, ErrorKind::Shape, op, "q has shape ", q.shape(),
        ", expected [batch, heads, queries, head_dim]");
  check(q.device().is_cpu() || q.size(3) <= 256, ErrorKind::Shape, op, "q has head_dim ", q.size(3),
        ", expected at most 256 on a GPU");
  check_like(k, q, op, "k", "q");
  check(k.dim() == 4 && k.size(0) == q.size(0) && k.size(3) == q.size(3), ErrorKind::Shape, op,
        "k has shape ", k.shape(), ", expected [", q.size(0), ", kv_heads, keys, ", q.size(3),
        "] (q is ", q.shape(), ")");
  const int64_t heads = q.size(1), kv_heads = k.size(1);
  check(kv_heads > 0 ? heads % kv_heads == 0 : heads == 0, ErrorKind::Shape, op, "q has ", heads,
        " heads, expected a multiple of k's ", kv_heads);
}

void check_options(const Tensor& q, const AttentionOptions& o, std::string_view op) {
  check_score_options(q, o.window, o.scale, o.soft_cap, op);
  // Kernels divide by 1 - dropout, in float32.
  check(o.dropout >= 0 && o.dropout < 1 && static_cast<float>(o.dropout) < 1, ErrorKind::Argument,
        op, "dropout is ", o.dropout, ", expected within [0, 1) as float32");
}

// Those on a GPU stay there: kernels take what is out of range as the nearest length.
Tensor checked_kv_lengths(const Tensor& lengths, int64_t batch, int64_t keys, std::string_view op) {
  if (!lengths.defined()) return {};
  constexpr std::string_view argument = "kv_lengths";
  check_int64(lengths, op, argument);
  check_shape(lengths, {batch}, op, argument, "batch size of q");
  const Tensor result = plain(lengths);
  check_indices(result, {.op = std::string(op),
                         .argument = std::string(argument),
                         .limit = keys + 1,
                         .is_length = true});
  return result;
}

// Offsets of packed sequences: from 0 to total, never falling.
Tensor checked_offsets(const Tensor& offsets, int64_t total, std::string_view argument,
                       std::string_view op) {
  check_int64(offsets, op, argument);
  check(offsets.dim() == 1 && offsets.size(0) >= 1, ErrorKind::Shape, op, argument, " has shape ",
        offsets.shape(), ", expected [sequences + 1]");
  const Tensor result = plain(offsets).to(Device{});
  const int64_t* values = result.data<int64_t>();
  const int64_t last = offsets.size(0) - 1;
  for (int64_t s = 0; s <= last; ++s) {
    const int64_t low = s == 0 ? 0 : values[s - 1], high = s == last ? total : INT64_MAX;
    check(values[s] >= low && values[s] <= high && (s > 0 || values[s] == 0) &&
              (s < last || values[s] == total),
          ErrorKind::Argument, op, argument, "[", s, "] is ", values[s],
          ", expected offsets that rise from 0 to ", total);
  }
  return result;
}

// A number of each head, in the dtype that q's kernels compute in.
void check_of_heads(const Tensor& x, const Tensor& q, std::string_view argument,
                    std::string_view op) {
  const DType dtype = compute_dtype(q.dtype());
  check(x.dtype() == dtype, ErrorKind::DType, op, argument, " has dtype ", name(x.dtype()),
        ", expected ", name(dtype), " beside a q of ", name(q.dtype()));
  check(x.device() == q.device(), ErrorKind::Device, op, argument, " is on ", x.device(),
        ", expected ", q.device(), " (that of q)");
  check_shape(x, {q.size(1)}, op, argument, "heads of q");
}

void check_bias(const Tensor& bias, const Tensor& q, const Shape& scores, std::string_view op) {
  check_like(bias, q, op, "bias", "q");
  bool fits = bias.dim() <= 4;
  for (int64_t d = 0; fits && d < bias.dim(); ++d) {
    const int64_t size = bias.size(d);
    fits = size == 1 || size == scores[d + 4 - bias.dim()];
  }
  check(fits, ErrorKind::Shape, op, "bias has shape ", bias.shape(),
        ", expected one that broadcasts to ", scores, " (batch, heads, queries, keys)");
}

// What a functor is compiled for on a GPU.
void check_compiled(const CustomScore& custom, const Tensor& q, std::string_view op) {
#ifdef PLINTH_CUDA_BACKEND
  const bool has_type = dispatch_floating(
      q.dtype(), op, [&]<class T>() { return kernels::cuda::custom_has_type<T>(custom); });
  check(has_type, ErrorKind::DType, op, "custom is compiled without ", name(q.dtype()),
        ", that of q; expected it among its OnlyTypes");
  check(kernels::cuda::custom_has_head_dim(custom, q.size(3)), ErrorKind::Shape, op,
        "custom is compiled without head_dim ", q.size(3),
        ", that of q; expected it among its kOnlyHeadDims");
#else
  static_cast<void>(custom), static_cast<void>(q), static_cast<void>(op);
#endif
}

// A map that was made for other sequences takes some of their pairs for hidden. Those of one
// sequence are all rows, which the shape tells.
void check_offsets_of_map(const CustomScore& custom, const AttentionDesc& d, std::string_view op) {
  if (!custom.hides() || custom.problems <= 1) return;
  const bool packed = d.cu_seqlens_q, made_packed = !custom.cu_seqlens_q.empty();
  const auto kind = [](bool sequences) { return sequences ? "packed sequences" : "a batch"; };
  check(packed == made_packed, ErrorKind::Argument, op, "custom was made for ", kind(made_packed),
        ", expected ", kind(packed));
  if (!packed) return;
  for (size_t s = 0; s < custom.cu_seqlens_q.size(); ++s) {
    const int64_t made_q = custom.cu_seqlens_q[s], made_k = custom.cu_seqlens_k[s];
    check(made_q == d.cu_seqlens_q[s] && made_k == d.cu_seqlens_k[s], ErrorKind::Argument, op,
          "custom was made for cu_seqlens_q[", s, "] = ", made_q, " and cu_seqlens_k[", s,
          "] = ", made_k, ", expected ", d.cu_seqlens_q[s], " and ", d.cu_seqlens_k[s]);
  }
}

// The caller's own functor must have been made for this shape and device.
void add_custom(AttentionPlan& plan, const Tensor& q, const AttentionOptions& o,
                std::string_view op) {
  if (!o.custom) return;
  AttentionDesc& d = plan.desc;
  const Device made_on =
      o.custom->device < 0 ? Device{} : Device{DeviceType::CUDA, o.custom->device};
  check(q.device() == made_on, ErrorKind::Device, op, "custom was made for ", made_on,
        ", expected ", q.device(), " (that of q)");
  if (q.device().is_cuda()) check_compiled(*o.custom, q, op);
  const Shape made_for = {o.custom->problems, o.custom->heads, o.custom->q_len, o.custom->kv_len};
  const Shape expected = {d.cu_seqlens_q ? d.sequences : d.batch, d.heads, d.q_len, d.kv_len};
  check(made_for == expected, ErrorKind::Shape, op, "custom was made for ", made_for, ", expected ",
        expected, " (batch or sequences, heads, queries, keys)");
  check_offsets_of_map(*o.custom, d, op);
  plan.custom = o.custom;
  d.custom = o.custom.get();
}

// What bends scores: checks it, and keeps it in the plan.
void add_scores(AttentionPlan& plan, const Tensor& q, const AttentionOptions& o,
                std::string_view op) {
  AttentionDesc& d = plan.desc;
  d.soft_cap = o.soft_cap;
  if (o.alibi_slopes.defined()) {
    check_of_heads(o.alibi_slopes, q, "alibi_slopes", op);
    check(!needs_grad({o.alibi_slopes}), ErrorKind::Argument, op,
          "alibi_slopes requires a gradient, but attention has none of it");
    plan.alibi_slopes = o.alibi_slopes;
  }
  if (o.sinks.defined()) {
    check_of_heads(o.sinks, q, "sinks", op);
    plan.sinks = o.sinks;
  }
  if (!o.bias.defined()) return;
  plan.bias = autocast(o.bias);
  check_bias(plan.bias, q, {d.batch, d.heads, d.q_len, d.kv_len}, op);
  check(!d.cu_seqlens_q, ErrorKind::Argument, op,
        "bias is given with cu_seqlens, expected one of them");
}

void add_dropout(AttentionPlan& plan, const AttentionOptions& o, std::string_view op) {
  if (o.dropout == 0) return;
  AttentionDesc& d = plan.desc;
  const AttentionPart& part = o.part;
  check(part.head >= 0 && part.query >= 0 && part.key >= 0 && part.key % 4 == 0,
        ErrorKind::Argument, op, "part begins at head ", part.head, ", query ", part.query,
        ", key ", part.key, ", expected none below 0, and a key that is a multiple of 4");
  const auto fits = [](int64_t begin, int64_t count, int64_t whole) {
    return whole == 0 ? begin == 0 : begin + count <= whole;
  };
  check(fits(part.query, d.q_len, part.queries) && fits(part.key, d.kv_len, part.keys),
        ErrorKind::Argument, op, "part has queries from ", part.query, " of ", part.queries,
        " and keys from ", part.key, " of ", part.keys, ", which do not hold the ", d.q_len,
        " queries and ", d.kv_len, " keys");
  d.dropout = static_cast<float>(o.dropout);
  d.dropout_whole = {part.head, part.query, part.key, part.queries, part.keys};
  d.philox = part.random ? *part.random : generator().next();
}

}  // namespace

void check_score_options(const Tensor& q, int64_t window, double scale, double soft_cap,
                         std::string_view op) {
  check(window >= 0, ErrorKind::Argument, op, "window is ", window, ", expected at least 0");
  check(std::isfinite(scale), ErrorKind::Argument, op, "scale is ", scale,
        ", expected a finite number");
  check(soft_cap >= 0 && std::isfinite(soft_cap), ErrorKind::Argument, op, "soft_cap is ", soft_cap,
        ", expected a finite number of at least 0");
  const DType dtype = compute_dtype(q.dtype());
  const FactorRange range =
      dtype == DType::Float64 ? FactorRange::of<double>() : FactorRange::of<float>();
  for (const auto& [argument, x] : {std::pair("scale", scale), {"soft_cap", soft_cap}}) {
    check(range.holds(x), ErrorKind::Argument, op, argument, " is ", x,
          ", expected 0 or a size within [", range.least, ", ", range.most, "], which ",
          name(dtype), " holds");
  }
}

AttentionPlan attention_plan(const Tensor& q, const Tensor& k, const AttentionOptions& o,
                             std::string_view op) {
  check_operands(q, k, op);
  check_options(q, o, op);
  AttentionPlan plan;
  AttentionDesc& d = plan.desc;
  d.batch = q.size(0), d.heads = q.size(1), d.kv_heads = k.size(1);
  d.q_len = q.size(2), d.kv_len = k.size(2), d.head_dim = q.size(3);
  d.scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(d.head_dim));
  d.causal = o.causal;
  d.window = std::min(o.window, d.q_len + d.kv_len);
  plan.kv_lengths = checked_kv_lengths(o.kv_lengths, d.batch, d.kv_len, op);
  check(o.cu_seqlens_q.defined() == o.cu_seqlens_k.defined(), ErrorKind::Argument, op,
        "only one of cu_seqlens_q and cu_seqlens_k is given, expected both or none");
  if (o.cu_seqlens_q.defined()) {
    check(d.batch == 1 && !plan.kv_lengths.defined(), ErrorKind::Argument, op,
          "cu_seqlens are given with a batch of ", d.batch,
          plan.kv_lengths.defined() ? " and kv_lengths" : "",
          ", expected a batch of 1 and no other lengths");
    plan.cu_seqlens_q = checked_offsets(o.cu_seqlens_q, d.q_len, "cu_seqlens_q", op);
    plan.cu_seqlens_k = checked_offsets(o.cu_seqlens_k, d.kv_len, "cu_seqlens_k", op);
    check_shape(plan.cu_seqlens_k, plan.cu_seqlens_q.shape(), op, "cu_seqlens_k",
                "that of cu_seqlens_q");
    d.cu_seqlens_q = plan.cu_seqlens_q.data<int64_t>();
    d.cu_seqlens_k = plan.cu_seqlens_k.data<int64_t>();
    d.sequences = o.cu_seqlens_q.size(0) - 1;
  }
  add_scores(plan, q, o, op);
  add_custom(plan, q, o, op);
  add_dropout(plan, o, op);
  check(!d.philox.place || q.device().is_cuda(), ErrorKind::Device, op, "q is on ", q.device(),
        ", but the step's random numbers are a GPU's");
  return plan;
}

void detail::with_attention_shape(
    const Tensor& q, const Tensor& k, const AttentionOptions& options,
    const std::function<void(const AttentionDesc&, const AttentionDesc&)>& use) {
  const AttentionOptions lengths{.cu_seqlens_q = options.cu_seqlens_q,
                                 .cu_seqlens_k = options.cu_seqlens_k};
  const AttentionPlan plan = attention_plan(q, k, lengths, "custom_attention");
  const AttentionPlan placed = plan.beside(q);
  use(placed.desc, plan.desc);
}

Tensor detail::map_beside(const Tensor& q, const AttentionDesc& shape,
                          const kernels::cpu::CustomScore& custom) {
  check(custom.on_cuda, ErrorKind::Device, "custom_attention", "q is on ", q.device(),
        ", but the functor is compiled for the CPU alone; expected the call in a .cu file that "
        "includes kernels/attention/custom_cuda.cuh");
  if (custom.block_count() == 0) return {};
#ifdef PLINTH_CUDA_BACKEND
  const NoGradGuard no_grad;
  const Tensor map = workspace_beside(q, custom.block_count());
  kernels::cuda::make_block_map(stream_of(q), shape, custom,
                                static_cast<kernels::cpu::BlockSight*>(map.raw_data()));
  return map;
#else
  static_cast<void>(shape);
  return {};
#endif
}

AttentionPlan AttentionPlan::beside(const Tensor& q) const {
  AttentionPlan there = *this;
  for (auto [tensor, pointer] : {std::pair(&there.kv_lengths, &there.desc.kv_lengths),
                                 {&there.cu_seqlens_q, &there.desc.cu_seqlens_q},
                                 {&there.cu_seqlens_k, &there.desc.cu_seqlens_k}}) {
    if (!tensor->defined()) continue;
    *tensor = tensor->to(q.device());
    *pointer = tensor->data<int64_t>();
  }
  AttentionDesc& d = there.desc;
  for (auto [tensor, pointer] :
       {std::pair(&there.alibi_slopes, &d.alibi_slopes), {&there.sinks, &d.sinks}}) {
    if (!tensor->defined()) continue;
    *tensor = plain(*tensor);
    *pointer = tensor->raw_data();
  }
  if (bias.defined()) {
    d.bias = bias.raw_data();
    d.bias_strides = bias_strides_of(bias);
  }
  return there;
}

void check_values(const Tensor& v, const Tensor& q, const Tensor& k, std::string_view op) {
  check_like(v, q, op, "v", "q");
  check_shape(v, k.shape(), op, "v", "that of k");
}

Tensor adjacent(const Tensor& x) {
  const Tensor plain_x = x.detach();
  return x.strides()[3] == 1 || x.size(3) == 1 ? plain_x : plain_x.contiguous();
}

kernels::cpu::AttentionDesc::Strides strides_of(const Tensor& x) {
  return {.batch = x.strides()[0], .head = x.strides()[1], .seq = x.strides()[2]};
}

kernels::cpu::AttentionDesc::BiasStrides bias_strides_of(const Tensor& x) {
  int64_t strides[4] = {};
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (x.size(d) > 1) strides[d + 4 - x.dim()] = x.strides()[d];
  }
  return {.batch = strides[0], .head = strides[1], .query = strides[2], .key = strides[3]};
}

}  // namespace plinth
