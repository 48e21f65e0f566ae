#include "core/cuda/algorithm_file.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/io/text.h"

namespace plinth::cuda {
namespace {

constexpr std::string_view kMagic = "plinth cublaslt 1 ";
constexpr uint64_t kMaxBytes = uint64_t{16} << 20;

// Cuts off the text up to the first `mark`, or all of it.
std::string_view take(std::string_view& text, char mark) {
  const size_t end = std::min(text.find(mark), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool parse_word(std::string_view text, uint64_t& word) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), word, 16);
  return error == std::errc() && end == text.data() + text.size();
}

// "<problem> <eight words>".
std::optional<std::pair<std::string, AlgorithmFile::Algorithm>> parse_line(std::string_view line) {
  std::pair<std::string, AlgorithmFile::Algorithm> entry;
  entry.first = take(line, ' ');
  for (uint64_t& word : entry.second.words)
    if (!parse_word(take(line, ' '), word)) return {};
  if (entry.first.empty() || !line.empty()) return {};
  return entry;
}

}  // namespace

AlgorithmFile::AlgorithmFile(std::filesystem::path path, std::string device, size_t version)
    : path_(std::move(path)),
      device_(std::move(device)),
      version_(version),
      algorithms_(read(true)) {}

std::optional<AlgorithmFile::Algorithm> AlgorithmFile::find(std::string_view problem) const {
  const auto found = algorithms_.find(problem);
  return found == algorithms_.end() ? std::optional<Algorithm>() : found->second;
}

void AlgorithmFile::keep(std::string_view problem, const Algorithm& algorithm) {
  algorithms_.insert_or_assign(std::string(problem), algorithm);
  if (path_.empty() || told_) return;
  try {
    Algorithms all = read(false);
    all.insert(algorithms_.begin(), algorithms_.end());
    write(all);
  } catch (const Error& error) {
    std::fprintf(stderr, "plinth: the choice of matrix products is not kept: %s\n", error.what());
    told_ = true;
  }
}

AlgorithmFile::Algorithms AlgorithmFile::read(bool tells) const {
  std::error_code ignored;
  if (path_.empty() || !std::filesystem::exists(path_, ignored)) return {};
  Algorithms result;
  try {
    const std::string content = read_text_file(path_, kMaxBytes);
    std::string_view text = content;
    const std::string_view first = take(text, '\n');
    check(first.starts_with(kMagic), ErrorKind::Format, path_.string(), "begins with ",
          printable(first), ", expected \"", kMagic, "...\"");
    if (first != header()) return {};
    while (!text.empty()) {
      const std::string_view line = take(text, '\n');
      auto entry = parse_line(line);
      check(entry.has_value(), ErrorKind::Format, path_.string(), "has the line ", printable(line));
      result.insert(*std::move(entry));
    }
  } catch (const Error& error) {
    if (tells) {
      std::fprintf(stderr, "plinth: ignored, since it is no cache of algorithms: %s\n",
                   error.what());
    }
    return {};
  }
  return result;
}

void AlgorithmFile::write(const Algorithms& algorithms) const {
  std::string text = header() + "\n";
  for (const auto& [problem, algorithm] : algorithms) {
    text += problem;
    char word[20];
    for (const uint64_t value : algorithm.words) {
      std::snprintf(word, sizeof word, " %llx", static_cast<unsigned long long>(value));
      text += word;
    }
    text += '\n';
  }
  make_directories(path_.parent_path());
  write_file_atomically(path_, text);
}

std::string AlgorithmFile::header() const {
  return detail::concat(kMagic, version_, " ", device_);
}

std::filesystem::path algorithm_path(std::string_view device) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value ? value : "");
  };
  std::filesystem::path cache = variable("XDG_CACHE_HOME");
  if (cache.empty() && !variable("HOME").empty()) cache = variable("HOME") / ".cache";
  if (cache.empty()) return {};
  std::string name = "cublaslt-";
  for (const char c : device)
    name += std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(c)) : '-';
  return cache / "plinth" / (name + ".txt");
}

}  // namespace plinth::cuda
