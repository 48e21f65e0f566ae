#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/parallel.h"

namespace plinth::kernels::cpu {
namespace {

// One attention problem: a batch element, or a sequence of a packed batch.
struct Problem {
  int64_t batch = 0, sample = 0;
  int64_t q_begin = 0, k_begin = 0, q_len = 0, kv_len = 0, kv_visible = 0;
};

Problem problem_of(const AttentionDesc& d, int64_t index) {
  if (d.cu_seqlens_q == nullptr) {
    const int64_t visible =
        d.kv_lengths ? std::clamp<int64_t>(d.kv_lengths[index], 0, d.kv_len) : d.kv_len;
    return {index, index, 0, 0, d.q_len, d.kv_len, visible};
  }
  const int64_t q = d.cu_seqlens_q[index], k = d.cu_seqlens_k[index];
  const int64_t kv_len = d.cu_seqlens_k[index + 1] - k;
  return {0, index, q, k, d.cu_seqlens_q[index + 1] - q, kv_len, kv_len};
}

int64_t problems(const AttentionDesc& d) {
  return d.cu_seqlens_q ? d.sequences : d.batch;
}

// The keys [first, second) that query i sees.
std::pair<int64_t, int64_t> visible_keys(const AttentionDesc& d, const Problem& p, int64_t i) {
  const int64_t diagonal = i + p.kv_len - p.q_len;
  int64_t begin = 0, end = p.kv_visible;
  if (d.window > 0) begin = std::max(begin, diagonal - d.window + 1);
  if (d.causal) {
    end = std::min(end, diagonal + 1);
  } else if (d.window > 0) {
    end = std::min(end, diagonal + d.window);
  }
  return {begin, std::max(begin, end)};
}

template <class T>
const T* row(const T* base, const AttentionDesc::Strides& s, int64_t batch, int64_t head,
             int64_t i) {
  return base + batch * s.batch + head * s.head + i * s.seq;
}
template <class T>
T* row(T* base, const AttentionDesc::Strides& s, int64_t batch, int64_t head, int64_t i) {
  return base + batch * s.batch + head * s.head + i * s.seq;
}

template <class C, class T>
C dot(const T* a, const T* b, int64_t n) {
  C sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<C>(a[i]) * static_cast<C>(b[i]);
  return sum;
}

float keep_scale(const AttentionDesc& d, Philox2 stream, const Problem& p, int64_t head, int64_t i,
                 int64_t j) {
  if (d.dropout <= 0) return 1;
  const int64_t block = (head * p.q_len + i) * ((p.kv_len + 3) / 4) + j / 4;
  const float u = uniform(philox(stream, d.philox.sample + p.sample, block)[j % 4]);
  return u < d.dropout ? 0.0f : 1 / (1 - d.dropout);
}

}  // namespace

template <class T>
void attention_forward(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out,
                       compute_t<T>* lse) {
  using C = compute_t<T>;
  const Philox2 stream = philox_stream(d.philox);
  parallel_for(problems(d) * d.heads, 1, [&](int64_t begin, int64_t end) {
    std::vector<C> scores(d.kv_len), sum(d.head_dim);
    for (int64_t task = begin; task < end; ++task) {
      const Problem p = problem_of(d, task / d.heads);
      const int64_t head = task % d.heads, kv_head = head / (d.heads / d.kv_heads);
      for (int64_t i = 0; i < p.q_len; ++i) {
        const auto [first, last] = visible_keys(d, p, i);
        const T* q_row = row(q, d.q, p.batch, head, p.q_begin + i);
        C top = -std::numeric_limits<C>::infinity(), total = 0;
        for (int64_t j = first; j < last; ++j) {
          scores[j] =
              d.scale * dot<C>(q_row, row(k, d.k, p.batch, kv_head, p.k_begin + j), d.head_dim);
          top = std::max(top, scores[j]);
        }
        std::fill(sum.begin(), sum.end(), C(0));
        for (int64_t j = first; j < last; ++j) {
          const C weight = std::exp(scores[j] - top);
          total += weight;
          const C kept = weight * keep_scale(d, stream, p, head, i, j);
          const T* v_row = row(v, d.v, p.batch, kv_head, p.k_begin + j);
          for (int64_t x = 0; x < d.head_dim; ++x) sum[x] += kept * static_cast<C>(v_row[x]);
        }
        T* out_row = row(out, d.out, p.batch, head, p.q_begin + i);
        const C inverse = total > 0 ? 1 / total : C(0);
        for (int64_t x = 0; x < d.head_dim; ++x) out_row[x] = static_cast<T>(sum[x] * inverse);
        lse[(p.batch * d.heads + head) * d.q_len + p.q_begin + i] = top + std::log(total);
      }
    }
  });
}

template <class T>
void attention_backward(const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
                        const T* out, const compute_t<T>* lse, T* dq, T* dk, T* dv) {
  using C = compute_t<T>;
  const Philox2 stream = philox_stream(d.philox);
  const int64_t group = d.heads / d.kv_heads;
  parallel_for(problems(d) * d.kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const Problem p = problem_of(d, task / d.kv_heads);
      const int64_t kv_head = task % d.kv_heads;
      std::vector<C> sum_dk(p.kv_len * d.head_dim), sum_dv(p.kv_len * d.head_dim),
          sum_dq(d.head_dim);
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (int64_t i = 0; i < p.q_len; ++i) {
          const auto [first, last] = visible_keys(d, p, i);
          const T* q_row = row(q, d.q, p.batch, head, p.q_begin + i);
          const T* dout_row = row(dout, d.dout, p.batch, head, p.q_begin + i);
          const C delta =
              dot<C>(dout_row, row(out, d.out, p.batch, head, p.q_begin + i), d.head_dim);
          const C row_lse = lse[(p.batch * d.heads + head) * d.q_len + p.q_begin + i];
          std::fill(sum_dq.begin(), sum_dq.end(), C(0));
          for (int64_t j = first; j < last; ++j) {
            const T* k_row = row(k, d.k, p.batch, kv_head, p.k_begin + j);
            const T* v_row = row(v, d.v, p.batch, kv_head, p.k_begin + j);
            const C weight = std::exp(d.scale * dot<C>(q_row, k_row, d.head_dim) - row_lse);
            const C keep = keep_scale(d, stream, p, head, i, j);
            const C ds = d.scale * weight * (keep * dot<C>(dout_row, v_row, d.head_dim) - delta);
            for (int64_t x = 0; x < d.head_dim; ++x) {
              sum_dv[j * d.head_dim + x] += weight * keep * static_cast<C>(dout_row[x]);
              sum_dk[j * d.head_dim + x] += ds * static_cast<C>(q_row[x]);
              sum_dq[x] += ds * static_cast<C>(k_row[x]);
            }
          }
          T* dq_row = row(dq, d.dq, p.batch, head, p.q_begin + i);
          for (int64_t x = 0; x < d.head_dim; ++x) dq_row[x] = static_cast<T>(sum_dq[x]);
        }
      }
      for (int64_t j = 0; j < p.kv_len; ++j) {
        T* dk_row = row(dk, d.dk, p.batch, kv_head, p.k_begin + j);
        T* dv_row = row(dv, d.dv, p.batch, kv_head, p.k_begin + j);
        for (int64_t x = 0; x < d.head_dim; ++x) {
          dk_row[x] = static_cast<T>(sum_dk[j * d.head_dim + x]);
          dv_row[x] = static_cast<T>(sum_dv[j * d.head_dim + x]);
        }
      }
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template void attention_forward(const AttentionDesc&, const T*, const T*, const T*, T*,        \
                                  compute_t<T>*);                                                \
  template void attention_backward(const AttentionDesc&, const T*, const T*, const T*, const T*, \
                                   const T*, const compute_t<T>*, T*, T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
