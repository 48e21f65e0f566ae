#pragma once

// Fused scaled dot-product attention, forward and backward, tiled with an online softmax (Dao,
// "FlashAttention-2", arXiv 2307.08691): the matrix of scores is never whole in memory.
//
//   x[i, j] = scale q[i] . k[j]
//   s[i, j] = cap(x[i, j]) - slope |i + off - j| + bias[i, j],   -inf where query i does not see
//             key j; cap(x) = soft_cap tanh(x / soft_cap), or x; off = kv_len - q_len
//   lse[i]  = log (exp(sink) + sum_j exp(s[i, j]))
//   p[i, j] = exp(s[i, j] - lse[i])
//   out[i]  = sum_j drop[i, j] p[i, j] v[j]
//
//   dv[j]    = sum_i drop[i, j] p[i, j] dout[i]
//   delta[i] = dout[i] . out[i] - dlse[i]
//   ds[i, j] = p[i, j] (drop[i, j] dout[i] . v[j] - delta[i])
//   dx[i, j] = ds[i, j] cap'(x[i, j])
//   dq[i]    = scale sum_j dx[i, j] k[j]
//   dk[j]    = scale sum_i dx[i, j] q[i]
//   dbias    = ds, summed along the dimensions in which bias is broadcast
//   dsink    = - sum_i exp(sink - lse[i]) delta[i], over the batch too
//
// Slope, bias and sink are of a query head, and left out unless given. cap: Gemma 2, arXiv
// 2408.00118; slope: ALiBi, arXiv 2108.12409; sink: a logit that takes weight and has no value
// (gpt-oss, arXiv 2508.10925).
//
// Shapes       q, out [batch, heads, q_len, head_dim]; k, v [batch, kv_heads, kv_len, head_dim];
//              lse [batch, heads, q_len], contiguous. Any strides but head_dim's, which is 1. Query
//              head h reads key/value head h / (heads / kv_heads).
// Dtypes       float64, float32, bfloat16, float16; scores, sums and lse in compute_t<T>.
// Masked rows  a query that sees no key has out = 0, lse = -inf (or its sink), and gives no
//              gradient but the sink's.
// Dropout      drop[i, j] is 0 with probability `dropout`, else 1 / (1 - dropout): lane j % 4 of
//              Philox block (head * q_len + i) * ceil(kv_len / 4) + j / 4 of sample
//              philox.sample + batch. In a packed batch the sequence stands for the batch, and
//              lengths and positions are the sequence's own. Where the operands are parts of a
//              whole (DropoutWhole), head, i, j, q_len and kv_len are the whole's. The backward
//              pass draws the same numbers.
// Aliasing     outputs overlap neither inputs nor one another.
// Determinism  the order of every sum depends on the description only; dk and dv of a shared
//              key/value head are summed over its query heads in order. Rows of a sequence or of a
//              batch element do not depend on what stands beside it.
// Cost         4 q kv head_dim operations a head forward, 10 backward (less what the mask skips in
//              whole tiles); reads and writes of q, k, v, out and their gradients.

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/philox.h"
#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct CustomScore;

// Where head 0, query 0 and key 0 stand in a whole of which the operands are parts, and how many
// queries and keys that has; 0: as many as the operands. `key` is a multiple of 4.
struct DropoutWhole {
  int64_t head = 0, query = 0, key = 0;
  int64_t queries = 0, keys = 0;

  // The Philox block of a head's weight, of operands with q_len queries and kv_len keys.
  PLINTH_HOST_DEVICE int64_t block(int64_t of_head, int64_t of_query, int64_t of_key, int64_t q_len,
                                   int64_t kv_len) const {
    const int64_t rows = queries > 0 ? queries : q_len;
    const int64_t blocks = ((keys > 0 ? keys : kv_len) + 3) / 4;
    return ((head + of_head) * rows + query + of_query) * blocks + (key + of_key) / 4;
  }
};

// The sizes that a scale or a soft cap may have if it is not 0: kernels narrow it to the type that
// they compute in, and hold it there in full, its reciprocal, and both in units of log 2.
struct FactorRange {
  double least, most;

  template <class C>
  static FactorRange of() {
    constexpr double kLeast = std::numeric_limits<C>::min();
    return {kLeast, 1 / kLeast};
  }
  bool holds(double x) const { return x == 0 || (std::fabs(x) >= least && std::fabs(x) <= most); }
};

struct AttentionDesc {
  int64_t batch = 1, heads = 1, kv_heads = 1, q_len = 0, kv_len = 0, head_dim = 0;
  struct Strides {
    int64_t batch = 0, head = 0, seq = 0;  // in elements
  };
  Strides q, k, v, out;
  Strides dq, dk, dv, dout;
  double scale = 0;  // of FactorRange, as soft_cap is

  // With off = kv_len - q_len, so that the last query meets the last key:
  bool causal = false;  // query i sees keys j <= i + off
  // If > 0, of those only the last `window`; if not causal, |i + off - j| < window. At most q_len +
  // kv_len, beyond which there is no pair to leave out: kernels add it to positions.
  int64_t window = 0;

  // [batch]: keys j >= kv_lengths[b] are padding that no query sees. Null: none.
  const int64_t* kv_lengths = nullptr;

  // Variable-length packing, with batch = 1: sequence s is rows [cu_seqlens_q[s], cu_seqlens_q[s +
  // 1]) of q and [cu_seqlens_k[s], cu_seqlens_k[s + 1]) of k and v, and sees itself only;
  // kv_lengths is then null. The two arrays have sequences + 1 entries, from 0 to q_len and kv_len.
  const int64_t* cu_seqlens_q = nullptr;
  const int64_t* cu_seqlens_k = nullptr;
  int64_t sequences = 0;

  float dropout = 0;
  PhiloxKey philox{};
  DropoutWhole dropout_whole;

  double soft_cap = 0;                 // none if 0
  const void* alibi_slopes = nullptr;  // compute_t<T> [heads]
  // T, at strides of which those of broadcast dimensions are 0. Not with cu_seqlens.
  const void* bias = nullptr;
  struct BiasStrides {
    int64_t batch = 0, head = 0, query = 0, key = 0;  // in elements
  };
  BiasStrides bias_strides;
  const void* sinks = nullptr;  // compute_t<T> [heads]

  // A mask of the caller's own, besides the others, and a change of x before the cap (custom.h);
  // made for this shape, and for the device that the kernels run on.
  const CustomScore* custom = nullptr;

  // Of the backward pass, and null where not wanted or given: the gradient of lse, in its layout;
  // those of bias, whose strides are 0 where bias's are and it has more than one element to sum,
  // and of sinks.
  const void* dlse = nullptr;
  void* dbias = nullptr;
  BiasStrides dbias_strides;
  void* dsinks = nullptr;
};

// Which kernel serves a call, "tiled" or "few queries", and why.
struct AttentionPath {
  const char* kernel;
  const char* why;
};
AttentionPath attention_path(const AttentionDesc& desc, bool backward);

template <class T>
void attention_forward(const AttentionDesc& desc, const T* q, const T* k, const T* v, T* out,
                       compute_t<T>* lse);

// Overwrites dq, dk, dv, and dbias and dsinks where given.
template <class T>
void attention_backward(const AttentionDesc& desc, const T* dout, const T* q, const T* k,
                        const T* v, const T* out, const compute_t<T>* lse, T* dq, T* dk, T* dv);

}  // namespace plinth::kernels::cpu
