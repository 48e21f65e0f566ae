#pragma once

// Ranks in a grid with named axes, one for each way of sharing work:
//
//   const DeviceMesh mesh(world, {{"dp", 2}, {"tp", 4}});
//   ProcessGroup& tp = *mesh.group("tp");     the four ranks that share this one's layers
//
// The last axis has neighbouring ranks, the first the most distant ones: what talks the most comes
// last. Usual names are those of PyTorch: pp, dp_replicate, dp_shard, cp, tp, ep.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/process_group.h"

namespace plinth::distributed {

struct MeshAxis {
  std::string name;
  int size = 1;
};

class DeviceMesh {
 public:
  // All ranks of `world` call it, with the same axes. Throws Error(Argument) unless names differ
  // and the sizes' product is the world's.
  DeviceMesh(std::shared_ptr<ProcessGroup> world, std::vector<MeshAxis> axes);

  const std::vector<MeshAxis>& axes() const { return axes_; }
  bool has(std::string_view axis) const;
  // Throw Error(Argument) for an axis that there is not.
  int size(std::string_view axis) const;
  int coordinate(std::string_view axis) const;
  // This rank and those that differ from it along the axis alone, in order of their coordinates.
  const std::shared_ptr<ProcessGroup>& group(std::string_view axis) const;
  // This rank and those that differ from it along these axes alone, in the world's order. All ranks
  // of the world call it.
  std::shared_ptr<ProcessGroup> group_over(const std::vector<std::string_view>& axes) const;
  const std::shared_ptr<ProcessGroup>& world() const { return world_; }

 private:
  size_t number(std::string_view axis) const;

  std::shared_ptr<ProcessGroup> world_;
  std::vector<MeshAxis> axes_;
  std::vector<int> coordinates_;
  std::vector<std::shared_ptr<ProcessGroup>> groups_;
};

// Of a training run: stages, ranks that share out experts, sequences and layers. What remains is
// data parallel.
struct ParallelSizes {
  int pp = 1, ep = 1, cp = 1, tp = 1;

  int product() const { return pp * ep * cp * tp; }
};

// The mesh of all ways of sharing: pp, dp, ep, cp, tp, the axis that talks the most last. Errors as
// DeviceMesh's.
DeviceMesh training_mesh(const std::shared_ptr<ProcessGroup>& world, const ParallelSizes& sizes);

}  // namespace plinth::distributed
