#pragma once

// Which ranks have which parameters of a model that is cut into parts, and the way back to a whole:
//
//   Placement placement(world, model.named_parameters(), own, device);   the others give up memory
//   model.to(device);
//   nn::AdamW optimizer(nn::decay_matrices(model, 0.1));                  of this rank's parameters
//   ...
//   nn::StateDict weights = placement.gather_weights();                   whole on rank 0

#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "distributed/process_group.h"
#include "nn/optim/optimizer.h"
#include "nn/state_dict.h"

namespace plinth::distributed {

class Placement {
 public:
  // `own` says which of the parameters this rank has. Of the others the shape stays, and no memory
  // on `device`, where the world's tensors lie: they take no gradient and read as zeros. All ranks
  // of the world call it, with the same parameters. Throws Error(Argument) if nobody has one.
  Placement(std::shared_ptr<ProcessGroup> world, std::vector<nn::NamedTensor> parameters,
            std::vector<bool> own, Device device);

  // This rank's, in the model's order.
  nn::StateDict own_parameters() const;

  // Gives all parameters memory on the CPU, for a file to be read into; release() ends it. In
  // between this rank's keep their values and place.
  void fill();
  void release();

  // All parameters, on the CPU of rank 0; empty on the others. All ranks call it.
  nn::StateDict gather_weights() const;
  // Likewise of tensors "WORD.NAME" of the parameters, of which this rank has `own`, float32 or
  // float64 as nn::compute_dtype(). What has no such name stays on rank 0.
  nn::StateDict gather(const nn::StateDict& own, const std::string& word) const;
  // The optimizer's state as one process would have it, likewise, where `own` is that of this
  // rank's whole parameters; `order` has the names of all parameters in the order in which one
  // process gives them to its optimizer. Throws Error(Argument) for an optimizer that looks at
  // whole matrices.
  nn::StateDict gather_state(const nn::Optimizer& optimizer, const nn::StateDict& own,
                             const std::vector<std::string>& order) const;
  // This rank's part of such a state. Throws Error(Shape) where something is missing.
  nn::StateDict own_state(const nn::Optimizer& optimizer, const nn::StateDict& whole,
                          const std::vector<std::string>& order) const;

 private:
  size_t number(const std::string& name) const;
  // `own`, a tensor of the parameter's shape, from the first rank that has it; undefined elsewhere.
  Tensor fetch(size_t parameter, const Tensor& own, DType dtype) const;

  std::shared_ptr<ProcessGroup> world_;
  std::vector<nn::NamedTensor> parameters_;
  std::vector<bool> own_;
  std::vector<int> holders_;  // the first rank that has the parameter
  Device device_;
};

}  // namespace plinth::distributed
