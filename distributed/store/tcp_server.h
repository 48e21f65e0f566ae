#pragma once

#include <memory>
#include <string>

#include "core/io/file_descriptor.h"
#include "distributed/store/socket.h"
#include "distributed/store/store.h"

namespace plinth::distributed {

// The table of a TcpStore, in the process of rank 0: one thread serves all ranks. A rank that waits
// for a key costs nothing until the key is set, which then wakes exactly those that wait for it.
//
// A connection is a stranger until it has given the run's id and token. Strangers may send one
// short frame, within a time; there is a limit to their number, above which the oldest goes. So
// garbage, scanners and connections that stay silent cost ranks nothing; who reads the network
// reads the token, too.
class TcpStoreServer {
 public:
  struct Options {
    std::string run_id;  // up to 128 bytes
    std::string token;   // up to 256 bytes
    Milliseconds hello_timeout = std::chrono::seconds(10);
    size_t max_strangers = 1024;
  };

  // Serves what connects to a listening socket. The soft limit of open files, which is often 1024,
  // rises to 65536, or to the hard limit, for each rank takes a connection or two. Error(Argument)
  // for options out of range.
  TcpStoreServer(io::FileDescriptor listening, Options options);
  ~TcpStoreServer();
  TcpStoreServer(const TcpStoreServer&) = delete;
  TcpStoreServer& operator=(const TcpStoreServer&) = delete;

  // Where processes of this host reach it.
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  class Loop;

  Endpoint endpoint_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace plinth::distributed
