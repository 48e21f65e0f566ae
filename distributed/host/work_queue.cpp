#include "distributed/host/work_queue.h"

#include <csignal>
#include <utility>

#include "core/error.h"
#include "core/op_scope.h"

namespace plinth::distributed {

class WorkQueue::Item : public Work::State {
 public:
  Item(std::string what, std::function<void()> work)
      : what_(std::move(what)), work_(std::move(work)) {}

  bool is_done() override {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
    if (error_) std::rethrow_exception(error_);
  }

  const std::string& what() const { return what_; }
  void run() { work_(); }
  void finish(std::exception_ptr error) {
    work_ = nullptr;  // lets go of tensors before anybody is told
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
      error_ = std::move(error);
    }
    changed_.notify_all();
  }

 private:
  const std::string what_;
  std::function<void()> work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::exception_ptr error_;
};

WorkQueue::WorkQueue(std::string label, std::function<void(const std::string&)> interrupt)
    : label_(std::move(label)), interrupt_(std::move(interrupt)), thread_([this] { run(); }) {}

void WorkQueue::stop() {
  bool idle = false;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    idle = items_.empty();
  }
  if (!idle) fail("it was destroyed with work that is not done");
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Work WorkQueue::push(std::string what, std::function<void()> work) {
  auto item = std::make_shared<Item>(std::move(what), std::move(work));
  {
    const std::lock_guard lock(mutex_);
    if (!failed_) {
      items_.push_back(item);
      changed_.notify_all();
      return Work(item);
    }
  }
  item->finish(failure_of(*item));
  return Work(item);
}

// failure_ is set once, before failed_.
std::exception_ptr WorkQueue::failure_of(const Item& item) const {
  return std::make_exception_ptr(
      Error(ErrorKind::Io, item.what(), label_ + " has given up: " + failure_));
}

void WorkQueue::fail(const std::string& reason) {
  std::deque<std::shared_ptr<Item>> waiting;
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return;
    failure_ = reason;
    failed_ = true;
    waiting.swap(items_);
    // Its own thread ends the one that is under way.
    if (under_way_) {
      items_.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
  }
  interrupt_(reason);
  for (const auto& item : waiting) item->finish(failure_of(*item));
}

void WorkQueue::run() {
  // Who writes to a peer that is gone is to get an error, not a signal.
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  while (true) {
    std::shared_ptr<Item> item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !items_.empty(); });
      if (items_.empty()) return;
      item = items_.front();
      under_way_ = true;
    }
    std::exception_ptr error;
    std::string reason;
    try {
      // For traces, "all_reduce": one name for all of them.
      const std::string& what = item->what();
      const OpScope scope(permanent_name(what.substr(0, what.find(' '))), ScopeKind::Phase);
      item->run();
    } catch (const std::exception& thrown) {
      error = std::current_exception();
      reason = thrown.what();
    } catch (...) {
      error = std::current_exception();
      reason = "it was thrown something that is no exception";
    }
    bool failed_before = false;
    {
      const std::lock_guard lock(mutex_);
      items_.pop_front();
      under_way_ = false;
      failed_before = failed_;
    }
    if (error && !failed_before) fail(reason);
    // What abort() interrupts says why, not how it noticed.
    item->finish(error && failed_before ? failure_of(*item) : error);
  }
}

}  // namespace plinth::distributed
