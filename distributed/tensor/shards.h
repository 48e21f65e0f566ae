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

// Elements of a tensor in row-major order: `rows` runs of `count` each, from one to the next
// `stride`.
struct ElementRows {
  int64_t begin = 0, rows = 1, count = 0, stride = 0;
};

// The gradient of elements [begin, begin + values.numel()) of what this rank has of a parameter.
struct GradientPart {
  Tensor parameter;
  int64_t begin = 0;
  Tensor values;
};

// Of all parameters, or of those of their elements that lie in `slices`.
std::vector<GradientPart> gradient_parts(const nn::FlatGradients& gradients,
                                         const std::vector<DataParallel::Range>* slices);

class ParameterParts {
 public:
  explicit ParameterParts(std::shared_ptr<ProcessGroup> group) : group_(std::move(group)) {}

  ProcessGroup& group() const { return *group_; }
  // Leaves the parameter, which may be absent, this rank's part of it. Throws Error(Shape) for a
  // cut that does not fit it.
  void cut(const std::string& name, const Tensor& parameter, ParameterCut cut);

  // Parameters, or states of an optimizer by the names of parameters ("exp_avg.NAME"), as they are
  // on one rank: on the CPU of rank 0 of the group, nothing on others. All ranks call it. What
  // has no such name passes as it is.
  nn::StateDict whole(const nn::StateDict& parts) const;
  // Tensors on the CPU, not filled in, of the shapes that whole() gives.
  nn::StateDict room(const nn::StateDict& parts) const;
  // This rank's parts of such. Throws Error(Shape) for a tensor that is not whole.
  nn::StateDict parts(const nn::StateDict& whole) const;

  // ---- by elements of what this rank has of a parameter, or of a state by a parameter's name ----
  Shape whole_shape(const std::string& name, const Shape& part) const;
  // Those that no rank before this one has; `size` is how many it has.
  std::vector<ShardRange> own_elements(const std::string& name, int64_t size) const;
  // Where elements [begin, begin + count) lie in the whole, in their order. `part` is the shape of
  // what this rank has.
  std::vector<ElementRows> rows_of(const std::string& name, const Shape& part, int64_t begin,
                                   int64_t count) const;

  // Of gradients those elements that no rank before this one has: so each counts once.
  Tensors counted(const std::vector<GradientPart>& gradients) const;

 private:
  struct Entry {
    Tensor parameter;
    ParameterCut cut;
  };

  const ParameterCut* find(const std::string& state) const;
  Tensor gather(const Tensor& part, const ParameterCut& cut) const;
  Tensor part_of(const std::string& name, const Tensor& whole, const ParameterCut& cut) const;
  std::string name_of(const Tensor& parameter) const;

  std::shared_ptr<ProcessGroup> group_;
  std::map<std::string, Entry, std::less<>> entries_;
};

// The square root of the sum of all elements' squares, of the tensors of all ranks of the groups,
// one group within the other; null ones are left out. All ranks call it.
double norm_over(const Tensors& tensors, Device device, const std::vector<ProcessGroup*>& groups);

}  // namespace plinth::distributed
