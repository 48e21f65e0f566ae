// The header of llm.c's checkpoint, and the tensors that it says there are.

#include "models/formats/llmc_file.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(llmc_model) {
  using namespace plinth;
  const LlmcFile file = LlmcFile::parse(bytes_of(input), "input");
  uint64_t end = 0;
  for (const TensorRecord& record : file.records()) {
    fuzz::require(record.begin >= end && record.begin < record.end, "tensors are not in order");
    fuzz::touch(file.data(record));
    end = record.end;
  }
  fuzz::must_read([&] { return LlmcHeader::of(file.header().config(), file.header().dtype); });
}
