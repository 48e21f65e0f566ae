#pragma once

// What a TcpStore and its server say to each other. All numbers are little-endian.
//
//   frame     u32 length of what follows | u8 kind | fields
//   fields    u64, or text: u32 length | bytes
//
//   Hello     text magic, text run, text token    -> Ok text magic | OtherRun | WrongToken
//   Set       text key, text value                -> Ok
//   Get       text key, u64 milliseconds          -> Ok text value | None, once the time is over
//   TryGet    text key                            -> Ok text value | None
//   Add       text key, u64 amount (as int64)     -> Ok u64 sum | NoNumber
//   Remove    text key                            -> Ok | None
//
// The first frame of a connection is Hello. A client sends its next frame after the answer to the
// last one. Whoever breaks a rule is disconnected.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "distributed/store/value.h"

namespace plinth::distributed::wire {

inline constexpr std::string_view kMagic = "plinth store 1";
inline constexpr size_t kMaxRun = 128;
inline constexpr size_t kMaxToken = 256;
inline constexpr size_t kPrefix = 4;  // the length itself
// The longest that a frame may be, by what its length says: before the token is proved, and after.
inline constexpr size_t kMaxHello = 1 + 3 * 4 + kMagic.size() + kMaxRun + kMaxToken;
inline constexpr size_t kMaxFrame = 1 + 2 * 4 + kMaxKey + kMaxValue;

enum class Request : uint8_t { Hello = 1, Set, Get, TryGet, Add, Remove };
enum class Answer : uint8_t { Ok = 64, None, NoNumber, OtherRun, WrongToken };

// Builds a frame, as bytes to send.
class FrameWriter {
 public:
  explicit FrameWriter(Request kind) : FrameWriter(static_cast<uint8_t>(kind)) {}
  explicit FrameWriter(Answer kind) : FrameWriter(static_cast<uint8_t>(kind)) {}
  FrameWriter& number(uint64_t value);
  FrameWriter& text(std::string_view value);
  std::string finish();

 private:
  explicit FrameWriter(uint8_t kind);

  std::string bytes_;
};

// Reads a frame's body. What is not there reads as empty, and complete() is then false.
class FrameReader {
 public:
  explicit FrameReader(std::string_view body) : rest_(body) { kind_ = take_byte(); }
  Request request() const { return static_cast<Request>(kind_); }
  Answer answer() const { return static_cast<Answer>(kind_); }
  uint64_t number();
  std::string_view text();
  // All fields were there, and nothing is left.
  bool complete() const { return ok_ && rest_.empty(); }

 private:
  uint8_t take_byte();
  uint64_t take(size_t bytes);

  std::string_view rest_;
  uint8_t kind_ = 0;
  bool ok_ = true;
};

// The length that the first bytes announce; nothing if they are not all there.
std::optional<size_t> announced_length(std::string_view bytes);

// In time that depends on the lengths alone.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace plinth::distributed::wire
