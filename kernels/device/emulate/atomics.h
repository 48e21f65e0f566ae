#pragma once

// Integer atomics, memory fences, and loads and stores of flags. (Floating-point atomics would make
// results depend on the order of threads: there are none.)
//
// A relaxed operation publishes what its thread knew at its last memory_fence(), and what it finds
// published its thread knows after its next one, as the PTX memory model has it. An acquire or a
// release is its own fence.

#include <type_traits>

#include "kernels/device/emulate/pointers.h"

namespace plinth::device {

// fence.acq_rel.gpu
PLINTH_MAY_BE_LEFT_OUT inline void memory_fence() {
  PLINTH_LEAVE_OUT();
  emulate::Thread& self = Block::current().thread();
  self.knows.join(self.found);
  self.fenced = self.knows;
  self.knows.seen.tick(self.agent);
}

namespace detail {

template <class T>
concept AtomicInteger = std::is_integral_v<T> &&(sizeof(T) == 4 || sizeof(T) == 8);

// Reads, and writes change(what was read).
template <class T, class Space, class Change>
T read_modify_write(Pointer<T, Space> to, Change change, Location at) {
  emulate::Thread& self = Block::current().thread();
  const T before = to.template load_by<T>(self.atomic(), at);
  to.store_by(static_cast<T>(change(before)), self.atomic(), at);
  emulate::Knowledge& published = Block::current().launch().published(to.raw());
  self.found.join(published);
  published.join(self.fenced);
  return before;
}

}  // namespace detail

// Each returns the value before.
template <detail::AtomicInteger T, class Space>
T atomic_add(Pointer<T, Space> to, std::type_identity_t<T> value,
             Location at = Location::current()) {
  using U = std::make_unsigned_t<T>;
  return detail::read_modify_write(
      to, [&](T before) { return static_cast<U>(before) + static_cast<U>(value); }, at);
}
template <detail::AtomicInteger T, class Space>
T atomic_max(Pointer<T, Space> to, std::type_identity_t<T> value,
             Location at = Location::current()) {
  return detail::read_modify_write(
      to, [&](T before) { return before < value ? value : before; }, at);
}
template <detail::AtomicInteger T, class Space>
T atomic_min(Pointer<T, Space> to, std::type_identity_t<T> value,
             Location at = Location::current()) {
  return detail::read_modify_write(
      to, [&](T before) { return value < before ? value : before; }, at);
}
template <detail::AtomicInteger T, class Space>
T atomic_exchange(Pointer<T, Space> to, std::type_identity_t<T> value,
                  Location at = Location::current()) {
  return detail::read_modify_write(
      to, [&](T) { return value; }, at);
}
template <detail::AtomicInteger T, class Space>
T atomic_compare_exchange(Pointer<T, Space> to, std::type_identity_t<T> expected,
                          std::type_identity_t<T> value, Location at = Location::current()) {
  return detail::read_modify_write(
      to, [&](T before) { return before == expected ? value : before; }, at);
}

// Adds; releases what the thread knows, acquires what others released: a block's ticket.
template <detail::AtomicInteger T>
T atomic_add_acq_rel(Global<T> to, std::type_identity_t<T> value,
                     Location at = Location::current()) {
  memory_fence();
  const T before = atomic_add(to, value, at);
  memory_fence();
  return before;
}

// Loads of a flag let other threads run: a loop that waits for one ends when it changes.
template <class T>
std::remove_const_t<T> load_relaxed(Global<T> from, Location at = Location::current()) {
  using Value = std::remove_const_t<T>;
  static_assert(detail::AtomicInteger<Value>);
  Block::current().launch().spin();
  emulate::Thread& self = Block::current().thread();
  self.found.join(Block::current().launch().published(from.raw()));
  return from.template load_by<Value>(self.atomic(), at);
}
template <class T>
std::remove_const_t<T> load_acquire(Global<T> from, Location at = Location::current()) {
  const std::remove_const_t<T> value = load_relaxed(from, at);
  emulate::Thread& self = Block::current().thread();
  self.knows.join(Block::current().launch().published(from.raw()));
  return value;
}
template <detail::AtomicInteger T>
void store_relaxed(Global<T> to, std::type_identity_t<T> value, Location at = Location::current()) {
  emulate::Thread& self = Block::current().thread();
  to.store_by(value, self.atomic(), at);
  Block::current().launch().published(to.raw()) = self.fenced;
}
template <detail::AtomicInteger T>
void store_release(Global<T> to, std::type_identity_t<T> value, Location at = Location::current()) {
  memory_fence();
  store_relaxed(to, value, at);
}

}  // namespace plinth::device
