#pragma once

// TCP sockets with deadlines. Every socket here is non-blocking.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/io/file_descriptor.h"

namespace plinth::distributed {

using Deadline = std::chrono::steady_clock::time_point;

struct Endpoint {
  std::string host;  // a name or an address
  int port = 0;      // 0, to listen: any that is free

  // "node1:29500", "[fe80::1]:29500"
  std::string text() const;
};

// Listens at the endpoint's addresses only; its host may also be a network interface, such as eth0.
// A name that does not resolve yet is asked again until the deadline. Throws Error(Io),
// which says so where the port is in use.
io::FileDescriptor listen_on(const Endpoint& endpoint, Deadline deadline);

// A socket that another program listens on and left open for this one. Throws Error(Config) if it
// is none.
io::FileDescriptor adopt_listening(int fd);

// The endpoint that a listening socket can be reached at from this host.
Endpoint local_endpoint(int fd);

// Connects once, to the first of the endpoint's addresses that answers. Without one it gives an
// invalid descriptor, and the reason, for people.
io::FileDescriptor connect_once(const Endpoint& endpoint, Deadline deadline, std::string& reason);

enum class Transfer { Done, Closed, TimedOut };
Transfer send_all(int fd, std::string_view bytes, Deadline deadline);
// Fills `bytes`, whose size says how many.
Transfer receive_all(int fd, std::string& bytes, Deadline deadline);

// Small messages go at once, and a peer whose host vanished is noticed within minutes.
void set_options(int fd);

}  // namespace plinth::distributed
