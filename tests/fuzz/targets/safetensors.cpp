// One file of tensors.

#include "core/io/safetensors.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(safetensors) {
  using namespace plinth;
  const SafetensorsFile file = SafetensorsFile::parse(bytes_of(input), "input");
  for (const TensorRecord& record : file.records()) {
    const auto bytes = file.data(record.name);
    fuzz::require(bytes.size() == record.end - record.begin, "another number of bytes");
    fuzz::touch(bytes);
  }
}
