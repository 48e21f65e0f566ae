#pragma once

// What the tests of the GPU's attention kernels share: a case's inputs, the expression of
// attention.h in float64, the same with each intermediate rounded as a framework without a fused
// kernel would, and the comparison. A kernel comes in as its two functions (Kernels).

#include <functional>
#include <tuple>

#include "kernels/attention/attention_cuda.h"
#include "tests/emulator/attention_cases.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda::attention_testing {

// An array on the device, and null where it is empty.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values)
      : buffer_(static_cast<int64_t>(values.size())), empty_(values.empty()) {
    buffer_.copy_from(values);
  }
  const T* data() const { return empty_ ? nullptr : buffer_.data(); }
  const T* host() const { return empty_ ? nullptr : buffer_.host(); }

 private:
  Buffer<T> buffer_;
  bool empty_;
};

inline AttentionDesc::BiasStrides bias_strides(const Case& c) {
  switch (c.bias) {
    case Bias::None: return {};
    case Bias::Whole: return {c.heads * c.q_len * c.kv_len, c.q_len * c.kv_len, c.kv_len, 1};
    case Bias::OfKeys: return {c.kv_len, 0, 0, 1};
    case Bias::OfQueries: return {0, c.q_len, 1, 0};
  }
  return {};
}

inline int64_t bias_size(const Case& c) {
  switch (c.bias) {
    case Bias::None: return 0;
    case Bias::Whole: return c.batch * c.heads * c.q_len * c.kv_len;
    case Bias::OfKeys: return c.batch * c.kv_len;
    case Bias::OfQueries: return c.heads * c.q_len;
  }
  return 0;
}

// What a functor (kernels/attention/custom.h) does, for the expression below; nothing where it is
// not given. A score comes with its slope.
struct Functor {
  std::function<bool(const cpu::AttentionPair&)> visible;
  std::function<std::pair<double, double>(double, const cpu::AttentionPair&)> score;
};

// A case's description, with tokens before heads in memory, and all that it points to.
template <class T>
struct Problem {
  using C = compute_t<T>;

  explicit Problem(const Case& c)
      : q(c.batch * c.q_len * c.heads * (c.head_dim + c.gap)),
        k(c.batch * c.kv_len * c.kv_heads * (c.head_dim + c.gap)),
        v(c.batch * c.kv_len * c.kv_heads * (c.head_dim + c.gap)),
        dout(c.batch * c.q_len * c.heads * (c.head_dim + c.gap)),
        rows(c.batch * c.heads * c.q_len),
        kv_lengths_(c.kv_lengths),
        cu_q_(c.cu_seqlens_q),
        cu_k_(c.cu_seqlens_k),
        slopes_(c.heads),
        sinks_(c.heads),
        bias_(bias_size(c)),
        dlse_(rows) {
    uint64_t seed = 0;
    for (auto* buffer : {&q, &k, &v, &dout, &bias_}) buffer->fill_random(++seed);
    for (auto* buffer : {&sinks_, &dlse_}) buffer->fill_random(++seed);
    for (int64_t h = 0; h < c.heads; ++h) slopes_[h] = C(std::exp2(-1.0 - static_cast<double>(h)));
    if (c.no_first_sink) sinks_[0] = -std::numeric_limits<C>::infinity();
    const int64_t pitch = c.head_dim + c.gap;
    d.batch = c.batch, d.heads = c.heads, d.kv_heads = c.kv_heads;
    d.q_len = c.q_len, d.kv_len = c.kv_len, d.head_dim = c.head_dim;
    d.q = d.out = d.dq = d.dout = {c.q_len * c.heads * pitch, pitch, c.heads * pitch};
    d.k = d.v = d.dk = d.dv = {c.kv_len * c.kv_heads * pitch, pitch, c.kv_heads * pitch};
    d.scale = c.scale != 0 ? c.scale : 1 / std::sqrt(static_cast<double>(c.head_dim));
    d.causal = c.causal, d.window = c.window;
    d.kv_lengths = kv_lengths_.data();
    d.cu_seqlens_q = cu_q_.data(), d.cu_seqlens_k = cu_k_.data();
    d.sequences = static_cast<int64_t>(c.cu_seqlens_q.size()) - 1;
    d.dropout = c.dropout, d.philox = {9, 3, 1, 1000}, d.dropout_whole = c.whole;
    d.soft_cap = c.soft_cap;
    if (c.alibi) d.alibi_slopes = slopes_.data();
    if (c.sinks) d.sinks = sinks_.data();
    if (c.bias != Bias::None) d.bias = bias_.data(), d.bias_strides = bias_strides(c);
    if (c.dlse) d.dlse = dlse_.data();
  }

  // The description with what the host can read, for the expression below.
  AttentionDesc on_host() const {
    AttentionDesc h = d;
    h.kv_lengths = kv_lengths_.host();
    h.cu_seqlens_q = cu_q_.host(), h.cu_seqlens_k = cu_k_.host();
    if (d.alibi_slopes) h.alibi_slopes = slopes_.host();
    if (d.sinks) h.sinks = sinks_.host();
    if (d.bias) h.bias = bias_.host();
    if (d.dlse) h.dlse = dlse_.host();
    return h;
  }

  Buffer<T> q, k, v, dout;
  int64_t rows;
  AttentionDesc d;
  Functor functor;

 private:
  DeviceArray<int64_t> kv_lengths_, cu_q_, cu_k_;
  Buffer<C> slopes_, sinks_;
  Buffer<T> bias_;
  Buffer<C> dlse_;
};

// Results in float64; NaN where nothing is to be written.
struct Results {
  std::vector<double> out, lse, dq, dk, dv;
};

template <class T>
struct Kernels {
  using C = compute_t<T>;
  std::function<void(const AttentionDesc&, const T* q, const T* k, const T* v, T* out, C* lse)>
      forward;
  std::function<void(const AttentionDesc&, const T* dout, const T* q, const T* k, const T* v,
                     const T* out, const C* lse, T* dq, T* dk, T* dv)>
      backward;
};

template <class T>
Results run(const Kernels<T>& kernels, const Problem<T>& p) {
  const int64_t queries = p.d.batch * p.d.q.batch, keys = p.d.batch * p.d.k.batch;
  Buffer<T> out(queries), dq(queries), dk(keys), dv(keys);
  Buffer<compute_t<T>> lse(p.rows);
  kernels.forward(p.d, p.q.data(), p.k.data(), p.v.data(), out.data(), lse.data());
  kernels.backward(p.d, p.dout.data(), p.q.data(), p.k.data(), p.v.data(), out.data(), lse.data(),
                   dq.data(), dk.data(), dv.data());
  return {out.values(), lse.values(), dq.values(), dk.values(), dv.values()};
}

// ---- the expression ----

// Rows of one batch element, or one sequence, of one query head.
struct Rows {
  int64_t batch, sample, head, kv_head, q_begin, k_begin, q_len, kv_len, kv_visible;
};

template <class F>
void for_rows(const AttentionDesc& d, F f) {
  const bool packed = d.cu_seqlens_q != nullptr;
  for (int64_t i = 0; i < (packed ? d.sequences : d.batch); ++i) {
    Rows r{i, i, 0, 0, 0, 0, d.q_len, d.kv_len, d.kv_len};
    if (d.kv_lengths != nullptr) r.kv_visible = d.kv_lengths[i];
    if (packed) {
      r.batch = 0, r.q_begin = d.cu_seqlens_q[i], r.k_begin = d.cu_seqlens_k[i];
      r.q_len = d.cu_seqlens_q[i + 1] - r.q_begin;
      r.kv_len = r.kv_visible = d.cu_seqlens_k[i + 1] - r.k_begin;
    }
    for (r.head = 0; r.head < d.heads; ++r.head) {
      r.kv_head = r.head / (d.heads / d.kv_heads);
      f(r);
    }
  }
}

inline bool sees(const AttentionDesc& d, const Rows& r, int64_t i, int64_t j) {
  const int64_t ahead = j - (i + r.kv_len - r.q_len);
  if (j >= r.kv_visible || (d.causal && ahead > 0)) return false;
  return d.window == 0 || (ahead > -d.window && ahead < d.window);
}

inline double drop_factor(const AttentionDesc& d, const Rows& r, int64_t i, int64_t j) {
  if (d.dropout == 0) return 1;
  const cpu::DropoutWhole& whole = d.dropout_whole;
  const int64_t queries = whole.queries > 0 ? whole.queries : r.q_len;
  const int64_t keys = whole.keys > 0 ? whole.keys : r.kv_len;
  const int64_t row = (whole.head + r.head) * queries + whole.query + i;
  const int64_t block = row * ((keys + 3) / 4) + (whole.key + j) / 4;
  const Philox4 words = philox(d.philox, r.sample, block);
  return uniform(words[j % 4]) < d.dropout ? 0 : 1 / (1 - static_cast<double>(d.dropout));
}

// attention.h's formulas, loop by loop, on the numbers that T holds; round() makes each matrix and
// each step between them what memory would hold. A softmax and its gradient are one step.
template <class T, class Round>
struct Expression {
  using C = compute_t<T>;
  const AttentionDesc d;
  const Functor& functor;
  Round round;
  std::vector<double> q, k, v, dout;
  Results results;

  static int64_t at(const AttentionDesc::Strides& s, int64_t batch, int64_t head, int64_t i) {
    return batch * s.batch + head * s.head + i * s.seq;
  }
  double dot(const double* a, const double* b) const {
    double sum = 0;
    for (int64_t x = 0; x < d.head_dim; ++x) sum += a[x] * b[x];
    return sum;
  }

  static cpu::AttentionPair pair(const Rows& r, int64_t i, int64_t j) {
    return {r.sample, r.head, i, j, r.q_len, r.kv_len};
  }
  bool shows(const Rows& r, int64_t i, int64_t j) const {
    return sees(d, r, i, j) && (!functor.visible || functor.visible(pair(r, i, j)));
  }

  // A score and its slope by x = scale q . k.
  std::pair<double, double> score(const Rows& r, int64_t i, int64_t j) const {
    const int64_t query = at(d.q, r.batch, r.head, r.q_begin + i);
    const int64_t key = at(d.k, r.batch, r.kv_head, r.k_begin + j);
    double s = round(round(dot(&q[query], &k[key])) * d.scale), slope = 1;
    if (functor.score) {
      std::tie(s, slope) = functor.score(s, pair(r, i, j));
      s = round(s);
    }
    if (d.soft_cap > 0) {
      const double bent = round(std::tanh(round(s / d.soft_cap)));
      s = round(bent * d.soft_cap);
      slope *= 1 - bent * bent;
    }
    if (d.alibi_slopes != nullptr) {
      const double of_head = static_cast<const C*>(d.alibi_slopes)[r.head];
      const auto distance = static_cast<double>(std::abs(i + r.kv_len - r.q_len - j));
      s = round(s - round(of_head * distance));
    }
    if (d.bias != nullptr) {
      const AttentionDesc::BiasStrides& b = d.bias_strides;
      const int64_t element = r.batch * b.batch + r.head * b.head + i * b.query + j * b.key;
      s = round(s + static_cast<double>(C(static_cast<const T*>(d.bias)[element])));
    }
    return {s, slope};
  }

  void run_row(const Rows& r, int64_t i, std::vector<double>& dk, std::vector<double>& dv) {
    const int64_t row = (r.batch * d.heads + r.head) * d.q_len + r.q_begin + i;
    const double none = -std::numeric_limits<double>::infinity();
    std::vector<double> s(r.kv_len, none), slopes(r.kv_len), p(r.kv_len), dropped(r.kv_len);
    double top = none, sink = none, total = 0;
    if (d.sinks != nullptr) top = sink = static_cast<const C*>(d.sinks)[r.head];
    for (int64_t j = 0; j < r.kv_len; ++j) {
      if (shows(r, i, j)) std::tie(s[j], slopes[j]) = score(r, i, j);
      top = std::max(top, s[j]);
    }
    if (top > none) {
      for (int64_t j = 0; j < r.kv_len; ++j) total += std::exp(s[j] - top);
      total += std::exp(sink - top);
    }
    results.lse[row] = top > none ? top + std::log(total) : none;
    double* out = &results.out[at(d.out, r.batch, r.head, r.q_begin + i)];
    double* dq = &results.dq[at(d.dq, r.batch, r.head, r.q_begin + i)];
    std::fill(out, out + d.head_dim, 0.0);
    std::fill(dq, dq + d.head_dim, 0.0);
    if (top == none) return;

    const double* slope_out = &dout[at(d.dout, r.batch, r.head, r.q_begin + i)];
    std::vector<double> dp(r.kv_len);
    double delta = 0;
    for (int64_t j = 0; j < r.kv_len; ++j) {
      p[j] = round(std::exp(s[j] - top) / total);
      const double factor = drop_factor(d, r, i, j);
      dropped[j] = d.dropout > 0 ? round(p[j] * factor) : p[j];
      const double* value = &v[at(d.v, r.batch, r.kv_head, r.k_begin + j)];
      if (p[j] == 0) continue;
      for (int64_t x = 0; x < d.head_dim; ++x) out[x] += dropped[j] * value[x];
      dp[j] = round(round(dot(slope_out, value)) * factor);
      delta += p[j] * dp[j];
    }
    for (int64_t x = 0; x < d.head_dim; ++x) out[x] = round(out[x]);
    if (d.dlse != nullptr) delta -= static_cast<double>(static_cast<const C*>(d.dlse)[row]);
    const double* query = &q[at(d.q, r.batch, r.head, r.q_begin + i)];
    for (int64_t j = 0; j < r.kv_len; ++j) {
      if (!shows(r, i, j)) continue;
      const int64_t key = at(d.k, r.batch, r.kv_head, r.k_begin + j);
      double dx = round(p[j] * (dp[j] - delta));
      if (d.soft_cap > 0 || functor.score) dx = round(dx * slopes[j]);
      dx = round(dx * d.scale);
      for (int64_t x = 0; x < d.head_dim; ++x) {
        dq[x] += dx * k[key + x];
        dk[j * d.head_dim + x] += dx * query[x];
        dv[j * d.head_dim + x] += dropped[j] * slope_out[x];
      }
    }
    for (int64_t x = 0; x < d.head_dim; ++x) dq[x] = round(dq[x]);
  }

  void run() {
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    results.out.assign(q.size(), nothing), results.dq.assign(q.size(), nothing);
    results.dk.assign(k.size(), nothing), results.dv.assign(k.size(), nothing);
    results.lse.assign(d.batch * d.heads * d.q_len, nothing);
    std::vector<double> dk, dv;
    for_rows(d, [&](const Rows& r) {
      if (r.head % (d.heads / d.kv_heads) == 0) {
        dk.assign(r.kv_len * d.head_dim, 0);
        dv.assign(r.kv_len * d.head_dim, 0);
      }
      for (int64_t i = 0; i < r.q_len; ++i) run_row(r, i, dk, dv);
      for (int64_t j = 0; j < r.kv_len; ++j) {
        for (int64_t x = 0; x < d.head_dim; ++x) {
          const int64_t of_k = at(d.dk, r.batch, r.kv_head, r.k_begin + j) + x;
          const int64_t of_v = at(d.dv, r.batch, r.kv_head, r.k_begin + j) + x;
          results.dk[of_k] = round(dk[j * d.head_dim + x]);
          results.dv[of_v] = round(dv[j * d.head_dim + x]);
        }
      }
    });
  }
};

template <class T, class Round>
Results expression(const Problem<T>& p, Round round) {
  Expression<T, Round> e{p.on_host(),  p.functor,    round,           p.q.values(),
                         p.k.values(), p.v.values(), p.dout.values(), {}};
  e.run();
  return e.results;
}

// Without a rounding, and rounded to T at each step.
template <class T>
Results exact_results(const Problem<T>& p) {
  return expression(p, [](double x) { return x; });
}
template <class T>
Results rounded_results(const Problem<T>& p) {
  return expression(p, [](double x) {
    return static_cast<double>(compute_t<T>(T(static_cast<compute_t<T>>(x))));
  });
}

// ---- the comparison ----

inline double largest_error(const std::vector<double>& actual, const std::vector<double>& exact) {
  double error = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    if (std::isfinite(exact[i])) error = std::max(error, std::fabs(actual[i] - exact[i]));
  }
  return error;
}

// The largest error is at most twice that of the rounded expression, and what rounding the largest
// value, or adding it up, may do; nothing is written beyond the results.
template <class T>
void expect_as_exact(const char* what, const std::vector<double>& actual,
                     const std::vector<double>& exact, const std::vector<double>& rounded) {
  ASSERT_EQ(actual.size(), exact.size()) << what;
  double size = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    if (std::isfinite(exact[i])) {
      ASSERT_TRUE(std::isfinite(actual[i])) << what << " " << i << " is " << actual[i];
      size = std::max(size, std::fabs(exact[i]));
    } else if (std::isnan(exact[i])) {
      ASSERT_TRUE(std::isnan(actual[i])) << what << " " << i << " was written";
    } else {
      ASSERT_EQ(actual[i], exact[i]) << what << " " << i;
    }
  }
  // The rounded expression adds in float64, kernels in float32.
  const double sums = (sizeof(T) < 4 ? 0.5 : 16) * rounding<T>() * size;
  const double bound = 2 * largest_error(rounded, exact) + sums + 1e-5;
  EXPECT_LE(largest_error(actual, exact), bound) << what << ", whose largest value is " << size;
}

// Its sums are of compute_t<T>, whatever T is.
template <class C>
void expect_lse_as_exact(const std::vector<double>& actual, const std::vector<double>& exact) {
  ASSERT_EQ(actual.size(), exact.size()) << "lse";
  for (size_t i = 0; i < exact.size(); ++i) {
    if (std::isinf(exact[i])) {
      ASSERT_EQ(actual[i], exact[i]) << "lse " << i;
    } else {
      const double bound = 16 * rounding<C>() * std::max(1.0, std::fabs(exact[i]));
      ASSERT_NEAR(actual[i], exact[i], bound) << "lse " << i;
    }
  }
}

template <class T>
void expect_matches(const Kernels<T>& kernels, const Problem<T>& problem) {
  const Results actual = run(kernels, problem), exact = exact_results(problem),
                rounded = rounded_results(problem);
  expect_as_exact<T>("out", actual.out, exact.out, rounded.out);
  expect_lse_as_exact<compute_t<T>>(actual.lse, exact.lse);
  expect_as_exact<T>("dq", actual.dq, exact.dq, rounded.dq);
  expect_as_exact<T>("dk", actual.dk, exact.dk, rounded.dk);
  expect_as_exact<T>("dv", actual.dv, exact.dv, rounded.dv);
}

template <class T>
void expect_matches(const Kernels<T>& kernels, const Case& c) {
  SCOPED_TRACE(c.name + ", head_dim " + std::to_string(c.head_dim));
  expect_matches(kernels, Problem<T>(c));
}

// ---- bits ----

// Whether two lists hold the same bits, NaN being what nobody wrote.
inline void expect_same_bits(const char* what, const std::vector<double>& a,
                             const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_TRUE(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) << what << " " << i;
}
inline void expect_same_bits(const Results& a, const Results& b) {
  expect_same_bits("out", a.out, b.out);
  expect_same_bits("lse", a.lse, b.lse);
  expect_same_bits("dq", a.dq, b.dq);
  expect_same_bits("dk", a.dk, b.dk);
  expect_same_bits("dv", a.dv, b.dv);
}

// The emulator takes its threads in another order each time; a device does as it likes.
template <class T>
void expect_same_bits_in_every_order(const Kernels<T>& kernels, const Case& c) {
  const auto results = [&](uint64_t seed) {
#ifdef __CUDACC__
    static_cast<void>(seed);
#else
    device::emulation_seed() = seed;
#endif
    return run(kernels, Problem<T>(c));
  };
  expect_same_bits(results(1), results(2));
}

// Step and sample in device memory stand for those of the key.
template <class T>
void expect_philox_place_is_read(const Kernels<T>& kernels, const Case& c) {
  Problem<T> by_key(c), by_place(c);
  OnDevice<PhiloxPlace> place{{.step = 21, .sample = 77}};
  by_key.d.philox.step = place.value.step, by_key.d.philox.sample = place.value.sample;
  by_place.d.philox.place = place.pointer();
  expect_same_bits(run(kernels, by_place), run(kernels, by_key));
}

// Copies all of `from` into `to`, whose other elements are NaN, from element `first` on.
template <class T>
void place_among_nan(const Buffer<T>& from, Buffer<T>& to, int64_t first) {
  const auto from_count = static_cast<int64_t>(from.values().size());
  const auto to_count = static_cast<int64_t>(to.values().size());
  std::fill_n(to.host(), to_count, T(std::numeric_limits<float>::quiet_NaN()));
  std::copy_n(from.host(), from_count, to.host() + first);
}

inline std::vector<double> part(const std::vector<double>& x, int64_t first, size_t count) {
  return {x.begin() + first, x.begin() + first + static_cast<int64_t>(count)};
}

// Sequence `index` of a packed batch, or element of a padded one, has the same bits alone, though
// all other rows, its padding among them, hold NaN. Without bias and dlse; a padded batch without
// what counts from the last key (a mask, ALiBi) or by the keys (dropout).
template <class T>
void expect_same_bits_alone(const Kernels<T>& kernels, const Case& together, int64_t index) {
  SCOPED_TRACE(together.name + ", " + std::to_string(index));
  const bool packed = !together.cu_seqlens_q.empty();
  Case single = together;
  single.batch = 1, single.kv_lengths = {}, single.cu_seqlens_q = single.cu_seqlens_k = {};
  int64_t q_row = index * together.q_len, k_row = index * together.kv_len;
  if (packed) {
    q_row = together.cu_seqlens_q[index], k_row = together.cu_seqlens_k[index];
    single.q_len = together.cu_seqlens_q[index + 1] - q_row;
    single.kv_len = together.cu_seqlens_k[index + 1] - k_row;
  } else {
    single.kv_len = together.kv_lengths[index];
  }
  Problem<T> alone(single), all(together);
  alone.d.philox.sample += index;
  const int64_t q_first = q_row * alone.d.q.seq, k_first = k_row * alone.d.k.seq;
  place_among_nan(alone.q, all.q, q_first);
  place_among_nan(alone.dout, all.dout, q_first);
  place_among_nan(alone.k, all.k, k_first);
  place_among_nan(alone.v, all.v, k_first);
  const Results expected = run(kernels, alone), actual = run(kernels, all);
  Results mine{part(actual.out, q_first, expected.out.size()),
               {},
               part(actual.dq, q_first, expected.dq.size()),
               part(actual.dk, k_first, expected.dk.size()),
               part(actual.dv, k_first, expected.dv.size())};
  for (int64_t h = 0; h < together.heads; ++h) {
    const int64_t first =
        packed ? h * together.q_len + q_row : (index * together.heads + h) * together.q_len;
    const std::vector<double> of_head = part(actual.lse, first, static_cast<size_t>(single.q_len));
    mine.lse.insert(mine.lse.end(), of_head.begin(), of_head.end());
  }
  for (const std::vector<double>* values : {&expected.out, &expected.lse, &expected.dq})
    for (double value : *values) ASSERT_FALSE(std::isnan(value));
  expect_same_bits(mine, expected);
}

}  // namespace plinth::kernels::cuda::attention_testing
