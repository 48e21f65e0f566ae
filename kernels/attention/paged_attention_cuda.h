#pragma once

// Attention to a paged cache on the GPU: the contract of paged_attention.h, on a stream, by the
// kernels of decode/decode.h. q_len is any, but each 64 rows of q that share a key/value head read
// the cache again: 16 queries of groups of 4.
//
// A page that is not in [0, pages) is read as zeros, a length is taken as the nearest within its
// bounds: report_bad_pages() tells the host when it waits anyway.

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/paged_attention.h"
#include "kernels/index/index_fault.h"

namespace plinth::kernels::cuda {

using cpu::PagedAttentionDesc;

// Whether the kernel takes the layout: a head_dim of whole 16-byte vectors up to 256, and strides
// of k and v that are multiples of them. The pointers k and v must be aligned to 16 bytes.
template <class T>
bool paged_attention_takes(const PagedAttentionDesc& desc);

template <class T>
size_t paged_attention_workspace(const PagedAttentionDesc& desc);

template <class T>
void paged_attention_forward(void* stream, const PagedAttentionDesc& desc, const T* q, const T* k,
                             const T* v, T* out, compute_t<T>* lse, void* workspace);

// If a length is not in [0, kv_len], or first_bad_page() would find a page, and *fault holds
// nothing yet, writes the check's number, which is not 0, and the length or page there
// (kernels/index/index_cuda.h).
void report_bad_pages(void* stream, const PagedAttentionDesc& desc, uint32_t lengths_check,
                      uint32_t pages_check, IndexFault* fault);

}  // namespace plinth::kernels::cuda
