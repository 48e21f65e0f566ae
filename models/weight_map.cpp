#include "models/weight_map.h"

#include <map>
#include <set>

#include "core/autograd.h"
#include "core/error.h"
#include "core/io/text.h"
#include "models/tensor_files.h"
#include "models/weight_source.h"

namespace plinth {

namespace {

using Parameters = std::map<std::string, Tensor, std::less<>>;

Parameters by_name(const nn::StateDict& values) {
  Parameters parameters;
  for (const auto& [name, tensor] : values) parameters.emplace(name, tensor);
  return parameters;
}

const Tensor& parameter_of(const Parameters& parameters, const WeightSlice& slice) {
  const auto found = parameters.find(slice.parameter);
  check(found != parameters.end(), ErrorKind::Argument, "weight_map", "the model has no parameter ",
        slice.parameter, " for ", slice.file_name);
  return found->second;
}

// The rows of the parameter, in the file's layout: a view.
Tensor view_of(const Tensor& parameter, const WeightSlice& slice) {
  Tensor view = parameter.detach();
  if (slice.rows >= 0) view = view.narrow(0, slice.first_row, slice.rows);
  if (slice.transposed) view = view.transpose(0, 1);
  for (int64_t i = 0; i < slice.leading_ones; ++i) view = view.unsqueeze(0);
  return view;
}

std::string without_first_part(const std::string& name) {
  const size_t dot = name.find('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

// The name with `end`, which it has, replaced, or "".
std::string with_end(const std::string& name, std::string_view end, std::string_view other) {
  if (!name.ends_with(end)) return "";
  return name.substr(0, name.size() - end.size()) + std::string(other);
}

// The name, and what else a file may call it: checkpoints that came from TensorFlow what belongs to
// a layer norm, transformers 5 the blocks of a masked autoencoder's decoder.
std::vector<std::string> names_of(const std::string& name) {
  constexpr std::string_view kBlocks = "decoder.decoder_layers.";
  std::vector<std::string> names = {name, with_end(name, "LayerNorm.weight", "LayerNorm.gamma"),
                                    with_end(name, "LayerNorm.bias", "LayerNorm.beta")};
  if (name.starts_with(kBlocks))
    names.push_back("decoder.decoder_encoder.layer." + name.substr(kBlocks.size()));
  std::erase(names, "");
  return names;
}

// The tensor of a name, or of one that it also goes by.
const TensorRecord* find_record(const WeightSource& source, const std::string& name) {
  for (const std::string& known : names_of(name)) {
    if (const TensorRecord* record = source.find(known)) return record;
    if (const TensorRecord* record = source.find(without_first_part(known))) return record;
  }
  return nullptr;
}

// Buffers of older files that are computed here.
bool is_known_buffer(std::string_view name) {
  for (const std::string_view end :
       {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "embeddings.position_ids",
        ".EncDecAttention.relative_attention_bias.weight"}) {
    if (name.ends_with(end)) return true;
  }
  // Stored by some tools though they are a table or a bias that is there already.
  return name == "lm_head.weight" || name == "encoder.embed_tokens.weight" ||
         name == "decoder.embed_tokens.weight" || name == "proj_out.weight" ||
         name == "cls.predictions.decoder.weight" || name == "cls.predictions.decoder.bias";
}

std::string list(const std::vector<std::string>& faults) {
  constexpr size_t most = 5;
  std::string text;
  for (size_t i = 0; i < faults.size() && i < most; ++i) text += (i ? "; " : "") + faults[i];
  if (faults.size() > most) text += detail::concat("; and ", faults.size() - most, " more");
  return text;
}

}  // namespace

WeightSource::WeightSource(std::vector<TensorRecord> records,
                           std::function<Tensor(const TensorRecord&)> read)
    : records_(std::move(records)), read_(std::move(read)) {
  for (size_t i = 0; i < records_.size(); ++i) index_[records_[i].name] = i;
}

WeightSource::WeightSource(const SafetensorsCheckpoint& checkpoint)
    : WeightSource(checkpoint.records(), [&checkpoint](const TensorRecord& record) {
        return tensor_of(record, checkpoint.data(record.name));
      }) {}

const TensorRecord* WeightSource::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &records_[found->second];
}

void read_weights(nn::Module& model, const std::vector<WeightSlice>& slices,
                  const SafetensorsCheckpoint& checkpoint, const std::filesystem::path& path) {
  read_weights(model.state_dict(), slices, checkpoint, path);
}

void read_weights(const nn::StateDict& values, const std::vector<WeightSlice>& slices,
                  const SafetensorsCheckpoint& checkpoint, const std::filesystem::path& path) {
  read_weights(values, slices, WeightSource(checkpoint), path);
}

CheckedWeights::CheckedWeights(const nn::StateDict& values, const std::vector<WeightSlice>& slices,
                               const WeightSource& source, const std::filesystem::path& path)
    : source_(source) {
  const Parameters parameters = by_name(values);
  std::vector<std::string> faults;
  std::set<std::string, std::less<>> used;
  for (const WeightSlice& slice : slices) {
    const TensorRecord* record = find_record(source, slice.file_name);
    if (!record) {
      faults.push_back(slice.file_name + " is missing");
      continue;
    }
    used.insert(record->name);
    const Tensor target = view_of(parameter_of(parameters, slice), slice);
    const Shape shape{std::span<const int64_t>(record->shape)};
    if (target.shape() != shape) {
      faults.push_back(
          detail::concat(slice.file_name, " has shape ", shape, ", expected ", target.shape()));
    } else if (!is_floating_point(record->dtype)) {
      faults.push_back(detail::concat(slice.file_name, " has dtype ", name(record->dtype),
                                      ", expected a floating-point one"));
    } else {
      pieces_[slice.parameter].push_back({slice, record});
    }
  }
  for (const TensorRecord& record : source.records()) {
    if (!used.contains(record.name) && !is_known_buffer(record.name))
      faults.push_back(printable(record.name) + " belongs to no weight of this model");
  }
  check(faults.empty(), ErrorKind::Format, path.string(), list(faults));
}

void CheckedWeights::read(const std::string& parameter, const Tensor& values) const {
  const NoGradGuard no_grad;
  const auto found = pieces_.find(parameter);
  if (found == pieces_.end()) return;
  for (const auto& [slice, record] : found->second)
    view_of(values, slice).copy_(source_.read(*record));
}

void read_weights(const nn::StateDict& values, const std::vector<WeightSlice>& slices,
                  const WeightSource& source, const std::filesystem::path& path) {
  const CheckedWeights checked(values, slices, source, path);
  for (const auto& [name, tensor] : values) checked.read(name, tensor);
}

nn::StateDict export_weights(const nn::Module& model, const std::vector<WeightSlice>& slices,
                             std::optional<DType> dtype, const nn::StateDict& values) {
  const NoGradGuard no_grad;
  Parameters parameters = by_name(model.state_dict());
  for (const auto& [name, tensor] : values) parameters[name] = tensor;
  nn::StateDict exported;
  for (const WeightSlice& slice : slices) {
    const Tensor view = view_of(parameter_of(parameters, slice), slice);
    Tensor copy = Tensor::empty(view.shape(), {dtype.value_or(view.dtype()), {}});
    copy.copy_(view);
    exported.push_back({slice.file_name, copy});
  }
  return exported;
}

}  // namespace plinth
