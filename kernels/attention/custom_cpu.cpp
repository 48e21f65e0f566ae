#include "kernels/attention/custom.h"

#include "kernels/attention/problem.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

void lay_out_blocks(const AttentionDesc& d, int64_t block, bool all_heads_alike,
                    bool all_batches_alike, CustomScore& score) {
  score.block = block;
  score.query_blocks = (d.q_len + block - 1) / block;
  score.key_blocks = (d.kv_len + block - 1) / block;
  const int64_t size = score.query_blocks * score.key_blocks;
  score.head_stride = all_heads_alike ? 0 : size;
  // The sequences of a packed batch differ in length.
  const bool one_problem = all_batches_alike && !d.cu_seqlens_q;
  score.problem_stride = one_problem ? 0 : (all_heads_alike ? 1 : d.heads) * size;
}

std::vector<BlockSight> block_map(const AttentionDesc& d, const CustomScore& score,
                                  BlockSight (*look)(const void* functor,
                                                     const AttentionPair& first)) {
  std::vector<BlockSight> map(static_cast<size_t>(score.block_count()));
  if (map.empty()) return map;
  const int64_t heads = score.head_stride == 0 ? 1 : score.heads;
  const int64_t rows = score.block_count() / score.key_blocks;
  parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t above = t / score.query_blocks;
      const attention::Problem p = attention::problem_at(d, above / heads);
      AttentionPair first{.batch = above / heads,
                          .head = above % heads,
                          .query = t % score.query_blocks * score.block,
                          .q_len = p.q_len,
                          .kv_len = p.kv_len};
      for (int64_t j = 0; j < score.key_blocks; ++j) {
        first.key = j * score.block;
        map[static_cast<size_t>(t * score.key_blocks + j)] = look(score.functor, first);
      }
    }
  });
  return map;
}

}  // namespace plinth::kernels::cpu
