#include "train/finetune/example_batches.h"

#include <algorithm>
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

// Names and sizes of a folder's files, at any depth.
std::vector<std::string> listing_of(const std::filesystem::path& folder) {
  std::vector<std::string> lines;
  try {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file())
        lines.push_back(detail::concat(entry.path().lexically_relative(folder).string(), " ",
                                       entry.file_size()));
    }
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorKind::Io, folder.string(),
                detail::concat("cannot be listed: ", error.code().message()));
  }
  std::ranges::sort(lines);
  return lines;
}

}  // namespace

ExampleBatches::ExampleBatches(const TaskData& data, const Options& options)
    : data_(data), options_(options) {
  check(data.size() > 0, ErrorKind::Argument, "ExampleBatches", "got no examples");
}

SampleKey ExampleBatches::key_of(int64_t sample) const {
  const int64_t epoch = sample / data_.size();
  const Permutation order(data_.size(), options_.seed, static_cast<uint64_t>(epoch));
  return {options_.seed, epoch, order(sample % data_.size())};
}

Batch ExampleBatches::next(int64_t count) {
  std::vector<SampleKey> keys;
  for (int64_t i = 0; i < count; ++i) keys.push_back(key_of(sample_++));
  return data_.training_batch(keys, options_.width);
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
  const auto add = [&](std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
    hash = (hash ^ bytes.size()) * 0x100000001B3u;
  };
  for (const std::filesystem::path& file : files) {
    if (std::filesystem::is_directory(file)) {
      for (const std::string& line : listing_of(file)) add(std::as_bytes(std::span(line)));
    } else {
      add(MappedFile(file).bytes());
    }
  }
  return hash;
}

}  // namespace plinth
