#pragma once

// Only the trainer's own files include this.

#include "core/io/directory.h"
#include "train/trainer.h"

namespace plinth {

// What lives while run() does.
struct Trainer::Outputs {
  std::unique_ptr<DirectoryLock> lock;
  std::unique_ptr<RunRecorder> recorder;
  std::unique_ptr<CheckpointWriter> writer;
  std::unique_ptr<ShardedWriter> sharded_writer;  // of each rank, in its place

  // Waits for the checkpoint under way; the directory is given up last.
  ~Outputs() {
    writer.reset();
    sharded_writer.reset();
    recorder.reset();
    lock.reset();
  }
};

}  // namespace plinth
