#include "kernels/attention/custom.h"

#include "kernels/attention/problem.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

std::vector<BlockSight> block_map(
    const AttentionDesc& d, int64_t block, bool all_heads_alike, bool all_batches_alike,
    BlockSight (*look)(const void* functor, const AttentionPair& first), CustomScore& score) {
  const int64_t query_blocks = (d.q_len + block - 1) / block;
  const int64_t key_blocks = (d.kv_len + block - 1) / block, size = query_blocks * key_blocks;
  // The sequences of a packed batch differ in length.
  const bool one_problem = all_batches_alike && !d.cu_seqlens_q && score.problems > 0;
  const int64_t problems = one_problem ? 1 : score.problems;
  const int64_t heads = all_heads_alike ? std::min<int64_t>(1, d.heads) : d.heads;
  score.block = block;
  score.key_blocks = key_blocks;
  score.head_stride = all_heads_alike ? 0 : size;
  score.problem_stride = one_problem ? 0 : heads * size;
  std::vector<BlockSight> map(static_cast<size_t>(problems * heads * size));
  parallel_for(problems * heads * query_blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t above = t / query_blocks;
      const attention::Problem p = attention::problem_at(d, above / heads);
      AttentionPair first{.batch = above / heads,
                          .head = above % heads,
                          .query = t % query_blocks * block,
                          .q_len = p.q_len,
                          .kv_len = p.kv_len};
      for (int64_t j = 0; j < key_blocks; ++j) {
        first.key = j * block;
        map[static_cast<size_t>(t * key_blocks + j)] = look(score.functor, first);
      }
    }
  });
  return map;
}

}  // namespace plinth::kernels::cpu
