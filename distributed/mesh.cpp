#include "distributed/mesh.h"

#include <algorithm>
#include <set>

#include "core/error.h"

namespace plinth::distributed {

DeviceMesh::DeviceMesh(std::shared_ptr<ProcessGroup> world, std::vector<MeshAxis> axes)
    : world_(std::move(world)), axes_(std::move(axes)) {
  std::set<std::string_view> names;
  int64_t ranks = 1;
  for (const MeshAxis& axis : axes_) {
    check(!axis.name.empty() && names.insert(axis.name).second, ErrorKind::Argument, "DeviceMesh",
          "axis '", axis.name, "' is given twice, or has no name");
    check(axis.size > 0, ErrorKind::Argument, "DeviceMesh", "axis ", axis.name, " has size ",
          axis.size, ", takes 1 or more");
    ranks *= axis.size;
  }
  check(ranks == world_->size(), ErrorKind::Argument, "DeviceMesh", "the axes have ", ranks,
        " ranks, expected the ", world_->size(), " of group ", world_->name());

  // Ranks of a line along an axis have the same remaining coordinates: their color.
  int stride = world_->size();
  for (const MeshAxis& axis : axes_) {
    stride /= axis.size;
    const auto side = [stride, size = axis.size](int rank) -> ProcessGroup::Side {
      const int coordinate = rank / stride % size;
      return {rank - coordinate * stride, coordinate};
    };
    coordinates_.push_back(side(world_->rank()).key);
    groups_.push_back(world_->split_by(side, axis.name));
  }
}

size_t DeviceMesh::number(std::string_view axis) const {
  for (size_t i = 0; i < axes_.size(); ++i) {
    if (axes_[i].name == axis) return i;
  }
  std::string names;
  for (const MeshAxis& known : axes_) names += (names.empty() ? "" : ", ") + known.name;
  throw Error(ErrorKind::Argument, "DeviceMesh",
              detail::concat("has no axis '", axis, "'; its axes are ", names));
}

bool DeviceMesh::has(std::string_view axis) const {
  for (const MeshAxis& known : axes_) {
    if (known.name == axis) return true;
  }
  return false;
}

int DeviceMesh::size(std::string_view axis) const {
  return axes_[number(axis)].size;
}

int DeviceMesh::coordinate(std::string_view axis) const {
  return coordinates_[number(axis)];
}

const std::shared_ptr<ProcessGroup>& DeviceMesh::group(std::string_view axis) const {
  return groups_[number(axis)];
}

std::shared_ptr<ProcessGroup> DeviceMesh::group_over(
    const std::vector<std::string_view>& axes) const {
  std::vector<std::string_view> wide;  // those of several ranks
  for (const std::string_view axis : axes) {
    if (size(axis) > 1) wide.push_back(axis);
  }
  if (wide.empty()) return groups_[number(axes.at(0))];
  if (wide.size() == 1) return group(wide[0]);
  std::string name;
  for (const std::string_view axis : wide)
    name = detail::concat(name, name.empty() ? "" : "_", axis);
  const auto side = [&](int rank) -> ProcessGroup::Side {
    int color = rank, stride = world_->size();
    for (const MeshAxis& axis : axes_) {
      stride /= axis.size;
      if (std::ranges::find(wide, axis.name) != wide.end())
        color -= rank / stride % axis.size * stride;
    }
    return {color, rank};
  };
  return world_->split_by(side, name);
}

DeviceMesh training_mesh(const std::shared_ptr<ProcessGroup>& world, const ParallelSizes& sizes) {
  const int dp = std::max(1, world->size() / std::max(1, sizes.product()));
  return {world,
          {{"pp", sizes.pp}, {"dp", dp}, {"ep", sizes.ep}, {"cp", sizes.cp}, {"tp", sizes.tp}}};
}

}  // namespace plinth::distributed
