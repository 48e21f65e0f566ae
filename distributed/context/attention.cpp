#include "distributed/context/attention.h"

#include "core/autocast.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/views.h"
#include "core/random.h"
#include "distributed/context/ring.h"
#include "distributed/redistribute.h"

namespace plinth::distributed {
namespace {

constexpr std::string_view kContextAttention = "context_attention";

void check_call(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                ContextAlgorithm algorithm) {
  check(q.dim() == 4 && k.dim() == 4 && k.size(2) == q.size(2) && v.shape() == k.shape(),
        ErrorKind::Shape, kContextAttention, "q has shape ", q.shape(), ", k ", k.shape(),
        " and v ", v.shape(), ", expected [batch, heads, tokens, head_dim] with the same tokens");
  check(q.size(2) % 2 == 0 && q.size(2) > 0, ErrorKind::Shape, kContextAttention, "q has ",
        q.size(2), " tokens, expected two chunks of equal size");
  check(options.causal, ErrorKind::Argument, kContextAttention, "causal is false, takes true");
  check(!options.bias.defined() && !options.kv_lengths.defined() &&
            !options.cu_seqlens_q.defined() && !options.cu_seqlens_k.defined() && !options.custom,
        ErrorKind::Argument, kContextAttention,
        "takes no bias, kv_lengths, cu_seqlens or custom functor");
  if (algorithm == ContextAlgorithm::Gather) return;
  check(options.window == 0 && !options.alibi_slopes.defined() && !options.sinks.defined(),
        ErrorKind::Argument, kContextAttention, "by a ring takes no window, alibi_slopes or sinks");
  check(options.dropout == 0 || q.size(2) % 8 == 0, ErrorKind::Argument, kContextAttention,
        "by a ring with dropout got chunks of ", q.size(2) / 2,
        " tokens, takes a multiple of 4: the weights of four keys are drawn together");
}

// Chunks of all ranks, rank by rank along dimension 2, in the order of their positions.
Tensor in_order(const Tensor& gathered, int ranks) {
  const int64_t chunk = gathered.size(2) / (2 * ranks);
  Tensors chunks;
  for (int64_t c = 0; c < ranks; ++c) chunks.push_back(gathered.narrow(2, 2 * c * chunk, chunk));
  for (int64_t c = ranks - 1; c >= 0; --c)
    chunks.push_back(gathered.narrow(2, (2 * c + 1) * chunk, chunk));
  return cat(chunks, 2);
}

Tensor gather_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOptions& options,
                        const std::shared_ptr<ProcessGroup>& group) {
  const int64_t ranks = group->size(), rank = group->rank(), heads = k.size(1);
  const Tensor both =
      in_order(redistribute(cat({k, v}, 1), group, Shard(2), Replicate, Partial), group->size());
  const int64_t chunk = q.size(2) / 2, all = both.size(2);
  Tensors results;
  for (const int64_t number : {rank, 2 * ranks - 1 - rank}) {
    const Tensor seen = both.narrow(2, 0, (number + 1) * chunk);
    AttentionOptions own = options;
    own.part.query = number * chunk;
    own.part.queries = own.part.keys = all;
    results.push_back(attention(q.narrow(2, number == rank ? 0 : chunk, chunk),
                                seen.narrow(1, 0, heads), seen.narrow(1, heads, heads), own));
  }
  return cat(results, 2);
}

}  // namespace

Tensor context_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionOptions& options,
                         const std::shared_ptr<ProcessGroup>& group, ContextAlgorithm algorithm) {
  const OpScope scope(__func__);
  check_call(q, k, v, options, algorithm);
  AttentionOptions shared = options;
  if (shared.dropout > 0 && !shared.part.random) shared.part.random = generator().next();
  const Tensor queries = autocast(q), keys = autocast(k), values = autocast(v);
  return algorithm == ContextAlgorithm::Gather
             ? gather_attention(queries, keys, values, shared, group)
             : ring_attention(queries, keys, values, shared, group);
}

}  // namespace plinth::distributed
