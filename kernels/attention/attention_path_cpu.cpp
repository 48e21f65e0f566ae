#include "kernels/attention/attention.h"
#include "kernels/attention/tile.h"

namespace plinth::kernels::cpu {

AttentionPath attention_path(const AttentionDesc& d, bool backward) {
  if (backward) return {"tiled", "the only kernel of the backward pass"};
  if (attention::has_few_queries(d))
    return {"few queries", "the time is that of reading k and v once: nothing is packed"};
  if (d.cu_seqlens_q) return {"tiled", "a sequence's bits do not depend on those beside it"};
  return {"tiled", "more than a few queries: keys are packed once for the tiles that read them"};
}

}  // namespace plinth::kernels::cpu
