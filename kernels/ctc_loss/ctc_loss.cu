#include "kernels/ctc_loss/ctc_loss_cuda.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/first_outside_cuda.cuh"
#include "kernels/instantiate.h"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

// As the CPU's kernel (ctc_loss_cpu.cpp), whose words these are.

constexpr double kNever = -std::numeric_limits<double>::infinity();

PLINTH_DEVICE double log_add(double a, double b) {
  const double m = larger(a, b);
  return m == kNever ? kNever : m + std::log(std::exp(a - m) + std::exp(b - m));
}
PLINTH_DEVICE double log_add(double a, double b, double c) {
  const double m = larger(larger(a, b), c);
  return m == kNever ? kNever : m + std::log(std::exp(a - m) + std::exp(b - m) + std::exp(c - m));
}

PLINTH_DEVICE int64_t within(int64_t value, int64_t last) {
  return value < 0 ? 0 : (value > last ? last : value);
}

template <class T>
struct Sample {
  int64_t number, steps, length, classes, blank, stride;
  Global<const T> x;
  Global<const int64_t> target;

  PLINTH_DEVICE Sample(const CtcLossDesc& desc, Global<const T> all, Global<const int64_t> targets,
                       Global<const int64_t> input_lengths, Global<const int64_t> target_lengths)
      : number(block_index().x),
        steps(within(input_lengths[number], desc.time)),
        length(within(target_lengths[number], desc.most)),
        classes(desc.classes),
        blank(desc.blank),
        stride(desc.batch * desc.classes),
        x(all + number * desc.classes),
        target(targets + number * desc.most) {}

  PLINTH_DEVICE int64_t states() const { return 2 * length + 1; }
  PLINTH_DEVICE int64_t label(int64_t i) const { return within(target[i], classes - 1); }
  PLINTH_DEVICE int64_t class_of(int64_t s) const { return s % 2 ? label(s / 2) : blank; }
  PLINTH_DEVICE double log_probability(int64_t t, int64_t s) const {
    const T value = x[t * stride + class_of(s)];
    return static_cast<double>(static_cast<compute_t<T>>(value));
  }
  PLINTH_DEVICE bool skips_to(int64_t s) const {
    return s % 2 == 1 && s >= 3 && label(s / 2) != label(s / 2 - 1);
  }

  PLINTH_DEVICE double first_alpha(int64_t s) const {
    return s < 2 ? log_probability(0, s) : kNever;
  }
  PLINTH_DEVICE double next_alpha(int64_t t, int64_t s, Global<const double> before) const {
    const double stay = before[s], one = s >= 1 ? double(before[s - 1]) : kNever;
    return log_probability(t, s) +
           (skips_to(s) ? log_add(stay, one, before[s - 2]) : log_add(stay, one));
  }
  PLINTH_DEVICE double loss_of(Global<const double> last) const {
    if (steps == 0) return length == 0 ? 0 : -kNever;
    return -(states() > 1 ? log_add(last[states() - 1], last[states() - 2]) : double(last[0]));
  }

  PLINTH_DEVICE double last_beta(int64_t s) const { return s + 2 < states() ? kNever : 0; }
  PLINTH_DEVICE double beta_before(int64_t t, int64_t s, Global<const double> behind) const {
    const auto reached = [&](int64_t next) {
      return next < states() ? double(behind[next]) + log_probability(t + 1, next) : kNever;
    };
    if (s + 2 < states() && skips_to(s + 2))
      return log_add(reached(s), reached(s + 1), reached(s + 2));
    return log_add(reached(s), reached(s + 1));
  }
};

// body(i) for this thread's part of [0, count).
template <class Body>
PLINTH_DEVICE void for_mine(int64_t count, Body body) {
  for (int64_t i = thread_index(); i < count; i += block_threads()) body(i);
}

// rows: [batch][2][states].
template <class T>
PLINTH_KERNEL void forward_kernel(CtcLossDesc desc, Global<const T> x,
                                  Global<const int64_t> targets,
                                  Global<const int64_t> input_lengths,
                                  Global<const int64_t> target_lengths, Global<double> rows,
                                  Global<compute_t<T>> loss) {
  const Sample<T> sample(desc, x, targets, input_lengths, target_lengths);
  const int64_t most_states = 2 * desc.most + 1, states = sample.states();
  const Global<double> pair = rows + sample.number * 2 * most_states;
  if (sample.steps > 0) for_mine(states, [&](int64_t s) { pair[s] = sample.first_alpha(s); });
  for (int64_t t = 1; t < sample.steps; ++t) {
    block_sync();
    const Global<double> before = pair + (t - 1) % 2 * most_states;
    const Global<double> row = pair + t % 2 * most_states;
    for_mine(states, [&](int64_t s) { row[s] = sample.next_alpha(t, s, before); });
  }
  block_sync();
  if (thread_index() != 0) return;
  const int64_t last = sample.steps > 0 ? (sample.steps - 1) % 2 : 0;
  const double found = sample.loss_of(pair + last * most_states);
  loss[sample.number] =
      static_cast<compute_t<T>>(desc.zero_infinity && std::isinf(found) ? 0 : found);
}

// What backward keeps of a sample: alpha [time][states], two rows of beta, a row of the states'
// shares, and for each label the next one of its class, or -1; negative, less 2, where an earlier
// one is of it, too.
struct Kept {
  Global<double> alpha, beta, shares;
  Global<int64_t> next;
};
int64_t kept_doubles(const CtcLossDesc& desc) {
  return (desc.time + 3) * (2 * desc.most + 1);
}

template <class T>
PLINTH_DEVICE void link_labels(const Sample<T>& sample, Global<int64_t> next) {
  for_mine(sample.length, [&](int64_t i) {
    const int64_t of = sample.label(i);
    int64_t before = i - 1, behind = i + 1;
    while (before >= 0 && sample.label(before) != of) --before;
    while (behind < sample.length && sample.label(behind) != of) ++behind;
    const int64_t link = behind < sample.length ? behind : -1;
    next[i] = before < 0 ? link : -3 - link;
  });
}

// Adds the shares of step t, of which the row of dx holds zeros.
template <class T>
PLINTH_DEVICE void write_step(const Sample<T>& sample, double scale, const Kept& kept,
                              Shared<double> scratch, Global<T> row) {
  using C = compute_t<T>;
  double mine = 0;
  for_mine(sample.states(), [&](int64_t s) {
    if (sample.class_of(s) == sample.blank) mine += kept.shares[s];
  });
  const double blanks = block_reduce<Sum>(mine, 0.0, scratch);
  if (thread_index() == 0) row[sample.blank] = static_cast<T>(static_cast<C>(-scale * blanks));
  for_mine(sample.length, [&](int64_t i) {
    const int64_t first = kept.next[i];
    if (first < -1 || sample.label(i) == sample.blank) return;
    double sum = kept.shares[2 * i + 1];
    for (int64_t at = first; at >= 0;) {
      sum += kept.shares[2 * at + 1];
      const int64_t link = kept.next[at];
      at = -3 - link;
    }
    row[sample.label(i)] = static_cast<T>(static_cast<C>(-scale * sum));
  });
}

template <class T>
PLINTH_KERNEL void backward_kernel(CtcLossDesc desc, Global<const compute_t<T>> dloss,
                                   Global<const T> x, Global<const int64_t> targets,
                                   Global<const int64_t> input_lengths,
                                   Global<const int64_t> target_lengths, int64_t doubles,
                                   Global<double> rows, Global<int64_t> links, Global<T> dx) {
  using C = compute_t<T>;
  const Sample<T> sample(desc, x, targets, input_lengths, target_lengths);
  const int64_t states = sample.states(), most_states = 2 * desc.most + 1;
  const Global<double> alpha = rows + sample.number * doubles;
  const Global<double> betas = alpha + desc.time * most_states;
  const Kept kept{alpha, betas, betas + 2 * most_states, links + sample.number * desc.most};
  const Global<T> to = dx + sample.number * desc.classes;
  const auto fill = [&](int64_t t, C value) {
    for_mine(desc.classes, [&](int64_t c) { to[t * sample.stride + c] = static_cast<T>(value); });
  };
  for (int64_t t = sample.steps; t < desc.time; ++t) fill(t, C(0));
  if (sample.steps == 0) return;
  link_labels(sample, kept.next);
  for_mine(states, [&](int64_t s) { alpha[s] = sample.first_alpha(s); });
  for (int64_t t = 1; t < sample.steps; ++t) {
    block_sync();
    const Global<double> before = alpha + (t - 1) * most_states;
    for_mine(states, [&](int64_t s) { before[most_states + s] = sample.next_alpha(t, s, before); });
  }
  block_sync();
  const double loss = sample.loss_of(alpha + (sample.steps - 1) * most_states);
  if (std::isinf(loss)) {
    const C value = desc.zero_infinity ? C(0) : std::numeric_limits<C>::quiet_NaN();
    for (int64_t t = 0; t < sample.steps; ++t) fill(t, value);
    return;
  }
  const double scale = static_cast<double>(static_cast<C>(dloss[sample.number]));
  for (int64_t t = sample.steps - 1; t >= 0; --t) {
    const Global<double> row = kept.beta + t % 2 * most_states;
    const Global<double> behind = kept.beta + (t + 1) % 2 * most_states;
    for_mine(states, [&](int64_t s) {
      const double beta =
          t + 1 < sample.steps ? sample.beta_before(t, s, behind) : sample.last_beta(s);
      const double reached = alpha[t * most_states + s];
      row[s] = beta;
      kept.shares[s] = std::exp(reached + beta + loss);
    });
    fill(t, C(0));
    block_sync();
    write_step(sample, scale, kept, shared_array<double>(0, 32), to + t * sample.stride);
    block_sync();
  }
}

// One block looks at all targets.
PLINTH_KERNEL void report_kernel(CtcLossDesc desc, Global<const int64_t> targets,
                                 Global<const int64_t> target_lengths, uint32_t check,
                                 Global<uint32_t> fault_check, Global<int64_t> fault_element,
                                 Global<int64_t> fault_value) {
  const int64_t count = desc.batch * desc.most;
  int64_t found = count;
  for (int64_t i = thread_index(); i < count && found == count; i += block_threads()) {
    const int64_t label = targets[i], length = target_lengths[i / desc.most];
    if (i % desc.most < length && (label < 0 || label >= desc.classes)) found = i;
  }
  found = block_reduce<Min>(found, count, shared_array<int64_t>(0, 32));
  if (thread_index() != 0 || found == count) return;
  if (atomic_compare_exchange(fault_check, 0u, check) != 0) return;  // an earlier one counts
  const int64_t label = targets[found];
  fault_element[0] = found;
  fault_value[0] = label;
}

// A thread for each state, but for long targets.
LaunchShape shape_of(const CtcLossDesc& desc, size_t shared) {
  const int64_t threads = std::clamp<int64_t>(ceil_div(2 * desc.most + 1, 32) * 32, 32, 256);
  return {{static_cast<uint32_t>(desc.batch)}, {static_cast<uint32_t>(threads)}, shared};
}

}  // namespace

size_t ctc_loss_forward_workspace(const CtcLossDesc& desc) {
  return static_cast<size_t>(desc.batch * 2 * (2 * desc.most + 1)) * sizeof(double);
}

template <class T>
void ctc_loss_forward(void* stream, const CtcLossDesc& desc, const T* x, const CtcTargets& targets,
                      compute_t<T>* loss, void* workspace) {
  if (desc.batch == 0) return;
  launch("ctc_loss_forward", forward_kernel<T>, shape_of(desc, 0), static_cast<Stream>(stream),
         desc, x, targets.classes, targets.input_lengths, targets.target_lengths,
         static_cast<double*>(workspace), loss);
}

size_t ctc_loss_backward_workspace(const CtcLossDesc& desc) {
  return static_cast<size_t>(desc.batch * (kept_doubles(desc) + desc.most)) * sizeof(double);
}

template <class T>
void ctc_loss_backward(void* stream, const CtcLossDesc& desc, const compute_t<T>* dloss, const T* x,
                       const CtcTargets& targets, T* dx, void* workspace) {
  if (desc.batch == 0) return;
  auto* const rows = static_cast<double*>(workspace);
  auto* const links = reinterpret_cast<int64_t*>(rows + desc.batch * kept_doubles(desc));
  launch("ctc_loss_backward", backward_kernel<T>, shape_of(desc, 32 * sizeof(double)),
         static_cast<Stream>(stream), desc, dloss, x, targets.classes, targets.input_lengths,
         targets.target_lengths, kept_doubles(desc), rows, links, dx);
}

void report_bad_labels(void* stream, const CtcLossDesc& desc, const CtcTargets& targets,
                       uint32_t check, IndexFault* fault) {
  launch("ctc_loss_report", report_kernel, {{1}, {kFirstOutsideThreads}, 32 * sizeof(int64_t)},
         static_cast<Stream>(stream), desc, targets.classes, targets.target_lengths, check,
         &fault->check, &fault->element, &fault->value);
}

#define PLINTH_INSTANTIATE(T)                                                                  \
  template void ctc_loss_forward<T>(void*, const CtcLossDesc&, const T*, const CtcTargets&,    \
                                    compute_t<T>*, void*);                                     \
  template void ctc_loss_backward<T>(void*, const CtcLossDesc&, const compute_t<T>*, const T*, \
                                     const CtcTargets&, T*, void*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
