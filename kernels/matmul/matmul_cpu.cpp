#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "kernels/matmul/few_rows.h"
#include "kernels/matmul/pack.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

// The product is blocked as in Goto and van de Geijn, "Anatomy of high-performance matrix
// multiplication" (ACM TOMS 34, 2008): both operands are packed into panels that stay in cache, and
// each task computes a block of c from them, K_BLOCK terms at a time, in register tiles.

namespace plinth::kernels::cpu {
namespace {

// Tile sizes. Panels stream from L2, where a tile's loads are a fifth of what it delivers, so a
// long block of k costs nothing and saves reading and writing c; measured with k = 2048, blocks of
// 2048 are 3 to 8 % faster than blocks of 512. Packed operands stay in L3.
constexpr int64_t kKBlock = 2048;         // packed elements
constexpr int64_t kTaskRowPanels = 10;    // 140 rows of c
constexpr int64_t kTaskColumnPanels = 8;  // 256 columns of c
constexpr int64_t kMinTasks = 16;         // below, tasks are made smaller
constexpr int64_t kPackedBytesA = 4 << 20, kPackedBytesB = 8 << 20;
constexpr int64_t kSmallWork = 1 << 20;  // vectors of 16 terms: 256 x 256 x 256; batches of smaller
                                         // products are split by product, not within them

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

template <class T>
class Product {
 public:
  using Format = typename PackFormat<T>::type;
  using C = typename Format::Compute;
  using P = typename Format::Packed;
  static constexpr int kRows = kTileRows;
  static constexpr int kColumns = kTileColumns<C>;

  Product(const MatmulDesc& desc, const T* a, const T* b, T* c, const T* bias)
      : d_(desc), a_(a), b_(b), c_(c), bias_(bias), steps_(packed_k<Format>(desc.k)) {}

  void run() {
    const int64_t bytes_k = std::max<int64_t>(1, steps_) * sizeof(P);
    const int64_t block_n = block(d_.n, kPackedBytesB / bytes_k, kColumns);
    const int64_t block_m = block(d_.m, kPackedBytesA / bytes_k, kRows);
    for (int64_t j = 0; j < d_.n; j += block_n) {
      n_ = {j, std::min(d_.n, j + block_n)};
      for (int64_t i = 0; i < d_.m; i += block_m) {
        m_ = {i, std::min(d_.m, i + block_m)};
        pack(i == 0);
        compute();
      }
    }
  }

 private:
  struct Range {
    int64_t begin = 0, end = 0;
    int64_t size() const { return end - begin; }
  };

  // Near-equal blocks of `size`, multiples of `unit`, of at most about `most`.
  static int64_t block(int64_t size, int64_t most, int64_t unit) {
    const int64_t blocks = ceil_div(size, std::max(most, unit));
    return ceil_div(ceil_div(size, std::max<int64_t>(1, blocks)), unit) * unit;
  }

  void pack(bool with_b) {
    static thread_local Scratch a_scratch, b_scratch, bias_scratch;
    const int64_t a_panels = ceil_div(m_.size(), kRows), b_panels = ceil_div(n_.size(), kColumns);
    packed_a_ = in_place_a() ? nullptr : a_scratch.get<P>(a_panels * kRows * steps_);
    if (with_b) {
      packed_b_ = b_scratch.get<P>(b_panels * kColumns * steps_);
      packed_bias_ = nullptr;
      if (bias_ != nullptr) pack_bias(bias_scratch.get<C>(b_panels * kColumns));
    }
    const Packer<Format, kRows, T> a({a_ + m_.begin * d_.a[1], d_.a[1], d_.a[2], m_.size(), d_.k},
                                     packed_a_);
    const Packer<Format, kColumns, T> b(
        {b_ + n_.begin * d_.b[2], d_.b[2], d_.b[1], n_.size(), d_.k}, packed_b_);
    const int64_t a_tasks = packed_a_ != nullptr ? a.tasks() : 0;
    const int64_t b_tasks = with_b ? b.tasks() : 0;
    const int64_t grain = grain_for(std::max(a.task_elements(), b.task_elements()));
    parallel_for(b_tasks + a_tasks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) t < b_tasks ? b.run(t) : a.run(t - b_tasks);
    });
  }

  // Whether tiles read a where it lies: its k is contiguous, whole words of it are whole packed
  // elements, and its rows do not all fall into the same set of the first cache.
  bool in_place_a() const {
    constexpr int64_t kPerPacked = Format::kPerPacked, kSetPeriod = 4096;
    if (sizeof(T) * kPerPacked != sizeof(P) || d_.a[2] != 1) return false;
    if (d_.k % kPerPacked != 0 || d_.a[1] % kPerPacked != 0) return false;
    return d_.a[1] * static_cast<int64_t>(sizeof(T)) % kSetPeriod != 0;
  }

  void pack_bias(C* to) {
    const int64_t padded = ceil_div(n_.size(), kColumns) * kColumns;
    for (int64_t j = 0; j < padded; ++j)
      to[j] = j < n_.size() ? static_cast<C>(bias_[n_.begin + j]) : C(0);
    packed_bias_ = to;
  }

  void compute() {
    const int64_t row_panels = ceil_div(m_.size(), kRows);
    const int64_t column_panels = ceil_div(n_.size(), kColumns);
    int64_t task_m = std::min(kTaskRowPanels, row_panels);
    int64_t task_n = std::min(kTaskColumnPanels, column_panels);
    const auto tasks = [&] {
      return ceil_div(row_panels, task_m) * ceil_div(column_panels, task_n);
    };
    while (tasks() < kMinTasks && task_m * task_n > 1) {
      int64_t& larger = task_m > 2 * task_n ? task_m : (task_n > 1 ? task_n : task_m);
      larger = ceil_div(larger, 2);
    }
    const int64_t columns = ceil_div(column_panels, task_n);
    const int64_t work = task_m * kRows * task_n * kColumns * std::max<int64_t>(1, d_.k / 16);
    parallel_for(tasks(), grain_for(work), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t i = t / columns * task_m, j = t % columns * task_n;
        task({i, std::min(row_panels, i + task_m)}, {j, std::min(column_panels, j + task_n)});
      }
    });
  }

  // One block of c, given in panels.
  void task(Range rows, Range columns) {
    const int64_t i = m_.begin + rows.begin * kRows, j = n_.begin + columns.begin * kColumns;
    T* c = c_ + i * d_.c[1] + j * d_.c[2];
    if constexpr (std::is_same_v<T, C>) {
      if (d_.c[2] == 1) return sums(rows, columns, c, d_.c[1], d_.accumulate);
    }
    static thread_local Scratch scratch;
    const int64_t width = columns.size() * kColumns;
    C* block = scratch.get<C>(rows.size() * kRows * width);
    sums(rows, columns, block, width, false);
    for (int64_t r = 0; r < std::min(rows.size() * kRows, m_.end - i); ++r) {
      for (int64_t x = 0; x < std::min(width, n_.end - j); ++x) {
        T& to = c[r * d_.c[1] + x * d_.c[2]];
        to = static_cast<T>(d_.accumulate ? static_cast<C>(to) + block[r * width + x]
                                          : block[r * width + x]);
      }
    }
  }

  void sums(Range rows, Range columns, C* c, int64_t c_row, bool add) {
    const int64_t blocks = std::max<int64_t>(1, ceil_div(steps_, kKBlock));
    const int64_t size = ceil_div(steps_, blocks);
    for (int64_t s = 0; s < blocks; ++s) {
      const Range k{std::min(steps_, s * size), std::min(steps_, (s + 1) * size)};
      for (int64_t q = columns.begin; q < columns.end; ++q) {
        for (int64_t r = rows.begin; r < rows.end; ++r) {
          C* at = c + (r - rows.begin) * kRows * c_row + (q - columns.begin) * kColumns;
          tile(r, q, k, at, c_row, add || s > 0);
        }
      }
    }
  }

  void tile(int64_t row_panel, int64_t column_panel, Range k, C* c, int64_t c_row, bool add) {
    const P* b = packed_b_ + (column_panel * steps_ + k.begin) * kColumns;
    const C* bias =
        packed_bias_ != nullptr && k.begin == 0 ? packed_bias_ + column_panel * kColumns : nullptr;
    const int rows = std::min<int64_t>(kRows, m_.size() - row_panel * kRows);
    const int columns = std::min<int64_t>(kColumns, n_.size() - column_panel * kColumns);
    with_rows<kRows>(rows, [&](auto count) {
      if (packed_a_ != nullptr) {
        const P* a = packed_a_ + (row_panel * steps_ + k.begin) * kRows;
        tile_of<count(), true>(k.size(), a, 1, b, c, c_row, bias, columns, add);
      } else {
        const T* a = a_ + (m_.begin + row_panel * kRows) * d_.a[1] + k.begin * Format::kPerPacked;
        tile_of<count(), false>(k.size(), reinterpret_cast<const P*>(a),
                                d_.a[1] / Format::kPerPacked, b, c, c_row, bias, columns, add);
      }
    });
  }

  template <int R, bool Packed>
  [[gnu::noinline]] static void tile_of(int64_t k, const P* a, int64_t a_row, const P* b, C* c,
                                        int64_t c_row, const C* bias, int columns, bool add) {
    RegisterTile<Format, R, kTileVectors> sums;
    bias != nullptr ? sums.set_rows(bias) : sums.clear();
    if constexpr (Packed) {
      sums.multiply(k, a, 1, kRows, b, kColumns);
    } else {
      sums.multiply(k, a, a_row, 1, b, kColumns);
    }
    if (columns == kColumns) {
      add ? sums.add_to(c, c_row) : sums.write(c, c_row);
      return;
    }
    C whole[R * kColumns];
    sums.write(whole, kColumns);
    for (int i = 0; i < R; ++i) {
      for (int j = 0; j < columns; ++j) {
        C& to = c[i * c_row + j];
        to = add ? to + whole[i * kColumns + j] : whole[i * kColumns + j];
      }
    }
  }

  const MatmulDesc& d_;
  const T* a_;
  const T* b_;
  T* c_;
  const T* bias_;
  int64_t steps_;  // packed elements along k
  Range m_, n_;    // the block of c at hand
  P* packed_a_ = nullptr;
  P* packed_b_ = nullptr;
  const C* packed_bias_ = nullptr;
};

}  // namespace

template <class T>
void matmul(const MatmulDesc& desc, const T* a, const T* b, T* c, const T* bias) {
  const int64_t work = desc.m * desc.n * std::max<int64_t>(1, desc.k / 16);
  const auto one = [&](int64_t i) {
    const T *a_i = a + i * desc.a[0], *b_i = b + i * desc.b[0];
    T* c_i = c + i * desc.c[0];
    if (!few_rows::matmul(desc, a_i, b_i, c_i, bias)) Product<T>(desc, a_i, b_i, c_i, bias).run();
  };
  if (desc.batch >= 4 && work <= kSmallWork) {
    parallel_for(desc.batch, grain_for(work), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) one(i);
    });
  } else {
    for (int64_t i = 0; i < desc.batch; ++i) one(i);
  }
}

template void matmul(const MatmulDesc&, const double*, const double*, double*, const double*);
template void matmul(const MatmulDesc&, const float*, const float*, float*, const float*);
template void matmul(const MatmulDesc&, const BFloat16*, const BFloat16*, BFloat16*,
                     const BFloat16*);
template void matmul(const MatmulDesc&, const Float16*, const Float16*, Float16*, const Float16*);

}  // namespace plinth::kernels::cpu
