#include "kernels/attention/hopper/backward_rows.cuh"
#include "kernels/attention/hopper/backward_wide.cuh"
#include "kernels/attention/hopper/maps.h"

namespace plinth::kernels::cuda::attention {
namespace {

// Calls f.operator()<columns>() with the least that hold head_dim.
template <class F>
void with_backward_columns(int64_t head_dim, F f) {
  if (head_dim <= 64) return f.template operator()<64>();
  if (head_dim <= 128) return f.template operator()<128>();
  return f.template operator()<256>();
}

template <class T>
struct Operands {
  const T *dout, *q, *k, *v;
  T *dq, *dk, *dv;
};

template <class T, int kColumns, class Rule>
void launch_backward(Stream stream, const AttentionDesc& d, const Operands<T>& x,
                     const BackwardWorkspace& workspace) {
  using Tile = BackwardTile<T, kColumns>;
  using Consumer = std::conditional_t<Tile::kWide, WideBackwardConsumer<Tile, T, Rule>,
                                      BackwardConsumer<Tile, T, Rule>>;
  const int64_t tiles = tiles_of(d, d.kv_len, Tile::kKeys);
  const BackwardArguments<T, Rule> arguments{d,
                                             {d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k},
                                             Rule(d),
                                             Dropout<float>(d),
                                             workspace,
                                             static_cast<int32_t>(tiles),
                                             static_cast<int32_t>(tiles * d.kv_heads),
                                             x.dk,
                                             x.dv};
  const auto map = [&](const T* p, const AttentionDesc::Strides& s, int64_t heads, int64_t length,
                       int64_t rows) {
    return head_map(p, s, d, heads, length, rows, Tile::kBoxColumns, Tile::kSwizzle);
  };
  const auto blocks =
      static_cast<uint32_t>(std::min(arguments.count, device_limits().multiprocessors));
  launch("hopper_attention_backward", hopper_backward_kernel<Consumer, T, Rule>,
         {{blocks}, {Tile::kThreads}, Tile::kSharedBytes}, stream,
         map(x.q, d.q, d.heads, d.q_len, Tile::kQueries),
         map(x.k, d.k, d.kv_heads, d.kv_len, Tile::kKeys),
         map(x.v, d.v, d.kv_heads, d.kv_len, Tile::kKeys),
         map(x.dout, d.dout, d.heads, d.q_len, Tile::kQueries),
         map(x.dk, d.dk, d.kv_heads, d.kv_len, 64), map(x.dv, d.dv, d.kv_heads, d.kv_len, 64),
         arguments);
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
  with_backward_columns(
      d.head_dim, [&]<int kColumns>() { bytes = BackwardWorkspaceSizes<T, kColumns>(d).total(); });
  return bytes;
}

template <class T>
void hopper_backward(Stream stream, const AttentionDesc& d, const Gradients<T>& x, const float* lse,
                     void* workspace) {
  const Lengths lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k};
  const Operands<T> operands{x.dout, x.q, x.k, x.v, x.dq, x.dk, x.dv};
  with_backward_columns(d.head_dim, [&]<int kColumns>() {
    const BackwardWorkspace w = BackwardWorkspaceSizes<T, kColumns>(d).at(d, workspace);
    const LaunchShape rows{{static_cast<uint32_t>(w.tiles), static_cast<uint32_t>(d.heads)},
                           {kRowThreads}};
    launch("hopper_attention_statistics", backward_statistics<T, kColumns>, rows, stream, d,
           lengths, w, x.dout, x.out, lse, static_cast<const float*>(d.dlse));
    if (scales_only(d) && d.scale > 0 && d.dropout == 0) {
      launch_backward<T, kColumns, Scaled<T>>(stream, d, operands, w);
    } else {
      launch_backward<T, kColumns, Described<T>>(stream, d, operands, w);
    }
    launch("hopper_attention_dq", backward_dq<T, kColumns>, rows, stream, d, lengths, w, x.dq);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                  \
  template const char* hopper_backward_obstacle<T>(const AttentionDesc&, const Gradients<T>&); \
  template size_t hopper_backward_workspace<T>(const AttentionDesc&);                          \
  template void hopper_backward<T>(Stream, const AttentionDesc&, const Gradients<T>&,          \
                                   const float*, void*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
