#pragma once

// A tap on attention: the softmax weights of chosen heads and queries, and no others.
//
//   weights[b, h, r, j] = p[rows[r], j] of head heads[h] of batch element b, as in attention.h,
//                         before dropout; 0 for keys that the query does not see
//
// weights is contiguous [batch, head_count, row_count, kv_len], in compute_t<T>: T is float64,
// float32, bfloat16 or float16. Rows are of q, also in a packed batch, whose queries have zeros
// outside their sequence. The description is a forward pass's; its out is not used.
//
// Cost: 2 kv_len head_dim operations for each chosen head and row, and one reading of the head's k.
// Each row is one softmax of its own, in an order that depends on the description only.

#include "kernels/attention/attention.h"

namespace plinth::kernels::cpu {

// heads: [head_count] within [0, heads), rows: [row_count] within [0, q_len).
template <class T>
void attention_weights(const AttentionDesc& desc, int64_t head_count, const int64_t* heads,
                       int64_t row_count, const int64_t* rows, const T* q, const T* k,
                       compute_t<T>* weights);

}  // namespace plinth::kernels::cpu
