#include "distributed/nccl/nccl_group.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "core/autograd.h"
#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/stream.h"
#include "distributed/host/board.h"
#include "distributed/host/label.h"
#include "distributed/host/watchdog.h"
#include "distributed/nccl/buffer.h"
#include "distributed/nccl/communicator.h"
#include "distributed/nccl/stream_progress.h"
#include "distributed/nccl/unique_id.h"

namespace plinth::distributed {
namespace {

using Kind = CollectiveKind;
using nccl::Communicator;
using nccl::Library;

// What is only moved, moves as bytes.
struct Elements {
  int type;
  size_t count;
};
Elements elements(DType dtype, int64_t count) {
  const auto n = static_cast<size_t>(count);
  switch (dtype) {
    case DType::Float64: return {nccl::kFloat64, n};
    case DType::Float32: return {nccl::kFloat32, n};
    case DType::BFloat16: return {nccl::kBFloat16, n};
    case DType::Float16: return {nccl::kFloat16, n};
    case DType::Int64: return {nccl::kInt64, n};
    case DType::Int32: return {nccl::kInt32, n};
    default: return {nccl::kUint8, n * size_of(dtype)};
  }
}

int operation(ReduceOp op) {
  switch (op) {
    case ReduceOp::Max: return nccl::kMax;
    case ReduceOp::Min: return nccl::kMin;
    default: return nccl::kSum;
  }
}

// NCCL rounds at each rank that a sum passes; this interface promises once.
bool is_narrow_sum(const Collective& call) {
  return call.op == ReduceOp::Sum &&
         (call.dtype == DType::BFloat16 || call.dtype == DType::Float16) &&
         (call.kind == Kind::AllReduce || call.kind == Kind::ReduceScatter);
}

// Why a group gave up, which works may ask for when it is gone.
class Failure {
 public:
  explicit Failure(std::string label) : label_(std::move(label)) {}
  // False if there is a reason already.
  bool set(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (is_set_) return false;
    reason_ = reason;
    is_set_ = true;
    return true;
  }
  bool is_set() const { return is_set_; }
  void raise_if_set(const std::string& what) const {
    if (!is_set_) return;
    const std::lock_guard lock(mutex_);
    throw Error(ErrorKind::Io, what, detail::concat(label_, " has given up: ", reason_));
  }

 private:
  const std::string label_;
  mutable std::mutex mutex_;
  std::atomic<bool> is_set_ = false;
  std::string reason_;
};

// Groups that were split from one another: what one computes may come of what another sent, so that
// a failure of one spoils the results of all.
class Family {
 public:
  void add(std::shared_ptr<Failure> member) {
    const std::lock_guard lock(mutex_);
    members_.push_back(std::move(member));
  }
  void remove(const std::shared_ptr<Failure>& member) {
    const std::lock_guard lock(mutex_);
    std::erase(members_, member);
  }
  void raise_if_any(const std::string& what) {
    const std::lock_guard lock(mutex_);
    for (const auto& member : members_) member->raise_if_set(what);
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Failure>> members_;
};

// Tensors that the device may still read or write, in the order of the work.
class HeldTensors {
 public:
  void hold(std::shared_ptr<Event> done, Tensors tensors) {
    entries_.push_back({std::move(done), std::move(tensors)});
  }
  // Of those whose work is done, and of so many that no more than `most` remain.
  void let_go(size_t most) {
    if (entries_.size() > most) entries_[entries_.size() - most - 1].done->synchronize();
    while (!entries_.empty() && entries_.front().done->is_done()) entries_.pop_front();
  }

 private:
  struct Entry {
    std::shared_ptr<Event> done;
    Tensors tensors;
  };
  std::deque<Entry> entries_;
};

// Of the work that a call adds to.
constexpr size_t kMostUnderWay = StreamProgress::kMarks - 1;

class Enqueued : public Work::State {
 public:
  Enqueued(std::string what, Device device, std::shared_ptr<Event> done,
           std::shared_ptr<Failure> failure, const std::shared_ptr<HeldTensors>& held,
           std::exception_ptr error)
      : what_(std::move(what)),
        device_(device),
        done_(std::move(done)),
        failure_(std::move(failure)),
        held_(held) {
    error_ = std::move(error);
  }
  bool is_done() override { return failure_->is_set() || done_->is_done(); }
  void wait() override {
    if (error_) std::rethrow_exception(error_);
    failure_->raise_if_set(what_);
    done_->hold_back(current_stream(device_));
  }
  void wait_on_host() override {
    wait();
    done_->synchronize();
    failure_->raise_if_set(what_);  // which may have ended the work
    if (const auto held = held_.lock()) held->let_go(kMostUnderWay);
  }

 private:
  const std::string what_;
  const Device device_;
  const std::shared_ptr<Event> done_;
  const std::shared_ptr<Failure> failure_;
  const std::weak_ptr<HeldTensors> held_;  // the group's
  std::exception_ptr error_;               // of this work itself
};

class NcclGroup : public ProcessGroup {
 public:
  NcclGroup(std::shared_ptr<Store> store, std::unique_ptr<OwnedStream> stream,
            std::unique_ptr<Communicator> communicator, std::shared_ptr<Family> family,
            GroupOptions options)
      : ProcessGroup(communicator->rank(), communicator->size(), std::move(options)),
        store_(std::move(store)),
        stream_(std::move(stream)),
        communicator_(std::move(communicator)),
        failure_(std::make_shared<Failure>(label_of(name(), rank(), size()))),
        family_(std::move(family)),
        progress_(stream_->get()),
        last_(std::make_shared<Event>(device())),
        watchdog_(Board(store_, rank(), size()), rank(), size(), this->options().timeout,
                  {.fail = [this](const std::string& reason) { give_up(reason); },
                   .look = [this] { return look(); }}) {
    family_->add(failure_);
  }

  // What the host has only given to the device is done first; the watchdog ends it at the deadline.
  ~NcclGroup() override {
    try {
      while (!failure_->is_set() && !last_->is_done())
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    } catch (
        const std::exception&) {  // a device that failed, of which whoever waits for it is told
    }
    family_->remove(failure_);
    failure_->set("it was destroyed");
  }

  std::string_view backend() const override { return "nccl"; }
  bool serves(Device wanted) const override { return wanted == device(); }

  Work in_order(std::function<void()> work) override { return enqueue("in_order", {}, work); }

  std::shared_ptr<ProcessGroup> split(int color, int key, const std::string& name) override {
    failure_->raise_if_set("split");
    cuda::make_current(device());  // which the communicator is of
    auto stream = std::make_unique<OwnedStream>(device());
    auto part = communicator_->split(color < 0 ? nccl::kNoColor : color, key);
    const uint64_t number = splits_++;
    if (!part) return nullptr;
    GroupOptions its = options();
    its.name = name;
    auto store = std::make_shared<PrefixStore>(store_, detail::concat("part/", number, "/", color));
    return std::make_shared<NcclGroup>(std::move(store), std::move(stream), std::move(part),
                                       family_, std::move(its));
  }

  Tensor make_buffer(int64_t elements, TensorOptions options) override {
    failure_->raise_if_set("make_buffer");
    const size_t bytes = static_cast<size_t>(elements) * size_of(options.dtype);
    if (bytes == 0 || !serves(options.device)) return ProcessGroup::make_buffer(elements, options);
    std::shared_ptr<nccl::Buffer> buffer;
    try {
      buffer = nccl::Buffer::create(*communicator_, device(), bytes);
    } catch (const std::exception& thrown) {  // the others wait for this rank
      give_up(thrown.what());
      throw;
    }
    if (!buffer) return ProcessGroup::make_buffer(elements, options);
    buffers_.push_back(buffer);
    const Stream owner = current_stream(device());
    cuda::mark_block(buffer->data(), bytes, owner);
    auto storage = std::make_shared<Storage>(buffer->data(), bytes, device(), [buffer, owner] {
      cuda::unmark_block(buffer->data(), owner);
    });
    return Tensor::from_storage(std::move(storage), {elements}, {1}, 0, options.dtype).zero_();
  }

  void raise_if_failed() override { family_->raise_if_any("result of collectives"); }

  void abort(const std::string& reason) override { give_up(reason); }

 protected:
  Work start(Collective collective, Tensors held) override {
    return enqueue(collective.describe(), held, [&] {
      // What a graph captures is done later, and more than once.
      const bool watched = !cuda::is_capturing(stream_->get());
      if (watched) watchdog_.begun(collective);
      if (is_narrow_sum(collective))
        launch_wide(collective, held);
      else
        launch(collective);
      if (watched) progress_.mark();
    });
  }

 private:
  Device device() const { return stream_->get().device; }
  void* handle() const { return stream_->get().handle; }

  // Calls `work` with the group's stream as the current one, between what the current stream has
  // done by now and what it does after wait().
  Work enqueue(std::string what, Tensors held, const std::function<void()>& work) {
    auto done = std::make_shared<Event>(device());
    std::exception_ptr error;
    try {
      failure_->raise_if_set(what);
      Event ready(device());
      ready.record(current_stream(device()));
      ready.hold_back(stream_->get());
      if (!cuda::is_capturing(stream_->get())) held_->let_go(kMostUnderWay);
      const StreamGuard guard(stream_->get());
      work();
      done->record(stream_->get());
      last_ = done;
    } catch (const std::exception& thrown) {
      error = std::current_exception();
      give_up(thrown.what());
    }
    held_->hold(done, std::move(held));
    return Work(std::make_shared<Enqueued>(std::move(what), device(), std::move(done), failure_,
                                           held_, std::move(error)));
  }

  // The sum in float32, rounded at its end.
  void launch_wide(Collective call, Tensors& held) {
    const NoGradGuard no_grad;
    const Tensor in = held.back().to(DType::Float32);
    const Tensor out = call.kind == Kind::AllReduce
                           ? in
                           : Tensor::empty(held[0].shape(), {DType::Float32, device()});
    call.dtype = DType::Float32;
    call.in = in.raw_data();
    call.out = out.raw_data();
    launch(call);
    held[0].copy_(out);
  }

  void launch(const Collective& call) {
    communicator_->call(call.describe(), [&](const Library& nccl, void* comm) {
      const auto [type, count] = elements(call.dtype, call.count);
      switch (call.kind) {
        case Kind::AllReduce:
          return nccl.all_reduce(call.in, call.out, count, type, operation(call.op), comm,
                                 handle());
        case Kind::ReduceScatter:
          return nccl.reduce_scatter(call.in, call.out, count, type, operation(call.op), comm,
                                     handle());
        case Kind::AllGather:
          return nccl.all_gather(call.in, call.out, count, type, comm, handle());
        case Kind::AllToAll: return launch_all_to_all(nccl, comm, call);
        case Kind::Broadcast:
          return nccl.broadcast(call.in, call.out, count, type, call.peer, comm, handle());
        case Kind::Send: return nccl.send(call.in, count, type, call.peer, comm, handle());
        case Kind::Recv: return nccl.recv(call.out, count, type, call.peer, comm, handle());
        case Kind::Barrier: {
          if (!word_.defined()) word_ = Tensor::empty({1}, {DType::Int32, device()}).zero_();
          void* const word = word_.raw_data();
          return nccl.all_reduce(word, word, 1, nccl::kInt32, nccl::kMax, comm, handle());
        }
      }
      return nccl::kInvalidUsage;
    });
  }

  // One group of messages, so that all of them move at once.
  int launch_all_to_all(const Library& nccl, void* comm, const Collective& call) {
    const auto* from = static_cast<const std::byte*>(call.in);
    auto* to = static_cast<std::byte*>(call.out);
    int result = nccl.group_start();
    for (int r = 0; r < size(); ++r) {
      const Elements sent = elements(call.dtype, call.sent[r]);
      const Elements received = elements(call.dtype, call.received[r]);
      if (sent.count > 0 && result == nccl::kSuccess)
        result = nccl.send(from, sent.count, sent.type, r, comm, handle());
      if (received.count > 0 && result == nccl::kSuccess)
        result = nccl.recv(to, received.count, received.type, r, comm, handle());
      from += call.sent[r] * static_cast<int64_t>(size_of(call.dtype));
      to += call.received[r] * static_cast<int64_t>(size_of(call.dtype));
    }
    const int ended = nccl.group_end();
    return result == nccl::kSuccess ? ended : result;
  }

  std::optional<std::string> look() {
    for (uint64_t done = progress_.done(); retired_ < done; ++retired_) watchdog_.ended();
    return communicator_->trouble();
  }

  void give_up(const std::string& reason) {
    if (!failure_->set(reason)) return;
    watchdog_.post_failure(reason);
    communicator_->abort();
  }

  const std::shared_ptr<Store> store_;
  const std::unique_ptr<OwnedStream> stream_;
  std::vector<std::shared_ptr<nccl::Buffer>> buffers_;  // longer than the communicator
  const std::unique_ptr<Communicator> communicator_;
  const std::shared_ptr<Failure> failure_;
  const std::shared_ptr<Family> family_;
  StreamProgress progress_;
  Tensor word_;  // of barriers
  const std::shared_ptr<HeldTensors> held_ = std::make_shared<HeldTensors>();
  std::shared_ptr<Event> last_;
  uint64_t splits_ = 0;
  uint64_t retired_ = 0;  // of the watchdog's thread
  Watchdog watchdog_;     // the last member: its thread uses the others
};

}  // namespace

std::shared_ptr<ProcessGroup> make_nccl_group(std::shared_ptr<Store> store, int rank, int size,
                                              Device device, GroupOptions options) {
  check(store != nullptr, ErrorKind::Argument, "make_nccl_group", "got no store");
  check(size > 0 && rank >= 0 && rank < size, ErrorKind::Argument, "make_nccl_group", "rank got ",
        rank, " of ", size, ", takes 0 to size - 1");
  cuda::check_device(device);
  const std::string label = label_of(options.name, rank, size);
  Board(store, rank, size).meet("here", label, options.timeout);
  const nccl::UniqueId id = nccl::exchange_unique_id(*store, rank, label, options.timeout);
  cuda::make_current(device);  // which the communicator is of
  auto stream = std::make_unique<OwnedStream>(device);
  auto communicator = Communicator::create(id, rank, size, label, options.timeout);
  return std::make_shared<NcclGroup>(std::move(store), std::move(stream), std::move(communicator),
                                     std::make_shared<Family>(), std::move(options));
}

}  // namespace plinth::distributed
