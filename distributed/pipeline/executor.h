#pragma once

// Pipeline parallelism: ranks compute different pieces of a model, and pass activations forward and
// gradients back, as a schedule says (schedule.h).
//
// The pieces of one micro-batch, run on their stages, do what one graph would: of a model without
// dropout, or whose random numbers are keyed by micro-batch (core/random.h), the gradients have the
// same bits. Stages number their random ops on from those of the pieces before them.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "core/split_backward.h"
#include "core/tensor.h"
#include "distributed/pipeline/channel.h"
#include "distributed/pipeline/schedule.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

// What a rank computes; pieces are numbered as in schedule.h.
struct PipelineModel {
  // A micro-batch's forward pass through a piece follows: the place for its random keys.
  std::function<void(int micro_batch)> begin = {};
  // The piece's outputs, one or two tensors, of the outputs of the piece before, none for piece 0;
  // of the last piece the scalar loss.
  std::function<Tensors(int piece, int micro_batch, const Tensors& x)> forward = {};
  // The micro-batch's gradients of the piece's parameters follow. Called for each piece in the
  // order of micro-batches.
  std::function<void(int piece, int micro_batch)> before_gradients = {};
};

class PipelineExecutor {
 public:
  // The ranks of `group` are the stages. All call it. Activations are on `device`. Throws
  // Error(Argument) for chunks that the schedule does not take, and for several of one stage alone.
  PipelineExecutor(std::shared_ptr<ProcessGroup> group, PipelineKind kind, int chunks,
                   Device device);

  int stages() const { return group_->size(); }
  int pieces() const { return stages() * chunks_; }
  // Whether this rank computes a piece.
  bool has(int piece) const { return piece % stages() == group_->rank(); }
  bool has_last() const { return has(pieces() - 1); }

  // Forward and backward passes of a step. The losses of all micro-batches, scalars off the graph,
  // where the last piece is; empty elsewhere. Throws what make_schedule() does of micro_batches,
  // and Error(Io).
  Tensors run(const PipelineModel& model, int micro_batches);
  // A forward pass of one micro-batch, number 0, without a graph: the loss where the last piece is,
  // undefined elsewhere. Shapes may differ from call to call.
  Tensor evaluate(const PipelineModel& model);

  // Of the last run(): for how long it waited for other stages.
  double exposed_seconds() const { return exposed_seconds_; }

 private:
  struct InFlight {
    Tensors x, y;
  };

  int piece_of(int chunk) const { return chunk * stages() + group_->rank(); }
  void expect(const PipelineSchedule& schedule);
  Tensors receive(Channel& channel, const Parcel& parcel);
  // The loss, if the piece is the last.
  Tensor forward(const PipelineModel& model, const Parcel& parcel);
  Tensors output_gradients(const Parcel& parcel);
  void backward(const PipelineModel& model, const Parcel& parcel);
  void backward_input(const Parcel& parcel);
  void backward_weight(const PipelineModel& model, const Parcel& parcel);
  void flush();

  std::shared_ptr<ProcessGroup> group_;
  PipelineKind kind_;
  int chunks_;
  Device device_;
  std::optional<Channel> activations_, gradients_;  // with several stages
  std::map<Parcel, InFlight> in_flight_;            // between forward and backward
  std::map<Parcel, SplitBackward> split_;           // between the two halves of backward
  double exposed_seconds_ = 0;
};

}  // namespace plinth::distributed
