#pragma once

// Parameters of which ranks have parts: what lies where, and the whole from the parts.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "distributed/data_parallel.h"
#include "distributed/process_group.h"
#include "distributed/redistribute.h"
#include "nn/flat.h"
#include "nn/state_dict.h"

namespace plinth::distributed {

// How a parameter is cut: of dimension `dim`, which has `size` indices, rank r has ranges[r], one
// behind the other. Two ranks have a range alike or share nothing of it.
struct ParameterCut {
  int64_t dim = 0, size = 0;
  std::vector<std::vector<ShardRange>> ranges;
};

class ParameterParts {
 public:
  explicit ParameterParts(std::shared_ptr<ProcessGroup> group) : group_(std::move(group)) {}

  const ProcessGroup& group() const { return *group_; }
  // Leaves the parameter this rank's part of its values. Throws Error(Shape) for a cut that does
  // not fit it.
  void cut(const std::string& name, const Tensor& parameter, ParameterCut cut);

  // Parameters, or states of an optimizer by the names of parameters ("exp_avg.NAME"), as they are
  // on one rank: on the CPU of rank 0 of the group, nothing on others. All ranks call it. What
  // has no such name passes as it is.
  nn::StateDict whole(const nn::StateDict& parts) const;
  // Tensors on the CPU, not filled in, of the shapes that whole() gives.
  nn::StateDict room(const nn::StateDict& parts) const;
  // This rank's parts of such. Throws Error(Shape) for a tensor that is not whole.
  nn::StateDict parts(const nn::StateDict& whole) const;

  // The norm of the gradients of the whole parameters, each element once. With ZeRO of the `slices`
  // that this rank has, and of those of the other ranks of `data`. All ranks of both groups call
  // it.
  double grad_norm(const nn::FlatGradients& gradients,
                   const std::vector<DataParallel::Range>* slices, ProcessGroup* data) const;

 private:
  struct Entry {
    Tensor parameter;
    ParameterCut cut;
  };

  const ParameterCut* find(const std::string& state) const;
  Tensor gather(const Tensor& part, const ParameterCut& cut) const;
  Tensor part_of(const std::string& name, const Tensor& whole, const ParameterCut& cut) const;
  // Elements of a parameter that no rank before this one has.
  std::vector<ShardRange> own_elements(const Tensor& parameter) const;

  std::shared_ptr<ProcessGroup> group_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace plinth::distributed
