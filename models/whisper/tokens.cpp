#include "models/whisper/tokens.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"

namespace plinth {
namespace {

constexpr std::string_view kFile = "generation_config.json";

// As Whisper's tokenizers have them.
constexpr std::array<std::string_view, 100> kLanguages = {
    "en", "zh", "de", "es",  "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv",
    "it", "id", "hi", "fi",  "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no",
    "th", "ur", "hr", "bg",  "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr",
    "az", "sl", "kn", "et",  "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw",
    "gl", "mr", "pa", "si",  "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu",
    "am", "yi", "lo", "uz",  "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl",
    "mg", "as", "tt", "haw", "ln", "ha", "ba", "jw", "su", "yue"};

class Reader {
 public:
  Reader(std::string subject, nlohmann::json json, int64_t vocabulary)
      : subject_(std::move(subject)), json_(std::move(json)), vocabulary_(vocabulary) {
    check(json_.is_object(), ErrorKind::Format, subject_, "is no JSON object");
  }

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  std::optional<int64_t> number(const char* key, int64_t most) const {
    if (!has(key)) return std::nullopt;
    return whole(json_[key], key, most);
  }
  std::optional<int64_t> token(const char* key) const { return number(key, vocabulary_ - 1); }
  std::vector<int64_t> token_or_tokens(const char* key) const {
    if (!has(key) || json_[key].is_array()) return tokens(key);
    return {whole(json_[key], key, vocabulary_ - 1)};
  }
  std::vector<int64_t> tokens(const char* key) const {
    std::vector<int64_t> tokens;
    if (!has(key)) return tokens;
    check(json_[key].is_array(), ErrorKind::Format, subject_, key, " takes a list of tokens");
    for (const nlohmann::json& each : json_[key])
      tokens.push_back(whole(each, key, vocabulary_ - 1));
    return tokens;
  }
  // The names without what `mark` puts around them.
  std::map<std::string, int64_t> named_tokens(const char* key) const {
    std::map<std::string, int64_t> tokens;
    if (!has(key)) return tokens;
    check(json_[key].is_object(), ErrorKind::Format, subject_, key, " takes an object of tokens");
    for (const auto& [name, token] : json_[key].items()) {
      const bool is_marked = name.starts_with("<|") && name.ends_with("|>") && name.size() > 4;
      tokens[is_marked ? name.substr(2, name.size() - 4) : name] =
          whole(token, key, vocabulary_ - 1);
    }
    return tokens;
  }

 private:
  int64_t whole(const nlohmann::json& value, const char* key, int64_t most) const {
    const bool fits = value.is_number_integer() && value >= 0 && value <= most;
    check(fits, ErrorKind::Format, subject_, key, " has ", value.dump(),
          ", takes a number from 0 to ", most);
    return value.get<int64_t>();
  }

  std::string subject_;
  nlohmann::json json_;
  int64_t vocabulary_;
};

Reader reader_of(const std::filesystem::path& path, const WhisperConfig& config) {
  return {path.string(), read_json(path), config.vocab_size};
}

void read_generation_config(const Reader& reader, WhisperTokens& tokens) {
  const std::vector<int64_t> ends = reader.token_or_tokens("eos_token_id");
  if (!ends.empty()) tokens.ends = ends;
  tokens.start = reader.token("decoder_start_token_id").value_or(tokens.start);
  tokens.languages = reader.named_tokens("lang_to_id");
  const std::map<std::string, int64_t> tasks = reader.named_tokens("task_to_id");
  if (const auto found = tasks.find("transcribe"); found != tasks.end())
    tokens.transcribe = found->second;
  if (const auto found = tasks.find("translate"); found != tasks.end())
    tokens.translate = found->second;
  tokens.no_timestamps = reader.token("no_timestamps_token_id");
  tokens.most_initial = reader.number("max_initial_timestamp_index", INT32_MAX);
}

}  // namespace

WhisperTokens read_whisper_tokens(
    const std::filesystem::path& directory, const WhisperConfig& config,
    const std::function<std::optional<int64_t>(std::string_view)>& find) {
  WhisperTokens tokens{.start = config.start_token, .ends = config.eos_tokens};
  if (tokens.ends.empty()) tokens.ends = {config.pad_token};
  const bool has_file = exists(directory / kFile);
  const Reader reader =
      reader_of(directory / (has_file ? kFile : std::string_view("config.json")), config);
  tokens.never = reader.tokens("suppress_tokens");
  tokens.not_at_first = reader.tokens("begin_suppress_tokens");
  if (has_file) {
    read_generation_config(reader, tokens);
    return tokens;
  }
  tokens.transcribe = find("<|transcribe|>");
  tokens.translate = find("<|translate|>");
  tokens.no_timestamps = find("<|notimestamps|>");
  for (const std::string_view language : kLanguages) {
    if (const auto token = find(detail::concat("<|", language, "|>")))
      tokens.languages[std::string(language)] = *token;
  }
  return tokens;
}

std::vector<int64_t> transcript_prompt(const WhisperTokens& tokens, std::optional<int64_t> language,
                                       bool translate, bool timestamps) {
  std::vector<int64_t> prompt = {tokens.start};
  if (language) {
    prompt.push_back(*language);
    const std::optional<int64_t> task = translate ? tokens.translate : tokens.transcribe;
    if (task) prompt.push_back(*task);
  }
  if (!timestamps && tokens.no_timestamps) prompt.push_back(*tokens.no_timestamps);
  return prompt;
}

}  // namespace plinth
