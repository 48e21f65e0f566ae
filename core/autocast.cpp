#include "core/autocast.h"

#include <utility>

#include "core/autograd.h"
#include "core/autograd/node.h"
#include "core/error.h"
#include "core/ops/loops.h"

namespace plinth {
namespace {

thread_local DType current = DType::Float32;
thread_local AutocastCache* cache = nullptr;

bool converts(const Tensor& x) {
  return current != DType::Float32 && x.defined() && is_floating_point(x.dtype()) &&
         x.dtype() != DType::Float64;
}

DType checked(DType dtype) {
  check(dtype == DType::BFloat16 || dtype == DType::Float16 || dtype == DType::Float32,
        ErrorKind::DType, "AutocastGuard", "got dtype ", name(dtype),
        ", takes bfloat16, float16, or float32 for none");
  return dtype;
}

}  // namespace

AutocastGuard::AutocastGuard(DType dtype) : previous_(std::exchange(current, checked(dtype))) {}
AutocastGuard::~AutocastGuard() {
  current = previous_;
}

// ---- the cache ----

AutocastCache::AutocastCache(const std::vector<Conversion>& expected)
    : outer_(std::exchange(cache, this)) {
  for (const DType dtype : {DType::BFloat16, DType::Float16}) convert_at_once(dtype, expected);
}
AutocastCache::~AutocastCache() {
  cache = outer_;
}

AutocastCache::Entry& AutocastCache::entry_of(const Conversion& conversion) {
  const auto [place, is_new] =
      places_.try_emplace({conversion.leaf.impl(), conversion.dtype}, entries_.size());
  if (is_new) entries_.push_back({conversion});
  return entries_[place->second];
}

// Those to `dtype`, and of float32: the others wait until they are asked for.
void AutocastCache::convert_at_once(DType dtype, const std::vector<Conversion>& all) {
  Tensors from, to;
  for (const Conversion& each : all) {
    const Tensor& leaf = each.leaf;
    const bool fits = each.dtype == dtype && leaf.dtype() == DType::Float32 &&
                      leaf.is_contiguous() && (from.empty() || leaf.device() == from[0].device());
    if (!fits) continue;
    from.push_back(leaf.detach());
    to.push_back(Tensor::empty(leaf.shape(), {dtype, leaf.device()}));
    Entry& entry = entry_of(each);
    entry.values = to.back();
    entry.version = leaf.version();
  }
  copy_parameters_into(to, from);
}

std::vector<AutocastCache::Conversion> AutocastCache::used() const {
  std::vector<Conversion> all;
  for (const Entry& entry : entries_) {
    if (entry.used) all.push_back(entry.of);
  }
  return all;
}

Tensor AutocastCache::convert(const Tensor& leaf, DType dtype) {
  Entry& entry = entry_of({leaf, dtype});
  if (!entry.values.defined() || entry.version != leaf.version()) {
    entry.values = leaf.detach().to(dtype);
    entry.version = leaf.version();
  }
  entry.used = true;
  return record_conversion(leaf, entry.values.detach());
}

DType autocast_dtype() {
  return current;
}

std::optional<DType> autocast_dtype_of(const Tensor& x) {
  return converts(x) ? std::optional(current) : std::nullopt;
}
Tensor autocast(const Tensor& x) {
  if (!converts(x) || x.dtype() == current) return x;
  return cache && x.is_leaf() && x.requires_grad() ? cache->convert(x, current) : x.to(current);
}
Tensor autocast_float32(const Tensor& x) {
  return converts(x) ? x.to(DType::Float32) : x;
}

}  // namespace plinth
