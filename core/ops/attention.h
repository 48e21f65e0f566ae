#pragma once

#include "core/tensor.h"

namespace plinth {

struct AttentionOptions {
  // With the last query beside the last key, so that it also serves a cache of earlier keys: query
  // i sees keys up to i + Tk - Tq.
  bool causal = false;
  // If positive, a query sees only the last `window` of the keys that causal leaves it, itself
  // included; without causal, keys nearer than `window` on either side.
  int64_t window = 0;
  double scale = 0;        // of the scores; 0 stands for 1 / sqrt(D)
  Tensor kv_lengths = {};  // int64 [B]: keys from kv_lengths[b] on are padding that no query sees
  // int64 [sequences + 1] each, from 0 to Tq and to Tk: with B = 1, sequences packed one after the
  // other that do not see each other.
  Tensor cu_seqlens_q = {}, cu_seqlens_k = {};
  double dropout = 0;  // probability of dropping a weight; draws a key of generator() if positive
};

// Scaled dot-product attention, softmax(scale q k^T) v over the keys that a query sees, without
// ever holding the scores (Dao 2023, arXiv 2307.08691). q [B, H, Tq, D]; k, v [B, Hkv, Tk, D] with
// H a multiple of Hkv (query head h reads key/value head h / (H / Hkv)). A query that sees no key
// gives 0. Any strides are taken without a copy if the elements of a head are adjacent.
//
// The result [B, H, Tq, D] lies in memory as [B, Tq, H, D], so that transpose(1, 2).flatten(2)
// moves nothing, and so do the gradients. A second derivative is refused.
//
// Errors: Shape, DType (one floating dtype, int64 lengths), Argument for lengths that do not fit.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {});

}  // namespace plinth
