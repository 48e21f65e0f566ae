#include "core/io/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"

namespace plinth {
namespace {

using nlohmann::json;

// Builds the document from the parser's events. nlohmann's own builder takes the last of two equal
// keys, and its callback, which could refuse them, makes each end of an object walk its whole
// parent.
class Builder {
 public:
  Builder(std::string_view subject, int max_depth) : subject_(subject), max_depth_(max_depth) {}

  json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) { return put(value); }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(json::binary_t&) { return false; }  // JSON text has none

  bool start_object(size_t) { return open(json::object()); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& key) {
    auto& members = open_.back()->get_ref<json::object_t&>();
    const auto [member, is_new] = members.try_emplace(std::move(key), nullptr);
    check(is_new, ErrorKind::Format, subject_, "duplicate key ", Quoted{member->first});
    member_ = &member->second;
    return true;
  }

  bool parse_error(size_t, const std::string&, const json::exception& error) {
    std::string_view reason = error.what();
    reason.remove_prefix(std::min(reason.size(), reason.find("] ") + 2));  // "[json.exception.N] "
    throw Error(ErrorKind::Format, subject_,
                detail::concat("invalid JSON: ", printable(reason, 300)));
  }

 private:
  // Where the next value belongs: the document, the end of an array, or the member of the last key.
  json& place() {
    if (open_.empty()) return root_;
    if (!open_.back()->is_array()) return *member_;
    open_.back()->push_back(nullptr);
    return open_.back()->back();
  }

  template <class Value>
  bool put(Value&& value) {
    place() = std::forward<Value>(value);
    return true;
  }

  bool open(json&& container) {
    check(static_cast<int>(open_.size()) < max_depth_, ErrorKind::Format, subject_,
          "JSON is nested deeper than ", max_depth_, " levels");
    json& value = place();
    value = std::move(container);
    open_.push_back(&value);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view subject_;
  int max_depth_;
  json root_;
  std::vector<json*>
      open_;  // an open container is the last thing in its parent, so it stays in place
  json* member_ = nullptr;
};

}  // namespace

json parse_json(std::string_view text, std::string_view subject, JsonLimits limits) {
  check(text.size() <= limits.bytes, ErrorKind::Format, subject, "has ", text.size(),
        " bytes of JSON, expected at most ", limits.bytes);
  const std::optional<size_t> invalid = first_invalid_utf8(text);
  check(!invalid, ErrorKind::Format, subject, "invalid UTF-8 at byte ", invalid.value_or(0));
  // nlohmann takes a NUL for the end of the text, whatever follows.
  const size_t nul = text.find('\0');
  check(nul == text.npos, ErrorKind::Format, subject, "invalid JSON: NUL at byte ", nul);

  Builder builder(subject, limits.depth);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

json read_json(const std::filesystem::path& path, JsonLimits limits) {
  return parse_json(read_text_file(path, limits.bytes), path.string(), limits);
}

}  // namespace plinth
