#include "train/checkpoint/sharded.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "core/error.h"
#include "core/io/json.h"
#include "models/tensor_files.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

// The parameter in "exp_avg.NAME", "average.NAME" or "NAME", which is the longest that fits.
std::string parameter_in(std::string_view name, const ShardedIndex& index) {
  for (size_t at = 0; at != std::string_view::npos; at = name.find('.', at + 1)) {
    std::string rest(name.substr(at == 0 ? 0 : at + 1));
    if (index.shapes.contains(rest)) return rest;
  }
  return "";
}

std::string numbered(int64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

}  // namespace

std::string shard_file_name(int64_t number, int64_t files) {
  return detail::concat("shard-", numbered(number), "-of-", numbered(files), ".safetensors");
}

// ---- shards.json ----

std::string ShardedIndex::to_json() const {
  nlohmann::json json = {{"version", 1},
                         {"files", files},
                         {"optimizer_steps", optimizer_steps},
                         {"ema_updates", nullptr},
                         {"parameters", shapes}};
  if (ema_updates) json["ema_updates"] = *ema_updates;
  return json.dump(1) + "\n";
}

ShardedIndex ShardedIndex::read(const fs::path& path) {
  const nlohmann::json json = read_json(path);
  ShardedIndex index;
  try {
    check(json.at("version") == 1, ErrorKind::Format, path.string(), "is of another version");
    json.at("files").get_to(index.files);
    json.at("optimizer_steps").get_to(index.optimizer_steps);
    if (!json.at("ema_updates").is_null()) index.ema_updates = json["ema_updates"].get<int64_t>();
    json.at("parameters").get_to(index.shapes);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::Format, path.string(), error.what());
  }
  constexpr int64_t kMostFiles = 1 << 20;
  check(index.files > 0 && index.files <= kMostFiles && index.optimizer_steps >= 0,
        ErrorKind::Format, path.string(), "has ", index.files, " files and ", index.optimizer_steps,
        " steps, takes 1 to ", kMostFiles, " and at least 0");
  for (const auto& [name, shape] : index.shapes)
    tensor_bytes(DType::Float64, shape, ErrorKind::Format, path.string(), name);
  return index;
}

// ---- the slices ----

bool ShardedCheckpoint::is_in(const fs::path& directory) {
  return fs::exists(directory / kIndex);
}

ShardedCheckpoint::ShardedCheckpoint(const fs::path& directory)
    : subject_(directory.string()), index_(ShardedIndex::read(directory / kIndex)) {
  for (int64_t i = 0; i < index_.files; ++i) add_file(directory / shard_file_name(i, index_.files));
  for (auto& [name, slices] : slices_) std::ranges::sort(slices, {}, &Slice::begin);
}

void ShardedCheckpoint::add_file(const fs::path& path) {
  files_.push_back(SafetensorsFile::open(path));
  for (const TensorRecord& record : files_.back().records()) {
    const size_t at = record.name.rfind('@');
    int64_t begin = -1;
    if (at != std::string::npos) {
      const char* last = record.name.data() + record.name.size();
      const auto parsed = std::from_chars(record.name.data() + at + 1, last, begin);
      if (parsed.ec != std::errc() || parsed.ptr != last) begin = -1;
    }
    const bool is_slice = begin >= 0 && record.shape.size() == 1 &&
                          begin <= std::numeric_limits<int64_t>::max() - record.shape[0];
    check(is_slice, ErrorKind::Format, path.string(), "holds ", record.name,
          ", which is no slice NAME@BEGIN of one dimension");
    slices_[record.name.substr(0, at)].push_back(
        {begin, record.shape[0], files_.size() - 1, record.name});
  }
}

Tensor ShardedCheckpoint::read(const std::string& name, int64_t begin, int64_t size) const {
  const auto found = slices_.find(name);
  if (found == slices_.end()) return {};
  const NoGradGuard no_grad;
  Tensor result;
  int64_t done = begin;
  for (const Slice& slice : found->second) {
    if (slice.begin + slice.size <= done) continue;
    if (slice.begin > done || done >= begin + size) break;
    const SafetensorsFile& file = files_[slice.file];
    const Tensor values = tensor_of(file.record(slice.record), file.data(slice.record));
    if (!result.defined()) result = Tensor::empty({size}, values.options());
    const int64_t count = std::min(slice.begin + slice.size, begin + size) - done;
    result.narrow(0, done - begin, count).copy_(values.narrow(0, done - slice.begin, count));
    done += count;
  }
  check(done == begin + size && result.defined(), ErrorKind::Format, subject_,
        "no file holds element ", done, " of ", name);
  return result;
}

nn::StateDict ShardedCheckpoint::whole(std::string_view kind) const {
  const std::string prefix = std::string(kind) + ".";
  nn::StateDict result;
  for (const auto& [name, slices] : slices_) {
    if (!name.starts_with(prefix)) continue;
    const std::string own = name.substr(prefix.size());
    const std::string parameter = parameter_in(own, index_);
    check(!parameter.empty(), ErrorKind::Format, subject_, "holds ", name,
          ", of which shards.json names no parameter");
    const Shape shape{std::span<const int64_t>(index_.shapes.at(parameter))};
    result.push_back({own, read(name, 0, shape.numel()).reshape(shape)});
  }
  return result;
}

}  // namespace plinth
