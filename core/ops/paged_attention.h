#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace plinth {

// As those of AttentionOptions (core/ops/attention.h), with a sequence's own length for Tk.
struct PagedAttentionOptions {
  bool causal = true;
  int64_t window = 0;
  double scale = 0;  // of the scores; 0 stands for 1 / sqrt(D)
  double soft_cap = 0;
  Tensor alibi_slopes = {};  // [H], float32 (float64 for q of float64)
  Tensor sinks = {};         // likewise
};

// Attention to a cache in pages (Kwon et al. 2023, arXiv 2309.06180): key j of sequence b is row
// j % page_size of page block_table[b, j / page_size], for j < kv_lengths[b]; the last query stands
// beside the last of them. q [B, H, Tq, D]; k_pages, v_pages [pages, page_size, Hkv, D] with H a
// multiple of Hkv, of any strides; block_table int32 or int64 [B, max_pages]; kv_lengths int64 [B].
// Entries beyond a sequence's length may be anything, and so may what a page holds there.
//
// The result is that of attention(), in its layout. It has the same bits on the CPU, and on a GPU
// where the kernels for few queries serve attention() too: up to 16 queries, and 128 rows of q to a
// key/value head. Only for generation: there is no gradient, and inputs that require one are
// refused; autocast leaves the dtypes as they are.
//
// On a GPU rows are read as 16-byte vectors: D is at most 256 and, like the strides, a multiple of
// 16 bytes. Bad entries and lengths are reported as bad indices are (core/index_check.h).
//
// Errors: Shape, DType, Device, Argument.
Tensor paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages,
                       const Tensor& block_table, const Tensor& kv_lengths,
                       const PagedAttentionOptions& options = {});

}  // namespace plinth
