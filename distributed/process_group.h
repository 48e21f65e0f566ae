#pragma once

// Ranks that compute together, and what they can do: the collectives of MPI and NCCL on tensors.
//
//   auto group = ...                                    distributed/rendezvous.h makes the world's
//   Work work = group->all_reduce(gradient);            every rank of the group calls the same, in
//   ...                                                 the same order
//   work.wait();                                        now `gradient` holds the sum
//
// A call gives work to the group and returns: the group does its work in order, beside the
// computation. Until wait() returns, what is read may not be written, and what is written not be
// touched; the tensors are kept alive. On a GPU wait() makes the current stream wait, not the host.
//
// Tensors are contiguous, on one device that the backend serves, and of the same sizes on all
// ranks. Nothing here is differentiable: see redistribute.h.
//
// Errors: Argument, Shape, DType, Device of what is called wrongly, thrown by the call itself, with
// the group unharmed. Io from wait(), where a peer died, or did not come before the
// deadline: it names the collective, and the ranks that are missing as far as that is known. A
// group that failed once stays failed, and says so at once. On a GPU a failure may come to light
// after wait(), while the host waits for the device: what is read there is no result then, which
// to_host() and raise_if_failed() tell.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "distributed/collective.h"
#include "distributed/store/store.h"

namespace plinth::distributed {

// One call's work. Copies are handles of the same.
class Work {
 public:
  // What a backend knows of it.
  class State {
   public:
    virtual ~State() = default;
    virtual bool is_done() = 0;
    virtual void wait() = 0;
    virtual void wait_on_host() { wait(); }
  };

  Work() = default;  // done
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}
  // Also true when it failed.
  bool is_done() const { return !state_ || state_->is_done(); }
  void wait() const {
    if (state_) state_->wait();
  }
  // The same, and the host waits, too, on a GPU as well: once it returns the work is done, and the
  // group no longer holds its tensors.
  void wait_on_host() const {
    if (state_) state_->wait_on_host();
  }

 private:
  std::shared_ptr<State> state_;
};

struct GroupOptions {
  std::string name = "world";                       // for messages
  Milliseconds timeout = std::chrono::minutes(10);  // of one collective
};

class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& name() const { return options_.name; }
  const GroupOptions& options() const { return options_; }
  virtual std::string_view backend() const = 0;  // "gloo", "nccl", "self", "simulated"
  virtual bool serves(Device device) const = 0;

  // In place. Sums of narrow floats are made in float32 and rounded once; the order of the sum is
  // the backend's own (reduce.h has the one that does not depend on the number of ranks).
  Work all_reduce(const Tensor& tensor, ReduceOp op = ReduceOp::Sum);
  // in has size() equal parts along its first dimension; out becomes the reduced part of this rank.
  // It may be that very part of in; else the two share no memory, here and below.
  Work reduce_scatter(const Tensor& out, const Tensor& in, ReduceOp op = ReduceOp::Sum);
  // out has size() equal parts along its first dimension, that of rank r being its in, which may be
  // that very part of out.
  Work all_gather(const Tensor& out, const Tensor& in);
  // Part r of in goes to rank r, and part r of out comes from there. Parts are equal, or
  // `sent` and `received` rows of the first dimension.
  Work all_to_all(const Tensor& out, const Tensor& in);
  Work all_to_all(const Tensor& out, const Tensor& in, const std::vector<int64_t>& sent,
                  const std::vector<int64_t>& received);
  Work broadcast(const Tensor& tensor, int root);
  // Messages between two ranks arrive in the order in which they were sent. A send may wait for its
  // recv, and the group's later work for the send: of two ranks that send to each other, one has to
  // receive first; all_to_all exchanges without such care.
  Work send(const Tensor& tensor, int to);
  Work recv(const Tensor& tensor, int from);
  Work barrier();

  // Calls `work` between the collectives that were called before and those that are called after:
  // for what must follow one and precede the next without the host waiting. On a GPU it is called
  // at once, with the group's stream as the current one; on the CPU by the group's own thread.
  virtual Work in_order(std::function<void()> work) = 0;

  // Memory, all zeros, for what the group sends and receives again and again: with NCCL registered
  // with the group, as long as the group lives, which saves its collectives copies; of other
  // backends memory as any. All ranks call it in the same order, with the same size, and use it
  // alike: what they give a collective lies at the same place of the same buffer on all of them.
  // Throws Error(OutOfMemory), Error(Io), and Error(Device) where the group does not serve the
  // device.
  virtual Tensor make_buffer(int64_t elements, TensorOptions options);

  // The ranks that give the same color, ordered by key and then by rank, as a group of their own;
  // all ranks call it. A negative color makes no group, and gives null.
  virtual std::shared_ptr<ProcessGroup> split(int color, int key, const std::string& name) = 0;

  // The same where each rank can tell what every other gives, of its rank here: a group that has no
  // peers to ask (distributed/dry/dry_group.h) has this one alone.
  struct Side {
    int color = 0;
    int key = 0;
  };
  virtual std::shared_ptr<ProcessGroup> split_by(const std::function<Side(int rank)>& side,
                                                 const std::string& name);

  // Throws Error(Io) if this group has failed, or another that was split from it, or it from. What
  // the host has read from the device, after wait(), comes of collectives that were done only if
  // this does not throw: one that a failure ends leaves no result. Of backends whose wait() makes
  // the host wait, that has told.
  virtual void raise_if_failed() {}
  // A copy on the CPU of what collectives that were waited for have left. Throws as that does.
  Tensor to_host(const Tensor& result);

  // Gives up all work, on this rank: whoever waits gets the reason. Peers see it as a rank that
  // died. Any thread may call it.
  virtual void abort(const std::string& reason) = 0;

 protected:
  ProcessGroup(int rank, int size, GroupOptions options);

  // Starts a checked collective; `held` are its tensors.
  virtual Work start(Collective collective, Tensors held) = 0;

 private:
  Work begin(Collective collective, Tensors held);

  int rank_, size_;
  GroupOptions options_;
  uint64_t collectives_ = 0;
};

}  // namespace plinth::distributed
