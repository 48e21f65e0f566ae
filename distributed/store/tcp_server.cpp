#include "distributed/store/tcp_server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <limits>
#include <new>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "distributed/store/frame.h"

namespace plinth::distributed {

using Clock = std::chrono::steady_clock;
using io::FileDescriptor;
using wire::Answer;
using wire::FrameReader;
using wire::FrameWriter;
using wire::Request;

namespace {

struct Connection {
  FileDescriptor fd;
  std::string in, out;
  size_t sent = 0;  // of out
  bool trusted = false;
  bool closing = false;               // when out is sent
  std::optional<std::string> awaits;  // a key
  std::optional<Deadline> deadline;   // of the hello, or of the wait
  uint32_t watched = EPOLLIN;
};

void raise_limit_of_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  constexpr rlim_t enough = 65536;
  if (limit.rlim_cur >= enough) return;
  limit.rlim_cur = std::min(limit.rlim_max, enough);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

class TcpStoreServer::Loop {
 public:
  Loop(FileDescriptor listening, Options options);
  ~Loop();

 private:
  // Names of what epoll reports; connections count on from there.
  enum : uint64_t { kStop, kListening, kFirst };

  void run();
  void accept_some();
  void serve(uint64_t id, uint32_t events);
  // False if the connection is to be closed.
  bool receive(Connection& connection);
  bool process(uint64_t id, Connection& connection);
  bool flush(Connection& connection);

  bool answer(uint64_t id, Connection& connection, std::string_view body);
  bool greet(uint64_t id, Connection& connection, FrameReader& frame);
  void store(const std::string& key, std::string value);
  void wait(uint64_t id, Connection& connection, std::string key, uint64_t milliseconds);
  // With the answer, where the connection still takes one.
  void end_wait(uint64_t id, std::string answer);

  void forget_wait(uint64_t id, const std::string& key);
  void set_deadline(uint64_t id, Connection& connection, std::optional<Deadline> deadline);
  void expire();
  int milliseconds_to_deadline() const;
  void watch(int fd, uint64_t id, uint32_t events, int operation) const;
  void watch_for_next(uint64_t id, Connection& connection) const;
  void close(uint64_t id);

  const Options options_;
  FileDescriptor listening_, epoll_, stop_;
  std::unordered_map<std::string, std::string> table_;
  std::unordered_map<uint64_t, Connection> connections_;
  std::unordered_map<std::string, std::unordered_set<uint64_t>> waiting_;  // by key
  std::set<uint64_t> strangers_;                                           // the oldest first
  std::set<std::pair<Deadline, uint64_t>> deadlines_;
  uint64_t next_id_ = kFirst;
  std::array<char, size_t{1} << 16> received_;
  std::thread thread_;
};

TcpStoreServer::Loop::Loop(FileDescriptor listening, Options options)
    : options_(std::move(options)),
      listening_(std::move(listening)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  check(epoll_.get() >= 0 && stop_.get() >= 0, ErrorKind::Io, "store", "cannot open its files");
  watch(stop_.get(), kStop, EPOLLIN, EPOLL_CTL_ADD);
  watch(listening_.get(), kListening, EPOLLIN, EPOLL_CTL_ADD);
  // Signals are for the threads of the program.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TcpStoreServer::Loop::~Loop() {
  const uint64_t one = 1;
  while (::write(stop_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
}

void TcpStoreServer::Loop::run() {
  std::array<epoll_event, 256> events;
  while (true) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), events.size(), milliseconds_to_deadline());
    for (int i = 0; i < count; ++i) {
      const uint64_t id = events[i].data.u64;
      if (id == kStop) return;
      if (id == kListening) {
        accept_some();
      } else {
        serve(id, events[i].events);
      }
    }
    expire();
  }
}

void TcpStoreServer::Loop::accept_some() {
  // In portions, between which the ranks are served.
  for (int i = 0; i < 64; ++i) {
    FileDescriptor fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.get() < 0) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
      if (!strangers_.empty()) {
        close(*strangers_.begin());
      } else {
        // The connection stays in the queue, and would be reported again at once.
        std::this_thread::sleep_for(Milliseconds(10));
      }
      return;
    }
    if (strangers_.size() >= options_.max_strangers) close(*strangers_.begin());
    set_options(fd.get());
    const uint64_t id = next_id_++;
    watch(fd.get(), id, EPOLLIN, EPOLL_CTL_ADD);
    Connection& connection = connections_[id];
    connection.fd = std::move(fd);
    strangers_.insert(id);
    set_deadline(id, connection, deadline_after(options_.hello_timeout));
  }
}

void TcpStoreServer::Loop::serve(uint64_t id, uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // closed since
  Connection& connection = found->second;
  bool good = (events & (EPOLLERR | EPOLLHUP)) == 0;
  try {
    if (good && (events & EPOLLIN) != 0) good = receive(connection);
    good = good && flush(connection) && process(id, connection);
  } catch (const std::bad_alloc&) {
    good = false;
  }
  if (!good) return close(id);
  watch_for_next(id, connection);
}

bool TcpStoreServer::Loop::receive(Connection& connection) {
  // A client that waits for an answer has nothing to say.
  if (connection.awaits) return false;
  const size_t most = connection.trusted ? received_.size() : wire::kPrefix + wire::kMaxHello;
  const ssize_t count = ::recv(connection.fd.get(), received_.data(), most, 0);
  if (count <= 0) return count < 0 && (errno == EAGAIN || errno == EINTR);
  // Memory follows what was sent, not what was announced.
  connection.in.append(received_.data(), count);
  return true;
}

bool TcpStoreServer::Loop::process(uint64_t id, Connection& connection) {
  // The next frame waits until the last one's answer is on its way, so that answers cannot pile up.
  while (!connection.awaits && connection.out.empty()) {
    const std::optional<size_t> length = wire::announced_length(connection.in);
    if (!length) return true;
    if (*length > (connection.trusted ? wire::kMaxFrame : wire::kMaxHello)) return false;
    if (connection.in.size() < wire::kPrefix + *length) return true;
    const std::string body = connection.in.substr(wire::kPrefix, *length);
    connection.in = connection.in.substr(wire::kPrefix + *length);
    if (!answer(id, connection, body) || !flush(connection)) return false;
    if (connection.awaits && !connection.in.empty()) return false;  // as in receive()
  }
  return true;
}

bool TcpStoreServer::Loop::flush(Connection& connection) {
  while (connection.sent < connection.out.size()) {
    const ssize_t sent = ::send(connection.fd.get(), connection.out.data() + connection.sent,
                                connection.out.size() - connection.sent, MSG_NOSIGNAL);
    if (sent > 0) {
      connection.sent += sent;
    } else if (errno != EINTR) {
      return errno == EAGAIN;
    }
  }
  connection.out.clear();
  connection.sent = 0;
  return !connection.closing;
}

// False for what is no proper request.
bool TcpStoreServer::Loop::answer(uint64_t id, Connection& connection, std::string_view body) {
  FrameReader frame(body);
  const Request request = frame.request();
  if (!connection.trusted) return request == Request::Hello && greet(id, connection, frame);
  std::string key(frame.text());
  if (key.size() > kMaxKey) return false;
  const auto found = table_.find(key);
  const bool there = found != table_.end();
  switch (request) {
    case Request::Set: {
      std::string value(frame.text());
      if (!frame.complete() || value.size() > kMaxValue) return false;
      store(key, std::move(value));
      connection.out = FrameWriter(Answer::Ok).finish();
      return true;
    }
    case Request::Get: {
      const uint64_t milliseconds = frame.number();
      if (!frame.complete()) return false;
      if (there) {
        connection.out = FrameWriter(Answer::Ok).text(found->second).finish();
      } else {
        wait(id, connection, std::move(key), milliseconds);
      }
      return true;
    }
    case Request::TryGet:
      if (!frame.complete()) return false;
      connection.out = there ? FrameWriter(Answer::Ok).text(found->second).finish()
                             : FrameWriter(Answer::None).finish();
      return true;
    case Request::Add: {
      const auto amount = static_cast<int64_t>(frame.number());
      if (!frame.complete()) return false;
      const auto result = sum(there ? std::optional(found->second) : std::nullopt, amount);
      if (result) store(key, std::to_string(*result));
      connection.out = result ? FrameWriter(Answer::Ok).number(*result).finish()
                              : FrameWriter(Answer::NoNumber).finish();
      return true;
    }
    case Request::Remove:
      if (!frame.complete()) return false;
      if (there) table_.erase(found);
      connection.out = FrameWriter(there ? Answer::Ok : Answer::None).finish();
      return true;
    case Request::Hello: break;
  }
  return false;
}

bool TcpStoreServer::Loop::greet(uint64_t id, Connection& connection, FrameReader& frame) {
  const std::string_view magic = frame.text(), run = frame.text(), token = frame.text();
  if (!frame.complete() || magic != wire::kMagic) return false;
  if (run != options_.run_id || !wire::same_secret(token, options_.token)) {
    const Answer refusal = run != options_.run_id ? Answer::OtherRun : Answer::WrongToken;
    connection.out = FrameWriter(refusal).finish();
    connection.closing = true;
    return true;
  }
  connection.trusted = true;
  strangers_.erase(id);
  set_deadline(id, connection, std::nullopt);
  connection.out = FrameWriter(Answer::Ok).text(wire::kMagic).finish();
  return true;
}

void TcpStoreServer::Loop::store(const std::string& key, std::string value) {
  const std::string& stored = table_[key] = std::move(value);
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return;
  const std::unordered_set<uint64_t> ids = std::move(found->second);
  waiting_.erase(found);
  for (const uint64_t id : ids) end_wait(id, FrameWriter(Answer::Ok).text(stored).finish());
}

void TcpStoreServer::Loop::wait(uint64_t id, Connection& connection, std::string key,
                                uint64_t milliseconds) {
  constexpr uint64_t longest = std::numeric_limits<int64_t>::max();
  waiting_[key].insert(id);
  connection.awaits = std::move(key);
  set_deadline(id, connection, deadline_after(Milliseconds(std::min(milliseconds, longest))));
}

void TcpStoreServer::Loop::end_wait(uint64_t id, std::string answer) {
  Connection& connection = connections_.at(id);
  connection.awaits.reset();
  set_deadline(id, connection, std::nullopt);
  connection.out = std::move(answer);
  if (!flush(connection)) return close(id);
  watch_for_next(id, connection);
}

void TcpStoreServer::Loop::set_deadline(uint64_t id, Connection& connection,
                                        std::optional<Deadline> deadline) {
  if (connection.deadline) deadlines_.erase({*connection.deadline, id});
  connection.deadline = deadline;
  if (deadline) deadlines_.insert({*deadline, id});
}

void TcpStoreServer::Loop::expire() {
  const Deadline now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const uint64_t id = deadlines_.begin()->second;
    const Connection& connection = connections_.at(id);
    if (!connection.awaits) {
      close(id);
      continue;
    }
    forget_wait(id, *connection.awaits);
    end_wait(id, FrameWriter(Answer::None).finish());
  }
}

void TcpStoreServer::Loop::forget_wait(uint64_t id, const std::string& key) {
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return;
  found->second.erase(id);
  if (found->second.empty()) waiting_.erase(found);
}

int TcpStoreServer::Loop::milliseconds_to_deadline() const {
  if (deadlines_.empty()) return -1;
  const auto left = std::chrono::ceil<Milliseconds>(deadlines_.begin()->first - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
}

void TcpStoreServer::Loop::watch(int fd, uint64_t id, uint32_t events, int operation) const {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  ::epoll_ctl(epoll_.get(), operation, fd, &event);
}

// Either a request, or room for the rest of an answer. A client that goes is reported always.
void TcpStoreServer::Loop::watch_for_next(uint64_t id, Connection& connection) const {
  const uint32_t events = connection.out.empty() ? EPOLLIN : EPOLLOUT;
  if (events == connection.watched) return;
  connection.watched = events;
  watch(connection.fd.get(), id, events, EPOLL_CTL_MOD);
}

void TcpStoreServer::Loop::close(uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (connection.awaits) forget_wait(id, *connection.awaits);
  set_deadline(id, connection, std::nullopt);
  strangers_.erase(id);
  connections_.erase(found);
}

TcpStoreServer::TcpStoreServer(FileDescriptor listening, Options options) {
  check(options.run_id.size() <= wire::kMaxRun && options.token.size() <= wire::kMaxToken,
        ErrorKind::Argument, "TcpStoreServer", "run_id and token have ", options.run_id.size(),
        " and ", options.token.size(), " bytes, takes up to ", wire::kMaxRun, " and ",
        wire::kMaxToken);
  check(options.max_strangers > 0 && options.hello_timeout.count() > 0, ErrorKind::Argument,
        "TcpStoreServer", "max_strangers and hello_timeout take more than 0");
  endpoint_ = local_endpoint(listening.get());
  raise_limit_of_files();
  loop_ = std::make_unique<Loop>(std::move(listening), std::move(options));
}

TcpStoreServer::~TcpStoreServer() = default;

}  // namespace plinth::distributed
