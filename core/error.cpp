#include "core/error.h"

namespace plinth {

std::string_view name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Shape: return "Shape";
    case ErrorKind::DType: return "DType";
    case ErrorKind::Device: return "Device";
    case ErrorKind::Argument: return "Argument";
    case ErrorKind::Io: return "Io";
    case ErrorKind::Format: return "Format";
    case ErrorKind::OutOfMemory: return "OutOfMemory";
    case ErrorKind::Cuda: return "Cuda";
    case ErrorKind::Nccl: return "Nccl";
    case ErrorKind::Config: return "Config";
    case ErrorKind::Cancelled: return "Cancelled";
  }
  return "Unknown";
}

Error::Error(ErrorKind kind, std::string_view subject, std::string_view message)
    : std::runtime_error(detail::concat(subject, ": ", message)), kind_(kind) {}

bool Error::is_user_error() const {
  switch (kind_) {
    case ErrorKind::Shape:
    case ErrorKind::DType:
    case ErrorKind::Device:
    case ErrorKind::Argument:
    case ErrorKind::Format:
    case ErrorKind::Config: return true;
    default: return false;
  }
}

}  // namespace plinth
