#include "train/checkpoint/writer.h"

#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/io/safetensors.h"
#include "models/tensor_files.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/run_directory.h"

namespace plinth {

namespace fs = std::filesystem;

void write_checkpoint(const fs::path& run, const CheckpointContents& contents) {
  const fs::path target = run / checkpoint_name(contents.step);
  if (fs::exists(target)) remove_directory_atomically(target);
  AtomicDirectory directory(target);
  for (const auto& [name, tensors] : contents.tensors)
    write_safetensors(directory.path() / name, entries_of(tensors), {{"format", "pt"}});
  for (const auto& [name, text] : contents.texts)
    write_file_atomically(directory.path() / name, text);
  write_manifest(directory.path());
  directory.commit();
}

CheckpointWriter::CheckpointWriter(fs::path run, int64_t keep_last, std::set<int64_t> damaged)
    : run_(std::move(run)),
      keep_last_(keep_last),
      damaged_(std::move(damaged)),
      thread_([this] { this->run(); }) {}

CheckpointWriter::~CheckpointWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CheckpointWriter::submit(CheckpointContents contents, std::optional<int64_t> best_step) {
  wait();
  {
    const std::lock_guard lock(mutex_);
    job_.emplace(std::move(contents), best_step);
  }
  changed_.notify_all();
}

void CheckpointWriter::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !job_; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void CheckpointWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return job_ || stopping_; });
    if (!job_) return;
    lock.unlock();
    std::exception_ptr error;
    try {
      write_checkpoint(run_, job_->first);
      damaged_.erase(job_->first.step);
      prune_checkpoints(run_, keep_last_, job_->second, damaged_);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = error;
    job_.reset();
    changed_.notify_all();
  }
}

}  // namespace plinth
