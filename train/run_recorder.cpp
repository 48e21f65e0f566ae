#include "train/run_recorder.h"

#include <cmath>

#include "core/allocator.h"
#include "core/io/directory.h"
#include "train/logging/format.h"
#include "train/logging/report/html_report.h"

namespace plinth {

namespace {

const std::vector<std::string> kColumns = {"loss",      "val_loss",     "lr",
                                           "grad_norm", "tokens_per_s", "memory_bytes",
                                           "skipped",   "mfu",          "exposed_communication_s"};

double per_second(double amount, double seconds) {
  return amount > 0 && seconds > 0 ? amount / seconds : StepReport::kUnknown;
}

}  // namespace

RunRecorder::RunRecorder(RecorderOptions options) : options_(std::move(options)) {
  if (!options_.quiet) progress_ = std::make_unique<Progress>();
  if (options_.directory.empty()) return;
  make_directories(options_.directory);
  metrics_ = std::make_unique<MetricsLog>(options_.directory, kColumns, options_.resumed_step);
  if (options_.tensorboard) {
    make_directories(options_.directory / "tensorboard");
    tensorboard_ = std::make_unique<TensorBoardWriter>(options_.directory / "tensorboard",
                                                       options_.resumed_step);
  }
}

MetricsRow RunRecorder::row_of(const StepReport& report) const {
  MetricsRow row{report.step, {}};
  const auto add = [&row](const char* name, double value) {
    if (std::isfinite(value)) row.values.emplace_back(name, value);
  };
  // A loss that is no number is the very thing that a reader looks for: it is written, as null.
  row.values.emplace_back("loss", report.loss);
  add("val_loss", report.validation_loss);
  add("lr", report.learning_rate);
  add("grad_norm", report.grad_norm);
  add("tokens_per_s", per_second(static_cast<double>(report.tokens), report.seconds));
  add("memory_bytes", static_cast<double>(allocator(Device{}).stats().peak_allocated));
  add("exposed_communication_s", report.exposed_communication);
  if (report.skipped > 0) add("skipped", static_cast<double>(report.skipped));
  if (options_.peak_flops > 0)
    add("mfu", per_second(report.flops, report.seconds) / options_.peak_flops);
  return row;
}

void RunRecorder::step(const StepReport& report) {
  if (!std::isnan(report.validation_loss)) last_validation_ = report.validation_loss;
  if (progress_) {
    ProgressStatus status;
    status.step = report.step;
    status.total = options_.steps;
    status.loss = report.loss;
    status.validation_loss = last_validation_;
    status.learning_rate = report.learning_rate;
    status.rate = per_second(static_cast<double>(report.tokens), report.seconds);
    status.rate_unit = options_.unit;
    status.exposed_communication = report.exposed_communication;
    status.memory_bytes = static_cast<uint64_t>(allocator(Device{}).stats().peak_allocated);
    progress_->update(status);
  }
  const bool is_due = report.step % options_.every == 0 || report.step == options_.steps ||
                      !std::isnan(report.validation_loss);
  if (!is_due || !metrics_) return;
  last_row_ = row_of(report);
  metrics_->append(last_row_);
  if (!tensorboard_) return;
  for (const auto& [name, value] : last_row_.values)
    tensorboard_->add_scalar("train/" + name, value, report.step);
}

void RunRecorder::sample(const TextSample& sample) {
  samples_.push_back(sample);
  if (tensorboard_)
    tensorboard_->add_text("sample", sample.prompt + sample.continuation, sample.step);
  message("--- after step " + std::to_string(sample.step) + ": " + sample.prompt +
          sample.continuation);
}

void RunRecorder::message(std::string_view line) {
  if (progress_) progress_->message(line);
}

void RunRecorder::write_report() const {
  if (!metrics_ || !options_.report) return;
  RunHistory history;
  history.title = options_.title;
  history.subtitle = options_.subtitle;
  history.config = options_.config;
  add_metrics(history, read_metrics(options_.directory / "metrics.jsonl"));
  history.samples = samples_;
  if (!history.loss.empty())
    history.summary.emplace_back("training loss", format_value(history.loss.back().y));
  if (!history.validation_loss.empty())
    history.summary.emplace_back("validation loss", format_value(history.validation_loss.back().y));
  if (!history.throughput.empty())
    history.summary.emplace_back(history.throughput_unit,
                                 format_count(history.throughput.back().y));
  history.summary.emplace_back(
      "memory", format_bytes(static_cast<uint64_t>(allocator(Device{}).stats().peak_allocated)));
  write_html_report(options_.directory / "report.html", history);
}

void RunRecorder::finish() {
  if (progress_) progress_->finish();
  write_report();
}

}  // namespace plinth
