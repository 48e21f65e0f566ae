#include "kernels/ctc_loss/ctc_loss.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// A label for every fifth step.
template <class T>
struct CtcLossProblem {
  cpu::CtcLossDesc desc;
  std::vector<T> x, dx;
  std::vector<int64_t> classes, input_lengths, target_lengths;
  std::vector<compute_t<T>> loss, dloss;

  CtcLossProblem(int64_t time, int64_t batch, int64_t count)
      : desc{.time = time, .batch = batch, .classes = count, .most = time / 5},
        x(sample_values<T>(time * batch * count)),
        dx(x.size()),
        classes(batch * desc.most),
        input_lengths(batch, time),
        target_lengths(batch, desc.most),
        loss(batch),
        dloss(batch, 1) {
    for (size_t i = 0; i < classes.size(); ++i)
      classes[i] = 1 + static_cast<int64_t>(i) % (count - 1);
  }
  cpu::CtcTargets targets() const {
    return {classes.data(), input_lengths.data(), target_lengths.data()};
  }
  // Of the recursions, as the header counts them.
  void set_operations(benchmark::State& state, int64_t each) const {
    const int64_t states = desc.time * desc.batch * (2 * desc.most + 1);
    state.SetItemsProcessed(state.iterations() * each * states);
  }
};

template <class T>
void ctc_loss_forward(benchmark::State& state) {
  CtcLossProblem<T> p(state.range(0), state.range(1), state.range(2));
  for (auto _ : state) cpu::ctc_loss_forward<T>(p.desc, p.x.data(), p.targets(), p.loss.data());
  p.set_operations(state, 80);
}

template <class T>
void ctc_loss_backward(benchmark::State& state) {
  CtcLossProblem<T> p(state.range(0), state.range(1), state.range(2));
  for (auto _ : state)
    cpu::ctc_loss_backward<T>(p.desc, p.dloss.data(), p.x.data(), p.targets(), p.dx.data());
  p.set_operations(state, 200);
}

void sounds(benchmark::internal::Benchmark* row) {
  row->ArgNames({"time", "batch", "classes"})->Args({75, 32, 64})->Args({1500, 4, 64});
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(ctc_loss_forward<float>)->Apply(sounds);
BENCHMARK(ctc_loss_backward<float>)->Apply(sounds);

}  // namespace
}  // namespace plinth::kernels
