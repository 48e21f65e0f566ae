#include "distributed/redistribute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "distributed/mesh.h"
#include "distributed/simulated/simulated_group.h"
#include "tests/distributed/backends.h"
#include "tests/distributed/on_ranks.h"

namespace plinth::distributed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Group = std::shared_ptr<ProcessGroup>;

// Small whole numbers, so that sums are exact in any order.
Tensor numbers(const Shape& shape, int64_t seed) {
  std::vector<float> values;
  for (int64_t i = 0; i < shape.numel(); ++i)
    values.push_back(static_cast<float>((i * 7 + seed * 5) % 23 - 11));
  return from_values(values, shape);
}

// This rank's tensor where `whole` lies so.
Tensor laid_out(const Tensor& whole, const Layout& layout, const ProcessGroup& group) {
  switch (layout.kind) {
    case LayoutKind::Replicate: return whole.clone();
    case LayoutKind::Shard: {
      const ShardRange own = shard_range(whole.size(layout.dim), group.size(), group.rank());
      return whole.narrow(layout.dim, own.begin, own.count).clone();
    }
    case LayoutKind::Partial: {
      Tensor term = group.rank() == 0 ? whole.clone() : zeros_like(whole);
      for (int rank = 1; rank < group.size(); ++rank) {
        const Tensor part = numbers(whole.shape(), rank);
        if (group.rank() == 0) term.sub_(part);
        if (group.rank() == rank) term.add_(part);
      }
      return term;
    }
  }
  return {};
}

void expect_lies_so(const Tensor& local, const Tensor& whole, const Layout& layout,
                    ProcessGroup& group) {
  if (layout.kind != LayoutKind::Partial) {
    EXPECT_EQ(local.shape(), laid_out(whole, layout, group).shape());
    EXPECT_EQ(to_vector(local), to_vector(laid_out(whole, layout, group)));
    return;
  }
  const Tensor sum = local.detach().clone();
  group.all_reduce(sum).wait();
  EXPECT_EQ(to_vector(sum), to_vector(whole));
}

struct NamedLayout {
  std::string name;
  Layout layout;
};

// 5, 7 and 2 elements on 3 ranks: no dimension is cut evenly, and of one a rank has none.
const std::vector<NamedLayout> kLayouts = {{"Replicate", Replicate},
                                           {"Shard0", Shard(0, 5)},
                                           {"Shard1", Shard(1, 7)},
                                           {"Shard2", Shard(2, 2)},
                                           {"Partial", Partial}};

TEST(Redistribute, TakesEachLayoutToEachWithItsGradient) {
  const Shape shape{5, 7, 2};
  on_ranks(3, [&](const Group& group) {
    const Tensor whole = numbers(shape, 0), slope = numbers(shape, 9);
    for (const NamedLayout& from : kLayouts) {
      for (const NamedLayout& to : kLayouts) {
        SCOPED_TRACE(from.name + " to " + to.name);
        Tensor x = laid_out(whole, from.layout, *group);
        x.set_requires_grad();
        const Tensor y = redistribute(x, group, from.layout, to.layout);
        expect_lies_so(y, whole, to.layout, *group);
        const Layout of_y = to.layout.kind == LayoutKind::Partial ? Replicate : to.layout;
        y.backward(laid_out(slope, of_y, *group));
        const Layout of_x = from.layout.kind == LayoutKind::Partial ? Replicate : from.layout;
        expect_lies_so(x.grad(), slope, of_x, *group);
      }
    }
  });
}

// What enters work that differs from rank to rank: gradients are terms of a sum.
TEST(Redistribute, AddsUpPartialGradients) {
  const Shape shape{5, 7, 2};
  on_ranks(3, [&](const Group& group) {
    const Tensor whole = numbers(shape, 0), slope = numbers(shape, 9);
    for (const Layout& from : {Replicate, Shard(1, 7)}) {
      Tensor x = laid_out(whole, from, *group);
      x.set_requires_grad();
      const Tensor y = redistribute(x, group, from, Replicate, Partial);
      expect_lies_so(y, whole, Replicate, *group);
      y.backward(laid_out(slope, Partial, *group));
      expect_lies_so(x.grad(), slope, from, *group);
    }
  });
}

TEST(Redistribute, KnowsEqualSizesAndCountsDimensionsFromTheEnd) {
  on_ranks(2, [&](const Group& group) {
    const Tensor whole = numbers({4, 6}, 0);
    const Tensor x = laid_out(whole, Shard(1), *group);
    expect_lies_so(redistribute(x, group, Shard(-1), Replicate), whole, Replicate, *group);
    expect_lies_so(redistribute(x, group, Shard(-1), Shard(-2)), whole, Shard(0), *group);
    expect_lies_so(redistribute(x, group, Shard(-1), Shard(1)), whole, Shard(1), *group);
  });
}

TEST(Redistribute, NamesWhatDoesNotFit) {
  on_ranks(2, [&](const Group& group) {
    const Tensor x = numbers({4, 6}, 0);
    EXPECT_THAT(error_of(ErrorKind::Argument, [&] { redistribute(x, group, Replicate, Shard(2)); }),
                HasSubstr("redistribute: Shard's dim got 2 for shape [4, 6]"));
    EXPECT_THAT(
        error_of(ErrorKind::Argument, [&] { redistribute(x, group, Shard(1, 9), Replicate); }),
        HasSubstr("has 6 elements, expected " + std::string(group->rank() ? "4" : "5") +
                  " of 9 on rank"));
  });
}

TEST(DeviceMesh, NeighboursShareTheLastAxis) {
  on_ranks(6, [](const Group& world) {
    const DeviceMesh mesh(world, {{"dp", 2}, {"tp", 3}});
    EXPECT_EQ(mesh.coordinate("dp"), world->rank() / 3);
    EXPECT_EQ(mesh.coordinate("tp"), world->rank() % 3);
    EXPECT_EQ(mesh.size("tp"), 3);
    const auto members = [&](std::string_view axis) {
      ProcessGroup& group = *mesh.group(axis);
      const Tensor all = zeros({group.size()});
      group.all_gather(all, ones({1}).mul_(static_cast<double>(world->rank()))).wait();
      return to_vector(all);
    };
    const int dp = mesh.coordinate("dp"), tp = mesh.coordinate("tp");
    EXPECT_THAT(members("tp"), ElementsAre(3 * dp, 3 * dp + 1, 3 * dp + 2));
    EXPECT_THAT(members("dp"), ElementsAre(tp, tp + 3));
    EXPECT_EQ(mesh.group("tp")->rank(), tp);
  });
}

TEST(DeviceMesh, GroupsOverSeveralAxesKeepTheOrderOfRanks) {
  on_ranks(12, [](const Group& world) {
    const DeviceMesh mesh = training_mesh(world, {.pp = 2, .ep = 1, .cp = 1, .tp = 3});
    EXPECT_EQ(mesh.size("dp"), 2);
    const auto members = [&](const std::vector<std::string_view>& axes) {
      const Group group = mesh.group_over(axes);
      const Tensor all = zeros({group->size()});
      group->all_gather(all, ones({1}).mul_(static_cast<double>(world->rank()))).wait();
      return to_vector(all);
    };
    const int rank = world->rank(), tp = rank % 3, stage = rank / 6 * 6;
    EXPECT_THAT(members({"pp", "dp"}), ElementsAre(tp, tp + 3, tp + 6, tp + 9));
    EXPECT_THAT(members({"dp", "ep", "cp"}), ElementsAre(stage + tp, stage + tp + 3));
    EXPECT_THAT(members({"cp", "ep"}), ElementsAre(rank));
  });
}

TEST(DeviceMesh, NamesAxesThatDoNotFit) {
  const auto groups = make_simulated_groups(4);
  EXPECT_THAT(error_of(ErrorKind::Argument,
                       [&] {
                         DeviceMesh(groups[0], {{"dp", 3}});
                       }),
              HasSubstr("the axes have 3 ranks, expected the 4 of group world"));
  EXPECT_THAT(error_of(ErrorKind::Argument,
                       [&] {
                         DeviceMesh(groups[0], {{"a", 2}, {"a", 2}});
                       }),
              HasSubstr("axis 'a' is given twice"));
  on_ranks(2, [](const Group& world) {
    const DeviceMesh mesh(world, {{"dp", 2}});
    EXPECT_FALSE(mesh.has("tp"));
    EXPECT_THAT(error_of(ErrorKind::Argument, [&] { (void)mesh.size("tp"); }),
                HasSubstr("has no axis 'tp'; its axes are dp"));
  });
}

}  // namespace
}  // namespace plinth::distributed
