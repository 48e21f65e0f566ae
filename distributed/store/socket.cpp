#include "distributed/store/socket.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"

namespace plinth::distributed {

namespace {

using io::FileDescriptor;

std::string text_of_errno() {
  return std::generic_category().message(errno);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  Address() = default;
  Address(const sockaddr* address, socklen_t size) : length(size) {
    std::memcpy(&storage, address, size);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Of a host by name or number; `reason` says why there are none.
std::vector<Address> resolve(const Endpoint& endpoint, std::string& reason) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(endpoint.port);
  const int status = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found);
  if (status != 0) {
    reason = status == EAI_SYSTEM ? text_of_errno() : ::gai_strerror(status);
    return {};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next)
    addresses.emplace_back(info->ai_addr, info->ai_addrlen);
  return addresses;
}

// The first address of a network interface, IPv4 before IPv6; none if there is no such interface.
std::vector<Address> addresses_of_interface(const Endpoint& endpoint) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(all, ::freeifaddrs);
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
      if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != family) continue;
      if (endpoint.host != one->ifa_name) continue;
      Address address(one->ifa_addr,
                      family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
      const uint16_t port = htons(static_cast<uint16_t>(endpoint.port));
      if (family == AF_INET) {
        reinterpret_cast<sockaddr_in&>(address.storage).sin_port = port;
      } else {
        reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = port;
      }
      return {address};
    }
  }
  return {};
}

FileDescriptor open_socket(const Address& address) {
  return FileDescriptor(
      ::socket(address.get()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// False, with errno, if that cannot be.
bool start_listening(const FileDescriptor& fd, const Address& address) {
  // Connections of an earlier server that are not quite over do not keep the port.
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  constexpr int backlog = 4096;
  return ::bind(fd.get(), address.get(), address.length) == 0 && ::listen(fd.get(), backlog) == 0;
}

// True if the socket became ready. A signal does not end the wait.
bool wait_for(int fd, int16_t events, Deadline deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const auto most = std::clamp<int64_t>(left.count(), 0, 3'600'000);
    pollfd waiting{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(most));
    if (ready > 0) return true;
    if (left.count() <= 0) return false;
  }
}

FileDescriptor connect_to(const Address& address, Deadline deadline, std::string& reason) {
  FileDescriptor fd = open_socket(address);
  if (fd.get() >= 0 && ::connect(fd.get(), address.get(), address.length) == 0) return fd;
  if (fd.get() < 0 || errno != EINPROGRESS) {
    reason = text_of_errno();
    return {};
  }
  if (!wait_for(fd.get(), POLLOUT, deadline)) {
    reason = "no answer";
    return {};
  }
  socklen_t length = sizeof(errno);
  int error = 0;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == 0) return fd;
  reason = std::generic_category().message(error);
  return {};
}

}  // namespace

std::string Endpoint::text() const {
  const bool numbers = host.find(':') != host.npos;
  return detail::concat(numbers ? "[" : "", host, numbers ? "]:" : ":", port);
}

FileDescriptor listen_on(const Endpoint& endpoint, Deadline deadline) {
  const std::string subject = "store at " + endpoint.text();
  std::string reason;
  std::vector<Address> addresses = addresses_of_interface(endpoint);
  while (addresses.empty()) {
    addresses = resolve(endpoint, reason);
    check(!addresses.empty() || std::chrono::steady_clock::now() < deadline, ErrorKind::Io, subject,
          "host ", endpoint.host, " is no name, address or interface: ", reason);
    if (addresses.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  int error = 0;
  for (const Address& address : addresses) {
    FileDescriptor fd = open_socket(address);
    if (fd.get() >= 0 && start_listening(fd, address)) return fd;
    error = errno;
  }
  check(error != EADDRINUSE, ErrorKind::Io, subject, "port ", endpoint.port,
        " is in use, perhaps by another run; another MASTER_PORT is free of it");
  check(error != EADDRNOTAVAIL, ErrorKind::Io, subject, "host ", endpoint.host,
        " is not this one, which rank 0 is on; PLINTH_BIND takes an address or interface of it");
  throw Error(ErrorKind::Io, subject, "cannot listen: " + std::generic_category().message(error));
}

FileDescriptor adopt_listening(int fd) {
  int listens = 0;
  socklen_t length = sizeof(listens);
  check(::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0,
        ErrorKind::Config, "PLINTH_STORE_FD", "got ", fd, ", which is no listening socket");
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return FileDescriptor(fd);
}

Endpoint local_endpoint(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  auto* raw = reinterpret_cast<sockaddr*>(&address.storage);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  check(::getsockname(fd, raw, &address.length) == 0 &&
            ::getnameinfo(raw, address.length, host.data(), host.size(), port.data(), port.size(),
                          NI_NUMERICHOST | NI_NUMERICSERV) == 0,
        ErrorKind::Io, "store", "cannot tell the address of its socket");
  Endpoint endpoint{host.data(), std::stoi(port.data())};
  if (endpoint.host == "0.0.0.0") endpoint.host = "127.0.0.1";
  if (endpoint.host == "::") endpoint.host = "::1";
  return endpoint;
}

FileDescriptor connect_once(const Endpoint& endpoint, Deadline deadline, std::string& reason) {
  for (const Address& address : resolve(endpoint, reason)) {
    FileDescriptor fd = connect_to(address, deadline, reason);
    if (fd.get() < 0) continue;
    set_options(fd.get());
    return fd;
  }
  return {};
}

Transfer send_all(int fd, std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(sent);
    } else if (errno == EAGAIN || errno == EINTR) {
      if (!wait_for(fd, POLLOUT, deadline)) return Transfer::TimedOut;
    } else {
      return Transfer::Closed;
    }
  }
  return Transfer::Done;
}

Transfer receive_all(int fd, std::string& bytes, Deadline deadline) {
  for (size_t filled = 0; filled < bytes.size();) {
    const ssize_t received = ::recv(fd, bytes.data() + filled, bytes.size() - filled, 0);
    if (received > 0) {
      filled += received;
    } else if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!wait_for(fd, POLLIN, deadline)) return Transfer::TimedOut;
    } else {
      return Transfer::Closed;
    }
  }
  return Transfer::Done;
}

void set_options(int fd) {
  const auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 6);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 120'000);
}

}  // namespace plinth::distributed
