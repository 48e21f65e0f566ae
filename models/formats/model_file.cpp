#include "models/formats/model_file.h"

#include <cstring>

#include "core/io/file.h"
#include "models/formats/llmc_file.h"

namespace plinth {

ModelFile model_file_of(const std::filesystem::path& path) {
  const MappedFile file(path);
  int32_t first = 0;
  if (file.bytes().size() < sizeof(first)) return ModelFile::None;
  std::memcpy(&first, file.bytes().data(), sizeof(first));
  if (text_of(file.bytes().first(sizeof(first))) == "GGUF") return ModelFile::Gguf;
  return first == kLlmcMagic ? ModelFile::Llmc : ModelFile::None;
}

}  // namespace plinth
