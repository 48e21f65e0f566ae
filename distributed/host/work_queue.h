#pragma once

// The thread of a group whose collectives the host makes: it does what it is given in order, until
// something fails. From then on everything fails, with the first reason.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "distributed/process_group.h"

namespace plinth::distributed {

class WorkQueue {
 public:
  // `label` begins messages: "group 'world', rank 1 of 4". interrupt(reason) makes work that is
  // under way throw soon; it is called once, by the thread that fails the queue.
  WorkQueue(std::string label, std::function<void(const std::string& reason)> interrupt);
  ~WorkQueue() { stop(); }
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // `what` names the work in messages: "all_reduce #3 of float32 [8]". What it throws fails the
  // queue, and its own wait() throws the same.
  Work push(std::string what, std::function<void()> work);
  // Without effect if the queue has failed before.
  void fail(const std::string& reason);
  // What is not done fails; returns when nothing is under way any more, nor will be.
  void stop();

 private:
  class Item;

  void run();
  std::exception_ptr failure_of(const Item& item) const;

  const std::string label_;
  const std::function<void(const std::string&)> interrupt_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Item>> items_;  // the first may be under way
  bool under_way_ = false, stopping_ = false, failed_ = false;
  std::string failure_;
  std::thread thread_;
};

}  // namespace plinth::distributed
