#include "data/tasks/bad_lines.h"

#include "core/error.h"

namespace plinth {

void BadLines::skip(const std::filesystem::path& file, int64_t line, std::string_view reason) {
  if (++count_ == 1) first_ = detail::concat(file.string(), ":", line, ": ", reason);
  check(count_ <= most_, ErrorKind::Format, file.string(), "has more than ", most_,
        " bad lines, the first ", first_);
}

std::string BadLines::summary() const {
  if (count_ == 0) return "";
  return detail::concat(count_, count_ == 1 ? " bad line" : " bad lines", " left out, the first ",
                        first_);
}

}  // namespace plinth
