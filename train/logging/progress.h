#pragma once

// How far a run is: a bar that stays in place on a terminal, plain lines anywhere else.

#include <unistd.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace plinth {

// What is known after a step; what is NaN or 0 is not shown.
struct ProgressStatus {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

  int64_t step = 0;
  int64_t total = 0;
  double loss = kUnknown;
  double validation_loss = kUnknown;
  double learning_rate = kUnknown;
  double rate = kUnknown;  // of work a second, in rate_unit
  std::string rate_unit = "tok/s";
  uint64_t memory_bytes = 0;
  double exposed_communication = kUnknown;  // seconds of the step
  double seconds_left = kUnknown;           // Progress fills it in from the steps it saw
};

struct ProgressStyle {
  bool unicode = true;
  bool colour = true;
};

// "step 420/1000  loss 3.2140  lr 6.0e-04  18.4k tok/s  3 min 12 s left  1.20 GiB".
std::string plain_progress(const ProgressStatus& status);

// One line of at most `width` columns, with a bar in whatever room is left; the parts that matter
// least go first when there is too little.
std::string progress_bar(const ProgressStatus& status, int width, ProgressStyle style);

class Progress {
 public:
  struct Options {
    int fd = STDOUT_FILENO;
    std::optional<bool> terminal;        // else asked of the descriptor and of TERM
    std::optional<int> width;            // else asked of the terminal at each redraw
    std::optional<ProgressStyle> style;  // else by the locale and NO_COLOR
    std::function<double()> now;         // seconds; else the steady clock
    double redraw_seconds = 0.1;
    double line_seconds = 10;  // between plain lines
  };

  explicit Progress(Options options);
  Progress() : Progress(Options()) {}
  // Takes an unfinished bar off the screen.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Call after each step: draws when it is time to, and always at the last step.
  void update(ProgressStatus status);
  // Prints a line of its own, above the bar.
  void message(std::string_view line);
  // Leaves the last status on the screen. Nothing may follow but messages.
  void finish();

 private:
  void draw();
  void emit(std::string_view text) const;
  int width() const;

  Options options_;
  ProgressStyle style_;
  bool terminal_ = false;
  bool finished_ = false;
  double first_time_ = 0;
  double last_drawn_ = -std::numeric_limits<double>::infinity();
  std::optional<int64_t> first_step_;
  ProgressStatus status_;
  std::string on_screen_;
};

}  // namespace plinth
