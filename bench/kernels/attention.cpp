#include "kernels/attention/attention.h"

#include <cmath>

#include "bench/kernels/compute_bench.h"

namespace plinth::kernels {
namespace {

// q, k, v, out and gradients as projections leave them: [batch, seq, heads, head_dim].
template <class T>
struct Tensors {
  cpu::AttentionDesc desc;
  std::vector<T> q, k, v, out, dout, dq, dk, dv;
  std::vector<compute_t<T>> lse;
  double scores;  // seen query-key pairs, times head_dim

  explicit Tensors(const benchmark::State& state) {
    desc.batch = state.range(0);
    desc.heads = desc.kv_heads = state.range(1);
    desc.q_len = state.range(2);
    desc.kv_len = state.range(3);
    desc.head_dim = state.range(4);
    desc.causal = state.range(5) != 0;
    desc.dropout = state.range(6) / 100.0f;
    desc.scale = 1 / std::sqrt(static_cast<float>(desc.head_dim));
    const int64_t row = desc.heads * desc.head_dim;
    desc.q = desc.out = desc.dq = desc.dout = {desc.q_len * row, desc.head_dim, row};
    desc.k = desc.v = desc.dk = desc.dv = {desc.kv_len * row, desc.head_dim, row};
    q = dout = normal_values<T>(desc.batch * desc.q.batch);
    k = v = normal_values<T>(desc.batch * desc.k.batch);
    out = dq = q;
    dk = dv = k;
    lse.resize(desc.batch * desc.heads * desc.q_len);
    scores =
        static_cast<double>(desc.batch) * desc.heads * desc.q_len * desc.kv_len * desc.head_dim;
    if (desc.causal) scores /= 2;
  }
  void forward() {
    cpu::attention_forward<T>(desc, q.data(), k.data(), v.data(), out.data(), lse.data());
  }
  void backward() {
    cpu::attention_backward<T>(desc, dout.data(), q.data(), k.data(), v.data(), out.data(),
                               lse.data(), dq.data(), dk.data(), dv.data());
  }
};

template <class T>
void attention_forward(benchmark::State& state) {
  Tensors<T> t(state);
  for (auto _ : state) t.forward();
  set_operations(state, 4 * t.scores);
}

template <class T>
void attention_backward(benchmark::State& state) {
  Tensors<T> t(state);
  t.forward();
  for (auto _ : state) t.backward();
  set_operations(state, 10 * t.scores);
}

void names(benchmark::internal::Benchmark* row) {
  row->ArgNames({"batch", "heads", "q", "kv", "dim", "causal", "dropout%"});
  row->UseRealTime()->Unit(benchmark::kMillisecond);
}

void training_shapes(benchmark::internal::Benchmark* row) {
  names(row);
  row->Args({8, 8, 256, 256, 32, 1, 0})->Args({8, 8, 256, 256, 32, 1, 10});
  row->Args({1, 12, 1024, 1024, 64, 1, 0})->Args({1, 12, 1024, 1024, 64, 0, 0});
  row->Args({1, 8, 512, 512, 128, 1, 0});
}

void generation_shapes(benchmark::internal::Benchmark* row) {
  names(row);
  row->Args({1, 12, 1, 1024, 64, 1, 0})->Args({1, 12, 1, 8192, 64, 1, 0});
}

BENCHMARK(attention_forward<float>)->Apply(training_shapes)->Apply(generation_shapes);
BENCHMARK(attention_backward<float>)->Apply(training_shapes);
BENCHMARK(attention_forward<BFloat16>)->Apply(training_shapes)->Apply(generation_shapes);
BENCHMARK(attention_backward<BFloat16>)->Apply(training_shapes);

}  // namespace
}  // namespace plinth::kernels
