#pragma once

// Connectionist temporal classification (Graves et al. 2006, "Connectionist Temporal
// Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks", sections 3
// and 4): minus the logarithm of the probability that a path of classes, one a time step, becomes
// the target when repetitions are merged and blanks then left out.
//
//   l            blank, t_1, blank, t_2, ..., blank: 2 S + 1 states
//   alpha(t, s)  log sum over the paths of the steps 0 ... t that end in state s
//   beta(t, s)   log sum over what may follow, from step t + 1 on
//   loss         -log sum over the last two states of exp alpha(T - 1, s)
//   dx(t, c)     -dloss sum over s with l_s = c of exp(alpha(t, s) + beta(t, s) + loss)
//
// x are log-probabilities [time, batch, classes], contiguous of T (double, float, BFloat16,
// Float16); targets [batch, most] int64, of which the first target_lengths count, loss and dloss
// [batch] of compute_t<T>. The recursions run in float64, for the logarithms of long sounds are so
// large that float32 would keep few digits of their differences. dx is the derivative by x itself:
// 0 for classes that the target has not, and for steps from input_lengths on.
//
// A target that no path gives has the loss infinity and the gradient NaN in the steps that count;
// with zero_infinity both are 0.
// Operations a step and state: about 80 forward, 200 backward, which computes alpha again; most of
// them in exp and log. Bytes: x is read once forward, twice backward, which writes as much. Memory:
// backward keeps alpha of a sample, [T, 2 S + 1] of float64, for each thread. Determinism: a sample
// is one thread's, in one order.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct CtcLossDesc {
  int64_t time = 0;
  int64_t batch = 0;
  int64_t classes = 0;
  int64_t most = 0;  // columns of targets
  int64_t blank = 0;
  bool zero_infinity = false;
};

// Targets that count are classes other than blank, lengths lie within [0, time] and [0, most].
struct CtcTargets {
  const int64_t* classes;
  const int64_t* input_lengths;
  const int64_t* target_lengths;
};

template <class T>
void ctc_loss_forward(const CtcLossDesc& desc, const T* x, const CtcTargets& targets,
                      compute_t<T>* loss);

template <class T>
void ctc_loss_backward(const CtcLossDesc& desc, const compute_t<T>* dloss, const T* x,
                       const CtcTargets& targets, T* dx);

}  // namespace plinth::kernels::cpu
