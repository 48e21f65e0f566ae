// What a checkpoint says of itself: m, manifest.json of a folder with two files; else state.json.

#include "tests/fuzz/target.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/train_state.h"

namespace {

using namespace plinth;

void read_manifest(std::string_view text) {
  static const fuzz::Folder folder;
  folder.write("model.safetensors", "weights");
  folder.write("state.json", "{}");
  folder.write("manifest.json", text);
  try {
    manifest_fault(folder.path());
  } catch (const std::exception& error) {
    fuzz::require(false, error.what());  // it answers rather than throws
  }
}

void read_state(std::string_view text) {
  const std::string written = TrainState::parse(text, "state.json").to_json();
  const TrainState again = fuzz::must_read([&] { return TrainState::parse(written, "written"); });
  fuzz::require(again.to_json() == written, "reads another state than it wrote");
}

}  // namespace

PLINTH_FUZZ_TARGET(checkpoint) {
  const auto [kind, text] = fuzz::take_kind(input);
  kind == 'm' ? read_manifest(text) : read_state(text);
}
