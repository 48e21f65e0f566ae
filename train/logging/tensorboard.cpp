#include "train/logging/tensorboard.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "train/logging/crc32c.h"

namespace plinth {
namespace {

// Protocol buffer encoding (protobuf.dev/programming-guides/encoding): a field is a key, number <<
// 3 | wire type, and a value: 0 a varint, 1 eight bytes, 2 a length and bytes, 5 four bytes.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

template <class T>
std::string raw(T value) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  return {bytes.data(), bytes.size()};
}

std::string varint_field(int number, int64_t value) {
  return varint(number << 3) + varint(static_cast<uint64_t>(value));
}
std::string bytes_field(int number, std::string_view bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}
std::string float_field(int number, float value) {
  return varint(number << 3 | 5) + raw(value);
}
std::string double_field(int number, double value) {
  return varint(number << 3 | 1) + raw(value);
}

// Fields of Event.
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;

std::string summary(std::string_view tag, std::string_view value) {
  return bytes_field(kSummary, bytes_field(1, bytes_field(1, tag) + std::string(value)));
}

uint32_t masked_crc(std::string_view bytes) {
  // Rotated and shifted, so that a checksum of data that hold checksums is not a special value.
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

double system_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// TensorBoard takes every file with "tfevents" in its name, in the order of the names.
std::string file_name(double now) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {"unknown"};
  static std::atomic<int> count = 0;
  std::array<char, 512> name;
  std::snprintf(name.data(), name.size(), "events.out.tfevents.%010lld.%s.%d.%d.plinth",
                static_cast<long long>(now), host.data(), static_cast<int>(::getpid()), count++);
  return name.data();
}

}  // namespace

std::string tfrecord(std::string_view data) {
  const std::string length = raw<uint64_t>(data.size());
  return length + raw(masked_crc(length)) + std::string(data) + raw(masked_crc(data));
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& directory,
                                     std::optional<int64_t> resumed_step, Clock now)
    : now_(now ? std::move(now) : system_time), path_(directory / file_name(now_())), file_(path_) {
  write_event(bytes_field(kFileVersion, "brain.Event:2"), 0);
  if (resumed_step) {
    // SessionLog.status = START: events of that step and later, in earlier files, no longer count.
    write_event(bytes_field(kSessionLog, varint_field(1, 1)), *resumed_step + 1);
  }
}

void TensorBoardWriter::write_event(std::string_view fields, int64_t step) {
  std::string event = double_field(kWallTime, now_());
  if (step != 0) event += varint_field(kStep, step);
  file_.append(tfrecord(event.append(fields)));
}

void TensorBoardWriter::add_scalar(std::string_view tag, double value, int64_t step) {
  write_event(summary(tag, float_field(2, static_cast<float>(value))), step);
}

void TensorBoardWriter::add_text(std::string_view tag, std::string_view text, int64_t step) {
  // Summary.Value: tensor = 8 (dtype = 1: DT_STRING = 7; tensor_shape = 2: dim = 2: size = 1;
  // string_val = 8), metadata = 9 (plugin_data = 1: plugin_name = 1).
  const std::string shape = bytes_field(2, varint_field(1, 1));
  const std::string tensor = varint_field(1, 7) + bytes_field(2, shape) + bytes_field(8, text);
  const std::string metadata = bytes_field(1, bytes_field(1, "text"));
  write_event(summary(tag, bytes_field(8, tensor) + bytes_field(9, metadata)), step);
}

}  // namespace plinth
