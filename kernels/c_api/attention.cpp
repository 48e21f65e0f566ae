#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/weights_cuda.h"
#include "kernels/c_api/call.h"
#include "kernels/rope/rope.h"
#include "kernels/rope/rope_cuda.h"

using namespace plinth::kernels;
using namespace plinth::kernels::c_api;

namespace {

cpu::AttentionDesc::Strides strides_of(const plinth_attention_strides& s) {
  return {s.batch, s.head, s.seq};
}

void check_strides(const char* name, const plinth_attention_strides& s) {
  require(s.batch >= 0 && s.head >= 0 && s.seq >= 0,
          std::string(name) + " has a negative stride, takes 0 or more");
}

cpu::AttentionDesc::BiasStrides strides_of(const plinth_attention_bias_strides& s) {
  return {s.batch, s.head, s.query, s.key};
}

void check_shape(plinth_device device, const plinth_attention_desc& d) {
  constexpr int64_t kMostOnGpu = 256;
  product({{"batch", d.batch}, {"heads", d.heads}, {"q_len", d.q_len}, {"head_dim", d.head_dim}});
  product({{"batch", d.batch},
           {"kv_heads", d.kv_heads},
           {"kv_len", d.kv_len},
           {"head_dim", d.head_dim}});
  require(d.head_dim > 0, "head_dim is 0, takes 1 or more");
  require(d.kv_heads > 0 ? d.heads % d.kv_heads == 0 : d.heads == 0,
          "heads is " + std::to_string(d.heads) + ", takes a multiple of kv_heads (" +
              std::to_string(d.kv_heads) + ")");
  if (device == PLINTH_CUDA && d.head_dim > kMostOnGpu)
    throw Refused{PLINTH_UNSUPPORTED,
                  "head_dim is " + std::to_string(d.head_dim) + ", takes at most 256 on a GPU"};
}

void check_options(const plinth_attention_desc& d) {
  require(std::isfinite(d.scale), "scale is not finite");
  require(d.window >= 0, "window is " + std::to_string(d.window) + ", takes 0 or more");
  require(d.dropout >= 0 && d.dropout < 1 && static_cast<float>(d.dropout) < 1,
          "dropout is " + std::to_string(d.dropout) + ", takes 0 to below 1 as float32");
  require((d.cu_seqlens_q == nullptr) == (d.cu_seqlens_k == nullptr),
          "only one of cu_seqlens_q and cu_seqlens_k is null");
  if (!d.cu_seqlens_q) return;
  require(d.batch == 1 && !d.kv_lengths, "cu_seqlens take a batch of 1 and no kv_lengths");
  require(d.sequences >= 0, "sequences is negative");
}

// Kernels narrow the number to what they compute in.
void check_factor(const char* name, double x, plinth_dtype dtype) {
  const bool wide = dtype == PLINTH_FLOAT64;
  const auto range = wide ? cpu::FactorRange::of<double>() : cpu::FactorRange::of<float>();
  if (range.holds(x)) return;
  std::ostringstream message;
  message << name << " is " << x << ", takes 0 or a size within [" << range.least << ", "
          << range.most << "], which " << (wide ? "float64" : "float32") << " holds";
  require(false, message.str());
}

// What bends scores, and the gradients of it.
void check_scores(plinth_dtype dtype, const plinth_attention_desc& d) {
  require(d.soft_cap >= 0 && std::isfinite(d.soft_cap),
          "soft_cap is " + std::to_string(d.soft_cap) + ", takes a finite number of 0 or more");
  check_factor("scale", d.scale, dtype);
  check_factor("soft_cap", d.soft_cap, dtype);
  check_optional(wide_size(dtype), {{"alibi_slopes", d.alibi_slopes},
                                    {"sinks", d.sinks},
                                    {"dlse", d.dlse},
                                    {"dsinks", d.dsinks}});
  check_optional(size_of(dtype), {{"bias", d.bias}, {"dbias", d.dbias}});
  require(d.bias || !d.dbias, "dbias is given without bias");
  require(d.sinks || !d.dsinks, "dsinks is given without sinks");
  require(!d.bias || !d.cu_seqlens_q, "bias is given with cu_seqlens, takes one of them");
  const std::pair<const char*, const plinth_attention_bias_strides&> all[] = {
      {"bias", d.bias_strides}, {"dbias", d.dbias_strides}};
  for (const auto& [name, s] : all)
    require(s.batch >= 0 && s.head >= 0 && s.query >= 0 && s.key >= 0,
            std::string(name) + " has a negative stride, takes 0 or more");
}

void check_offsets(const char* name, const int64_t* offsets, int64_t sequences, int64_t total) {
  for (int64_t s = 0; s <= sequences; ++s) {
    const int64_t least = s == 0 ? 0 : offsets[s - 1];
    const int64_t most = s == 0 ? 0 : total;
    const bool is_right =
        offsets[s] >= least && offsets[s] <= most && (s < sequences || offsets[s] == total);
    require(is_right, std::string(name) + "[" + std::to_string(s) + "] is " +
                          std::to_string(offsets[s]) + ", takes offsets that rise from 0 to " +
                          std::to_string(total));
  }
}

// What the description points to; a GPU's is not looked at.
void check_lengths(const plinth_attention_desc& d) {
  for (int64_t b = 0; d.kv_lengths && b < d.batch; ++b)
    require(d.kv_lengths[b] >= 0 && d.kv_lengths[b] <= d.kv_len,
            "kv_lengths[" + std::to_string(b) + "] is " + std::to_string(d.kv_lengths[b]) +
                ", takes 0 to " + std::to_string(d.kv_len));
  if (!d.cu_seqlens_q) return;
  check_offsets("cu_seqlens_q", d.cu_seqlens_q, d.sequences, d.q_len);
  check_offsets("cu_seqlens_k", d.cu_seqlens_k, d.sequences, d.kv_len);
}

cpu::AttentionDesc checked(plinth_device device, plinth_dtype dtype,
                           const plinth_attention_desc* pointer) {
  check_floating(dtype);
  const plinth_attention_desc& d = given(pointer, "desc");
  check_shape(device, d);
  check_options(d);
  check_scores(dtype, d);
  if (device == PLINTH_CPU) check_lengths(d);
  const std::pair<const char*, const plinth_attention_strides&> all[] = {
      {"q", d.q},   {"k", d.k},   {"v", d.v},   {"out", d.out},
      {"dq", d.dq}, {"dk", d.dk}, {"dv", d.dv}, {"dout", d.dout}};
  for (const auto& [name, strides] : all) check_strides(name, strides);
  return {.batch = d.batch,
          .heads = d.heads,
          .kv_heads = d.kv_heads,
          .q_len = d.q_len,
          .kv_len = d.kv_len,
          .head_dim = d.head_dim,
          .q = strides_of(d.q),
          .k = strides_of(d.k),
          .v = strides_of(d.v),
          .out = strides_of(d.out),
          .dq = strides_of(d.dq),
          .dk = strides_of(d.dk),
          .dv = strides_of(d.dv),
          .dout = strides_of(d.dout),
          .scale = d.scale != 0 ? d.scale : 1 / std::sqrt(static_cast<double>(d.head_dim)),
          .causal = d.causal != 0,
          .window = std::min(d.window, d.q_len + d.kv_len),
          .kv_lengths = d.kv_lengths,
          .cu_seqlens_q = d.cu_seqlens_q,
          .cu_seqlens_k = d.cu_seqlens_k,
          .sequences = d.sequences,
          .dropout = static_cast<float>(d.dropout),
          .philox = key_of(d.philox),
          .dropout_whole = {},
          .soft_cap = d.soft_cap,
          .alibi_slopes = d.alibi_slopes,
          .bias = d.bias,
          .bias_strides = strides_of(d.bias_strides),
          .sinks = d.sinks,
          .dlse = d.dlse,
          .dbias = d.dbias,
          .dbias_strides = strides_of(d.dbias_strides),
          .dsinks = d.dsinks};
}

// Indices of the CPU's memory.
void check_choice(const char* name, int64_t count, const int64_t* choice, int64_t length) {
  for (int64_t i = 0; i < count; ++i)
    require(choice[i] >= 0 && choice[i] < length, std::string(name) + "[" + std::to_string(i) +
                                                      "] is " + std::to_string(choice[i]) +
                                                      ", takes 0 to " + std::to_string(length - 1));
}

struct Counts {
  int64_t queries, keys, rows;  // elements of q and of k, numbers of lse
};

Counts counts_of(const cpu::AttentionDesc& d) {
  const int64_t rows = d.batch * d.heads * d.q_len;
  return {rows * d.head_dim, d.batch * d.kv_heads * d.kv_len * d.head_dim, rows};
}

size_t forward_bytes(plinth_device device, plinth_dtype dtype, const cpu::AttentionDesc& desc) {
  return with_floating(
      dtype, [&]<class T>() { return PLINTH_BYTES(attention_forward_workspace<T>, desc); });
}

size_t backward_bytes(plinth_device device, plinth_dtype dtype, const cpu::AttentionDesc& desc) {
  return with_floating(
      dtype, [&]<class T>() { return PLINTH_BYTES(attention_backward_workspace<T>, desc); });
}

void check_rope(const plinth_rope_desc& d) {
  product({{"batch", d.batch}, {"seq", d.seq}, {"heads", d.heads}, {"head_dim", d.head_dim}});
  product({{"table_rows", d.table_rows}, {"rotary_dim", d.rotary_dim}});
  require(d.rotary_dim % 2 == 0 && d.rotary_dim <= d.head_dim,
          "rotary_dim is " + std::to_string(d.rotary_dim) + ", takes an even number of at most " +
              std::to_string(d.head_dim) + " (head_dim)");
  for (const int64_t stride : {d.in.batch, d.in.seq, d.in.head, d.out.batch, d.out.seq, d.out.head})
    require(stride >= 0, "a stride is negative, takes 0 or more");
}

void check_positions(plinth_device device, const plinth_rope_desc& d, const int64_t* positions) {
  check_optional(sizeof(int64_t), {{"positions", positions}});
  if (!positions) {
    require(d.offset >= 0 && d.seq <= d.table_rows && d.offset <= d.table_rows - d.seq,
            "offset " + std::to_string(d.offset) + " and seq " + std::to_string(d.seq) +
                " leave the table of " + std::to_string(d.table_rows) + " rows");
  } else if (device == PLINTH_CPU) {
    const int64_t bad = cpu::first_bad_position(d.batch * d.seq, d.table_rows, positions);
    require(bad < 0, "positions[" + std::to_string(bad) + "] leaves the table of " +
                         std::to_string(d.table_rows) + " rows");
  }
}

cpu::RopeDesc converted(const plinth_rope_desc& d) {
  const auto strides = [](const plinth_rope_strides& s) {
    return cpu::RopeStrides{s.batch, s.seq, s.head};
  };
  return {.batch = d.batch,
          .seq = d.seq,
          .heads = d.heads,
          .head_dim = d.head_dim,
          .rotary_dim = d.rotary_dim,
          .in = strides(d.in),
          .out = strides(d.out),
          .interleaved = d.interleaved != 0,
          .inverse = d.inverse != 0,
          .offset = d.offset};
}

}  // namespace

plinth_status plinth_attention_forward_workspace(plinth_device device, plinth_dtype dtype,
                                                 const plinth_attention_desc* desc, size_t* bytes) {
  return guarded(__func__, device, [&] {
    const cpu::AttentionDesc d = checked(device, dtype, desc);
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = forward_bytes(device, dtype, d);
  });
}

plinth_status plinth_attention_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                       const plinth_attention_desc* desc, const void* q,
                                       const void* k, const void* v, void* out, void* lse,
                                       void* workspace, size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const cpu::AttentionDesc d = checked(device, dtype, desc);
    const Counts counts = counts_of(d);
    check_pointers(counts.queries, size_of(dtype), {{"q", q}, {"out", out}});
    check_pointers(counts.keys, size_of(dtype), {{"k", k}, {"v", v}});
    check_pointers(counts.rows, wide_size(dtype), {{"lse", lse}});
    check_workspace(workspace, workspace_bytes, forward_bytes(device, dtype, d));
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL_WITH(attention_forward, d, in<T>(q), in<T>(k), in<T>(v), c_api::out<T>(out),
                       c_api::out<plinth::compute_t<T>>(lse));
    });
  });
}

plinth_status plinth_attention_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                  const plinth_attention_desc* desc,
                                                  size_t* bytes) {
  return guarded(__func__, device, [&] {
    const cpu::AttentionDesc d = checked(device, dtype, desc);
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = backward_bytes(device, dtype, d);
  });
}

plinth_status plinth_attention_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                        const plinth_attention_desc* desc, const void* dout,
                                        const void* q, const void* k, const void* v,
                                        const void* out, const void* lse, void* dq, void* dk,
                                        void* dv, void* workspace, size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const cpu::AttentionDesc d = checked(device, dtype, desc);
    const Counts counts = counts_of(d);
    check_pointers(counts.queries, size_of(dtype),
                   {{"dout", dout}, {"q", q}, {"out", out}, {"dq", dq}});
    check_pointers(counts.keys, size_of(dtype), {{"k", k}, {"v", v}, {"dk", dk}, {"dv", dv}});
    check_pointers(counts.rows, wide_size(dtype), {{"lse", lse}});
    check_workspace(workspace, workspace_bytes, backward_bytes(device, dtype, d));
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL_WITH(attention_backward, d, in<T>(dout), in<T>(q), in<T>(k), in<T>(v), in<T>(out),
                       in<plinth::compute_t<T>>(lse), c_api::out<T>(dq), c_api::out<T>(dk),
                       c_api::out<T>(dv));
    });
  });
}

plinth_status plinth_attention_weights(plinth_device device, void* stream, plinth_dtype dtype,
                                       const plinth_attention_desc* desc, int64_t head_count,
                                       const int64_t* heads, int64_t row_count, const int64_t* rows,
                                       const void* q, const void* k, void* weights) {
  return guarded(__func__, device, [&] {
    const cpu::AttentionDesc d = checked(device, dtype, desc);
    const Counts counts = counts_of(d);
    const int64_t elements = product({{"batch", d.batch},
                                      {"head_count", head_count},
                                      {"row_count", row_count},
                                      {"kv_len", d.kv_len}});
    check_pointers(head_count, sizeof(int64_t), {{"heads", heads}});
    check_pointers(row_count, sizeof(int64_t), {{"rows", rows}});
    check_pointers(counts.queries, size_of(dtype), {{"q", q}});
    check_pointers(counts.keys, size_of(dtype), {{"k", k}});
    check_pointers(elements, wide_size(dtype), {{"weights", weights}});
    if (device == PLINTH_CPU) {
      check_choice("heads", head_count, heads, d.heads);
      check_choice("rows", row_count, rows, d.q_len);
    }
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(attention_weights, d, head_count, heads, row_count, rows, in<T>(q), in<T>(k),
                  c_api::out<plinth::compute_t<T>>(weights));
    });
  });
}

plinth_status plinth_rope(plinth_device device, void* stream, plinth_dtype dtype,
                          const plinth_rope_desc* desc, const void* x, const void* cos,
                          const void* sin, const int64_t* positions, void* y) {
  return guarded(__func__, device, [&] {
    const plinth_rope_desc& d = given(desc, "desc");
    check_rope(d);
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      check_pointers(d.batch * d.seq * d.heads * d.head_dim, sizeof(T), {{"x", x}, {"y", y}});
      check_pointers(d.table_rows * d.rotary_dim, sizeof(C), {{"cos", cos}, {"sin", sin}});
      check_positions(device, d, positions);
      PLINTH_CALL(rope, converted(d), in<T>(x), in<C>(cos), in<C>(sin), positions, out<T>(y));
    });
  });
}

plinth_status plinth_rope_table(plinth_dtype dtype, int64_t rows, int64_t rotary_dim, double theta,
                                void* cos, void* sin) {
  return guarded(__func__, PLINTH_CPU, [&] {
    const int64_t n = product({{"rows", rows}, {"rotary_dim", rotary_dim}});
    require(rotary_dim % 2 == 0, "rotary_dim is odd, takes an even number");
    require(theta > 0, "theta is " + std::to_string(theta) + ", takes more than 0");
    const auto write = [&]<class C>() {
      check_pointers(n, sizeof(C), {{"cos", cos}, {"sin", sin}});
      cpu::rope_table(rows, rotary_dim, theta, {}, out<C>(cos), out<C>(sin));
    };
    if (dtype == PLINTH_FLOAT64) return write.operator()<double>();
    if (dtype == PLINTH_FLOAT32) return write.operator()<float>();
    refuse_dtype(dtype, "float64 or float32");
  });
}
