#pragma once

// Operations of a warp. They order no memory, but for warp_sync().

#include <cstring>
#include <string>
#include <type_traits>

#include "kernels/device/emulate/pointers.h"

namespace plinth::device {

inline constexpr uint32_t kFullMask = 0xffffffffu;

inline uint32_t lane_index() {
  return Block::current().thread().id % 32;
}
inline uint32_t warp_index() {
  return Block::current().thread().id / 32;
}

inline void warp_sync(uint32_t mask = kFullMask, Location at = Location::current()) {
  char nothing = 0;
  Block::current().meet_warp(
      mask, &nothing, [](auto) {}, true, at);
}

namespace detail {

// Takes the value that lane `from` brings.
template <class T>
T shuffled(const T& value, uint32_t from, uint32_t mask, Location at) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  if (!((mask >> from) & 1)) {
    Block::current().fail(
        "shuffle from lane " + std::to_string(from) + ", which the mask leaves out", at);
  }
  struct Lane {
    T given;
    uint32_t from;
    T taken;
  };
  Lane mine{value, from, value};
  Block::current().meet_warp(
      mask, &mine,
      [](std::span<void* const> lanes) {
        for (void* const data : lanes) {
          if (!data) continue;
          auto* const lane = static_cast<Lane*>(data);
          lane->taken = static_cast<const Lane*>(lanes[lane->from])->given;
        }
      },
      false, at);
  return mine.taken;
}

// The lanes whose `same(mine, theirs)` holds, as bits.
template <class T, class Same>
uint32_t votes(const T& value, uint32_t mask, Same same, Location at) {
  struct Lane {
    T given;
    uint32_t votes;
  };
  Lane mine{value, 0};
  Block::current().meet_warp(
      mask, &mine,
      [&](std::span<void* const> lanes) {
        for (void* const data : lanes) {
          if (!data) continue;
          auto* const lane = static_cast<Lane*>(data);
          for (uint32_t other = 0; other < 32; ++other) {
            if (lanes[other] && same(lane->given, static_cast<const Lane*>(lanes[other])->given))
              lane->votes |= 1u << other;
          }
        }
      },
      false, at);
  return mine.votes;
}

}  // namespace detail

template <class T>
T shuffle(T value, uint32_t lane, uint32_t mask = kFullMask, Location at = Location::current()) {
  return detail::shuffled(value, lane % 32, mask, at);
}
template <class T>
T shuffle_xor(T value, uint32_t distance, uint32_t mask = kFullMask,
              Location at = Location::current()) {
  return detail::shuffled(value, (lane_index() ^ distance) % 32, mask, at);
}
// From the lane `distance` above, or below; a lane that has none keeps its own.
template <class T>
T shuffle_down(T value, uint32_t distance, uint32_t mask = kFullMask,
               Location at = Location::current()) {
  const uint32_t from = lane_index() + distance;
  return detail::shuffled(value, from < 32 ? from : lane_index(), mask, at);
}
template <class T>
T shuffle_up(T value, uint32_t distance, uint32_t mask = kFullMask,
             Location at = Location::current()) {
  const uint32_t lane = lane_index();
  return detail::shuffled(value, lane >= distance ? lane - distance : lane, mask, at);
}

// The lanes whose predicate holds, as bits; whether it holds for any, for all.
inline uint32_t ballot(bool predicate, uint32_t mask = kFullMask,
                       Location at = Location::current()) {
  return detail::votes(
      predicate, mask, [](bool, bool theirs) { return theirs; }, at);
}
inline bool any(bool predicate, uint32_t mask = kFullMask, Location at = Location::current()) {
  return ballot(predicate, mask, at) != 0;
}
inline bool all(bool predicate, uint32_t mask = kFullMask, Location at = Location::current()) {
  return ballot(predicate, mask, at) == mask;
}
// The lanes that bring the same value, as bits.
template <class T>
uint32_t match_any(T value, uint32_t mask = kFullMask, Location at = Location::current()) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return detail::votes(
      value, mask, [](T mine, T theirs) { return mine == theirs; }, at);
}

// True in one lane of a whole warp: always the same one, and the kernel must not care which.
inline bool elect_one(Location at = Location::current()) {
  ballot(true, kFullMask, at);
  return lane_index() == warp_index() * 7 % 32;
}

}  // namespace plinth::device
