#pragma once

// What the kernels of the plain backward pass share.

#include "kernels/attention/plain/tiles.cuh"

namespace plinth::kernels::cuda::attention {

// What the kernels of the backward pass read.
template <class T>
struct GradientInputs {
  using C = compute_t<T>;
  Global<const T> dout, q, k, v;
  Global<const C> lse, delta;
  bool whole;

  GradientInputs(const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
                 const C* lse, const C* delta)
      : dout(dout),
        q(q),
        k(k),
        v(v),
        lse(lse),
        delta(delta),
        whole(whole_rows(d, d.q, q) && whole_rows(d, d.k, k) && whole_rows(d, d.v, v) &&
              whole_rows(d, d.dout, dout)) {}
};

// lse, in units of log 2, and delta of a warp's queries from `own` on; of those beyond the last,
// lse = inf, so that their weights are 0.
template <class C>
struct RowNumbers {
  C lse[kRows<C>], delta[kRows<C>];

  template <class T>
  PLINTH_DEVICE void read(const AttentionDesc& d, const Problem& p, int64_t head, int64_t own,
                          const GradientInputs<T>& in) {
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) {
      lse[r] = std::numeric_limits<C>::infinity();
      delta[r] = 0;
      if (own + r >= p.q_len) continue;
      const int64_t at = (p.batch * d.heads + head) * d.q_len + p.q_begin + own + r;
      lse[r] = lse_of_weights<C>(in.lse[at]);
      delta[r] = in.delta[at];
    }
  }
};

// The block's own two tiles, then those of the other side.
template <class C, int kColumns>
struct GradientTiles {
  static constexpr int kRowPitch = kPitch<C, kColumns>;
  static constexpr int kAllRows = 2 * kOwn<C> + 2 * kOther;
  Shared<C> own = shared_array<C>(0, kAllRows* kRowPitch);
  Shared<C> own_second = own + kOwn<C> * kRowPitch;
  Shared<C> other = own_second + kOwn<C> * kRowPitch;
  Shared<C> other_second = other + kOther * kRowPitch;
};

// Loads rows of two matrices into two tiles.
template <int kTileRows, int kColumns, class T>
PLINTH_DEVICE void load_tiles(Global<const T> a, int64_t a_stride, Global<const T> b,
                              int64_t b_stride, int64_t rows, int64_t head_dim, bool whole,
                              Shared<compute_t<T>> a_tile, Shared<compute_t<T>> b_tile) {
  load_tile<kTileRows, kColumns>(a, a_stride, rows, head_dim, whole, a_tile);
  load_tile<kTileRows, kColumns>(b, b_stride, rows, head_dim, whole, b_tile);
}

}  // namespace plinth::kernels::cuda::attention
