#include "data/shards/token_dataset.h"

#include <glob.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <set>

#include "core/error.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

bool meets_closed_folder(const std::string& pattern) {
  glob_t found{};
  const auto ends = [](const char*, int reason) {
    return reason == ENOENT || reason == ENOTDIR ? 0 : 1;
  };
  const int status = ::glob(pattern.c_str(), 0, ends, &found);
  ::globfree(&found);
  return status == GLOB_ABORTED;
}

// The matches of a pattern, sorted by name.
std::vector<std::string> glob_files(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::string> files(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  check(status == 0, ErrorKind::Io, pattern, "no file matches",
        meets_closed_folder(pattern) ? ", and a folder where some may lie cannot be read" : "");
  return files;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".bin" && entry.is_regular_file())
      files.push_back(entry.path().string());
  }
  check(!files.empty(), ErrorKind::Io, folder, "no *.bin file in this folder");
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> files_of(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return files_in(path);
  if (!fs::exists(path, error) && path.find_first_of("*?[") != std::string::npos)
    return glob_files(path);
  return {path};
}

// Megatron's NAME.bin and NAME.idx, which "folder/*" both matches, are one shard.
void leave_out_indices(std::vector<std::string>& files) {
  std::set<fs::path> all;
  for (const std::string& file : files) all.insert(fs::path(file).lexically_normal());
  std::erase_if(files, [&](const fs::path& file) {
    return file.extension() == ".idx" &&
           all.contains(file.lexically_normal().replace_extension(".bin"));
  });
}

}  // namespace

TokenDataset TokenDataset::open(std::span<const std::string> paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths)
    std::ranges::copy(files_of(path), std::back_inserter(files));
  leave_out_indices(files);
  std::vector<TokenShard> shards;
  shards.reserve(files.size());
  for (const std::string& file : files) shards.push_back(TokenShard::open(file));
  return TokenDataset(std::move(shards));
}

TokenDataset::TokenDataset(std::vector<TokenShard> shards) : shards_(std::move(shards)) {
  check(!shards_.empty(), ErrorKind::Argument, "data set", "no files were given");
  starts_.push_back(0);
  for (const TokenShard& shard : shards_) starts_.push_back(starts_.back() + shard.size());
}

template <class Id>
void TokenDataset::copy_range(int64_t begin, int64_t end, Id* out) const {
  check(begin >= 0 && begin <= end && end <= size(), ErrorKind::Argument, "data set",
        "asked for tokens ", begin, " to ", end, " of ", size());
  auto shard = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), begin) -
                                   starts_.begin()) -
               1;
  while (begin < end) {
    const int64_t stop = std::min(end, starts_[shard + 1]);
    shards_[shard].copy(begin - starts_[shard], stop - starts_[shard], out);
    out += stop - begin;
    begin = stop;
    ++shard;
  }
}

void TokenDataset::copy(int64_t begin, int64_t end, int32_t* out) const {
  copy_range(begin, end, out);
}
void TokenDataset::copy(int64_t begin, int64_t end, int64_t* out) const {
  copy_range(begin, end, out);
}

std::vector<int64_t> TokenDataset::document_starts(const DocumentRule& rule) const {
  check(!rule.eos || *rule.eos >= 0, ErrorKind::Argument, "data set",
        "the end-of-document token is ", rule.eos.value_or(0), ", expected 0 or more");
  std::vector<int64_t> documents;
  bool open = false;  // a document that only a token ends
  for (size_t s = 0; s < shards_.size(); ++s) {
    const bool indexed = shards_[s].format() == ShardFormat::Megatron;
    if (shards_[s].size() == 0) continue;
    if (indexed || !open) documents.push_back(starts_[s]);
    open = !indexed;
    if (indexed) {
      for (const int64_t start : shards_[s].document_starts())
        documents.push_back(starts_[s] + start);
    } else if (rule.eos) {
      const int64_t shift = starts_[s] + (rule.place == DocumentRule::Place::End ? 1 : 0);
      shards_[s].find(static_cast<uint32_t>(*rule.eos), shift, documents);
    }
  }
  documents.erase(std::unique(documents.begin(), documents.end()), documents.end());
  if (!documents.empty() && documents.back() == size()) documents.pop_back();
  return documents;
}

void TokenDataset::validate(int64_t vocab_size) const {
  for (const TokenShard& shard : shards_) shard.validate(vocab_size);
}

uint64_t TokenDataset::fingerprint() const {
  std::vector<uint64_t> parts;
  for (const TokenShard& shard : shards_) parts.push_back(shard.fingerprint());
  return XXH3_64bits(parts.data(), parts.size() * sizeof(uint64_t));
}

}  // namespace plinth
