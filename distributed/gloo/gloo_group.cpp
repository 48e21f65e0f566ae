#include "distributed/gloo/gloo_group.h"

#include <chrono>
#include <cstring>
#include <map>
#include <utility>

#include "core/error.h"
#include "distributed/gloo/mesh.h"
#include "distributed/host/board.h"
#include "distributed/host/label.h"
#include "distributed/host/reduce_parts.h"
#include "distributed/host/split.h"
#include "distributed/host/watchdog.h"
#include "distributed/host/work_queue.h"

namespace plinth::distributed {
namespace {

using Kind = CollectiveKind;
using Clock = std::chrono::steady_clock;

// Below it, one exchange of everything is faster than two of slices.
constexpr int64_t kSmallBytes = 4096;

// One call's exchanges, each with all other ranks.
class Exchanges {
 public:
  Exchanges(Mesh& mesh, const Collective& call, std::string name, int rank, int size,
            Clock::time_point deadline)
      : mesh_(mesh),
        call_(call),
        name_(std::move(name)),
        rank_(rank),
        size_(size),
        deadline_(deadline),
        element_(static_cast<int64_t>(size_of(call.dtype))),
        in_(static_cast<const std::byte*>(call.in)),
        out_(static_cast<std::byte*>(call.out)) {}

  void run() {
    switch (call_.kind) {
      case Kind::AllReduce: return all_reduce();
      case Kind::ReduceScatter: return reduce_scatter();
      case Kind::AllGather: return all_gather();
      case Kind::AllToAll: return all_to_all();
      case Kind::Broadcast: return broadcast();
      case Kind::Send: return exchange({{call_.peer, in_, bytes(call_.count)}}, {});
      case Kind::Recv: return exchange({}, {{call_.peer, out_, bytes(call_.count)}});
      case Kind::Barrier: return barrier();
    }
  }

 private:
  struct Slice {
    int64_t begin = 0, count = 0;  // elements
  };

  size_t bytes(int64_t elements) const { return static_cast<size_t>(elements * element_); }
  Slice slice(int r) const {
    const int64_t begin = call_.count * r / size_;
    return {begin, call_.count * (r + 1) / size_ - begin};
  }
  void exchange(const std::vector<Mesh::Outgoing>& outgoing,
                const std::vector<Mesh::Incoming>& incoming) {
    mesh_.exchange(detail::concat(name_, "/", phase_++), outgoing, incoming, deadline_);
  }
  template <class Body>
  void for_others(Body body) const {
    for (int r = 0; r < size_; ++r)
      if (r != rank_) body(r);
  }
  void copy(std::byte* to, const std::byte* from, int64_t count) const {
    if (count > 0 && to != from) std::memcpy(to, from, bytes(count));
  }

  // Sends to each rank r what is at from(r), and reduces what comes and the own into `out`.
  void reduce_own(const std::vector<Slice>& of_ranks, std::byte* out) {
    const int64_t count = of_ranks[rank_].count;
    std::vector<std::byte> scratch(bytes(count) * size_);
    std::vector<Mesh::Outgoing> outgoing;
    std::vector<Mesh::Incoming> incoming;
    std::vector<const void*> parts(size_, in_ + bytes(of_ranks[rank_].begin));
    for_others([&](int r) {
      std::byte* const place = scratch.data() + r * bytes(count);
      parts[r] = place;
      outgoing.push_back({r, in_ + bytes(of_ranks[r].begin), bytes(of_ranks[r].count)});
      incoming.push_back({r, place, bytes(count)});
    });
    exchange(outgoing, incoming);
    reduce_parts(parts, out, count, call_.dtype, call_.op);
  }

  // Each rank sends its slice of `out` to all others but `spared`, which has them.
  void gather_slices(int spared) {
    std::vector<Mesh::Outgoing> outgoing;
    std::vector<Mesh::Incoming> incoming;
    const Slice own = slice(rank_);
    for_others([&](int r) {
      const Slice theirs = slice(r);
      if (r != spared) outgoing.push_back({r, out_ + bytes(own.begin), bytes(own.count)});
      if (rank_ != spared) incoming.push_back({r, out_ + bytes(theirs.begin), bytes(theirs.count)});
    });
    exchange(outgoing, incoming);
  }

  void all_reduce() {
    if (call_.bytes() <= kSmallBytes) {
      std::vector<Slice> everything(size_, {0, call_.count});
      return reduce_own(everything, out_);
    }
    std::vector<Slice> slices;
    slices.reserve(size_);
    for (int r = 0; r < size_; ++r) slices.push_back(slice(r));
    reduce_own(slices, out_ + bytes(slices[rank_].begin));
    gather_slices(-1);
  }

  void reduce_scatter() {
    std::vector<Slice> parts;
    parts.reserve(size_);
    for (int r = 0; r < size_; ++r) parts.push_back({r * call_.count, call_.count});
    reduce_own(parts, out_);
  }

  void all_gather() {
    std::vector<Mesh::Outgoing> outgoing;
    std::vector<Mesh::Incoming> incoming;
    for_others([&](int r) {
      outgoing.push_back({r, in_, bytes(call_.count)});
      incoming.push_back({r, out_ + r * bytes(call_.count), bytes(call_.count)});
    });
    copy(out_ + rank_ * bytes(call_.count), in_, call_.count);
    exchange(outgoing, incoming);
  }

  void all_to_all() {
    std::vector<Mesh::Outgoing> outgoing;
    std::vector<Mesh::Incoming> incoming;
    const std::byte* from = in_;
    std::byte* to = out_;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) {
        copy(to, from, call_.sent[r]);
      } else {
        outgoing.push_back({r, from, bytes(call_.sent[r])});
        incoming.push_back({r, to, bytes(call_.received[r])});
      }
      from += bytes(call_.sent[r]);
      to += bytes(call_.received[r]);
    }
    exchange(outgoing, incoming);
  }

  // The root's slices go to one rank each, and from there to all.
  void broadcast() {
    const bool is_small = call_.bytes() <= kSmallBytes;
    const auto scattered = [&](int r) { return is_small ? Slice{0, call_.count} : slice(r); };
    std::vector<Mesh::Outgoing> outgoing;
    if (rank_ == call_.peer) {
      for_others([&](int r) {
        outgoing.push_back({r, out_ + bytes(scattered(r).begin), bytes(scattered(r).count)});
      });
      exchange(outgoing, {});
    } else {
      const Slice own = scattered(rank_);
      exchange({}, {{call_.peer, out_ + bytes(own.begin), bytes(own.count)}});
    }
    if (!is_small) gather_slices(call_.peer);
  }

  void barrier() {
    std::vector<Mesh::Outgoing> outgoing;
    std::vector<Mesh::Incoming> incoming;
    for_others([&](int r) {
      outgoing.push_back({r, nullptr, 0});
      incoming.push_back({r, nullptr, 0});
    });
    exchange(outgoing, incoming);
  }

  Mesh& mesh_;
  const Collective& call_;
  const std::string name_;
  const int rank_, size_;
  const Clock::time_point deadline_;
  const int64_t element_;
  const std::byte* const in_;
  std::byte* const out_;
  int phase_ = 0;
};

// How long a rank whose connection broke waits to hear why.
constexpr Milliseconds kPatience(500);

class GlooGroup : public ProcessGroup {
 public:
  GlooGroup(std::shared_ptr<GlooDevice> device, std::shared_ptr<Store> store, int rank, int size,
            GroupOptions options)
      : ProcessGroup(rank, size, std::move(options)),
        label_(label_of(name(), rank, size)),
        device_(std::move(device)),
        store_(std::move(store)),
        mesh_(connect()),
        queue_(label_, [this](const std::string& reason) { give_up(reason); }),
        watchdog_(Board(store_, rank, size), rank, size, this->options().timeout,
                  {.fail = [this](const std::string& reason) { queue_.fail(reason); }}) {}

  // The queue and the watchdog use each other.
  ~GlooGroup() override { queue_.stop(); }

  std::string_view backend() const override { return "gloo"; }
  bool serves(Device device) const override { return device.is_cpu(); }

  Work in_order(std::function<void()> work) override {
    return queue_.push("in_order", std::move(work));
  }

  std::shared_ptr<ProcessGroup> split(int color, int key, const std::string& name) override {
    const Part part = agree_on_part(*this, color, key);
    const uint64_t number = splits_++;
    if (color < 0) return nullptr;
    GroupOptions its = options();
    its.name = name;
    auto store = std::make_shared<PrefixStore>(store_, detail::concat("part/", number, "/", color));
    return std::make_shared<GlooGroup>(device_, std::move(store), part.rank, part.size(),
                                       std::move(its));
  }

  void abort(const std::string& reason) override { queue_.fail(reason); }

 protected:
  Work start(Collective collective, Tensors held) override {
    std::string what = collective.describe();
    return queue_.push(std::move(what), [this, call = std::move(collective),
                                         held = std::move(held)] { make(call); });
  }

 private:
  // The connections, when all ranks have come.
  std::unique_ptr<Mesh> connect() {
    Board board(store_, rank(), size());
    board.meet("here", label_, options().timeout);
    auto mesh = std::make_unique<Mesh>(device_, std::make_shared<PrefixStore>(store_, "gloo"),
                                       rank(), size(), label_, options().timeout);
    // A connection that ends before the other side has accepted it would end the other's process.
    board.meet("connected", label_, options().timeout);
    return mesh;
  }

  void make(const Collective& call) {
    watchdog_.begun(call);
    // The watchdog fails the group at the deadline; this is for when the store holds it up.
    const auto late = options().timeout + 8 * watchdog_.interval() + kPatience;
    try {
      Exchanges(*mesh_, call, name_of(call), rank(), size(), Clock::now() + late).run();
    } catch (const MeshError& error) {
      std::string reason = error.what();
      if (!error.ranks().empty()) {
        reason = watchdog_.reason_of_others(kPatience);
        if (reason.empty())
          reason = detail::concat("lost ", list_ranks(error.ranks()),
                                  ", which has died, left or not answered: ", error.what());
      }
      watchdog_.ended();
      throw Error(ErrorKind::Io, call.describe(), label_ + ": " + reason);
    }
    watchdog_.ended();
  }

  // What a call and those that belong to it on other ranks have in common.
  std::string name_of(const Collective& call) {
    if (!is_message(call)) return call.signature();
    auto& messages = call.kind == Kind::Send ? sent_ : received_;
    return detail::concat("message #", ++messages[call.peer], " of ", plinth::name(call.dtype));
  }

  void give_up(const std::string& reason) {
    watchdog_.post_failure(reason);
    mesh_->close();
  }

  const std::string label_;
  std::shared_ptr<GlooDevice> device_;
  std::shared_ptr<Store> store_;
  std::unique_ptr<Mesh> mesh_;
  uint64_t splits_ = 0;
  std::map<int, uint64_t> sent_, received_;
  WorkQueue queue_;
  Watchdog watchdog_;
};

}  // namespace

std::shared_ptr<ProcessGroup> make_gloo_group(std::shared_ptr<Store> store, int rank, int size,
                                              GroupOptions options, const GlooOptions& gloo) {
  check(store != nullptr, ErrorKind::Argument, "make_gloo_group", "got no store");
  return std::make_shared<GlooGroup>(make_gloo_device(gloo), std::move(store), rank, size,
                                     std::move(options));
}

}  // namespace plinth::distributed
