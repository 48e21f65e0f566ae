#pragma once

// Stores for tests.

#include <chrono>
#include <memory>
#include <string>

#include "distributed/store/tcp_server.h"
#include "distributed/store/tcp_store.h"

namespace plinth::distributed {

inline Deadline soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(10);
}

// On a port of 127.0.0.1 that is free.
inline std::shared_ptr<TcpStoreServer> tcp_server(TcpStoreServer::Options options = {
                                                      .run_id = "r", .token = "t"}) {
  return std::make_shared<TcpStoreServer>(listen_on({"127.0.0.1", 0}, soon()), std::move(options));
}

// What a rank of tcp_server()'s run takes.
inline TcpStore::Options tcp_options(const Endpoint& server) {
  TcpStore::Options options;
  options.server = server;
  options.run_id = "r";
  options.token = "t";
  options.connect_timeout = std::chrono::seconds(10);
  options.other_run_timeout = Milliseconds(0);
  options.answer_timeout = std::chrono::seconds(10);
  return options;
}

}  // namespace plinth::distributed
