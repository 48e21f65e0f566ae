#include "kernels/attention/hopper/backward_launch.cuh"
#include "kernels/attention/hopper/backward_order.cuh"
#include "kernels/attention/hopper/backward_rows.cuh"

namespace plinth::kernels::cuda::attention {
namespace {

constexpr int kOrderThreads = 128;

// A thread takes a tile of queries, and counts through the tiles of keys that meet it (KeyTile),
// from the last one on.
template <int kKeys, int kQueries>
PLINTH_KERNEL void order_kernel(const PLINTH_GRID_CONSTANT AttentionDesc d, Lengths lengths,
                                BlockMap map, int32_t tiles, int32_t key_tiles,
                                Global<int32_t> order) {
  const int32_t tile =
      static_cast<int32_t>(block_index().x) * kOrderThreads + static_cast<int32_t>(thread_index());
  const auto head = static_cast<int32_t>(block_index().y);
  if (tile >= tiles) return;
  const Problem p = problem_of(d, lengths, tile, kQueries, false);
  if (p.first >= p.q_len) return;
  const Sight sight(d, p);
  const Range queries{p.first, least(p.first + kQueries, p.q_len)};
  const auto first = static_cast<int32_t>(p.first);
  const int32_t last_key = KeyTile<kKeys, kQueries>::last_key_tile(sight, first / kQueries);
  const Global<int32_t> of_head = order + int64_t{head} * (key_tiles + 1) * tiles + tile;
  int32_t rank = 0;
  int64_t last = 0;
  for (int32_t j = last_key; j >= sight.begin(first) / kKeys; --j) {
    const Range keys{j * kKeys, least(int64_t{j + 1} * kKeys, p.kv_len)};
    const BlockSight seen = map.sight(p.sample, head, queries, keys);
    const int64_t at = int64_t{j} * tiles;
    of_head[at] = -1;
    if (seen == BlockSight::Empty) continue;
    of_head[at] = 4 * rank + (seen == BlockSight::Partial ? 1 : 0);
    ++rank;
    last = at;
  }
  if (rank > 0) of_head[last] = of_head[last] + 2;
  of_head[int64_t{key_tiles} * tiles] = rank;
}

}  // namespace

template <class T>
const char* hopper_backward_obstacle(const AttentionDesc& d, const Gradients<T>& x) {
  if (const char* obstacle = hopper_obstacle(d, x.q, x.k, x.v, x.out)) return obstacle;
  if (!mappable(x.dout, d.dout) || !mappable(x.dq, d.dq) || !mappable(x.dk, d.dk) ||
      !mappable(x.dv, d.dv))
    return "rows are not whole vectors of 16 bytes";
  return nullptr;
}

template <class T>
size_t hopper_backward_workspace(const AttentionDesc& d) {
  size_t bytes = 0;
  with_backward_columns(d.head_dim, [&]<int kColumns>() {
    using Sizes = BackwardSizes<kColumns>;
    bytes = BackwardWorkspaceSizes<T, kColumns>(d).total();
    if (d.custom && d.custom->blocks)
      bytes += sizeof(int32_t) *
               static_cast<size_t>(BackwardOrder(d, Sizes::kKeys, Sizes::kQueries).count());
  });
  return bytes;
}

template <int kKeys, int kQueries>
void backward_order(Stream stream, const AttentionDesc& d, int32_t* order) {
  const BackwardOrder sizes(d, kKeys, kQueries);
  launch("hopper_attention_order", order_kernel<kKeys, kQueries>,
         {{static_cast<uint32_t>(ceil_div(sizes.tiles, kOrderThreads)),
           static_cast<uint32_t>(sizes.heads)},
          {kOrderThreads}},
         stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, BlockMap(*d.custom),
         static_cast<int32_t>(sizes.tiles), static_cast<int32_t>(sizes.key_tiles), order);
}

template <class T, int kColumns>
void begin_hopper_backward(Stream stream, const AttentionDesc& d, const Gradients<T>& x,
                           const float* lse, const BackwardWorkspace& w, const int32_t* order) {
  KeysMet met;
  if (order) {
    const BackwardOrder sizes(d, BackwardSizes<kColumns>::kKeys, BackwardSizes<kColumns>::kQueries);
    met = {order + sizes.key_tiles * sizes.tiles, sizes.head_stride()};
  }
  launch("hopper_attention_statistics", backward_statistics<T, kColumns>,
         {{static_cast<uint32_t>(w.tiles), static_cast<uint32_t>(d.heads)}, {kRowThreads}}, stream,
         d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, w, met, x.dout, x.out, lse,
         static_cast<const float*>(d.dlse), x.dq);
}

template <class T>
void hopper_backward(Stream stream, const AttentionDesc& d, const Gradients<T>& x, const float* lse,
                     void* workspace) {
  with_backward_columns(d.head_dim, [&]<int kColumns>() {
    const BackwardWorkspace w = BackwardWorkspaceSizes<T, kColumns>(d).at(d, workspace);
    begin_hopper_backward<T, kColumns>(stream, d, x, lse, w, nullptr);
    if (scales_only(d) && d.scale > 0 && d.dropout == 0) {
      launch_hopper_backward<T, kColumns>(stream, d, x, w, Scaled<T>(d));
    } else {
      launch_hopper_backward<T, kColumns>(stream, d, x, w, Described<T>(d));
    }
  });
}

#define PLINTH_INSTANTIATE_COLUMNS(T, columns)                                       \
  template void begin_hopper_backward<T, columns>(Stream, const AttentionDesc&,      \
                                                  const Gradients<T>&, const float*, \
                                                  const BackwardWorkspace&, const int32_t* order);
#define PLINTH_INSTANTIATE(T)                                                                  \
  PLINTH_INSTANTIATE_COLUMNS(T, 64)                                                            \
  PLINTH_INSTANTIATE_COLUMNS(T, 128)                                                           \
  PLINTH_INSTANTIATE_COLUMNS(T, 256)                                                           \
  template const char* hopper_backward_obstacle<T>(const AttentionDesc&, const Gradients<T>&); \
  template size_t hopper_backward_workspace<T>(const AttentionDesc&);                          \
  template void hopper_backward<T>(Stream, const AttentionDesc&, const Gradients<T>&,          \
                                   const float*, void*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE
#undef PLINTH_INSTANTIATE_COLUMNS

using Narrow = BackwardSizes<64>;
template void backward_order<Narrow::kKeys, Narrow::kQueries>(Stream, const AttentionDesc&,
                                                              int32_t*);

}  // namespace plinth::kernels::cuda::attention
