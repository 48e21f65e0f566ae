#include "models/formats/llmc_model.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "models/gpt2/gpt2.h"
#include "models/tensor_files.h"
#include "models/weight_source.h"

namespace plinth {

namespace {

// llm.c has every matrix as [out, in], as parameters are.
std::vector<WeightSlice> llmc_slices(const Gpt2& model) {
  std::vector<WeightSlice> slices = model.weight_slices();
  for (WeightSlice& slice : slices) slice.transposed = false;
  return slices;
}

}  // namespace

void save_llmc(const LanguageModel& model, DType dtype, const std::filesystem::path& path) {
  const auto* gpt2 = dynamic_cast<const Gpt2*>(&model);
  check(gpt2 != nullptr, ErrorKind::Argument, "llm.c", "model_type got ", model.info().type,
        ", takes gpt2");
  const LlmcHeader header = LlmcHeader::of(gpt2->config(), dtype);
  const std::vector<WeightSlice> slices = llmc_slices(*gpt2);
  AtomicFile file(path);
  const std::vector<int32_t> numbers = header.numbers();
  file.write(std::as_bytes(std::span(numbers)));
  uint64_t written = 0;
  for (const TensorRecord& record : llmc_records(header)) {
    file.write(std::string(record.begin - written, '\0'));  // the rows that pad the embedding
    const auto slice = std::ranges::find(slices, record.name, &WeightSlice::file_name);
    const nn::StateDict exported = export_weights(model, {*slice}, dtype);
    file.write(entries_of(exported)[0].data);
    written = record.end;
  }
  file.commit();
}

std::unique_ptr<LanguageModel> load_llmc(const LlmcFile& file) {
  const nn::SkipInit skip;
  auto model = std::make_unique<Gpt2>(file.header().config());
  const WeightSource source(file.records(), [&file](const TensorRecord& record) {
    return tensor_of(record, file.data(record));
  });
  read_weights(model->state_dict(), llmc_slices(*model), source, file.subject());
  return model;
}

}  // namespace plinth
