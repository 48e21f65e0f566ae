#include "data/audio/feature_settings.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "data/images/preprocessing.h"

namespace plinth {

namespace {

// A number above 0; `usual` where there is none.
double number(const nlohmann::json& json, const char* key, double usual, const std::string& file) {
  if (!json.contains(key)) return usual;
  const nlohmann::json& value = json[key];
  check(value.is_number() && value.get<double>() > 0 && value.get<double>() < 1e6,
        ErrorKind::Format, file, key, " got ", value.dump(), ", takes a number above 0");
  return value.get<double>();
}

int64_t size(const nlohmann::json& json, const char* key, int64_t usual, const std::string& file) {
  const double value = number(json, key, static_cast<double>(usual), file);
  check(value == std::floor(value), ErrorKind::Format, file, key, " got ", value,
        ", takes a whole number");
  return static_cast<int64_t>(value);
}

}  // namespace

LogMelOptions read_feature_settings(const std::filesystem::path& directory, int64_t bins,
                                    int64_t frames) {
  LogMelOptions options{.bins = bins};
  options.seconds =
      static_cast<double>(frames * options.hop) / static_cast<double>(options.sample_rate);
  const std::filesystem::path path = directory / kPreprocessingFile;
  if (!std::filesystem::exists(path)) return options;
  const std::string file = path.string();
  const nlohmann::json json = parse_json(read_text_file(path), file);
  check(json.is_object(), ErrorKind::Format, file, "is no JSON object");
  options.bins = size(json, "feature_size", 80, file);
  options.sample_rate = size(json, "sampling_rate", 16000, file);
  options.hop = size(json, "hop_length", 160, file);
  options.window = size(json, "n_fft", 400, file);
  options.seconds = number(json, "chunk_length", 30, file);
  try {
    const int64_t made = LogMel(options).frames();
    check(options.bins == bins && made == frames, ErrorKind::Format, file, "makes features of ",
          options.bins, " bins and ", made, " frames, the model takes ", bins, " and ", frames);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::Argument) throw;
    throw Error(ErrorKind::Format, file, error.what());
  }
  return options;
}

std::string feature_settings_json(const LogMelOptions& options) {
  nlohmann::ordered_json json;
  json["feature_extractor_type"] = "WhisperFeatureExtractor";
  json["feature_size"] = options.bins;
  json["sampling_rate"] = options.sample_rate;
  json["hop_length"] = options.hop;
  json["n_fft"] = options.window;
  json["chunk_length"] = options.seconds;
  return json.dump(2) + "\n";
}

}  // namespace plinth
