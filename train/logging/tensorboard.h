#pragma once

// Event files that TensorBoard shows: TFRecords, each a length, its checksum, an Event in protocol
// buffer encoding, and its checksum (tensorflow/core/lib/io/record_writer.h, event.proto, and
// summary.proto of TensorFlow).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/io/file.h"

namespace plinth {

// A TFRecord: uint64 length, uint32 masked CRC-32C of the length, the data, uint32 masked CRC-32C
// of the data, little-endian.
std::string tfrecord(std::string_view data);

// Appends events to a new file of its own in a directory; each is handed to the system at once.
class TensorBoardWriter {
 public:
  // Seconds since 1970.
  using Clock = std::function<double()>;

  // A resumed run tells TensorBoard to hide what earlier files have after resumed_step.
  explicit TensorBoardWriter(const std::filesystem::path& directory,
                             std::optional<int64_t> resumed_step = std::nullopt, Clock now = {});

  // A point of the curve `tag`; "a/b" groups curves under "a".
  void add_scalar(std::string_view tag, double value, int64_t step);
  // A text, shown as Markdown.
  void add_text(std::string_view tag, std::string_view text, int64_t step);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_event(std::string_view fields, int64_t step);

  Clock now_;
  std::filesystem::path path_;
  AppendFile file_;
};

}  // namespace plinth
