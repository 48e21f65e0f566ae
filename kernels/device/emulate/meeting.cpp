#include "kernels/device/emulate/meeting.h"

#include <algorithm>
#include <bit>
#include <string>

#include "kernels/device/emulate/block.h"

namespace plinth::emulate {

std::shared_ptr<Meetings::Meeting> Meetings::open(uint32_t mask, Location at) {
  const auto idle = std::ranges::find_if(all_, [](const auto& m) { return m.use_count() == 1; });
  if (idle == all_.end()) {
    open_.push_back(all_.emplace_back(std::make_shared<Meeting>()));
  } else {
    open_.push_back(*idle);
    std::fill_n((*idle)->data.begin(), size_, nullptr);
    (*idle)->arrived = 0;
    (*idle)->over = false;
    (*idle)->gathering = Knowledge();
  }
  open_.back()->mask = mask;
  open_.back()->line = at.line();
  return open_.back();
}

std::shared_ptr<Meetings::Meeting> Meetings::join(const Block& block, uint32_t self, uint32_t mask,
                                                  Location at) {
  const uint32_t lane = self / (size_ / 32);
  if (!((mask >> lane) & 1)) {
    block.fail(std::string(what_) + " operation by lane " + std::to_string(lane) +
                   ", which its mask leaves out",
               at);
  }
  for (const auto& meeting : open_) {
    if (!(meeting->mask & mask)) continue;
    if (meeting->mask != mask || meeting->line != at.line() || meeting->data[self]) {
      block.fail(std::string("divergent ") + what_ + " operation: other lanes are at line " +
                     std::to_string(meeting->line) + ", or name another mask",
                 at);
    }
    return meeting;
  }
  return open(mask, at);
}

void Meetings::meet(Block& block, uint32_t self, uint32_t mask, void* data, const Combine& combine,
                    bool order, Location at) {
  const std::shared_ptr<Meeting> meeting = join(block, self, mask, at);
  Thread& thread = block.thread();
  meeting->data[self] = data;
  if (order) {
    meeting->gathering.cluster = thread.knows.cluster;
    thread.release(meeting->gathering);
  }
  const uint32_t expected = static_cast<uint32_t>(std::popcount(mask)) * (size_ / 32);
  if (++meeting->arrived == expected) {
    std::erase(open_, meeting);
    combine(std::span<void* const>(meeting->data).first(size_));
    meeting->over = true;
  }
  block.wait([&] { return meeting->over; },
             [&] {
               return std::string("the lanes of a ") + what_ + " operation (line " +
                      std::to_string(at.line()) + ")";
             });
  if (order) thread.knows.join(meeting->gathering);
}

}  // namespace plinth::emulate
