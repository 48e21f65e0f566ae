#pragma once

// Where ranks find each other: a small table of keys and values that all of them see. It carries
// addresses, identifiers and flags; tensors go through a ProcessGroup.
//
// Keys and values are any bytes. A value of add() is a decimal number, which get() gives as text.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace plinth::distributed {

using Milliseconds = std::chrono::milliseconds;

class Store {
 public:
  virtual ~Store() = default;

  virtual void set(std::string_view key, std::string_view value) = 0;
  // Waits for the key. Throws Error(Io), which names the key and the time waited.
  virtual std::string get(std::string_view key, Milliseconds timeout) = 0;
  virtual std::optional<std::string> try_get(std::string_view key) = 0;
  // Adds to a number, which is 0 where there is none, and gives the sum: one rank's additions never
  // lose another's. Throws Error(Io) if the value is no number.
  virtual int64_t add(std::string_view key, int64_t amount) = 0;
  // Whether there was one.
  virtual bool remove(std::string_view key) = 0;
};

// The keys that begin with a prefix, as a store of its own. `store` is shared.
class PrefixStore : public Store {
 public:
  PrefixStore(std::shared_ptr<Store> store, std::string prefix)
      : store_(std::move(store)), prefix_(std::move(prefix)) {}

  void set(std::string_view key, std::string_view value) override { store_->set(full(key), value); }
  std::string get(std::string_view key, Milliseconds timeout) override {
    return store_->get(full(key), timeout);
  }
  std::optional<std::string> try_get(std::string_view key) override {
    return store_->try_get(full(key));
  }
  int64_t add(std::string_view key, int64_t amount) override {
    return store_->add(full(key), amount);
  }
  bool remove(std::string_view key) override { return store_->remove(full(key)); }

 private:
  std::string full(std::string_view key) const { return prefix_ + "/" + std::string(key); }

  std::shared_ptr<Store> store_;
  std::string prefix_;
};

}  // namespace plinth::distributed
