#include "core/device.h"

#include <charconv>
#include <ostream>

#include "core/error.h"

namespace plinth {

Device Device::parse(std::string_view text) {
  if (text == "cpu") return {DeviceType::CPU, 0};
  if (text == "cuda") return {DeviceType::CUDA, 0};
  Device device{DeviceType::CUDA, 0};
  const char* end = text.data() + text.size();
  if (text.starts_with("cuda:")) {
    const auto [rest, error] = std::from_chars(text.data() + 5, end, device.index);
    if (error == std::errc() && rest == end && device.index >= 0) return device;
  }
  throw Error(ErrorKind::Argument, "device",
              detail::concat("got '", text, "', expected cpu, cuda or cuda:N"));
}

std::string to_string(Device device) {
  return device.is_cpu() ? "cpu" : "cuda:" + std::to_string(device.index);
}

std::ostream& operator<<(std::ostream& out, Device device) {
  return out << to_string(device);
}

}  // namespace plinth
