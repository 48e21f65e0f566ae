#include "distributed/dry/dry_group.h"

#include <gtest/gtest.h>

#include "core/dry_run.h"
#include "core/ops/factories.h"
#include "distributed/mesh.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/on_ranks.h"

namespace plinth::distributed {
namespace {

// Sizes and ranks of a mesh's groups.
std::vector<std::pair<int, int>> groups_of(const std::shared_ptr<ProcessGroup>& world) {
  const DeviceMesh mesh(world, {{"dp", 2}, {"cp", 3}, {"tp", 2}});
  std::vector<std::pair<int, int>> groups;
  for (const char* axis : {"dp", "cp", "tp"})
    groups.emplace_back(mesh.group(axis)->size(), mesh.group(axis)->rank());
  // Every third rank, backwards; the others in no group.
  const auto part = world->split_by(
      [](int rank) {
        return ProcessGroup::Side{rank % 3 == 0 ? 0 : -1, -rank};
      },
      "part");
  groups.emplace_back(part ? part->size() : 0, part ? part->rank() : 0);
  return groups;
}

TEST(DryGroup, IsSplitAsRanksSplitAGroup) {
  constexpr int kRanks = 12;
  std::vector<std::vector<std::pair<int, int>>> real(kRanks);
  on_ranks(kRanks, [&](const std::shared_ptr<ProcessGroup>& world) {
    real[world->rank()] = groups_of(world);
  });
  for (int rank = 0; rank < kRanks; ++rank)
    EXPECT_EQ(groups_of(make_dry_group(rank, kRanks)), real[rank]) << rank;
}

TEST(DryGroup, HoldsTensorsUntilAWaitOrNotAtAll) {
  for (const bool late : {false, true}) {
    const auto group = make_dry_group(1, 4, late ? DryTransfers::WhenWaited : DryTransfers::AtOnce);
    Tensor first = Tensor::empty({8}), second = Tensor::empty({8});
    const std::weak_ptr<Storage> of_first = first.storage(), of_second = second.storage();
    bool called = false;
    const Work work = group->all_reduce(first);
    const Work call = group->in_order([&] { called = true; });
    const Work last = group->all_reduce(second);
    first = second = {};
    EXPECT_EQ(of_first.expired(), !late);
    EXPECT_EQ(called, !late);
    EXPECT_EQ(work.is_done(), !late);
    call.wait();
    EXPECT_TRUE(called && work.is_done() && of_first.expired());
    EXPECT_EQ(of_second.expired(), !late);
    last.wait();
    EXPECT_TRUE(of_second.expired());
  }
}

TEST(DryGroup, AnswersWhatRanksTellOfSizes) {
  const auto mail = std::make_shared<DryMail>();
  const auto group = make_dry_group(1, 3, DryTransfers::WhenWaited, mail);
  const Tensor counts = from_values<int64_t>({1, 2, 3, 4, 5}, {5});
  const Tensor theirs = Tensor::empty({6}, {DType::Int64});
  group->all_to_all(theirs, counts, {1, 2, 2}, {2, 2, 2}).wait();
  EXPECT_EQ(to_vector(theirs), (std::vector<double>{2, 3, 2, 3, 2, 3}));

  const Tensor arrives = Tensor::empty({5}, {DType::Int64});
  expect_error(ErrorKind::Argument, "waits for 5 words, and 0 were sent last",
               [&] { group->recv(arrives, 0); });
  group->send(counts, 2);
  make_dry_group(2, 3, DryTransfers::AtOnce, mail)->recv(arrives, 1);
  EXPECT_EQ(to_vector(arrives), to_vector(counts));
}

TEST(DryGroup, CannotAskOthers) {
  const auto group = make_dry_group(0, 2);
  expect_error(ErrorKind::Argument, "split() of 'part' needs what other ranks give",
               [&] { group->split(0, 0, "part"); });
  expect_error(ErrorKind::Argument, "rank got 2 of 2", [] { make_dry_group(2, 2); });
}

}  // namespace
}  // namespace plinth::distributed
