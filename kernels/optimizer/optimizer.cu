#include <cmath>

#include "kernels/device/exact.h"
#include "kernels/optimizer/optimizer_cuda.h"
#include "kernels/optimizer/tensor_table.cuh"

namespace plinth::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr int kVectorsAThread = 4;

// A vector is 16 bytes of parameters; of 16-bit ones, what one Philox block rounds.
template <class P>
inline constexpr int kLanes = kVectorWidth<P>;
template <class P>
inline constexpr int64_t kChunk = int64_t{kThreads} * kVectorsAThread* kLanes<P>;

template <class P, class G>
struct Slot {
  using C = compute_t<P>;
  int64_t n;
  P* parameter;
  const G* gradient;
  C* first;   // moment
  C* second;  // moment, or Muon's update
  C* master;
  int number;    // in the caller's list
  bool aligned;  // to 16 bytes, all of them
};

// What the step needs besides the tensors.
struct Step {
  OptimizerScalars scalars;
  StepInputs inputs;
  bool stochastic = false;
};

// ---- W elements at a time: a whole vector, or the first `lanes` one by one ----

struct Lanes {
  int64_t count;
  bool whole;
};

template <int W, class T>
PLINTH_DEVICE void load_lanes(Global<const T> from, Lanes lanes, compute_t<T> (&to)[W]) {
  constexpr int kPiece = W < kVectorWidth<T> ? W : kVectorWidth<T>;
  if (lanes.whole) {
    PLINTH_UNROLL
    for (int p = 0; p < W / kPiece; ++p) {
      const auto piece = load_vector<Vector<T, kPiece>>(from + p * kPiece);
      PLINTH_UNROLL
      for (int e = 0; e < kPiece; ++e) to[p * kPiece + e] = piece[e];
    }
    return;
  }
  PLINTH_UNROLL
  for (int e = 0; e < W; ++e) {
    if (e < lanes.count) {
      const T element = from[e];
      to[e] = element;
    } else {
      to[e] = 0;
    }
  }
}

template <int W, class T>
PLINTH_DEVICE void store_lanes(Global<T> to, Lanes lanes, const compute_t<T> (&from)[W]) {
  constexpr int kPiece = W < kVectorWidth<T> ? W : kVectorWidth<T>;
  if (lanes.whole) {
    PLINTH_UNROLL
    for (int p = 0; p < W / kPiece; ++p) {
      compute_t<T> piece[kPiece];
      PLINTH_UNROLL
      for (int e = 0; e < kPiece; ++e) piece[e] = from[p * kPiece + e];
      store_vector(to + p * kPiece, rounded<T>(piece));
    }
    return;
  }
  PLINTH_UNROLL
  for (int e = 0; e < W; ++e) {
    if (e < lanes.count) to[e] = T(from[e]);
  }
}

// One of v's two neighbours in bfloat16, the nearer one more often: 16 random bits are added below
// the last that is kept. Infinities and NaN stay.
PLINTH_DEVICE float stochastically_rounded(float v, uint32_t random) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? std::bit_cast<float>((bits + random) & 0xffff0000u) : v;
}

// ---- rules: the new parameter from parameter p and gradient g, updating the state ----

template <class C>
struct AdamWRule {
  static constexpr bool kFirst = true, kSecond = true, kGradient = true, kParameter = true;
  C beta2, one_minus_beta1, one_minus_beta2, eps;

  PLINTH_DEVICE Exact<C> operator()(const OptimizerScalars& s, Exact<C> p, Exact<C> g, C& first,
                                    C& second) const {
    const Exact<C> m = Exact<C>(first) + Exact<C>(one_minus_beta1) * (g - first);
    const Exact<C> v = Exact<C>(second) * beta2 + Exact<C>(one_minus_beta2) * g * g;
    first = m.value;
    second = v.value;
    return p * static_cast<C>(s.decay) +
           Exact<C>(static_cast<C>(s.step_size)) * m /
               (square_root(v) * static_cast<C>(s.inverse_root2) + eps);
  }
};

template <class C>
struct PlainSgdRule {
  static constexpr bool kFirst = false, kSecond = false, kGradient = true, kParameter = true;
  C weight_decay;

  PLINTH_DEVICE Exact<C> operator()(const OptimizerScalars& s, Exact<C> p, Exact<C> g, C&,
                                    C&) const {
    return p - Exact<C>(static_cast<C>(s.lr)) * (g + Exact<C>(weight_decay) * p);
  }
};

// The step is along a g + b m: g + momentum m with nesterov, m without.
template <class C>
struct MomentumSgdRule {
  static constexpr bool kFirst = true, kSecond = false, kGradient = true, kParameter = true;
  C weight_decay, momentum, a, b;

  PLINTH_DEVICE Exact<C> operator()(const OptimizerScalars& s, Exact<C> p, Exact<C> gradient,
                                    C& first, C&) const {
    const Exact<C> g = gradient + Exact<C>(weight_decay) * p;
    const Exact<C> m = Exact<C>(momentum) * first + g;
    first = m.value;
    return p - Exact<C>(static_cast<C>(s.lr)) * (Exact<C>(a) * g + Exact<C>(b) * m);
  }
};

template <class C>
struct LionRule {
  static constexpr bool kFirst = true, kSecond = false, kGradient = true, kParameter = true;
  C beta1, one_minus_beta1, beta2, one_minus_beta2;

  PLINTH_DEVICE Exact<C> operator()(const OptimizerScalars& s, Exact<C> p, Exact<C> g, C& first,
                                    C&) const {
    const Exact<C> direction = Exact<C>(beta1) * first + Exact<C>(one_minus_beta1) * g;
    const C lr = static_cast<C>(s.lr);
    const C step = (direction > 0 ? lr : C(0)) - (direction < 0 ? lr : C(0));
    first = (Exact<C>(beta2) * first + Exact<C>(one_minus_beta2) * g).value;
    return p * static_cast<C>(s.decay) - step;
  }
};

template <class C>
struct MuonMomentumRule {
  static constexpr bool kFirst = true, kSecond = true, kGradient = true, kParameter = false;
  C one_minus_momentum, look_ahead;

  PLINTH_DEVICE Exact<C> operator()(const OptimizerScalars&, Exact<C> p, Exact<C> g, C& first,
                                    C& update) const {
    const Exact<C> m = Exact<C>(first) + Exact<C>(one_minus_momentum) * (g - first);
    first = m.value;
    update = (g + Exact<C>(look_ahead) * (m - g)).value;
    return p;
  }
};

template <class C>
struct MuonUpdateRule {
  static constexpr bool kFirst = false, kSecond = true, kGradient = false, kParameter = true;

  PLINTH_DEVICE Exact<C> operator()(const OptimizerScalars& s, Exact<C> p, Exact<C>, C&,
                                    C& update) const {
    return p * static_cast<C>(s.decay) - Exact<C>(static_cast<C>(s.lr)) * update;
  }
};

// ---- the kernel ----

// From device memory, number by number.
PLINTH_DEVICE OptimizerScalars read(const OptimizerScalars* from) {
  OptimizerScalars s;
  const Global<const double> numbers = &from->lr;
  s.lr = numbers[0];
  s.decay = numbers[1];
  s.step_size = numbers[2];
  s.inverse_root2 = numbers[3];
  s.grad_scale = numbers[4];
  const Global<const int64_t> sample = &from->sample;
  s.sample = sample[0];
  const Global<const uint32_t> stream = &from->stream[0];
  s.stream[0] = stream[0];
  s.stream[1] = stream[1];
  return s;
}

template <class P>
PLINTH_DEVICE void store_parameter(Global<P> to, Lanes lanes, bool stochastic, Philox2 stream,
                                   int64_t sample, int64_t vector, compute_t<P> (&p)[kLanes<P>]) {
  if constexpr (std::is_same_v<P, BFloat16>) {
    if (stochastic) {
      const Philox4 words = philox(stream, sample, vector);
      PLINTH_UNROLL
      for (int e = 0; e < kLanes<P>; ++e)
        p[e] = stochastically_rounded(p[e], words[e / 2] >> (e % 2 * 16) & 0xffffu);
    }
  }
  store_lanes<kLanes<P>, P>(to, lanes, p);
}

template <class P, class G, class Rule>
PLINTH_KERNEL void step_kernel(TensorTable<Slot<P, G>> table, Step step, Rule rule) {
  using C = compute_t<P>;
  constexpr int W = kLanes<P>;
  OptimizerScalars s = step.scalars;
  if (step.inputs.scalars) s = read(step.inputs.scalars);
  if (step.inputs.verdict) {
    const Global<const uint32_t> accepted = &step.inputs.verdict->accepted;
    if (accepted[0] == 0) return;
    const Global<const double> factor = &step.inputs.verdict->factor;
    s.grad_scale *= factor[0];
  }
  const int t = table.tensor_of(block_index().x);
  const Slot<P, G>& slot = table.entries[t];
  const int64_t first = static_cast<int64_t>(block_index().x - table.first[t]) * kChunk<P>;
  const Global<P> parameter = slot.parameter;
  const Global<const G> gradient = slot.gradient;
  const Global<C> first_state = slot.first, second_state = slot.second, master = slot.master;
  const bool stochastic = step.stochastic && !slot.master;
  const Philox2 stream = {s.stream[0], s.stream[1]};
  const Exact<C> scale = static_cast<C>(s.grad_scale);

  PLINTH_UNROLL
  for (int k = 0; k < kVectorsAThread; ++k) {
    const int64_t i = first + (static_cast<int64_t>(k) * kThreads + thread_index()) * W;
    if (i >= slot.n) break;
    const int64_t left = slot.n - i < W ? slot.n - i : W;
    const Lanes lanes{left, slot.aligned && left == W};
    C p[W] = {}, g[W] = {}, m[W] = {}, v[W] = {};
    if constexpr (Rule::kParameter) {
      if (master) {
        load_lanes<W, C>(master + i, lanes, p);
      } else {
        load_lanes<W, P>(parameter + i, lanes, p);
      }
    }
    if constexpr (Rule::kGradient) load_lanes<W, G>(gradient + i, lanes, g);
    if constexpr (Rule::kFirst) load_lanes<W, C>(first_state + i, lanes, m);
    if constexpr (Rule::kSecond) load_lanes<W, C>(second_state + i, lanes, v);
    PLINTH_UNROLL
    for (int e = 0; e < W; ++e) p[e] = rule(s, p[e], Exact<C>(g[e]) * scale, m[e], v[e]).value;
    if constexpr (Rule::kFirst) store_lanes<W, C>(first_state + i, lanes, m);
    // Without a gradient the second state is only read.
    if constexpr (Rule::kSecond && Rule::kGradient) store_lanes<W, C>(second_state + i, lanes, v);
    if constexpr (Rule::kParameter) {
      if (master) store_lanes<W, C>(master + i, lanes, p);
      store_parameter<P>(parameter + i, lanes, stochastic, stream, s.sample + slot.number, i / W,
                         p);
    }
  }
}

// ---- launching ----

template <class... Pointers>
bool aligned(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// `second` gives the second state of a tensor.
template <class P, class G, class Options, class Rule, class Second>
void run(const char* name, void* stream, OptimizerTensors<P, G> tensors, const Options& options,
         const StepInputs& inputs, const Rule& rule, Second second) {
  using Entry = Slot<P, G>;
  static_assert(sizeof(TensorTable<Entry>) + sizeof(Step) + sizeof(Rule) <= 4096);
  const Step step{scalars_of(options), inputs, options.rounding.enabled};
  for_each_table<Entry>(
      tensors.size(), kChunk<P>,
      [&](size_t t) {
        const OptimizerTensor<P, G>& from = tensors[t];
        compute_t<P>* const state = second(t);
        return Entry{from.n,
                     from.parameter,
                     from.gradient,
                     from.exp_avg,
                     state,
                     std::is_same_v<P, compute_t<P>> ? nullptr : from.master,
                     static_cast<int>(t),
                     aligned(from.parameter, from.gradient, from.exp_avg, state, from.master)};
      },
      [&](const TensorTable<Entry>& table, uint32_t blocks, int64_t) {
        launch(name, step_kernel<P, G, Rule>, {{blocks}, {kThreads}, 0},
               static_cast<Stream>(stream), table, step, rule);
      });
}

template <class Options>
OptimizerScalars common_scalars(const Options& options) {
  OptimizerScalars s;
  s.lr = options.lr;
  s.decay = 1 - options.lr * options.weight_decay;
  s.grad_scale = options.grad_scale;
  s.sample = options.rounding.key.sample;
  const Philox2 stream = philox_stream(options.rounding.key);
  s.stream[0] = stream[0];
  s.stream[1] = stream[1];
  return s;
}

}  // namespace

OptimizerScalars scalars_of(const AdamWOptions& options) {
  OptimizerScalars s = common_scalars(options);
  const auto step = static_cast<double>(options.step);
  s.step_size = -options.lr / (1 - std::pow(options.beta1, step));
  s.inverse_root2 = 1 / std::sqrt(1 - std::pow(options.beta2, step));
  return s;
}
OptimizerScalars scalars_of(const SgdOptions& options) {
  return common_scalars(options);
}
OptimizerScalars scalars_of(const LionOptions& options) {
  return common_scalars(options);
}
OptimizerScalars scalars_of(const MuonOptions& options) {
  return common_scalars(options);
}

template <class P, class G>
void adamw_step(void* stream, OptimizerTensors<P, G> tensors, const AdamWOptions& options,
                const StepInputs& inputs) {
  using C = compute_t<P>;
  const AdamWRule<C> rule{static_cast<C>(options.beta2), static_cast<C>(1 - options.beta1),
                          static_cast<C>(1 - options.beta2), static_cast<C>(options.eps)};
  run("adamw", stream, tensors, options, inputs, rule,
      [&](size_t t) { return tensors[t].exp_avg_sq; });
}

template <class P, class G>
void sgd_step(void* stream, OptimizerTensors<P, G> tensors, const SgdOptions& options,
              const StepInputs& inputs) {
  using C = compute_t<P>;
  const auto none = [](size_t) -> C* { return nullptr; };
  const C weight_decay = static_cast<C>(options.weight_decay);
  const C momentum = static_cast<C>(options.momentum);
  if (momentum == 0) {
    run("sgd", stream, tensors, options, inputs, PlainSgdRule<C>{weight_decay}, none);
  } else {
    const C a = options.nesterov ? 1 : 0;
    const C b = options.nesterov ? momentum : C(1);
    run("sgd", stream, tensors, options, inputs, MomentumSgdRule<C>{weight_decay, momentum, a, b},
        none);
  }
}

template <class P, class G>
void lion_step(void* stream, OptimizerTensors<P, G> tensors, const LionOptions& options,
               const StepInputs& inputs) {
  using C = compute_t<P>;
  const LionRule<C> rule{static_cast<C>(options.beta1), static_cast<C>(1 - options.beta1),
                         static_cast<C>(options.beta2), static_cast<C>(1 - options.beta2)};
  run("lion", stream, tensors, options, inputs, rule, [](size_t) -> C* { return nullptr; });
}

template <class P, class G>
void muon_momentum(void* stream, OptimizerTensors<P, G> tensors,
                   std::span<compute_t<P>* const> updates, const MuonOptions& options,
                   const StepInputs& inputs) {
  using C = compute_t<P>;
  const MuonMomentumRule<C> rule{static_cast<C>(1 - options.momentum),
                                 options.nesterov ? static_cast<C>(options.momentum) : C(1)};
  run("muon_momentum", stream, tensors, options, inputs, rule,
      [&](size_t t) { return updates[t]; });
}

template <class P, class G>
void muon_update(void* stream, OptimizerTensors<P, G> tensors,
                 std::span<const compute_t<P>* const> updates, const MuonOptions& options,
                 const StepInputs& inputs) {
  using C = compute_t<P>;
  // The rule only reads them.
  run("muon_update", stream, tensors, options, inputs, MuonUpdateRule<C>{},
      [&](size_t t) { return const_cast<C*>(updates[t]); });
}

#define INSTANTIATE(P, G)                                                                          \
  template void adamw_step(void*, OptimizerTensors<P, G>, const AdamWOptions&, const StepInputs&); \
  template void sgd_step(void*, OptimizerTensors<P, G>, const SgdOptions&, const StepInputs&);     \
  template void lion_step(void*, OptimizerTensors<P, G>, const LionOptions&, const StepInputs&);   \
  template void muon_momentum(void*, OptimizerTensors<P, G>, std::span<compute_t<P>* const>,       \
                              const MuonOptions&, const StepInputs&);                              \
  template void muon_update(void*, OptimizerTensors<P, G>, std::span<const compute_t<P>* const>,   \
                            const MuonOptions&, const StepInputs&);
INSTANTIATE(double, double)
INSTANTIATE(float, float)
INSTANTIATE(BFloat16, BFloat16)
INSTANTIATE(BFloat16, float)
INSTANTIATE(Float16, Float16)
INSTANTIATE(Float16, float)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
