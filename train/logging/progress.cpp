#include "train/logging/progress.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "train/logging/format.h"

namespace plinth {
namespace {

constexpr int kWidestBar = 40;
constexpr int kNarrowestBar = 8;
constexpr std::string_view kClearToEnd = "\x1b[K";
constexpr std::string_view kClearLine = "\r\x1b[K";

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_terminal(int fd) {
  return ::isatty(fd) == 1 && environment("TERM") != "dumb";
}

ProgressStyle style_of_environment() {
  std::string_view locale = environment("LC_ALL");
  if (locale.empty()) locale = environment("LC_CTYPE");
  if (locale.empty()) locale = environment("LANG");
  const bool utf8 = locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
  return {utf8, environment("NO_COLOR").empty()};
}

double steady_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::string count_of(const ProgressStatus& status) {
  const std::string step = std::to_string(status.step);
  return status.total > 0 ? step + "/" + std::to_string(status.total) : step;
}

// The numbers after the count, those that matter most first.
std::vector<std::string> parts_of(const ProgressStatus& status) {
  std::vector<std::string> parts;
  const auto known = [](double value) { return !std::isnan(value); };
  if (known(status.loss)) parts.push_back("loss " + format_value(status.loss));
  if (known(status.seconds_left)) parts.push_back(format_duration(status.seconds_left) + " left");
  if (known(status.rate)) parts.push_back(format_count(status.rate) + " " + status.rate_unit);
  if (known(status.validation_loss)) parts.push_back("val " + format_value(status.validation_loss));
  if (status.memory_bytes > 0) parts.push_back(format_bytes(status.memory_bytes));
  if (known(status.exposed_communication))
    parts.push_back(format_value(status.exposed_communication * 1000) + " ms exposed");
  if (known(status.learning_rate)) parts.push_back("lr " + format_value(status.learning_rate));
  return parts;
}

std::string repeat(std::string_view text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

std::string bar(double fraction, int width, ProgressStyle style) {
  const int done = std::clamp(static_cast<int>(std::lround(fraction * width)), 0, width);
  const std::string full = repeat(style.unicode ? "━" : "#", done);
  const std::string rest = repeat(style.unicode ? "─" : ".", width - done);
  if (!style.colour) return full + rest;
  return std::string("\x1b[36m").append(full).append("\x1b[0;2m").append(rest).append("\x1b[0m");
}

}  // namespace

std::string plain_progress(const ProgressStatus& status) {
  std::string line = "step " + count_of(status);
  for (const std::string& part : parts_of(status)) line += "  " + part;
  return line;
}

std::string progress_bar(const ProgressStatus& status, int width, ProgressStyle style) {
  std::string line = count_of(status);
  double fraction = 0;
  if (status.total > 0) {
    fraction =
        std::clamp(static_cast<double>(status.step) / static_cast<double>(status.total), 0.0, 1.0);
    const std::string percent = std::to_string(static_cast<int>(fraction * 100)) + "%";
    line = std::string(4 - percent.size(), ' ').append(percent).append("  ").append(line);
  }
  for (const std::string& part : parts_of(status)) {
    if (static_cast<int>(line.size() + 2 + part.size()) > width) break;
    line += "  " + part;
  }
  if (static_cast<int>(line.size()) > width) return line.substr(0, std::max(width, 0));
  const int room = std::min(width - static_cast<int>(line.size()) - 2, kWidestBar);
  if (status.total <= 0 || room < kNarrowestBar) return line;
  return line.substr(0, 4) + "  " + bar(fraction, room, style) + line.substr(4);
}

Progress::Progress(Options options) : options_(std::move(options)) {
  if (!options_.now) options_.now = steady_seconds;
  terminal_ = options_.terminal.value_or(is_terminal(options_.fd));
  style_ = options_.style.value_or(style_of_environment());
}

Progress::~Progress() {
  if (!on_screen_.empty()) emit(kClearLine);
}

void Progress::emit(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = ::write(options_.fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody to show it to: the run goes on
    text.remove_prefix(written);
  }
}

int Progress::width() const {
  if (options_.width) return *options_.width;
  winsize size = {};
  const bool known = ::ioctl(options_.fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  // Text in the last column would move some terminals to the next line.
  return (known ? size.ws_col : 80) - 1;
}

void Progress::update(ProgressStatus status) {
  const double now = options_.now();
  if (!first_step_) {
    first_step_ = status.step;
    first_time_ = now;
  } else if (std::isnan(status.seconds_left) && status.step > *first_step_ && status.total > 0) {
    const auto done = static_cast<double>(status.step - *first_step_);
    const auto left = static_cast<double>(std::max<int64_t>(status.total - status.step, 0));
    status.seconds_left = (now - first_time_) / done * left;
  }
  const bool last = status.total > 0 && status.step >= status.total;
  status_ = std::move(status);
  const double interval = terminal_ ? options_.redraw_seconds : options_.line_seconds;
  if (!last && now - last_drawn_ < interval) return;
  last_drawn_ = now;
  draw();
}

void Progress::draw() {
  if (!terminal_) return emit(plain_progress(status_) + "\n");
  const std::string line = progress_bar(status_, width(), style_);
  if (line == on_screen_) return;
  // In one write, over the old text rather than after erasing it, so that nothing flickers.
  std::string text = "\r";
  emit(text.append(line).append(kClearToEnd));
  on_screen_ = line;
}

void Progress::message(std::string_view line) {
  std::string text;
  if (!on_screen_.empty()) text = kClearLine;
  text.append(line).append("\n").append(on_screen_);
  emit(text);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (!terminal_ || !first_step_) return;
  draw();
  emit("\n");
  on_screen_.clear();
}

}  // namespace plinth
