#include "train/finetune/example_batches.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "data/json_fields.h"
#include "data/loader/permutation.h"

namespace plinth {
namespace {

constexpr std::string_view kName = "place in the examples";

uint64_t number(const nlohmann::json& json, std::string_view key) {
  const nlohmann::json& value = json_fields::at(json, key, kName);
  check(value.is_number_unsigned(), ErrorKind::Format, kName, key, " must be a whole number, got ",
        value.dump());
  return value.get<uint64_t>();
}

}  // namespace

ExampleBatches::ExampleBatches(const TaskData& data, const Options& options)
    : data_(data), options_(options) {
  check(data.size() > 0, ErrorKind::Argument, "ExampleBatches", "got no examples");
}

int64_t ExampleBatches::place_of(int64_t sample) const {
  const auto epoch = static_cast<uint64_t>(sample / data_.size());
  return Permutation(data_.size(), options_.seed, epoch)(sample % data_.size());
}

Batch ExampleBatches::next(int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(place_of(sample_++));
  return data_.batch(samples, options_.width);
}

std::string ExampleBatches::state() const {
  return nlohmann::json{{"sample", static_cast<uint64_t>(sample_)},
                        {"size", static_cast<uint64_t>(data_.size())},
                        {"seed", options_.seed},
                        {"fingerprint", options_.fingerprint}}
      .dump();
}

void ExampleBatches::restore(std::string_view state) {
  const nlohmann::json json = parse_json(state, kName);
  const uint64_t sample = number(json, "sample");
  check(sample <= INT64_MAX / 2, ErrorKind::Format, kName, "sample is ", sample);
  check(number(json, "size") == static_cast<uint64_t>(data_.size()) &&
            number(json, "fingerprint") == options_.fingerprint,
        ErrorKind::Config, kName, "the run was of ", number(json, "size"),
        " samples of other training data than now, ", data_.size());
  check(number(json, "seed") == options_.seed, ErrorKind::Config, kName, "the run had seed ",
        number(json, "seed"), ", now ", options_.seed);
  sample_ = static_cast<int64_t>(sample);
}

uint64_t fingerprint_of(const std::vector<std::filesystem::path>& files) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const std::filesystem::path& file : files) {
    const MappedFile mapped(file);
    for (const std::byte byte : mapped.bytes())
      hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
    hash = (hash ^ mapped.bytes().size()) * 0x100000001B3u;
  }
  return hash;
}

}  // namespace plinth
