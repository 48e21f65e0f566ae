#include "distributed/simulated/simulated_group.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include "core/error.h"
#include "distributed/host/label.h"
#include "distributed/host/split.h"
#include "distributed/host/work_queue.h"
#include "distributed/simulated/room.h"

namespace plinth::distributed {

double VirtualClock::seconds() const {
  const std::lock_guard lock(mutex_);
  return seconds_;
}

void VirtualClock::advance(double seconds) {
  check(seconds >= 0, ErrorKind::Argument, "VirtualClock", "got ", seconds,
        " seconds, takes 0 or more");
  const std::lock_guard lock(mutex_);
  seconds_ += seconds;
}

void VirtualClock::advance_to(double seconds) {
  const std::lock_guard lock(mutex_);
  seconds_ = std::max(seconds_, seconds);
}

namespace {

// Moves the clock to the work's end when somebody has waited for it.
class Timed : public Work::State {
 public:
  Timed(Work work, std::shared_ptr<double> end, std::shared_ptr<VirtualClock> clock)
      : work_(std::move(work)), end_(std::move(end)), clock_(std::move(clock)) {}
  bool is_done() override { return work_.is_done(); }
  void wait() override {
    work_.wait();
    clock_->advance_to(*end_);
  }

 private:
  Work work_;
  std::shared_ptr<double> end_;
  std::shared_ptr<VirtualClock> clock_;
};

class SimulatedGroup : public ProcessGroup {
 public:
  SimulatedGroup(int rank, GroupOptions options, std::shared_ptr<Room> room,
                 std::shared_ptr<VirtualClock> clock)
      : ProcessGroup(rank, room->size(), std::move(options)),
        room_(std::move(room)),
        clock_(std::move(clock)),
        leaves_{room_.get(), rank},
        queue_(label_of(name(), rank, size()),
               [this](const std::string& reason) { room_->give_up(this->rank(), reason); }) {}

  std::string_view backend() const override { return "simulated"; }
  bool serves(Device device) const override { return device.is_cpu(); }

  Work in_order(std::function<void()> work) override {
    return queue_.push("in_order", std::move(work));
  }

  std::shared_ptr<ProcessGroup> split(int color, int key, const std::string& name) override {
    const Part part = agree_on_part(*this, color, key);
    const uint64_t number = splits_++;
    if (color < 0) return nullptr;
    GroupOptions its = options();
    its.name = name;
    return std::make_shared<SimulatedGroup>(part.rank, std::move(its),
                                            room_->part(number, color, part.size(), name), clock_);
  }

  void abort(const std::string& reason) override { queue_.fail(reason); }

  VirtualClock& clock() { return *clock_; }

 protected:
  Work start(Collective collective, Tensors held) override {
    auto end = std::make_shared<double>(0);
    std::string what = collective.describe();
    Work work =
        queue_.push(std::move(what), [this, end, called = clock_->seconds(),
                                      call = std::move(collective), held = std::move(held)] {
          *end = busy_until_ = room_->make(call, rank(), std::max(called, busy_until_));
        });
    return Work(std::make_shared<Timed>(std::move(work), std::move(end), clock_));
  }

 private:
  struct Leaves {
    Room* room;
    int rank;
    ~Leaves() { room->leave(rank); }
  };

  std::shared_ptr<Room> room_;
  std::shared_ptr<VirtualClock> clock_;
  double busy_until_ = 0;
  uint64_t splits_ = 0;
  Leaves leaves_;    // after the queue has ended
  WorkQueue queue_;  // the last member: its thread uses the others
};

}  // namespace

std::vector<std::shared_ptr<ProcessGroup>> make_simulated_groups(int size,
                                                                 const SimulatedOptions& options) {
  check(size > 0, ErrorKind::Argument, "make_simulated_groups", "size got ", size,
        ", takes 1 or more");
  const auto room = std::make_shared<Room>(size, options.group, options.cost);
  std::vector<std::shared_ptr<ProcessGroup>> groups;
  groups.reserve(size);
  for (int rank = 0; rank < size; ++rank)
    groups.push_back(std::make_shared<SimulatedGroup>(rank, options.group, room,
                                                      std::make_shared<VirtualClock>()));
  return groups;
}

void run_ranks(int size, const std::function<void(ProcessGroup&)>& rank,
               const SimulatedOptions& options) {
  auto groups = make_simulated_groups(size, options);
  std::mutex mutex;
  std::exception_ptr first;
  {
    std::vector<std::jthread> threads;
    threads.reserve(groups.size());
    for (auto& of_rank : groups)
      threads.emplace_back([&, group = std::exchange(of_rank, nullptr)]() mutable {
        const auto keep = [&](const std::string& reason) {
          {
            const std::lock_guard lock(mutex);
            if (!first) first = std::current_exception();
          }
          group->abort(reason);
        };
        try {
          rank(*group);
        } catch (const std::exception& error) {
          keep(error.what());
        } catch (...) {
          keep("it threw something that is no exception");
        }
        group.reset();
      });
  }
  if (first) std::rethrow_exception(first);
}

VirtualClock& clock_of(ProcessGroup& group) {
  auto* const simulated = dynamic_cast<SimulatedGroup*>(&group);
  check(simulated != nullptr, ErrorKind::Argument, "clock_of", "got a group of the backend ",
        group.backend(), ", takes one of the simulated");
  return simulated->clock();
}

}  // namespace plinth::distributed
