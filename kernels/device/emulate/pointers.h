#pragma once

// Pointers to global and shared memory whose every access is checked. They are used as plain
// pointers are: p[i], p + n, *p; under nvcc they are plain pointers.

#include <concepts>
#include <cstring>
#include <type_traits>

#include "kernels/device/emulate/global_memory.h"
#include "kernels/device/emulate/omission.h"
#include "kernels/device/emulate/shared_memory.h"

namespace plinth::device {

using emulate::Block;
using emulate::Location;

// An index that knows the line where it was written.
struct Index {
  template <std::integral I>
  Index(I value, Location where = Location::current())
      : value(static_cast<int64_t>(value)), where(where) {}
  int64_t value;
  Location where;
};

// An element of global or shared memory: converts to its value, takes one by assignment.
template <class Pointer>
class Element {
 public:
  using T = typename Pointer::Value;
  Element(Pointer pointer, Location at) : pointer_(pointer), at_(at) {}
  operator T() const { return pointer_.load(at_); }
  const Element& operator=(const T& value) const
      requires(!std::is_const_v<typename Pointer::Stored>) {
    pointer_.store(value, at_);
    return *this;
  }
  const Element& operator=(const Element& other) const { return *this = static_cast<T>(other); }
  const Element& operator+=(const T& value) const {
    return *this = static_cast<T>(static_cast<T>(*this) + value);
  }

 private:
  Pointer pointer_;
  Location at_;
};

struct GlobalSpace {
  static void check_read(const void* p, const void* origin, size_t bytes,
                         const emulate::Agent& agent, Location at) {
    emulate::check_global(p, origin, bytes, bytes, false, agent, at);
  }
  static void check_write(const void* p, const void* origin, size_t bytes,
                          const emulate::Agent& agent, Location at) {
    emulate::check_global(p, origin, bytes, bytes, true, agent, at);
  }
};

struct SharedSpace {
  static void check_read(const void* p, const void*, size_t bytes, const emulate::Agent& agent,
                         Location at) {
    emulate::check_shared_read(p, bytes, agent, at);
  }
  static void check_write(const void* p, const void*, size_t bytes, const emulate::Agent& agent,
                          Location at) {
    emulate::check_shared_write(p, bytes, agent, at);
  }
};

template <class T, class Space>
class Pointer {
 public:
  using Stored = T;
  using Value = std::remove_const_t<T>;

  Pointer() = default;
  // A pointer is bound to the buffer that it is made from: arithmetic does not lead to another.
  Pointer(T* raw) : Pointer(raw, raw) {}
  Pointer(T* raw, const void* origin) : raw_(raw), origin_(origin) {}
  template <class U>
  requires std::is_convertible_v<U*, T*> Pointer(Pointer<U, Space> other)
      : Pointer(other.raw(), other.origin()) {}

  T* raw() const { return raw_; }
  const void* origin() const { return origin_; }
  explicit operator bool() const { return raw_ != nullptr; }
  Element<Pointer> operator[](Index i) const { return {Pointer(raw_ + i.value, origin_), i.where}; }
  friend Pointer operator+(Pointer p, int64_t n) { return Pointer(p.raw_ + n, p.origin_); }

  Value load(Location at) const { return load_as<Value>(at); }
  void store(const Value& value, Location at) const { store_as(value, at); }

  // One access as a V: a vector of several elements.
  template <class V>
  V load_as(Location at) const {
    return load_by<V>(Block::current().thread().generic(), at);
  }
  template <class V>
  void store_as(const V& value, Location at) const {
    store_by(value, Block::current().thread().generic(), at);
  }
  // The same by an agent.
  template <class V>
  V load_by(const emulate::Agent& agent, Location at) const {
    Space::check_read(raw_, origin_, sizeof(V), agent, at);
    V value;
    std::memcpy(static_cast<void*>(&value), raw_, sizeof(V));
    return value;
  }
  template <class V>
  void store_by(const V& value, const emulate::Agent& agent, Location at) const {
    Space::check_write(raw_, origin_, sizeof(V), agent, at);
    std::memcpy(static_cast<void*>(raw_), &value, sizeof(V));
  }

 private:
  T* raw_ = nullptr;
  const void* origin_ = nullptr;
};

template <class T>
using Global = Pointer<T, GlobalSpace>;
template <class T>
using Shared = Pointer<T, SharedSpace>;

}  // namespace plinth::device
