#include "distributed/gloo/mesh.h"

#define XXH_INLINE_ALL
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>
#include <netdb.h>
#include <sys/socket.h>
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>
#include <array>
#include <csignal>
#include <mutex>
#include <utility>

#include "core/error.h"

namespace plinth::distributed {
namespace {

namespace tcp = gloo::transport::tcp;
using Clock = std::chrono::steady_clock;
using Buffer = gloo::transport::UnboundBuffer;

// An address in digits: Gloo reads past the end of the answer for a name that there is not.
std::string resolve(const std::string& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.c_str(), nullptr, &hints, &found);
  check(error == 0, ErrorKind::Argument, "gloo", "address got '", address,
        "': ", gai_strerror(error));
  std::array<char, NI_MAXHOST> digits{};
  const int unnamed = getnameinfo(found->ai_addr, found->ai_addrlen, digits.data(), digits.size(),
                                  nullptr, 0, NI_NUMERICHOST);
  freeaddrinfo(found);
  check(unnamed == 0, ErrorKind::Argument, "gloo", "address got '", address,
        "': ", gai_strerror(unnamed));
  return digits.data();
}

// Gloo's view of a store.
class StoreView : public gloo::rendezvous::Store {
 public:
  StoreView(std::shared_ptr<distributed::Store> store, Milliseconds timeout)
      : store_(std::move(store)), timeout_(timeout) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    store_->set(key, {data.data(), data.size()});
  }
  std::vector<char> get(const std::string& key) override {
    asked_for_ = "rank " + key;
    const std::string value = store_->get(key, timeout_);
    return {value.begin(), value.end()};
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string>& keys, const Milliseconds& timeout) override {
    for (const std::string& key : keys) store_->get(key, timeout);
  }

  // Ranks have their numbers for keys, and are connected with one after the other.
  const std::string& connecting_with() const { return asked_for_; }

 private:
  std::string asked_for_ = "the other ranks";
  std::shared_ptr<distributed::Store> store_;
  Milliseconds timeout_;
};

// Which messages meet.
uint64_t slot_of(const std::string& call, size_t bytes) {
  return XXH3_64bits_withSeed(call.data(), call.size(), bytes);
}

}  // namespace

class GlooDevice {
 public:
  // The thread that it starts is to get an error, not a signal, when it writes to a peer that is
  // gone; a thread begins with the signals blocked that its maker has.
  explicit GlooDevice(const tcp::attr& attr) {
    sigset_t broken_pipe, before;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    try {
      gloo_ = tcp::CreateDevice(attr);
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  std::shared_ptr<gloo::transport::Device>& gloo() { return gloo_; }

 private:
  std::shared_ptr<gloo::transport::Device> gloo_;
};

std::shared_ptr<GlooDevice> make_gloo_device(const GlooOptions& options) {
  tcp::attr attr;
  attr.iface = options.interface;
  if (options.interface.empty()) attr.hostname = resolve(options.address);
  try {
    return std::make_shared<GlooDevice>(attr);
  } catch (const std::exception& error) {
    const bool by_name = !options.interface.empty();
    throw Error(ErrorKind::Argument, "gloo",
                detail::concat(by_name ? "interface got '" : "address got '",
                               by_name ? options.interface : options.address,
                               "', which is none of this machine: ", error.what()));
  }
}

class Mesh::Connections {
 public:
  Connections(std::shared_ptr<GlooDevice> device, std::shared_ptr<Store> store, int rank, int size,
              const std::string& label, Milliseconds timeout)
      : device_(std::move(device)), context_(rank, size) {
    // Gloo waits five times as long for a connection.
    context_.setTimeout(std::max(timeout / 5, Milliseconds(1)));
    StoreView view(std::move(store), timeout);
    try {
      context_.connectFullMesh(view, device_->gloo());
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw Error(
          ErrorKind::Io, label,
          detail::concat("cannot connect with ", view.connecting_with(), ": ", error.what()));
    }
  }

  // What an exchange waits for: close() ends the waits.
  struct Pending {
    int rank;
    std::unique_ptr<Buffer> buffer;
  };
  struct Exchange {
    std::vector<Pending> sends, receives;
  };

  void send(Exchange& exchange, const Outgoing& message, uint64_t slot) {
    // Gloo only reads it.
    auto* const data = const_cast<std::byte*>(message.data);
    Buffer& buffer = add(exchange.sends, message.to, data, message.bytes);
    guard(message.to, [&] { buffer.send(message.to, slot, 0, message.bytes); });
  }
  void receive(Exchange& exchange, const Incoming& message, uint64_t slot) {
    Buffer& buffer = add(exchange.receives, message.from, message.data, message.bytes);
    guard(message.from, [&] { buffer.recv(message.from, slot, 0, message.bytes); });
  }
  void wait(Exchange& exchange, Clock::time_point deadline) {
    for (const Pending& pending : exchange.receives)
      guard(pending.rank,
            [&] { stop_if(!pending.buffer->waitRecv(nullptr, time_left(deadline))); });
    for (const Pending& pending : exchange.sends)
      guard(pending.rank,
            [&] { stop_if(!pending.buffer->waitSend(nullptr, time_left(deadline))); });
  }

  void begin(Exchange& exchange) {
    const std::lock_guard lock(mutex_);
    current_ = &exchange;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    current_ = nullptr;
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(closed_, true)) return;
      if (current_) {
        for (const Pending& pending : current_->receives) pending.buffer->abortWaitRecv();
        for (const Pending& pending : current_->sends) pending.buffer->abortWaitSend();
      }
    }
    context_.closeConnections();
  }

 private:
  // What Gloo throws is that of the connection with `rank`.
  template <class Call>
  void guard(int rank, Call call) {
    try {
      call();
    } catch (const MeshError&) {
      throw;
    } catch (const std::exception& error) {
      stop_if(is_closed());
      throw MeshError({rank}, error.what());
    }
  }
  static void stop_if(bool closed) {
    if (closed) throw MeshError({}, "the connections were closed");
  }
  bool is_closed() {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  static Milliseconds time_left(Clock::time_point deadline) {
    const auto left = std::chrono::duration_cast<Milliseconds>(deadline - Clock::now());
    return std::max(left, Milliseconds(1));
  }
  Buffer& add(std::vector<Pending>& pending, int rank, std::byte* data, size_t bytes) {
    auto buffer = context_.createUnboundBuffer(data, bytes);
    const std::lock_guard lock(mutex_);
    stop_if(closed_);
    pending.push_back({rank, std::move(buffer)});
    return *pending.back().buffer;
  }

  std::shared_ptr<GlooDevice> device_;
  gloo::rendezvous::Context context_;
  std::mutex mutex_;
  Exchange* current_ = nullptr;
  bool closed_ = false;
};

Mesh::Mesh(std::shared_ptr<GlooDevice> device, std::shared_ptr<Store> store, int rank, int size,
           const std::string& label, Milliseconds timeout)
    : connections_(std::make_unique<Connections>(std::move(device), std::move(store), rank, size,
                                                 label, timeout)) {}

Mesh::~Mesh() = default;

void Mesh::exchange(const std::string& call, const std::vector<Outgoing>& outgoing,
                    const std::vector<Incoming>& incoming, Clock::time_point deadline) {
  Connections::Exchange exchange;
  connections_->begin(exchange);
  try {
    for (const Incoming& message : incoming)
      connections_->receive(exchange, message, slot_of(call, message.bytes));
    for (const Outgoing& message : outgoing)
      connections_->send(exchange, message, slot_of(call, message.bytes));
    connections_->wait(exchange, deadline);
  } catch (...) {
    connections_->end();
    throw;
  }
  connections_->end();
}

void Mesh::close() {
  connections_->close();
}

}  // namespace plinth::distributed
