#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) {
  const double m = std::max(a, b);
  return m == kNever ? kNever : m + std::log(std::exp(a - m) + std::exp(b - m));
}
double log_add(double a, double b, double c) {
  const double m = std::max({a, b, c});
  return m == kNever ? kNever : m + std::log(std::exp(a - m) + std::exp(b - m) + std::exp(c - m));
}

// One sample: its states, and the log-probabilities of their classes.
template <class T>
class Sample {
 public:
  Sample(const CtcLossDesc& desc, const T* x, const CtcTargets& targets, int64_t i)
      : steps_(targets.input_lengths[i]),
        length_(targets.target_lengths[i]),
        stride_(desc.batch * desc.classes),
        blank_(desc.blank),
        x_(x + i * desc.classes),
        target_(targets.classes + i * desc.most) {}

  int64_t steps() const { return steps_; }
  int64_t states() const { return 2 * length_ + 1; }
  int64_t class_of(int64_t s) const { return s % 2 ? target_[s / 2] : blank_; }
  double log_probability(int64_t t, int64_t s) const {
    return static_cast<double>(x_[t * stride_ + class_of(s)]);
  }

  // Row t of alpha from the row before it, which may not be the same memory.
  void first_row(double* row) const {
    std::fill_n(row, states(), kNever);
    row[0] = log_probability(0, 0);
    if (states() > 1) row[1] = log_probability(0, 1);
  }
  void next_row(int64_t t, const double* before, double* row) const {
    for (int64_t s = 0; s < states(); ++s) {
      const double one = s >= 1 ? before[s - 1] : kNever;
      row[s] = log_probability(t, s) +
               (skips_to(s) ? log_add(before[s], one, before[s - 2]) : log_add(before[s], one));
    }
  }
  double loss_of(const double* last) const {
    return -(states() > 1 ? log_add(last[states() - 1], last[states() - 2]) : last[0]);
  }
  // Of no steps at all.
  double loss_of_nothing() const { return length_ == 0 ? 0 : -kNever; }

  // Row t of beta from the row behind it.
  void last_row(double* row) const {
    std::fill_n(row, states(), kNever);
    row[states() - 1] = 0;
    if (states() > 1) row[states() - 2] = 0;
  }
  void row_before(int64_t t, const double* behind, double* row) const {
    const auto reached = [&](int64_t s) { return behind[s] + log_probability(t + 1, s); };
    for (int64_t s = 0; s < states(); ++s) {
      const double one = s + 1 < states() ? reached(s + 1) : kNever;
      const bool skips = s + 2 < states() && skips_to(s + 2);
      row[s] = skips ? log_add(reached(s), one, reached(s + 2)) : log_add(reached(s), one);
    }
  }

 private:
  // Whether a path may come from two states before: over a blank between two different classes.
  bool skips_to(int64_t s) const {
    return s % 2 == 1 && s >= 3 && target_[s / 2] != target_[s / 2 - 1];
  }

  int64_t steps_, length_, stride_, blank_;
  const T* x_;
  const int64_t* target_;
};

template <class T>
double loss_of(const Sample<T>& sample, Scratch& scratch) {
  if (sample.steps() == 0) return sample.loss_of_nothing();
  double* row = scratch.get<double>(2 * sample.states());
  double* before = row + sample.states();
  sample.first_row(row);
  for (int64_t t = 1; t < sample.steps(); ++t) {
    std::swap(row, before);
    sample.next_row(t, before, row);
  }
  return sample.loss_of(row);
}

// dx of the sample's steps, whose first row `dx` points at, `stride` from row to row.
template <class T>
void differentiate(const CtcLossDesc& desc, const Sample<T>& sample, double dloss, T* dx,
                   int64_t stride, Scratch& scratch) {
  const int64_t states = sample.states(), steps = sample.steps();
  if (steps == 0) return;
  double* alpha = scratch.get<double>((steps + 2) * states + desc.classes);
  double* beta = alpha + steps * states;
  double* behind = beta + states;
  double* sums = behind + states;
  sample.first_row(alpha);
  for (int64_t t = 1; t < steps; ++t)
    sample.next_row(t, alpha + (t - 1) * states, alpha + t * states);
  const double loss = sample.loss_of(alpha + (steps - 1) * states);
  if (std::isinf(loss) && desc.zero_infinity) return;
  sample.last_row(beta);
  for (int64_t t = steps - 1; t >= 0; --t) {
    if (t + 1 < steps) {
      std::swap(beta, behind);
      sample.row_before(t, behind, beta);
    }
    std::fill_n(sums, desc.classes, std::isinf(loss) ? std::nan("") : 0.0);
    for (int64_t s = 0; s < states; ++s)
      sums[sample.class_of(s)] += std::exp(alpha[t * states + s] + beta[s] + loss);
    for (int64_t c = 0; c < desc.classes; ++c)
      dx[t * stride + c] = T(static_cast<compute_t<T>>(-dloss * sums[c]));
  }
}

}  // namespace

template <class T>
void ctc_loss_forward(const CtcLossDesc& desc, const T* x, const CtcTargets& targets,
                      compute_t<T>* loss) {
  parallel_for(desc.batch, 1, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    for (int64_t i = begin; i < end; ++i) {
      const double found = loss_of(Sample<T>(desc, x, targets, i), scratch);
      loss[i] = static_cast<compute_t<T>>(desc.zero_infinity && std::isinf(found) ? 0 : found);
    }
  });
}

template <class T>
void ctc_loss_backward(const CtcLossDesc& desc, const compute_t<T>* dloss, const T* x,
                       const CtcTargets& targets, T* dx) {
  parallel_for(desc.batch, 1, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const int64_t stride = desc.batch * desc.classes;
    for (int64_t i = begin; i < end; ++i) {
      T* rows = dx + i * desc.classes;
      for (int64_t t = 0; t < desc.time; ++t) std::fill_n(rows + t * stride, desc.classes, T(0));
      differentiate(desc, Sample<T>(desc, x, targets, i), static_cast<double>(dloss[i]), rows,
                    stride, scratch);
    }
  });
}

#define INSTANTIATE(T)                                                                            \
  template void ctc_loss_forward(const CtcLossDesc&, const T*, const CtcTargets&, compute_t<T>*); \
  template void ctc_loss_backward(const CtcLossDesc&, const compute_t<T>*, const T*,              \
                                  const CtcTargets&, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
