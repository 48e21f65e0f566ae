#include "distributed/store/tcp_store.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/io/text.h"
#include "distributed/store/frame.h"
#include "distributed/store/tcp_server.h"

namespace plinth::distributed {

using Clock = std::chrono::steady_clock;
using io::FileDescriptor;
using wire::Answer;
using wire::FrameReader;
using wire::FrameWriter;
using wire::Request;

struct TcpStore::Reply {
  Answer answer = Answer::None;
  std::string value;
  int64_t number = 0;
};

namespace {

// The body of the next frame; empty, which no frame is, for a length out of range.
Transfer receive_frame(int fd, std::string& body, size_t longest, Deadline deadline) {
  std::string prefix(wire::kPrefix, '\0');
  const Transfer transfer = receive_all(fd, prefix, deadline);
  if (transfer != Transfer::Done) return transfer;
  const size_t length = wire::announced_length(prefix).value_or(0);
  body.assign(length <= longest ? length : 0, '\0');
  return receive_all(fd, body, deadline);
}

enum class Greeting { Welcome, NoAnswer, NoStore, OtherRun, WrongToken };

Greeting greet(int fd, const std::string& hello, Deadline deadline) {
  if (send_all(fd, hello, deadline) != Transfer::Done) return Greeting::NoAnswer;
  std::string body;
  if (receive_frame(fd, body, wire::kMaxHello, deadline) != Transfer::Done)
    return Greeting::NoAnswer;
  FrameReader frame(body);
  switch (frame.answer()) {
    case Answer::OtherRun: return Greeting::OtherRun;
    case Answer::WrongToken: return Greeting::WrongToken;
    case Answer::Ok: return frame.text() == wire::kMagic ? Greeting::Welcome : Greeting::NoStore;
    default: return Greeting::NoStore;
  }
}

}  // namespace

TcpStore::TcpStore(Options options, std::shared_ptr<TcpStoreServer> server)
    : options_(std::move(options)),
      subject_("store at " + options_.server.text()),
      server_(std::move(server)) {
  check(options_.run_id.size() <= wire::kMaxRun && options_.token.size() <= wire::kMaxToken,
        ErrorKind::Argument, "TcpStore", "run_id and token have ", options_.run_id.size(), " and ",
        options_.token.size(), " bytes, takes up to ", wire::kMaxRun, " and ", wire::kMaxToken);
  check(options_.server.port > 0 && options_.server.port < 65536, ErrorKind::Argument, "TcpStore",
        "port got ", options_.server.port, ", takes 1 to 65535");
  check_timeout("TcpStore", options_.connect_timeout);
  idle_.push_back(connect(deadline_after(options_.connect_timeout), true));
}

TcpStore::~TcpStore() = default;

Milliseconds TcpStore::patience() const {
  return silent_ ? options_.answer_timeout / 10 : options_.answer_timeout;
}

void TcpStore::fail(std::string_view what) const {
  throw Error(ErrorKind::Io, subject_, what);
}

FileDescriptor TcpStore::connect(Deadline deadline, bool wait_for_server) {
  const std::string hello = FrameWriter(Request::Hello)
                                .text(wire::kMagic)
                                .text(options_.run_id)
                                .text(options_.token)
                                .finish();
  const auto start = Clock::now();
  const Deadline other_run_deadline =
      std::min(deadline, wait_for_server ? deadline_after(options_.other_run_timeout) : start);
  for (Milliseconds pause(10);; pause = std::min(2 * pause, Milliseconds(1000))) {
    std::string reason = "it gave no answer";
    FileDescriptor fd = connect_once(options_.server, deadline, reason);
    const Greeting greeting = fd.get() >= 0 ? greet(fd.get(), hello, deadline) : Greeting::NoAnswer;
    if (greeting == Greeting::Welcome) return fd;
    if (greeting == Greeting::NoStore) fail("another service answers there, no store");
    if (greeting == Greeting::WrongToken)
      fail("it refuses the token of this rank: PLINTH_TOKEN is the same for all ranks of a run");
    const auto now = Clock::now();
    if (greeting == Greeting::OtherRun && now >= other_run_deadline)
      fail("it is that of another run, not of " + printable(options_.run_id) +
           ": two runs on one port?");
    const auto waited = std::chrono::duration_cast<Milliseconds>(now - start);
    if (greeting == Greeting::NoAnswer && now >= deadline) silent_ = true;
    if (greeting == Greeting::NoAnswer && !wait_for_server)
      fail("cannot be reached any more: " + reason + "; rank 0 may be stopped or gone");
    if (now >= deadline)
      fail(detail::concat("did not come up; tried for ", seconds(waited), ", at last: ", reason));
    std::this_thread::sleep_until(std::min(deadline, now + pause));
  }
}

FileDescriptor TcpStore::take_connection(Milliseconds timeout) {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      FileDescriptor fd = std::move(idle_.back());
      idle_.pop_back();
      return fd;
    }
  }
  return connect(deadline_after(timeout), false);
}

TcpStore::Reply TcpStore::call(std::string_view op, std::string_view key, const std::string& frame,
                               Milliseconds wait) {
  const Milliseconds answer = patience();
  const Milliseconds longest = std::min(wait, Milliseconds::max() - answer) + answer;
  const Deadline deadline = deadline_after(longest);
  FileDescriptor fd = take_connection(answer);
  std::string body;
  Transfer transfer = send_all(fd.get(), frame, deadline);
  if (transfer == Transfer::Done)
    transfer = receive_frame(fd.get(), body, wire::kMaxFrame, deadline);
  const std::string call = detail::concat(op, " of key ", printable(key));
  silent_ = transfer == Transfer::TimedOut;
  if (silent_)
    fail(detail::concat(call, ": no answer within ", seconds(longest), "; rank 0 may be stopped"));
  FrameReader reader(body);
  Reply reply;
  reply.answer = reader.answer();
  if (transfer == Transfer::Done && reply.answer == Answer::Ok) {
    if (op == "get" || op == "try_get") reply.value = reader.text();
    if (op == "add") reply.number = static_cast<int64_t>(reader.number());
  }
  if (transfer == Transfer::Closed || !reader.complete())
    fail(call + ": the connection broke; rank 0 may be gone");
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(fd));
  return reply;
}

void TcpStore::set(std::string_view key, std::string_view value) {
  check_key("set", key);
  check_value("set", key, value);
  call("set", key, FrameWriter(Request::Set).text(key).text(value).finish());
}

std::string TcpStore::get(std::string_view key, Milliseconds timeout) {
  check_key("get", key);
  check_timeout("get", timeout);
  const auto milliseconds = static_cast<uint64_t>(timeout.count());
  Reply reply =
      call("get", key, FrameWriter(Request::Get).text(key).number(milliseconds).finish(), timeout);
  if (reply.answer != Answer::Ok) throw_no_key(subject_, key, timeout);
  return std::move(reply.value);
}

std::optional<std::string> TcpStore::try_get(std::string_view key) {
  check_key("try_get", key);
  Reply reply = call("try_get", key, FrameWriter(Request::TryGet).text(key).finish());
  if (reply.answer != Answer::Ok) return std::nullopt;
  return std::move(reply.value);
}

int64_t TcpStore::add(std::string_view key, int64_t amount) {
  check_key("add", key);
  const Reply reply =
      call("add", key,
           FrameWriter(Request::Add).text(key).number(static_cast<uint64_t>(amount)).finish());
  if (reply.answer != Answer::Ok) throw_no_number(subject_, key, amount);
  return reply.number;
}

bool TcpStore::remove(std::string_view key) {
  check_key("remove", key);
  return call("remove", key, FrameWriter(Request::Remove).text(key).finish()).answer == Answer::Ok;
}

}  // namespace plinth::distributed
