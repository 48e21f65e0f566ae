#include "distributed/dry/dry_group.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <utility>
#include <vector>

#include "core/error.h"

namespace plinth::distributed {
namespace {

// Work in the order in which it was given, not yet done.
class Line {
 public:
  struct Item {
    std::function<void()> work;
    Tensors held;
    bool done = false;
  };

  std::shared_ptr<Item> push(std::function<void()> work, Tensors held) {
    auto item = std::make_shared<Item>(Item{std::move(work), std::move(held)});
    items_.push_back(item);
    return item;
  }

  // Does what came before the item, and the item.
  void finish(const Item& item) {
    while (!item.done) {
      const std::shared_ptr<Item> next = items_.front();
      items_.pop_front();
      if (next->work) next->work();
      next->work = nullptr;
      next->held.clear();
      next->done = true;
    }
  }

 private:
  std::deque<std::shared_ptr<Item>> items_;
};

class Pending : public Work::State {
 public:
  Pending(std::shared_ptr<Line> line, std::shared_ptr<Line::Item> item)
      : line_(std::move(line)), item_(std::move(item)) {}
  bool is_done() override { return item_->done; }
  void wait() override { line_->finish(*item_); }

 private:
  std::shared_ptr<Line> line_;
  std::shared_ptr<Line::Item> item_;
};

class DryGroup : public ProcessGroup {
 public:
  DryGroup(int rank, int size, GroupOptions options, DryTransfers transfers,
           std::shared_ptr<DryMail> mail)
      : ProcessGroup(rank, size, std::move(options)),
        transfers_(transfers),
        mail_(std::move(mail)) {}

  std::string_view backend() const override { return "dry"; }
  bool serves(Device device) const override { return device.is_cpu(); }

  Work in_order(std::function<void()> work) override { return push(std::move(work), {}); }

  std::shared_ptr<ProcessGroup> split(int, int, const std::string& name) override {
    throw Error(
        ErrorKind::Argument, "dry group",
        detail::concat("split() of '", name, "' needs what other ranks give; takes split_by()"));
  }

  std::shared_ptr<ProcessGroup> split_by(const std::function<Side(int rank)>& side,
                                         const std::string& name) override {
    const Side own = side(rank());
    if (own.color < 0) return nullptr;
    std::vector<std::pair<int, int>> members;  // by key, then rank
    for (int other = 0; other < size(); ++other) {
      const auto [color, key] = side(other);
      if (color == own.color) members.emplace_back(key, other);
    }
    std::ranges::sort(members);
    const auto at = std::ranges::find(members, std::pair(own.key, rank()));
    GroupOptions its = options();
    its.name = name;
    return std::make_shared<DryGroup>(static_cast<int>(at - members.begin()),
                                      static_cast<int>(members.size()), std::move(its), transfers_,
                                      mail_);
  }

  void abort(const std::string&) override {}

 protected:
  Work start(Collective collective, Tensors held) override {
    if (collective.dtype == DType::Int64) tell_sizes(collective);
    return push(nullptr, std::move(held));
  }

 private:
  void tell_sizes(const Collective& call) {
    const auto* const in = static_cast<const int64_t*>(call.in);
    auto* const out = static_cast<int64_t*>(call.out);
    switch (call.kind) {
      case CollectiveKind::Send: mail_->words.assign(in, in + call.count); break;
      case CollectiveKind::Recv:
        check(std::ssize(mail_->words) == call.count, ErrorKind::Argument, "dry group", name(),
              " waits for ", call.count, " words, and ", mail_->words.size(), " were sent last");
        std::ranges::copy(mail_->words, out);
        break;
      case CollectiveKind::AllToAll: {
        const int64_t count = call.sent[rank()];
        if (std::ranges::any_of(call.received, [&](int64_t of) { return of != count; })) break;
        const int64_t* const own = in + std::reduce(call.sent.begin(), call.sent.begin() + rank());
        for (int r = 0; r < size(); ++r) std::copy(own, own + count, out + r * count);
        break;
      }
      default: break;
    }
  }

  Work push(std::function<void()> work, Tensors held) {
    const auto item = line_->push(std::move(work), std::move(held));
    if (transfers_ == DryTransfers::AtOnce) line_->finish(*item);
    return Work(std::make_shared<Pending>(line_, item));
  }

  DryTransfers transfers_;
  std::shared_ptr<DryMail> mail_;
  std::shared_ptr<Line> line_ = std::make_shared<Line>();
};

}  // namespace

std::shared_ptr<ProcessGroup> make_dry_group(int rank, int size, DryTransfers transfers,
                                             std::shared_ptr<DryMail> mail) {
  return std::make_shared<DryGroup>(rank, size, GroupOptions{}, transfers, std::move(mail));
}

}  // namespace plinth::distributed
