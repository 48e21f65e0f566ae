#include "core/ops/attention.h"

#include <algorithm>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/op_scope.h"
#include "core/ops/attention_plan.h"
#include "core/ops/checks.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/tensor_impl.h"
#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/weights_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::AttentionDesc;

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
void count_flops(const AttentionPlan& plan, int64_t per_pair) {
  if (!FlopCounter::counting()) return;
  const AttentionDesc& d = plan.desc;
  const Tensor lengths = plan.kv_lengths.defined() ? plan.kv_lengths.to(Device{}) : Tensor();
  const auto* const unpadded = data_or_null<int64_t>(lengths);
  int64_t pairs = 0;
  if (d.cu_seqlens_q) {
    for (int64_t s = 0; s < d.sequences; ++s) {
      const int64_t keys = d.cu_seqlens_k[s + 1] - d.cu_seqlens_k[s];
      pairs += visible_pairs(d, d.cu_seqlens_q[s + 1] - d.cu_seqlens_q[s], keys, keys);
    }
  } else {
    for (int64_t b = 0; b < d.batch; ++b) {
      pairs += visible_pairs(d, d.q_len, d.kv_len, unpadded ? unpadded[b] : d.kv_len);
    }
  }
  FlopCounter::add(per_pair * pairs * d.heads * d.head_dim);
}

// Room for [B, H, T, D], laid out as [B, T, H, D].
Tensor room_like(const Tensor& x) {
  const NoGradGuard no_grad;
  return Tensor::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
}

// Room for the gradients of q, k and v: side by side where these are parts of one tensor, whose
// gradient that then is.
Tensors room_for_gradients(const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor whole = whole_of({q, k, v}, 1);
  if (!whole.defined()) return {room_like(q), room_like(k), room_like(v)};
  const NoGradGuard no_grad;
  return room_like(whole).split({q.size(1), k.size(1), v.size(1)}, 1);
}

// What the forward pass saves, its inputs first.
enum AttentionSaved : size_t { kQ, kK, kV, kBias, kSinks, kInputs, kOut = kInputs, kLse, kSlopes };

// The gradient of input `number`, to be written, where it is asked for.
Tensor wanted(const BackwardContext& c, AttentionSaved number) {
  if (!c.saved(number).defined() || !c.needs(number)) return {};
  const NoGradGuard no_grad;
  return Tensor::empty(c.saved(number).shape(), c.saved(number).options());
}

// Operands with adjacent elements of heads, and room for the gradients.
struct BackwardTensors {
  Tensor dout, q, k, v, out, lse, dq, dk, dv;
};

void run_backward(AttentionDesc desc, const BackwardTensors& t) {
  desc.q = strides_of(t.q), desc.k = strides_of(t.k), desc.v = strides_of(t.v);
  desc.out = strides_of(t.out), desc.dout = strides_of(t.dout);
  desc.dq = strides_of(t.dq), desc.dk = strides_of(t.dk), desc.dv = strides_of(t.dv);
  dispatch_floating(t.q.dtype(), "attention_backward", [&]<class T>() {
    PLINTH_RUN_WITH(t.q, attention_backward_workspace<T>(desc), attention_backward, desc,
                    t.dout.data<T>(), t.q.data<T>(), t.k.data<T>(), t.v.data<T>(), t.out.data<T>(),
                    t.lse.data<compute_t<T>>(), t.dq.data<T>(), t.dk.data<T>(), t.dv.data<T>());
  });
}

// grads: of out, and of lse where it was an output.
Tensors attention_backward(const BackwardContext& c, const Tensors& grads,
                           const AttentionPlan& plan) {
  const Tensor q = adjacent(c.saved(kQ)), k = adjacent(c.saved(kK)), v = adjacent(c.saved(kV));
  const Tensor out = adjacent(c.saved(kOut)), dout = adjacent(grads[0]);
  const Tensors room = room_for_gradients(q, k, v);
  const Tensor &lse = c.saved(kLse), &dq = room[0], &dk = room[1], &dv = room[2];
  const Tensor dlse = grads.size() > 1 ? plain(grads[1]) : Tensor();
  const Tensor dbias = wanted(c, kBias), dsinks = wanted(c, kSinks);
  AttentionPlan given = plan;
  given.bias = c.saved(kBias), given.sinks = c.saved(kSinks);
  given.alibi_slopes = c.saved(kSlopes);
  const AttentionPlan placed = given.beside(q);
  AttentionDesc desc = placed.desc;
  if (dlse.defined()) desc.dlse = dlse.raw_data();
  if (dsinks.defined()) desc.dsinks = dsinks.raw_data();
  if (dbias.defined()) {
    desc.dbias = dbias.raw_data();
    desc.dbias_strides = bias_strides_of(dbias);
  }
  count_flops(plan, dbias.defined() ? 14 : 10);
  run_backward(desc, {dout, q, k, v, out, lse, dq, dk, dv});
  Tensors inputs = grads, results;
  for (size_t i = 0; i < kInputs; ++i) inputs.push_back(c.saved(i));
  for (const Tensor& gradient : {dq, dk, dv, dbias, dsinks}) {
    results.push_back(gradient.defined()
                          ? record_undifferentiable("attention_backward", inputs, gradient)
                          : gradient);
  }
  return results;
}

// {out}, or {out, lse}.
Tensors run_attention(const Tensor& queries, const Tensor& keys, const Tensor& values,
                      const AttentionOptions& options, bool with_lse, std::string_view op) {
  const Tensor q = autocast(queries), k = autocast(keys), v = autocast(values);
  const AttentionPlan plan = attention_plan(q, k, options, op);
  check_values(v, q, k, op);
  const Tensor from_q = adjacent(q), from_k = adjacent(k), from_v = adjacent(v);
  const Tensor out = room_like(q);
  const Tensor lse =
      Tensor::empty({q.size(0), q.size(1), q.size(2)}, {compute_dtype(q.dtype()), q.device()});
  const AttentionPlan placed = plan.beside(q);
  AttentionDesc desc = placed.desc;
  desc.q = strides_of(from_q), desc.k = strides_of(from_k), desc.v = strides_of(from_v);
  desc.out = strides_of(out);
  count_flops(plan, 4);
  dispatch_floating(q.dtype(), op, [&]<class T>() {
    PLINTH_RUN_WITH(q, attention_forward_workspace<T>(desc), attention_forward, desc,
                    from_q.data<T>(), from_k.data<T>(), from_v.data<T>(), out.data<T>(),
                    lse.data<compute_t<T>>());
  });
  AttentionPlan kept = plan;
  kept.bias = kept.sinks = kept.alibi_slopes = {};  // the node saves them
  return record_multi("attention", {q, k, v, plan.bias, plan.sinks},
                      with_lse ? Tensors{out, lse} : Tensors{out},
                      {q, k, v, plan.bias, plan.sinks, out, lse, plan.alibi_slopes},
                      [kept](const BackwardContext& c, const Tensors& grads) {
                        return attention_backward(c, grads, kept);
                      });
}

// Indices within [0, length), on the CPU.
Tensor checked_choice(const std::vector<int64_t>& choice, int64_t length,
                      std::string_view argument) {
  for (size_t i = 0; i < choice.size(); ++i) {
    check(choice[i] >= 0 && choice[i] < length, ErrorKind::Argument, "attention_weights", argument,
          "[", i, "] is ", choice[i], ", expected within [0, ", length, ")");
  }
  return from_values(choice, {static_cast<int64_t>(choice.size())});
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options) {
  const OpScope scope(__func__);
  return run_attention(q, k, v, options, false, __func__)[0];
}

AttentionResult attention_with_lse(const Tensor& q, const Tensor& k, const Tensor& v,
                                   const AttentionOptions& options) {
  const OpScope scope(__func__);
  const Tensors results = run_attention(q, k, v, options, true, __func__);
  return {results[0], results[1]};
}

AttentionGradients attention_gradients(const Tensor& dout, const Tensor& q, const Tensor& k,
                                       const Tensor& v, const Tensor& out, const Tensor& lse,
                                       const AttentionOptions& options) {
  const OpScope scope(__func__);
  constexpr std::string_view kOp = "attention_gradients";
  const NoGradGuard no_grad;
  check(!options.bias.defined() && !options.sinks.defined() &&
            (options.dropout == 0 || options.part.random),
        ErrorKind::Argument, kOp,
        "takes neither bias nor sinks, and dropout with part.random only");
  const AttentionPlan plan = attention_plan(q, k, options, kOp);
  check_values(v, q, k, kOp);
  for (const auto& [tensor, argument] : {std::pair(&dout, "dout"), {&out, "out"}}) {
    check_like(*tensor, q, kOp, argument, "q");
    check_shape(*tensor, q.shape(), kOp, argument, "that of q");
  }
  check(lse.dtype() == compute_dtype(q.dtype()), ErrorKind::DType, kOp, "lse has dtype ",
        name(lse.dtype()), ", expected ", name(compute_dtype(q.dtype())));
  check(lse.device() == q.device(), ErrorKind::Device, kOp, "lse is on ", lse.device(),
        ", expected ", q.device(), " (that of q)");
  check_shape(lse, {q.size(0), q.size(1), q.size(2)}, kOp, "lse",
              "that of q without its last size");
  const AttentionPlan placed = plan.beside(q);
  AttentionGradients gradients{room_like(q), room_like(k), room_like(v)};
  count_flops(plan, 10);
  run_backward(placed.desc, {adjacent(dout), adjacent(q), adjacent(k), adjacent(v), adjacent(out),
                             plain(lse), gradients.dq, gradients.dk, gradients.dv});
  return gradients;
}

Tensor attention_weights(const Tensor& queries, const Tensor& keys, const AttentionOptions& options,
                         const std::vector<int64_t>& heads, const std::vector<int64_t>& rows) {
  const OpScope scope(__func__);
  const Tensor q = autocast(queries), k = autocast(keys);
  AttentionOptions without_dropout = options;
  without_dropout.dropout = 0;
  const AttentionPlan plan = attention_plan(q, k, without_dropout, __func__);
  const Tensor of_heads = checked_choice(heads, q.size(1), "heads").to(q.device());
  const Tensor of_rows = checked_choice(rows, q.size(2), "rows").to(q.device());
  const Tensor from_q = adjacent(q), from_k = adjacent(k);
  const Tensor weights = Tensor::empty({q.size(0), of_heads.numel(), of_rows.numel(), k.size(2)},
                                       {compute_dtype(q.dtype()), q.device()});
  const AttentionPlan placed = plan.beside(q);
  AttentionDesc desc = placed.desc;
  desc.q = strides_of(from_q), desc.k = strides_of(from_k);
  dispatch_floating(q.dtype(), __func__, [&]<class T>() {
    PLINTH_RUN(q, attention_weights, desc, of_heads.numel(), of_heads.data<int64_t>(),
               of_rows.numel(), of_rows.data<int64_t>(), from_q.data<T>(), from_k.data<T>(),
               weights.data<compute_t<T>>());
  });
  return record_undifferentiable("attention_weights", {q, k, plan.bias, plan.sinks}, weights);
}

}  // namespace plinth
