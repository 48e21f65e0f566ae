// What ranks that share gradients tell NCCL, which has to fit what the others tell it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "core/allocator.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "core/stream.h"
#include "distributed/data_parallel.h"
#include "distributed/gradient_shards.h"
#include "distributed/nccl/nccl_group.h"
#include "distributed/store/hash_store.h"
#include "distributed/tensor/shards.h"
#include "nn/clip.h"
#include "tests/cuda/nccl_device.h"

namespace plinth::distributed {
namespace {

#ifdef PLINTH_EMULATE

class SharedGradients : public OnDeviceWithNccl {
 protected:
  static constexpr int kRanks = 2;

  struct Told {
    std::vector<std::string> windows;  // that were made
    std::vector<std::string> places;   // where collectives read and write
    bool operator==(const Told&) const = default;
  };

  // What `work` of a rank makes it tell NCCL. Others of the store are there already.
  template <class F>
  static Told told_by(int rank, F work) {
    const auto store = std::make_shared<HashStore>();
    for (int other = 0; other < kRanks; ++other) store->set(detail::concat("here/", other), "");
    store->set("unique id", std::string(sizeof(nccl::UniqueId), 'u'));
    nccl::set_emulated_state({});
    work(make_nccl_group(store, rank, kRanks, kDevice));
    const nccl::EmulatedState state = nccl::emulated_state();
    EXPECT_THAT(state.faults, testing::IsEmpty());
    Told told{{}, state.places};
    for (const std::string& call : state.calls)
      if (call.starts_with("ncclCommWindowRegister")) told.windows.push_back(call);
    return told;
  }
};

// Two steps of three micro-batches on each rank. Rank 0 needs one further buffer for its nodes of
// the tree, and rank 1, whose first micro-batch has no sibling there, two.
void take_steps(const std::shared_ptr<ProcessGroup>& group, const DataParallelOptions& options) {
  Tensor parameter = ones({64}, {DType::Float32, kDevice});
  parameter.set_requires_grad();
  nn::FlatGradients gradients({parameter}, {},
                              DataParallel::multiple(*group, kDevice, options.sharded),
                              DataParallel::memory(group));
  nn::GradientTree tree(gradients);
  DataParallel parallel(group, gradients, options);
  const Share share = share_of(*group, 6);
  for (int step = 0; step < 2; ++step) {
    gradients.zero();
    tree.begin(share.first);
    for (int64_t i = 0; i < share.count; ++i) {
      if (i > 0) tree.next();
      if (i + 1 == share.count) parallel.begin(tree, 6);
      sum(parameter * static_cast<double>(i + 1)).backward();
    }
    parallel.finish();
  }
  // Both ranks have added 1 + 2 + 3.
  EXPECT_EQ(to_vector(parameter.grad()), std::vector<double>(64, 12));
}

TEST_F(SharedGradients, LieAtTheSamePlacesOfTheSameWindows) {
  for (const Reduction reduction : {Reduction::Tree, Reduction::Library}) {
    const auto steps = [&](const std::shared_ptr<ProcessGroup>& group) {
      take_steps(group, {.reduction = reduction});
    };
    const Told first = told_by(0, steps);
    EXPECT_EQ(first, told_by(1, steps));
    EXPECT_THAT(first.windows, testing::Not(testing::IsEmpty()));
    EXPECT_THAT(first.places, testing::Each(testing::Not(testing::HasSubstr("none"))));
  }
}

// Sums of slices, of a unit for each parameter, and the last for none.
struct Units {
  Units(const std::shared_ptr<ProcessGroup>& group, int64_t count, int64_t elements) {
    for (int64_t i = 0; i < count; ++i) {
      Tensor parameter = ones({elements}, {DType::Float32, kDevice});
      parameter.set_requires_grad();
      parameters.push_back(parameter);
    }
    std::vector<size_t> unit_of(parameters.size());
    std::iota(unit_of.begin(), unit_of.end(), 0);
    layout.emplace(parameters);
    plan.emplace(*layout, unit_of, unit_of.size() + 1, nn::norm_chunk(kDevice), group->rank(),
                 group->size());
    gradients.emplace(ShardGroups{group, nullptr}, *plan, *layout, parameters);
  }

  Tensors parameters;
  std::optional<nn::FlatLayout> layout;
  std::optional<ShardPlan> plan;
  std::optional<GradientShards> gradients;
};

TEST_F(SharedGradients, OfRanksWithoutSlicesHaveTheSameMemory) {
  std::vector<int64_t> owned;
  const auto make = [&](const std::shared_ptr<ProcessGroup>& group) {
    owned.push_back(Units(group, 1, 24).plan->own_size());
  };
  const Told first = told_by(0, make);
  EXPECT_EQ(first, told_by(1, make));
  EXPECT_EQ(first.windows.size(), 1);
  EXPECT_THAT(owned, testing::UnorderedElementsAre(0, 32));  // with zeros up to 64 bytes
}

// However far behind the device is.
TEST_F(SharedGradients, TakeMemoryForAFewUnitsOnly) {
  constexpr int64_t kUnits = 16, kElements = int64_t{1} << 18;
  const auto group = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice);
  Units units(group, kUnits, kElements);
  synchronize(kDevice);
  cuda::emulated::set_busy(true);
  Allocator& memory = allocator(kDevice);
  memory.reset_peak();
  const int64_t before = memory.stats().allocated;
  units.gradients->begin_step(1);
  units.gradients->begin_micro_batch();
  Tensor loss = zeros({}, {DType::Float32, kDevice});
  for (const Tensor& parameter : units.parameters) loss = loss + sum(parameter);
  loss.backward();
  units.gradients->end_micro_batch();
  units.gradients->finish();
  const auto unit = static_cast<int64_t>(kElements * sizeof(float));
  EXPECT_LE(memory.stats().peak_allocated - before, 6 * unit);
  cuda::emulated::set_busy(false);
  EXPECT_EQ(units.gradients->sums().select(0, 5).item(), 1);
}

TEST_F(SharedGradients, HaveANormInTheOrderOfRanks) {
  double norm = 0;
  std::vector<std::string> calls;
  told_by(0, [&](const std::shared_ptr<ProcessGroup>& group) {
    norm = norm_over({ones({8}, {DType::Float32, kDevice})}, kDevice, {group.get(), nullptr});
    calls = nccl::emulated_state().calls;
  });
  EXPECT_EQ(norm, 4);
  // Not ncclAllReduce, whose order groups do not share.
  EXPECT_EQ(calls.back(), "ncclAllGather float64 4");
}

#endif

}  // namespace
}  // namespace plinth::distributed
