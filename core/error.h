#pragma once

// The one exception type of Plinth, and the check that throws it.

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plinth {

enum class ErrorKind {
  Shape,
  DType,
  Device,
  Argument,
  Io,
  Format,
  OutOfMemory,
  Cuda,
  Nccl,
  Config,
  Cancelled
};

std::string_view name(ErrorKind kind);

// What went wrong, as "subject: message". The subject is the op, file or key that was at fault; the
// message names the argument, what it got, and what it takes.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string_view subject, std::string_view message);
  ErrorKind kind() const { return kind_; }

  // True where the user gave something wrong (exit status 2), false where the work failed (1).
  bool is_user_error() const;

 private:
  ErrorKind kind_;
};

namespace detail {
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
}  // namespace detail

// Throws Error(kind, subject, parts joined) unless ok:
//   check(w.size(0) == d, ErrorKind::Shape, "layer_norm", "weight has shape ", w.shape(),
//         ", expected [", d, "] (last dimension of x)");
template <class... Parts>
void check(bool ok, ErrorKind kind, std::string_view subject, const Parts&... parts) {
  if (!ok) [[unlikely]]
    throw Error(kind, subject, detail::concat(parts...));
}

}  // namespace plinth
