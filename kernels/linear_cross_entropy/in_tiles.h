#pragma once

// The fused loss for a large vocabulary. Of a chunk of rows, each block of the vocabulary is
// computed in register tiles and turned into exponentials relative to the block's own maximum while
// it is in the first cache, so that logits are written once and read once:
//
//   pass 1, block by block       z = x w^T;  per row: maximum, sum of exponentials;  e = exp(z -
//   maximum) between                      per row: lse over its blocks; the factor that makes each
//   block's e a dz pass 2, block by block       dz = factor e - ...;  dw += dz^T x;  a part's dx +=
//   dz w
//
// Blocks of the vocabulary are gathered in a fixed number of parts, each with its own dx; these are
// added in order.

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/matmul/pack.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"
#include "kernels/scratch.h"
#include "kernels/vector_math.h"

namespace plinth::kernels::cpu::linear_cross_entropy_detail {

// Whole register tiles both ways: columns of z in pass 1, rows of dw in pass 2.
inline constexpr int64_t kVocabBlock = 16 * kTileRows;
// The rows of a chunk amortise reading w and dw from memory; their exponentials take at most
// kTileBytes, or kMinChunk rows' worth.
inline constexpr int64_t kMaxChunk = 48 * kTileRows;
inline constexpr int64_t kMinChunk = 10 * kTileRows;
inline constexpr int64_t kTileBytes = 128 << 20;
inline constexpr int64_t kParts = 8;

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

template <class T>
class InTiles {
 public:
  using C = compute_t<T>;
  using Logits = typename PackFormat<T>::type;  // operands of x w^T as stored
  using Gradients = Scalars<C>;                 // of the other two, never rounded
  using P = typename Logits::Packed;
  static constexpr int kRows = kTileRows;
  static constexpr int kColumns = kTileColumns<C>;
  static_assert(kVocabBlock % kColumns == 0);

  InTiles(const LinearCrossEntropyDesc& d, const T* w, T* dx, C* dw, C row_scale)
      : d_(d),
        w_(w),
        dx_(dx),
        dw_(dw),
        row_scale_(row_scale),
        blocks_(ceil_div(d.vocab, kVocabBlock)),
        parts_(std::min(kParts, blocks_)),
        steps_(packed_k<Logits>(d.dim)),
        padded_dim_(ceil_div(d.dim, kColumns) * kColumns) {}

  void run(const T* x, const int64_t* target, C* loss) {
    const int64_t row_bytes = blocks_ * kVocabBlock * static_cast<int64_t>(sizeof(C));
    const int64_t most = std::clamp(kTileBytes / row_bytes, kMinChunk, kMaxChunk);
    const int64_t size = ceil_div(d_.rows, ceil_div(d_.rows, most));
    for (int64_t first = 0; first < d_.rows; first += size) {
      rows_ = std::min(size, d_.rows - first);
      padded_rows_ = ceil_div(rows_, kRows) * kRows;
      x_ = x + first * d_.dim;
      target_ = target + first;
      chunk(loss + first, dx_ == nullptr ? nullptr : dx_ + first * d_.dim);
    }
  }

 private:
  // What pass 1 leaves of a row in a block.
  struct Statistics {
    C top, total, sum;
  };

  bool gradients() const { return dx_ != nullptr || dw_ != nullptr; }

  void chunk(C* loss, T* dx) {
    static thread_local Scratch e_scratch, statistics_scratch, logit_scratch, x_scratch,
        x_row_scratch, part_scratch;
    if (gradients()) e_ = e_scratch.get<C>(blocks_ * padded_rows_ * kVocabBlock);
    statistics_ = statistics_scratch.get<Statistics>(blocks_ * rows_);
    target_logit_ = logit_scratch.get<C>(rows_);
    x_panels_ = x_scratch.get<P>(padded_rows_ * steps_);
    pack(Packer<Logits, kRows, T>({x_, d_.dim, 1, rows_, d_.dim}, x_panels_));
    parallel_for(blocks_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) logits(b);
    });
    parallel_for(rows_, grain_for(blocks_ * 8), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) loss[r] = finish_row(r);
    });
    if (!gradients()) return;

    if (dw_ != nullptr) {
      x_columns_ = x_row_scratch.get<C>(padded_dim_ * rows_);
      pack(Packer<Gradients, kColumns, T>({x_, 1, d_.dim, d_.dim, rows_}, x_columns_));
    }
    const int64_t part_size = padded_rows_ * padded_dim_;
    if (dx_ != nullptr) dx_parts_ = part_scratch.get<C>(parts_ * part_size);
    parallel_for(parts_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) part(s, dx_parts_ + s * part_size);
    });
    if (dx_ != nullptr) add_parts(dx);
  }

  template <class Packing>
  static void pack(const Packing& packing) {
    parallel_for(packing.tasks(), grain_for(packing.task_elements()),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t t = begin; t < end; ++t) packing.run(t);
                 });
  }

  template <class Packing>
  static void pack_here(const Packing& packing) {
    for (int64_t t = 0; t < packing.tasks(); ++t) packing.run(t);
  }

  int64_t block_columns(int64_t b) const {
    return std::min(kVocabBlock, d_.vocab - b * kVocabBlock);
  }

  // Pass 1 for block b.
  void logits(int64_t b) {
    static thread_local Scratch w_scratch, tile_scratch;
    const int64_t columns = block_columns(b);
    P* w_panels = w_scratch.get<P>(kVocabBlock * steps_);
    pack_here(Packer<Logits, kColumns, T>(
        {w_ + b * kVocabBlock * d_.dim, d_.dim, 1, columns, d_.dim}, w_panels));
    C* own_tile = gradients() ? nullptr : tile_scratch.get<C>(kRows * kVocabBlock);
    for (int64_t r = 0; r < rows_; r += kRows) {
      C* tile = gradients() ? e_ + (b * padded_rows_ + r) * kVocabBlock : own_tile;
      for (int64_t j = 0; j < columns; j += kColumns)
        logit_tile(x_panels_ + r * steps_, w_panels + j * steps_, tile + j);
      for (int64_t i = r; i < std::min(rows_, r + kRows); ++i)
        exponentials(b, i, columns, tile + (i - r) * kVocabBlock);
    }
  }

  [[gnu::noinline]] void logit_tile(const P* x, const P* w, C* z) const {
    RegisterTile<Logits, kRows, kTileVectors> tile;
    tile.clear();
    tile.multiply(steps_, x, 1, kRows, w, kColumns);
    tile.write(z, kVocabBlock);
  }

  void exponentials(int64_t b, int64_t r, int64_t columns, C* z) {
    Statistics& s = statistics_[b * rows_ + r];
    const int64_t hit = target_[r] - b * kVocabBlock;
    if (hit >= 0 && hit < columns) target_logit_[r] = z[hit];
    s.sum = d_.label_smoothing > 0 ? sum_over<C>(columns, [&](int64_t j) { return z[j]; }) : C(0);
    std::fill(z + columns, z + kVocabBlock, -std::numeric_limits<C>::infinity());
    Vec<C> most = load(z);
    for (int64_t j = kLanes<C>; j < kVocabBlock; j += kLanes<C>)
      most = larger<C>(most, load(z + j));
    const C top = s.top = largest_lane<C>(most);
    C total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < kVocabBlock; ++j) total += z[j] = math::exp(z[j] - top);
    s.total = total;
  }

  // The row's loss; `total` of its statistics becomes the factor of the block's exponentials in dz.
  C finish_row(int64_t r) {
    const auto at = [&](int64_t b) -> Statistics& { return statistics_[b * rows_ + r]; };
    C top = at(0).top, total = 0, sum = 0;
    for (int64_t b = 1; b < blocks_; ++b) top = std::max(top, at(b).top);
    for (int64_t b = 0; b < blocks_; ++b) {
      total += at(b).total * math::exp(at(b).top - top);
      sum += at(b).sum;
    }
    const C lse = top + std::log(total), smoothing = C(d_.label_smoothing), z_loss = C(d_.z_loss);
    const C factor = row_scale_ * (1 + 2 * z_loss * lse) / total;
    for (int64_t b = 0; b < blocks_; ++b) at(b).total = factor * math::exp(at(b).top - top);
    return lse - (1 - smoothing) * target_logit_[r] - smoothing / static_cast<C>(d_.vocab) * sum +
           z_loss * lse * lse;
  }

  // Pass 2 for the blocks of one part.
  void part(int64_t s, C* dx_part) {
    static thread_local Scratch dz_scratch, w_scratch;
    C* dz = dz_scratch.get<C>(padded_rows_ * kVocabBlock);
    C* w_rows = w_scratch.get<C>(kVocabBlock * padded_dim_);
    if (dx_ != nullptr) std::fill(dx_part, dx_part + padded_rows_ * padded_dim_, C(0));
    std::fill(dz + rows_ * kVocabBlock, dz + padded_rows_ * kVocabBlock, C(0));
    for (int64_t b = blocks_ * s / parts_; b < blocks_ * (s + 1) / parts_; ++b) {
      const int64_t columns = block_columns(b);
      logit_gradients(b, dz);
      if (dw_ != nullptr) add_dw(b, columns, dz);
      if (dx_ == nullptr) continue;
      pack_here(Packer<Gradients, kColumns, T>(
          {w_ + b * kVocabBlock * d_.dim, 1, d_.dim, d_.dim, columns}, w_rows));
      for (int64_t x = 0; x < padded_dim_; x += kColumns)
        for (int64_t r = 0; r < rows_; r += kRows)
          dx_tile(columns, dz + r * kVocabBlock, w_rows + x * columns,
                  dx_part + r * padded_dim_ + x);
    }
  }

  void logit_gradients(int64_t b, C* dz) const {
    const C shift = row_scale_ * C(d_.label_smoothing) / static_cast<C>(d_.vocab);
    const C hit_value = row_scale_ * (1 - C(d_.label_smoothing));
    const C* e = e_ + b * padded_rows_ * kVocabBlock;
    for (int64_t r = 0; r < rows_; ++r, e += kVocabBlock, dz += kVocabBlock) {
      const C factor = statistics_[b * rows_ + r].total;
#pragma omp simd
      for (int64_t j = 0; j < kVocabBlock; ++j) dz[j] = e[j] * factor - shift;
      const int64_t hit = target_[r] - b * kVocabBlock;
      if (hit >= 0 && hit < kVocabBlock) dz[hit] -= hit_value;
    }
  }

  [[gnu::noinline]] void dx_tile(int64_t terms, const C* dz, const C* w, C* dx) const {
    RegisterTile<Gradients, kRows, kTileVectors> tile;
    tile.read(dx, padded_dim_);
    tile.multiply(terms, dz, kVocabBlock, 1, w, kColumns);
    tile.write(dx, padded_dim_);
  }

  void add_dw(int64_t b, int64_t columns, const C* dz) const {
    C* dw = dw_ + b * kVocabBlock * d_.dim;
    for (int64_t x = 0; x < d_.dim; x += kColumns) {
      for (int64_t j = 0; j < columns; j += kRows) {
        const C* rows = x_columns_ + x * rows_;
        if (columns - j >= kRows && d_.dim - x >= kColumns) {
          dw_tile(dz + j, rows, dw + j * d_.dim + x);
        } else {
          dw_edge(dz + j, rows, std::min<int64_t>(kRows, columns - j),
                  std::min<int64_t>(kColumns, d_.dim - x), dw + j * d_.dim + x);
        }
      }
    }
  }

  [[gnu::noinline]] void dw_tile(const C* dz, const C* x, C* dw) const {
    RegisterTile<Gradients, kRows, kTileVectors> tile;
    tile.clear();
    tile.multiply(rows_, dz, 1, kVocabBlock, x, kColumns);
    tile.add_to(dw, d_.dim);
  }

  [[gnu::noinline]] void dw_edge(const C* dz, const C* x, int64_t rows, int64_t columns,
                                 C* dw) const {
    RegisterTile<Gradients, kRows, kTileVectors> tile;
    C whole[kRows * kColumns];
    tile.clear();
    tile.multiply(rows_, dz, 1, kVocabBlock, x, kColumns);
    tile.write(whole, kColumns);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) dw[i * d_.dim + j] += whole[i * kColumns + j];
  }

  void add_parts(T* dx) const {
    parallel_for(rows_, grain_for(parts_ * d_.dim), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        C* sum = dx_parts_ + r * padded_dim_;
        for (int64_t s = 1; s < parts_; ++s) {
          const C* other = sum + s * padded_rows_ * padded_dim_;
#pragma omp simd
          for (int64_t x = 0; x < d_.dim; ++x) sum[x] += other[x];
        }
        for (int64_t x = 0; x < d_.dim; ++x) dx[r * d_.dim + x] = static_cast<T>(sum[x]);
      }
    });
  }

  const LinearCrossEntropyDesc& d_;
  const T* w_;
  T* dx_;
  C* dw_;
  C row_scale_;
  int64_t blocks_, parts_, steps_, padded_dim_;

  // The chunk at hand.
  int64_t rows_ = 0, padded_rows_ = 0;
  const T* x_ = nullptr;
  const int64_t* target_ = nullptr;
  C* e_ = nullptr;                    // [blocks][padded rows][kVocabBlock]
  Statistics* statistics_ = nullptr;  // [blocks][rows]
  C* target_logit_ = nullptr;         // [rows]
  P* x_panels_ = nullptr;             // x as left operand of the logits
  C* x_columns_ = nullptr;            // x as right operand of dw
  C* dx_parts_ = nullptr;             // [parts][padded rows][padded dim]
};

}  // namespace plinth::kernels::cpu::linear_cross_entropy_detail
