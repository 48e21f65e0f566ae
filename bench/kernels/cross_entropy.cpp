#include "kernels/cross_entropy/cross_entropy.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
struct CrossEntropyProblem {
  cpu::CrossEntropyDesc desc;
  std::vector<T> logits, dlogits;
  std::vector<int64_t> target;
  std::vector<compute_t<T>> loss, lse, dloss;

  CrossEntropyProblem(int64_t rows, int64_t classes)
      : desc{.rows = rows, .classes = classes},
        logits(sample_values<T>(rows * classes)),
        dlogits(rows * classes),
        target(rows),
        loss(rows),
        lse(rows, 8),
        dloss(rows, 1) {
    for (int64_t i = 0; i < rows; ++i) target[i] = i * 7919 % classes;
  }
};

template <class T>
void cross_entropy_forward(benchmark::State& state) {
  CrossEntropyProblem<T> p(state.range(0), state.range(1));
  for (auto _ : state) {
    cpu::cross_entropy_forward<T>(p.desc, p.logits.data(), p.target.data(), p.loss.data(),
                                  p.lse.data());
  }
  set_bytes(state, p.logits.size() * sizeof(T));
}

template <class T>
void cross_entropy_backward(benchmark::State& state) {
  CrossEntropyProblem<T> p(state.range(0), state.range(1));
  for (auto _ : state) {
    cpu::cross_entropy_backward<T>(p.desc, p.dloss.data(), p.logits.data(), p.target.data(),
                                   p.lse.data(), p.dlogits.data());
  }
  set_bytes(state, 2 * p.logits.size() * sizeof(T));
}

void vocabularies(benchmark::internal::Benchmark* row) {
  row->ArgNames({"rows", "classes"})->Args({2048, 256})->Args({256, 50257})->UseRealTime();
  row->Unit(benchmark::kMicrosecond);
}
BENCHMARK(cross_entropy_forward<float>)->Apply(vocabularies);
BENCHMARK(cross_entropy_forward<BFloat16>)->Apply(vocabularies);
BENCHMARK(cross_entropy_backward<float>)->Apply(vocabularies);
BENCHMARK(cross_entropy_backward<BFloat16>)->Apply(vocabularies);

}  // namespace
}  // namespace plinth::kernels
