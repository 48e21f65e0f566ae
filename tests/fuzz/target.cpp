#include "tests/fuzz/target.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace plinth::fuzz {

namespace fs = std::filesystem;

namespace {

std::vector<Target>& list() {
  static std::vector<Target> all;
  return all;
}

}  // namespace

const std::vector<Target>& targets() {
  return list();
}

bool add_target(Target target) {
  list().push_back(target);
  return true;
}

void run(const Target& target, std::string_view input) {
  try {
    target.read(input);
  } catch (const Error&) {
  }
}

void touch(std::span<const std::byte> bytes) {
  static volatile unsigned sum = 0;
  for (const std::byte byte : bytes) sum = sum + std::to_integer<unsigned>(byte);
}

std::pair<char, std::string_view> take_kind(std::string_view input) {
  if (input.empty()) return {'\0', input};
  return {input[0], input.substr(1)};
}

std::vector<std::string_view> parts_of(std::string_view input, size_t parts) {
  std::vector<std::string_view> found;
  while (found.size() + 1 < parts) {
    const size_t end = std::min(input.find('\0'), input.size());
    found.push_back(input.substr(0, end));
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  found.push_back(input);
  return found;
}

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "plinth-fuzz-XXXXXX").string();
  require(::mkdtemp(name.data()) != nullptr, "no folder for temporary files");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path Folder::write(const std::string& name, std::string_view content) const {
  std::ofstream file(path_ / name, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  require(file.good(), "cannot write a temporary file");
  return path_ / name;
}

}  // namespace plinth::fuzz
