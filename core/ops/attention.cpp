#include "core/ops/attention.h"

#include <algorithm>
#include <cmath>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/random.h"
#include "kernels/attention/attention_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::AttentionDesc;

void check_operands(const Tensor& q, const Tensor& k, const Tensor& v) {
  check_floating(q, "attention", "q");
  check(q.dim() == 4 && q.size(3) > 0, ErrorKind::Shape, "attention", "q has shape ", q.shape(),
        ", expected [batch, heads, queries, head_dim]");
  check_like(k, q, "attention", "k", "q");
  check_like(v, q, "attention", "v", "q");
  check(k.dim() == 4 && k.size(0) == q.size(0) && k.size(3) == q.size(3), ErrorKind::Shape,
        "attention", "k has shape ", k.shape(), ", expected [", q.size(0), ", kv_heads, keys, ",
        q.size(3), "] (q is ", q.shape(), ")");
  check_shape(v, k.shape(), "attention", "v", "that of k");
  const int64_t heads = q.size(1), kv_heads = k.size(1);
  check(kv_heads > 0 ? heads % kv_heads == 0 : heads == 0, ErrorKind::Shape, "attention", "q has ",
        heads, " heads, expected a multiple of k's ", kv_heads);
}

void check_options(const AttentionOptions& o) {
  check(o.window >= 0, ErrorKind::Argument, "attention", "window is ", o.window,
        ", expected at least 0");
  check(std::isfinite(o.scale), ErrorKind::Argument, "attention", "scale is ", o.scale,
        ", expected a finite number");
  check(o.dropout >= 0 && o.dropout < 1, ErrorKind::Argument, "attention", "dropout is ", o.dropout,
        ", expected within [0, 1)");
}

Tensor checked_lengths(const Tensor& lengths, int64_t batch, int64_t keys) {
  if (!lengths.defined()) return {};
  check_int64(lengths, "attention", "kv_lengths");
  check_shape(lengths, {batch}, "attention", "kv_lengths", "batch size of q");
  const Tensor result = plain(lengths).to(Device{});
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = result.data<int64_t>()[b];
    check(length >= 0 && length <= keys, ErrorKind::Argument, "attention", "kv_lengths[", b,
          "] is ", length, ", expected within [0, ", keys, "]");
  }
  return result;
}

// Offsets of packed sequences: from 0 to total, never falling.
Tensor checked_offsets(const Tensor& offsets, int64_t total, std::string_view argument) {
  check_int64(offsets, "attention", argument);
  check(offsets.dim() == 1 && offsets.size(0) >= 1, ErrorKind::Shape, "attention", argument,
        " has shape ", offsets.shape(), ", expected [sequences + 1]");
  const Tensor result = plain(offsets).to(Device{});
  const int64_t* values = result.data<int64_t>();
  const int64_t last = offsets.size(0) - 1;
  for (int64_t s = 0; s <= last; ++s) {
    const int64_t low = s == 0 ? 0 : values[s - 1], high = s == last ? total : INT64_MAX;
    check(values[s] >= low && values[s] <= high && (s > 0 || values[s] == 0) &&
              (s < last || values[s] == total),
          ErrorKind::Argument, "attention", argument, "[", s, "] is ", values[s],
          ", expected offsets that rise from 0 to ", total);
  }
  return result;
}

// What attention must remember besides its operands: the lengths to which the description points,
// on the CPU, where they are checked and counted.
struct Plan {
  AttentionDesc desc;
  Tensor kv_lengths, cu_seqlens_q, cu_seqlens_k;
};

// The plan's lengths on the device of its operands, and the description that points to them there.
Plan beside(const Plan& plan, const Tensor& q) {
  Plan there = plan;
  for (auto [tensor, pointer] : {std::pair(&there.kv_lengths, &there.desc.kv_lengths),
                                 {&there.cu_seqlens_q, &there.desc.cu_seqlens_q},
                                 {&there.cu_seqlens_k, &there.desc.cu_seqlens_k}}) {
    if (!tensor->defined()) continue;
    *tensor = tensor->to(q.device());
    *pointer = tensor->data<int64_t>();
  }
  return there;
}

Plan plan(const Tensor& q, const Tensor& k, const AttentionOptions& o) {
  Plan plan;
  AttentionDesc& d = plan.desc;
  d.batch = q.size(0), d.heads = q.size(1), d.kv_heads = k.size(1);
  d.q_len = q.size(2), d.kv_len = k.size(2), d.head_dim = q.size(3);
  d.scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(d.head_dim));
  d.causal = o.causal;
  d.window = o.window;
  d.dropout = static_cast<float>(o.dropout);
  plan.kv_lengths = checked_lengths(o.kv_lengths, d.batch, d.kv_len);
  if (plan.kv_lengths.defined()) d.kv_lengths = plan.kv_lengths.data<int64_t>();
  check(o.cu_seqlens_q.defined() == o.cu_seqlens_k.defined(), ErrorKind::Argument, "attention",
        "only one of cu_seqlens_q and cu_seqlens_k is given, expected both or none");
  if (o.cu_seqlens_q.defined()) {
    check(d.batch == 1 && !plan.kv_lengths.defined(), ErrorKind::Argument, "attention",
          "cu_seqlens are given with a batch of ", d.batch,
          plan.kv_lengths.defined() ? " and kv_lengths" : "",
          ", expected a batch of 1 and no other lengths");
    plan.cu_seqlens_q = checked_offsets(o.cu_seqlens_q, d.q_len, "cu_seqlens_q");
    plan.cu_seqlens_k = checked_offsets(o.cu_seqlens_k, d.kv_len, "cu_seqlens_k");
    check_shape(plan.cu_seqlens_k, plan.cu_seqlens_q.shape(), "attention", "cu_seqlens_k",
                "that of cu_seqlens_q");
    d.cu_seqlens_q = plan.cu_seqlens_q.data<int64_t>();
    d.cu_seqlens_k = plan.cu_seqlens_k.data<int64_t>();
    d.sequences = o.cu_seqlens_q.size(0) - 1;
  }
  if (o.dropout > 0) d.philox = generator().next();
  check(!d.philox.place || q.device().is_cuda(), ErrorKind::Device, "attention", "q is on ",
        q.device(), ", but the step's random numbers are a GPU's");
  return plan;
}

// Pairs of a query and a key that it sees, in one sequence of which `keys` are no padding.
int64_t visible_pairs(const AttentionDesc& d, int64_t queries, int64_t keys, int64_t unpadded) {
  int64_t pairs = 0;
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t at = i + keys - queries;  // the key beside query i
    const int64_t first = d.window > 0 ? std::max<int64_t>(0, at - d.window + 1) : 0;
    int64_t end = unpadded;
    if (d.causal) end = std::min(end, at + 1);
    if (!d.causal && d.window > 0) end = std::min(end, at + d.window);
    pairs += std::max<int64_t>(0, end - first);
  }
  return pairs;
}

// Reports `per_pair` operations for each visible pair and element of a head.
void count_flops(const AttentionDesc& d, int64_t per_pair) {
  if (!FlopCounter::counting()) return;
  int64_t pairs = 0;
  if (d.cu_seqlens_q) {
    for (int64_t s = 0; s < d.sequences; ++s) {
      const int64_t keys = d.cu_seqlens_k[s + 1] - d.cu_seqlens_k[s];
      pairs += visible_pairs(d, d.cu_seqlens_q[s + 1] - d.cu_seqlens_q[s], keys, keys);
    }
  } else {
    for (int64_t b = 0; b < d.batch; ++b) {
      pairs += visible_pairs(d, d.q_len, d.kv_len, d.kv_lengths ? d.kv_lengths[b] : d.kv_len);
    }
  }
  FlopCounter::add(per_pair * pairs * d.heads * d.head_dim);
}

// x off the graph, with the elements of a head adjacent.
Tensor adjacent(const Tensor& x) {
  const Tensor plain_x = x.detach();
  return x.strides()[3] == 1 || x.size(3) == 1 ? plain_x : plain_x.contiguous();
}

AttentionDesc::Strides strides_of(const Tensor& x) {
  return {.batch = x.strides()[0], .head = x.strides()[1], .seq = x.strides()[2]};
}

// Room for [B, H, T, D], laid out as [B, T, H, D].
Tensor room_like(const Tensor& x) {
  const NoGradGuard no_grad;
  return Tensor::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
}

Tensors attention_backward(const BackwardContext& c, const Tensor& dy, const Plan& plan) {
  const Tensor q = adjacent(c.saved(0)), k = adjacent(c.saved(1)), v = adjacent(c.saved(2));
  const Tensor out = adjacent(c.saved(3)), dout = adjacent(dy);
  const Tensor &lse = c.saved(4), dq = room_like(q), dk = room_like(k), dv = room_like(v);
  const Plan placed = beside(plan, q);
  AttentionDesc desc = placed.desc;
  desc.q = strides_of(q), desc.k = strides_of(k), desc.v = strides_of(v);
  desc.out = strides_of(out), desc.dout = strides_of(dout);
  desc.dq = strides_of(dq), desc.dk = strides_of(dk), desc.dv = strides_of(dv);
  count_flops(plan.desc, 10);
  dispatch_floating(q.dtype(), "attention_backward", [&]<class T>() {
    PLINTH_RUN_WITH(q, attention_backward_workspace<T>(desc), attention_backward, desc,
                    dout.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(), out.data<T>(),
                    lse.data<compute_t<T>>(), dq.data<T>(), dk.data<T>(), dv.data<T>());
  });
  const Tensors inputs = {dy, c.saved(0), c.saved(1), c.saved(2)};
  return {record_undifferentiable("attention_backward", inputs, dq),
          record_undifferentiable("attention_backward", inputs, dk),
          record_undifferentiable("attention_backward", inputs, dv)};
}

}  // namespace

Tensor attention(const Tensor& queries, const Tensor& keys, const Tensor& values,
                 const AttentionOptions& options) {
  const OpScope scope(__func__);
  const Tensor q = autocast(queries), k = autocast(keys), v = autocast(values);
  check_operands(q, k, v);
  check_options(options);
  const Plan p = plan(q, k, options);
  const Tensor from_q = adjacent(q), from_k = adjacent(k), from_v = adjacent(v);
  const Tensor out = room_like(q);
  const Tensor lse =
      Tensor::empty({q.size(0), q.size(1), q.size(2)}, {compute_dtype(q.dtype()), q.device()});
  const Plan placed = beside(p, q);
  AttentionDesc desc = placed.desc;
  desc.q = strides_of(from_q), desc.k = strides_of(from_k), desc.v = strides_of(from_v);
  desc.out = strides_of(out);
  count_flops(p.desc, 4);
  dispatch_floating(q.dtype(), "attention", [&]<class T>() {
    PLINTH_RUN(q, attention_forward, desc, from_q.data<T>(), from_k.data<T>(), from_v.data<T>(),
               out.data<T>(), lse.data<compute_t<T>>());
  });
  return record(
      "attention", {q, k, v}, out, {q, k, v, out, lse},
      [p](const BackwardContext& c, const Tensor& dy) { return attention_backward(c, dy, p); });
}

}  // namespace plinth
