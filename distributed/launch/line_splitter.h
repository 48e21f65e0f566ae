#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace plinth::distributed {

// Cuts a stream of bytes into lines, so that those of several processes can be merged.
class LineSplitter {
 public:
  // A process that writes no line breaks does not fill the memory: a longer line is given in parts.
  static constexpr size_t kMaxLine = size_t{1} << 16;

  // Gives each line that is now whole to `emit`, without its line break.
  template <class Emit>
  void push(std::string_view bytes, const Emit& emit) {
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      const size_t room = kMaxLine - line_.size();
      line_ += bytes.substr(0, std::min(end, room));
      if (end > room) {
        bytes.remove_prefix(std::min(room, bytes.size()));
        if (line_.size() < kMaxLine) return;
      } else {
        bytes.remove_prefix(end + 1);
      }
      emit(std::string_view(line_));
      line_.clear();
    }
  }

  // Gives what is left of a line that has no end.
  template <class Emit>
  void finish(const Emit& emit) {
    if (!line_.empty()) emit(std::string_view(line_));
    line_.clear();
  }

 private:
  std::string line_;
};

}  // namespace plinth::distributed
