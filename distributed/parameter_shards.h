#pragma once

// Parameters of which each rank keeps its slices (ZeRO stage 3, Rajbhandari et al. 2020, arXiv
// 1910.02054; Zhao et al. 2023, arXiv 2304.11277): a unit is gathered before it is used, and let go
// after. Or, for stage 2, parameters that all ranks have whole, of which each updates its slices.
//
// A unit that is let go leaves its parameters their shapes, and NaN for every element: what reads
// them then by mistake is seen. The graph holds parameters by handle, so that a backward pass reads
// what was gathered for it; it may hold a view of a gathered unit's memory, as of a part of a
// parameter, which then stays until that pass is done.

#include <functional>
#include <memory>
#include <vector>

#include "distributed/process_group.h"
#include "distributed/shard_plan.h"

namespace plinth::distributed {

class ParameterShards {
 public:
  // `parameters`, whole on all ranks or absent, are those of the layout that the plan was made for;
  // they come to lie in memory of this class. `values(i)` gives those of parameter i if it is
  // absent: a unit at a time has all of them. `whole`: they stay whole.
  ParameterShards(std::shared_ptr<ProcessGroup> group, const ShardPlan& plan,
                  const nn::FlatLayout& layout, Tensors parameters, bool whole,
                  const std::function<Tensor(size_t)>& values = {});

  // What this rank owns of a unit's run: the elements that count.
  Tensor own(size_t unit, size_t run) const;

  // Begins to gather a unit, if it is not here: at once, without waiting.
  void fetch(size_t unit);
  // Waits for it: its parameters can be read.
  void use(size_t unit);
  void release(size_t unit);
  // For how long use() has waited so far.
  double exposed_seconds() const { return exposed_seconds_; }
  void use_all();
  void release_all();

  // After own() has changed: others' slices are gathered again where parameters stay whole.
  void updated();
  // After whole parameters, all in use, have been written to: own() becomes what they hold.
  void take_own();

 private:
  struct Unit {
    Tensor memory;  // the whole of it, while it is here
    Tensors own;    // a tensor a run; views of memory if that stays
    Work arriving;
    bool in_use = false;
  };

  void place(size_t unit);
  Work gather(size_t unit);

  std::shared_ptr<ProcessGroup> group_;
  const ShardPlan& plan_;
  Tensors parameters_;
  std::vector<Shape> shapes_;
  TensorOptions options_;
  bool whole_;
  std::vector<Unit> units_;
  double exposed_seconds_ = 0;
  Tensor rows_;    // memory for gathering a run
  Tensor absent_;  // what stands for all that is not here
};

}  // namespace plinth::distributed
