// Sound files.

#include "data/audio/audio_file.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(audio) {
  using namespace plinth;
  static const fuzz::Folder folder;
  const std::vector<float> sound = read_audio(folder.write("sound", input), 16000);
  fuzz::require(!sound.empty(), "gives no samples");
  fuzz::touch(std::as_bytes(std::span(sound)));
}
