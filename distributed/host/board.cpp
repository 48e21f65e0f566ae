#include "distributed/host/board.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>
#include <vector>

#include "core/error.h"
#include "distributed/host/label.h"

namespace plinth::distributed {
namespace {

constexpr char kSeparator = '\n';

std::string key_of(const std::string& what, int rank) {
  return detail::concat(what, "/", rank);
}

// Takes the number off the front of text, with the separator behind it.
bool take(std::string& text, uint64_t& number) {
  const size_t end = text.find(kSeparator);
  if (end == std::string::npos) return false;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, number);
  if (error != std::errc() || stop != text.data() + end) return false;
  text.erase(0, end + 1);
  return true;
}

// "12\n340\nsignature\ndescription"; nothing if it is something else.
std::optional<Progress> parse(std::string text) {
  Progress progress;
  if (!take(text, progress.number) || !take(text, progress.beat)) return std::nullopt;
  const size_t end = text.find(kSeparator);
  if (end == std::string::npos) return std::nullopt;
  progress.signature = text.substr(0, end);
  progress.description = text.substr(end + 1);
  return progress;
}

}  // namespace

Board::Board(std::shared_ptr<Store> store, int rank, int size)
    : store_(std::move(store)), rank_(rank), size_(size) {}

void Board::meet(const std::string& place, const std::string& label, Milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  store_->set(key_of(place, rank_), "");
  std::vector<int> missing;
  for (int r = 0; r < size_; ++r) {
    const auto left =
        std::chrono::duration_cast<Milliseconds>(deadline - std::chrono::steady_clock::now());
    try {
      store_->get(key_of(place, r), std::max(left, Milliseconds(0)));
    } catch (const Error&) {
      // Which is the store's to say, if it does not answer.
      if (!store_->try_get(key_of(place, r))) missing.push_back(r);
    }
  }
  check(missing.empty(), ErrorKind::Io, label, "waited ", timeout.count(), " ms for ",
        list_ranks(missing), " to come");
}

void Board::post(const Progress& progress) {
  store_->set(key_of("progress", rank_),
              detail::concat(progress.number, kSeparator, progress.beat, kSeparator,
                             progress.signature, kSeparator, progress.description));
}

std::optional<Progress> Board::progress_of(int rank) {
  const auto text = store_->try_get(key_of("progress", rank));
  return text ? parse(*text) : std::nullopt;
}

void Board::post_failure(const std::string& reason) {
  if (store_->add("failures", 1) > 1) return;
  store_->set("failure", detail::concat("rank ", rank_, " has given up: ", reason));
}

std::optional<std::string> Board::failure() {
  return store_->try_get("failure");
}

}  // namespace plinth::distributed
