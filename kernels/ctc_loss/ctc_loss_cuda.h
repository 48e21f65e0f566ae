#pragma once

// Connectionist temporal classification on the GPU: the contract of ctc_loss.h, on device pointers
// and a stream.
//
// A block has a sample, a thread some of its states; the steps of time follow one another, a
// barrier between two. Bound: latency. Predicted, not measured: 2 us a step forward and 5 us
// backward (two or three barriers, a row that comes from the caches, float64's exp and log),
// however large the batch until each multiprocessor has several samples. Backward keeps alpha of
// all samples, 8 time batch (2 most + 1) bytes.
//
// A length out of range counts as the nearest that is not, a target as the nearest class, so that
// nothing outside is read; the caller looks for them. A label that is blank is one blank more.
// Determinism: a class's states are added in the order of the target, those of the blank in a tree
// that the target's length gives.

#include <cstddef>
#include <cstdint>

#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/index/index_fault.h"

namespace plinth::kernels::cuda {

using cpu::CtcLossDesc;
using cpu::CtcTargets;

size_t ctc_loss_forward_workspace(const CtcLossDesc& desc);
template <class T>
void ctc_loss_forward(void* stream, const CtcLossDesc& desc, const T* x, const CtcTargets& targets,
                      compute_t<T>* loss, void* workspace);

size_t ctc_loss_backward_workspace(const CtcLossDesc& desc);
template <class T>
void ctc_loss_backward(void* stream, const CtcLossDesc& desc, const compute_t<T>* dloss, const T* x,
                       const CtcTargets& targets, T* dx, void* workspace);

// If a target that counts is no class, and *fault holds none yet (its check is 0), writes `check`,
// which is not 0, and the first such target there; as report_bad_target() of cross_entropy_cuda.h.
void report_bad_labels(void* stream, const CtcLossDesc& desc, const CtcTargets& targets,
                       uint32_t check, IndexFault* fault);

}  // namespace plinth::kernels::cuda
