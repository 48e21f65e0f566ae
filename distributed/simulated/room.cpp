#include "distributed/simulated/room.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "distributed/host/label.h"
#include "distributed/host/reduce_parts.h"

namespace plinth::distributed {
namespace {

using Kind = CollectiveKind;

// The elements of an all_reduce that a rank sums for all.
struct Slice {
  int64_t begin = 0, count = 0;
};
Slice slice_of(int64_t count, int rank, int ranks) {
  const int64_t begin = count * rank / ranks;
  return {begin, count * (rank + 1) / ranks - begin};
}

size_t scratch_bytes(const Collective& call, int rank, int ranks) {
  const auto element = size_of(call.dtype);
  switch (call.kind) {
    case Kind::AllReduce: return slice_of(call.count, rank, ranks).count * element;
    case Kind::ReduceScatter: return call.count * element;
    default: return 0;
  }
}

const std::byte* read_at(const Collective& call, int64_t element) {
  return static_cast<const std::byte*>(call.in) + element * size_of(call.dtype);
}
std::byte* write_at(const Collective& call, int64_t element) {
  return static_cast<std::byte*>(call.out) + element * size_of(call.dtype);
}
void copy(std::byte* to, const void* from, int64_t elements, DType dtype) {
  if (elements > 0 && to != from) std::memcpy(to, from, elements * size_of(dtype));
}

// Reduces what each rank has at its element `begin`.
void reduce_at(const std::vector<const Collective*>& calls, int64_t begin, int64_t count,
               void* out) {
  std::vector<const void*> parts;
  parts.reserve(calls.size());
  for (const Collective* call : calls) parts.push_back(read_at(*call, begin));
  reduce_parts(parts, out, count, calls[0]->dtype, calls[0]->op);
}

std::string message_mismatch(const Collective& send, const Collective& recv) {
  if (send.dtype == recv.dtype && send.count == recv.count) return "";
  return detail::concat("rank ", recv.peer, " called ", send.describe(), ", rank ", send.peer,
                        " called ", recv.describe());
}

}  // namespace

Room::Meeting::Meeting(std::vector<int> of_ranks)
    : ranks(std::move(of_ranks)),
      calls(ranks.size()),
      scratch(ranks.size()),
      here(ranks.size()),
      ready(ranks.size()) {}

namespace {
std::vector<int> every_rank(int size) {
  std::vector<int> ranks(size);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}
}  // namespace

Room::Room(int size, GroupOptions options, CostModel cost)
    : size_(size),
      options_(std::move(options)),
      cost_(cost),
      last_call_(size),
      left_(size),
      all_(every_rank(size)) {}

double Room::make(const Collective& call, int rank, double ready) {
  // Before the others count on this rank.
  std::vector<std::byte> scratch(scratch_bytes(call, rank, size_));
  Meeting& meeting = meeting_of(call, rank);
  const auto seat = std::find(meeting.ranks.begin(), meeting.ranks.end(), rank);
  gather(meeting, seat - meeting.ranks.begin(), call, scratch.data(), ready);
  const double end = meeting.end;
  exchange(meeting, call, rank);
  return end;
}

Room::Meeting& Room::meeting_of(const Collective& call, int rank) {
  if (!is_message(call)) return all_;
  const std::lock_guard lock(mutex_);
  const int from = call.kind == Kind::Send ? rank : call.peer;
  const int to = call.kind == Kind::Send ? call.peer : rank;
  return messages_.try_emplace({from, to}, Meeting({from, to})).first->second;
}

void Room::gather(Meeting& meeting, size_t seat, const Collective& call, void* scratch,
                  double ready) {
  const int rank = meeting.ranks[seat];
  std::unique_lock lock(mutex_);
  if (!failure_.empty()) raise(call, rank);
  last_call_[rank] = call.describe();
  meeting.calls[seat] = &call;
  meeting.scratch[seat] = scratch;
  meeting.ready[seat] = ready;
  meeting.here[seat] = true;
  const uint64_t round = meeting.round;
  if (++meeting.arrived == meeting.ranks.size()) {
    begin(meeting);
  } else {
    if (const std::string why = why_left(meeting); !why.empty())
      fail(detail::concat(call.describe(), " waits for ", why));
    const bool in_time = changed_.wait_for(
        lock, options_.timeout, [&] { return meeting.round != round || !failure_.empty(); });
    if (!in_time)
      fail(detail::concat(call.describe(), " waited ", options_.timeout.count(), " ms for ",
                          describe_absent(meeting)));
  }
  // Once all had come the exchange is made, whatever happened since: the others read this rank's
  // memory.
  if (meeting.round == round) raise(call, rank);
}

void Room::begin(Meeting& meeting) {
  const std::string different = is_message(*meeting.calls[0])
                                    ? message_mismatch(*meeting.calls[0], *meeting.calls[1])
                                    : mismatch(meeting.calls);
  if (!different.empty()) return fail(different);
  double cost = 0;
  for (size_t seat = 0; seat < meeting.ranks.size(); ++seat)
    cost = std::max(cost, cost_.seconds(*meeting.calls[seat], meeting.ranks[seat], size_));
  meeting.end = std::ranges::max(meeting.ready) + cost;
  meeting.here.assign(meeting.here.size(), false);
  meeting.arrived = 0;
  ++meeting.round;
  changed_.notify_all();
}

void Room::pass(Meeting& meeting) {
  std::unique_lock lock(mutex_);
  const uint64_t gate = meeting.gate;
  if (++meeting.passed == meeting.ranks.size()) {
    meeting.passed = 0;
    ++meeting.gate;
    changed_.notify_all();
    return;
  }
  changed_.wait(lock, [&] { return meeting.gate != gate; });
}

// Whoever reads another's memory does so before the last pass().
void Room::exchange(Meeting& meeting, const Collective& call, int rank) {
  const auto& calls = meeting.calls;
  switch (call.kind) {
    case Kind::AllReduce: {
      const Slice own = slice_of(call.count, rank, size_);
      reduce_at(calls, own.begin, own.count, meeting.scratch[rank]);
      pass(meeting);
      for (int r = 0; r < size_; ++r) {
        const Slice slice = slice_of(call.count, r, size_);
        copy(write_at(call, slice.begin), meeting.scratch[r], slice.count, call.dtype);
      }
      break;
    }
    case Kind::ReduceScatter: {
      reduce_at(calls, rank * call.count, call.count, meeting.scratch[rank]);
      pass(meeting);
      copy(write_at(call, 0), meeting.scratch[rank], call.count, call.dtype);
      break;
    }
    case Kind::AllGather:
      for (int r = 0; r < size_; ++r)
        copy(write_at(call, r * call.count), calls[r]->in, call.count, call.dtype);
      break;
    case Kind::AllToAll: {
      int64_t to = 0;
      for (int r = 0; r < size_; ++r) {
        const auto& sent = calls[r]->sent;
        const int64_t from = std::reduce(sent.begin(), sent.begin() + rank);
        copy(write_at(call, to), read_at(*calls[r], from), sent[rank], call.dtype);
        to += sent[rank];
      }
      break;
    }
    case Kind::Broadcast:
      copy(write_at(call, 0), calls[call.peer]->in, call.count, call.dtype);
      break;
    case Kind::Recv: copy(write_at(call, 0), calls[0]->in, call.count, call.dtype); break;
    case Kind::Send:
    case Kind::Barrier: break;
  }
  pass(meeting);
}

std::vector<int> Room::absent(const Meeting& meeting) const {
  std::vector<int> ranks;
  for (size_t seat = 0; seat < meeting.ranks.size(); ++seat)
    if (!meeting.here[seat]) ranks.push_back(meeting.ranks[seat]);
  return ranks;
}

std::string Room::describe_absent(const Meeting& meeting) const {
  std::string text;
  for (const int rank : absent(meeting)) {
    text += detail::concat(text.empty() ? "rank " : ", rank ", rank);
    const std::string& last = last_call_[rank];
    text += last.empty() ? " (which called nothing)" : detail::concat(" (last in ", last, ")");
  }
  return text;
}

std::string Room::why_left(const Meeting& meeting) const {
  std::vector<int> gone = absent(meeting);
  std::erase_if(gone, [&](int rank) { return !left_[rank]; });
  if (gone.empty()) return "";
  return list_ranks(gone) + (gone.size() == 1 ? ", which has left" : ", which have left");
}

void Room::fail(const std::string& reason) {
  if (!failure_.empty()) return;
  failure_ = reason;
  changed_.notify_all();
}

void Room::raise(const Collective& call, int rank) const {
  throw Error(ErrorKind::Io, call.describe(),
              detail::concat(label_of(options_.name, rank, size_), ": ", failure_));
}

void Room::give_up(int rank, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  fail(detail::concat("rank ", rank, " has given up: ", reason));
}

void Room::leave(int rank) {
  const std::lock_guard lock(mutex_);
  left_[rank] = true;
  if (!failure_.empty()) return;
  const auto look_at = [&](const Meeting& meeting) {
    const std::string why = meeting.arrived > 0 ? why_left(meeting) : "";
    if (why.empty()) return;
    const size_t seat = std::ranges::find(meeting.here, true) - meeting.here.begin();
    fail(detail::concat(meeting.calls[seat]->describe(), " waits for ", why));
  };
  look_at(all_);
  for (const auto& [ranks, meeting] : messages_) look_at(meeting);
}

std::shared_ptr<Room> Room::part(uint64_t split, int color, int size, const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Room>& room = parts_[{split, color}];
  if (!room) {
    GroupOptions options = options_;
    options.name = name;
    room = std::make_shared<Room>(size, std::move(options), cost_);
  }
  return room;
}

}  // namespace plinth::distributed
