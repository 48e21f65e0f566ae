#include "distributed/host/board.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>
#include <vector>

#include "core/error.h"
#include "distributed/host/label.h"

namespace plinth::distributed {
namespace {

constexpr char kSeparator = '\n';

std::string key_of(const char* what, int rank) {
  return detail::concat(what, "/", rank);
}

// "12\nsignature\ndescription"; nothing if it is something else.
std::optional<Progress> parse(const std::string& text) {
  const size_t first = text.find(kSeparator);
  if (first == std::string::npos) return std::nullopt;
  const size_t second = text.find(kSeparator, first + 1);
  if (second == std::string::npos) return std::nullopt;
  Progress progress;
  const auto [end, error] = std::from_chars(text.data(), text.data() + first, progress.number);
  if (error != std::errc() || end != text.data() + first) return std::nullopt;
  progress.signature = text.substr(first + 1, second - first - 1);
  progress.description = text.substr(second + 1);
  return progress;
}

}  // namespace

Board::Board(std::shared_ptr<Store> store, int rank, int size)
    : store_(std::move(store)), rank_(rank), size_(size) {}

void Board::meet(const std::string& label, Milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  store_->set(key_of("here", rank_), "");
  std::vector<int> missing;
  for (int r = 0; r < size_; ++r) {
    const auto left =
        std::chrono::duration_cast<Milliseconds>(deadline - std::chrono::steady_clock::now());
    try {
      store_->get(key_of("here", r), std::max(left, Milliseconds(0)));
    } catch (const Error&) {
      missing.push_back(r);
    }
  }
  check(missing.empty(), ErrorKind::Distributed, label, "waited ", timeout.count(), " ms for ",
        list_ranks(missing), " to come");
}

void Board::post(const Progress& progress) {
  store_->set(key_of("progress", rank_),
              detail::concat(progress.number, kSeparator, progress.signature, kSeparator,
                             progress.description));
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
