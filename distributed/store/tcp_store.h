#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/io/file_descriptor.h"
#include "distributed/store/socket.h"
#include "distributed/store/store.h"

namespace plinth::distributed {

class TcpStoreServer;

// A store in the memory of rank 0's process, reached over TCP. Threads of a rank may use it at the
// same time: a call takes a connection that is idle, or makes another, so that a long get() holds
// up nobody.
//
// The table ends with rank 0's process; other ranks should be past their last call by then.
//
// Errors: Io, which name host and port, key and time: where rank 0 does not come up within
// the timeout, is gone, or does not answer; where its run or token is another.
class TcpStore : public Store {
 public:
  struct Options {
    Endpoint server;
    std::string run_id, token;
    // Of the constructor, which tries again while rank 0 is not up yet.
    Milliseconds connect_timeout = std::chrono::minutes(5);
    // How long the ranks of a run that is being restarted may meet the server of the run before.
    Milliseconds other_run_timeout = std::chrono::seconds(10);
    // Of an answer, beyond what get() waits. Once one has not come, as from a process that is
    // stopped, the next is waited for a tenth as long, until one comes: who ends because of it
    // asks more than once.
    Milliseconds answer_timeout = std::chrono::minutes(1);
  };

  // `server` is kept for as long as the store lives, on the rank that has it.
  explicit TcpStore(Options options, std::shared_ptr<TcpStoreServer> server = nullptr);
  ~TcpStore() override;

  void set(std::string_view key, std::string_view value) override;
  std::string get(std::string_view key, Milliseconds timeout) override;
  std::optional<std::string> try_get(std::string_view key) override;
  int64_t add(std::string_view key, int64_t amount) override;
  bool remove(std::string_view key) override;

 private:
  struct Reply;

  // An idle connection, or a new one.
  io::FileDescriptor take_connection(Milliseconds timeout);
  io::FileDescriptor connect(Deadline deadline, bool wait_for_server);
  Reply call(std::string_view op, std::string_view key, const std::string& frame,
             Milliseconds wait = Milliseconds(0));
  // How long an answer may take by now.
  Milliseconds patience() const;
  [[noreturn]] void fail(std::string_view what) const;

  const Options options_;
  const std::string subject_;
  const std::shared_ptr<TcpStoreServer> server_;
  std::atomic<bool> silent_ = false;  // an answer has not come
  std::mutex mutex_;                  // of idle_
  std::vector<io::FileDescriptor> idle_;
};

}  // namespace plinth::distributed
