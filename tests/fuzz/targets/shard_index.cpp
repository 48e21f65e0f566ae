// A checkpoint of several files: an index, and behind a byte of 0 one of the files it may name.

#include "core/io/checkpoint_files.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(shard_index) {
  using namespace plinth;
  static const fuzz::Folder folder;
  const auto parts = fuzz::parts_of(input, 2);
  folder.write("model.safetensors.index.json", parts[0]);
  folder.write("a.safetensors", parts[1]);
  const auto checkpoint = SafetensorsCheckpoint::open(folder.path());
  for (const TensorRecord& record : checkpoint.records()) {
    fuzz::require(checkpoint.find(record.name) != nullptr, "does not find a tensor that it lists");
    fuzz::touch(checkpoint.data(record.name));
  }
  checkpoint.metadata();
}
