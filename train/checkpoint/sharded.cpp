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

// Of a record "NAME@BEGIN", or, of two dimensions, "NAME@BEGIN+STRIDE"; the stride else is 0.
struct SliceName {
  std::string name;
  int64_t begin, stride;
};

std::optional<int64_t> number_in(std::string_view text) {
  int64_t value = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < 0) return {};
  return value;
}

// None where a record is no slice, or its elements are more than numbers can count.
std::optional<SliceName> slice_name(const TensorRecord& record) {
  const size_t mark = record.name.rfind('@');
  if (mark == std::string::npos) return {};
  const std::string_view place = std::string_view(record.name).substr(mark + 1);
  const size_t plus = place.find('+');
  const bool has_rows = plus != std::string_view::npos;
  const auto begin = number_in(place.substr(0, plus));
  const auto stride = has_rows ? number_in(place.substr(plus + 1)) : 0;
  if (!begin || !stride || record.shape.size() != (has_rows ? 2 : 1)) return {};
  const int64_t count = record.shape.back();
  // Rows that overlap, or are of no elements, are none.
  if (has_rows && (count == 0 || *stride < count)) return {};
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const int64_t rows = has_rows ? record.shape[0] : 0;
  if (has_rows && rows > (kMost - *begin) / *stride) return {};
  if (*begin > kMost - count) return {};
  return SliceName{record.name.substr(0, mark), *begin, *stride};
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
  const auto& records = files_.back().records();
  for (size_t i = 0; i < records.size(); ++i) {
    const std::optional<SliceName> place = slice_name(records[i]);
    check(place.has_value(), ErrorKind::Format, path.string(), "holds ", records[i].name,
          ", which is no slice NAME@BEGIN of one dimension or NAME@BEGIN+STRIDE of two");
    const int64_t count = records[i].shape.back(), rows = place->stride ? records[i].shape[0] : 1;
    for (int64_t row = 0; row < rows; ++row)
      slices_[place->name].push_back(
          {place->begin + row * place->stride, count, files_.size() - 1, i, row * count});
  }
}

Tensor ShardedCheckpoint::read(const std::string& name, int64_t begin, int64_t size) const {
  const auto found = slices_.find(name);
  if (found == slices_.end()) return {};
  const NoGradGuard no_grad;
  Tensor result;
  int64_t done = begin;
  const std::vector<Slice>& slices = found->second;
  auto slice = std::ranges::upper_bound(slices, begin, {}, &Slice::begin);
  if (slice != slices.begin()) --slice;
  for (; slice != slices.end() && slice->begin <= done && done < begin + size; ++slice) {
    if (slice->begin + slice->size <= done) continue;
    const SafetensorsFile& file = files_[slice->file];
    const TensorRecord& record = file.records()[slice->record];
    const Tensor values = tensor_of(record, file.data(record.name)).reshape({-1});
    if (!result.defined()) result = Tensor::empty({size}, values.options());
    const int64_t count = std::min(slice->begin + slice->size, begin + size) - done;
    result.narrow(0, done - begin, count)
        .copy_(values.narrow(0, slice->offset + done - slice->begin, count));
    done += count;
  }
  check(done == begin + size && result.defined(), ErrorKind::Format, subject_,
        "no file holds element ", done, " of ", name);
  return result;
}

void ShardedCheckpoint::check_parameters(const nn::StateDict& parameters) const {
  for (const auto& [name, tensor] : parameters) {
    const auto found = index_.shapes.find(name);
    check(found != index_.shapes.end() && slices_.contains("parameter." + name), ErrorKind::Shape,
          subject_, "has no parameter ", name);
    const Shape shape{std::span<const int64_t>(found->second)};
    check(shape == tensor.shape(), ErrorKind::Shape, subject_, name, " has shape ", shape,
          ", expected ", tensor.shape());
  }
  for (const auto& [name, shape] : index_.shapes)
    check(nn::find(parameters, name).defined(), ErrorKind::Shape, subject_, "has a parameter ",
          name, ", which the model does not");
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
