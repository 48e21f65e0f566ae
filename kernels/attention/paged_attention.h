#pragma once

// Attention to a cache in pages (Kwon et al. 2023, arXiv 2309.06180): sequences of any length share
// a pool of pages, and a table says which pages hold a sequence's keys and values, in order.
//
//   key j of sequence b is row j % page_size of page block_table[b, j / page_size]
//
// The formulas, dtypes and masks are those of attention.h, with kv_len = kv_lengths[b]: the last
// query stands beside the last key. No dropout and no packed sequences.
//
// Shapes       q, out [batch, heads, q_len, head_dim]; k, v [pages, page_size, kv_heads, head_dim],
//              at any strides but head_dim's, which is 1; block_table [batch, max_pages] of int32
//              or int64, rows table_stride apart; kv_lengths [batch], within [0, max_pages *
//              page_size]; lse [batch, heads, q_len], contiguous.
// Entries      only those are read that hold keys below kv_lengths[b]: others may be anything, and
//              so may the rows of a page that hold no key.
// Bits         those of attention() over the same keys and values, contiguous; on a GPU, where
//              decode/ serves that call too.

#include "kernels/attention/attention.h"

namespace plinth::kernels::cpu {

struct PagedAttentionDesc {
  // kv_len is max_pages * page_size, kv_lengths is given, and strides.batch of k and v is from
  // page to page.
  AttentionDesc attention;
  const void* block_table = nullptr;
  bool wide_table = false;  // int64, else int32
  int64_t table_stride = 0;
  int64_t page_size = 1, pages = 0;
};

// Number in [batch, max_pages] of the first page in use that is not in [0, pages); -1 if there is
// none. Lengths must be within their bounds.
int64_t first_bad_page(const PagedAttentionDesc& desc);
// Entry `number` of [batch, max_pages].
int64_t page_at(const PagedAttentionDesc& desc, int64_t number);

// Lengths and pages in use must be within their bounds.
template <class T>
void paged_attention_forward(const PagedAttentionDesc& desc, const T* q, const T* k, const T* v,
                             T* out, compute_t<T>* lse);

}  // namespace plinth::kernels::cpu
