#include "nn/module.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>

#include "core/autograd.h"
#include "core/error.h"
#include "core/random.h"
#include "nn/absent.h"

namespace plinth::nn {
namespace {

std::string joined(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

// "Linear" from "plinth::nn::Linear".
std::string without_namespaces(std::string_view name) {
  const size_t arguments = std::min(name.find('<'), name.size());
  const size_t colon = name.substr(0, arguments).rfind("::");
  return std::string(colon == std::string_view::npos ? name : name.substr(colon + 2));
}

}  // namespace

ForwardObserver::ForwardObserver() : outer_(std::exchange(active_, this)) {}
ForwardObserver::~ForwardObserver() {
  active_ = outer_;
}

std::string Module::type_name() const {
  int status = 0;
  char* readable = abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status);
  const std::string name = without_namespaces(status == 0 ? readable : typeid(*this).name());
  std::free(readable);
  return name;
}

// ---- registration ----

void Module::check_name(std::string_view name, std::string_view what) const {
  const std::string type = type_name();
  check(!name.empty() && name.find('.') == std::string_view::npos, ErrorKind::Argument, type,
        "cannot register ", what, " \"", name, "\": a name is not empty and has no dot");
  const bool used = std::ranges::find(parameters_, name, &Parameter::name) != parameters_.end() ||
                    std::ranges::find(buffers_, name, &Buffer::name) != buffers_.end() ||
                    std::ranges::find(children_, name, &Child::name) != children_.end();
  check(!used, ErrorKind::Argument, type, "cannot register ", what, " \"", name,
        "\": the name is taken");
}

Tensor Module::register_parameter(std::string name, const Tensor& value) {
  check_name(name, "parameter");
  check(value.defined(), ErrorKind::Argument, type_name(), "parameter \"", name, "\" is undefined");
  const bool shared = value.requires_grad() && value.is_leaf();
  Tensor parameter = shared ? value : value.detach().set_requires_grad();
  parameters_.push_back({std::move(name), parameter, nullptr});
  return parameter;
}

Tensor Module::register_parameter(std::string name, const Shape& shape, Initializer initializer,
                                  TensorOptions options) {
  check_name(name, "parameter");
  return register_parameter(std::move(name), new_parameter(shape, std::move(initializer), options));
}

NewParameter Module::new_parameter(const Shape& shape, Initializer initializer,
                                   TensorOptions options) {
  const bool is_absent = AbsentParameters::active() != nullptr;
  Tensor value = is_absent ? absent(shape, options) : Tensor::empty(shape, options);
  if (!SkipInit::active() && !is_absent) initializer(value, generator().next());
  return {std::move(value), std::move(initializer)};
}

Tensor Module::register_parameter(std::string name, NewParameter parameter) {
  Tensor registered = register_parameter(std::move(name), parameter.value);
  parameters_.back().initializer = std::move(parameter.initializer);
  return registered;
}

Tensor Module::register_buffer(std::string name, const Tensor& value, bool persistent) {
  check_name(name, "buffer");
  check(value.defined(), ErrorKind::Argument, type_name(), "buffer \"", name, "\" is undefined");
  buffers_.push_back({std::move(name), value.detach(), persistent});
  return buffers_.back().tensor;
}

void Module::add_child(const std::string& name, std::shared_ptr<Module> module) {
  check_name(name, "module");
  check(module != nullptr, ErrorKind::Argument, type_name(), "module \"", name, "\" is null");
  module->place_at(joined(path_, name));
  children_.push_back({name, std::move(module)});
}

// ---- where it is ----

void Module::place_at(const std::string& path) {
  path_ = path;
  scope_name_ = nullptr;
  for (const Child& child : children_) child.module->place_at(joined(path, child.name));
}

const char* Module::scope_name() const {
  const char* name = scope_name_.load(std::memory_order_relaxed);
  if (!name) {
    name = permanent_name(path_.empty() ? type_name() : path_);
    scope_name_.store(name, std::memory_order_relaxed);
  }
  return name;
}

// ---- walks ----

void Module::visit_parameters(
    const std::function<void(const std::string&, const Parameter&)>& visit) const {
  for (const Parameter& parameter : parameters_) visit(parameter.name, parameter);
  for (const Child& child : children_) {
    child.module->visit_parameters([&](const std::string& name, const Parameter& parameter) {
      visit(joined(child.name, name), parameter);
    });
  }
}

void Module::visit_buffers(
    const std::function<void(const std::string&, const Buffer&)>& visit) const {
  for (const NamedModule& entry : named_modules()) {
    for (const Buffer& buffer : entry.module->buffers_) {
      visit(joined(entry.path, buffer.name), buffer);
    }
  }
}

void Module::visit_modules(const std::function<void(const std::string&, Module&)>& visit) const {
  std::unordered_set<const Module*> seen;
  const std::function<void(const std::string&, const Module&)> walk = [&](const std::string& path,
                                                                          const Module& module) {
    if (!seen.insert(&module).second) return;
    visit(path, const_cast<Module&>(module));
    for (const Child& child : module.children_) walk(joined(path, child.name), *child.module);
  };
  walk("", *this);
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> result;
  std::unordered_set<const TensorImpl*> seen;
  visit_parameters([&](const std::string& name, const Parameter& parameter) {
    if (seen.insert(parameter.tensor.impl()).second) result.push_back({name, parameter.tensor});
  });
  return result;
}

Tensors Module::parameters() const {
  Tensors result;
  for (NamedTensor& entry : named_parameters()) result.push_back(std::move(entry.tensor));
  return result;
}

std::vector<NamedTensor> Module::named_buffers() const {
  std::vector<NamedTensor> result;
  visit_buffers([&](const std::string& name, const Buffer& buffer) {
    result.push_back({name, buffer.tensor});
  });
  return result;
}

std::vector<NamedModule> Module::named_modules() const {
  std::vector<NamedModule> result;
  visit_modules([&](const std::string& path, Module& module) {
    result.push_back({path, &module});
  });
  return result;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

void Module::apply(const std::function<void(Module&)>& f) {
  const std::vector<NamedModule> modules = named_modules();
  // The reverse of parents-first is children-first.
  for (auto entry = modules.rbegin(); entry != modules.rend(); ++entry) f(*entry->module);
}

// ---- modes and values ----

void Module::train(bool on) {
  visit_modules([on](const std::string&, Module& module) { module.training_ = on; });
}

void Module::set_requires_grad(bool requires_grad) {
  for (Tensor& parameter : parameters()) parameter.set_requires_grad(requires_grad);
}

void Module::zero_grad(bool set_to_none) {
  const NoGradGuard no_grad;
  for (Tensor& parameter : parameters()) {
    Tensor gradient = parameter.grad();
    if (!gradient.defined()) continue;
    if (set_to_none) {
      parameter.set_grad({});
    } else {
      gradient.zero_();
    }
  }
}

void Module::to(DType dtype) {
  check(is_floating_point(dtype), ErrorKind::DType, type_name(), "cannot convert parameters to ",
        name(dtype), ", expected floating point");
  const NoGradGuard no_grad;
  const auto convert = [dtype](Tensor tensor) {
    if (!is_floating_point(tensor.dtype()) || tensor.dtype() == dtype) return;
    tensor.set_data(is_absent(tensor) ? absent(tensor.shape(), {dtype, tensor.device()})
                                      : tensor.to(dtype));
  };
  for (const Tensor& parameter : parameters()) convert(parameter);
  for (const NamedTensor& buffer : named_buffers()) convert(buffer.tensor);
}

void Module::to(Device device) {
  const NoGradGuard no_grad;
  const auto move = [device](Tensor tensor) {
    if (tensor.device() == device) return;
    tensor.set_data(is_absent(tensor) ? absent(tensor.shape(), {tensor.dtype(), device})
                                      : tensor.to(device));
  };
  for (const Tensor& parameter : parameters()) move(parameter);
  for (const NamedTensor& buffer : named_buffers()) move(buffer.tensor);
  apply([device](Module& module) { module.moved_to(device); });
}

void Module::reset_parameters(uint64_t seed) {
  std::unordered_set<const TensorImpl*> seen;
  visit_parameters([&](const std::string& name, const Parameter& parameter) {
    if (!parameter.initializer || !seen.insert(parameter.tensor.impl()).second) return;
    Tensor tensor = parameter.tensor;
    const kernels::PhiloxKey key = init::key_of(seed, name);
    AbsentParameters* const absents = AbsentParameters::active();
    if (!absents || !is_absent(tensor)) return parameter.initializer(tensor, key);
    absents->keep(tensor, [initializer = parameter.initializer, key](Tensor& values) {
      initializer(values, key);
    });
  });
}

StateDict Module::state_dict() const {
  StateDict result = named_parameters();
  visit_buffers([&](const std::string& name, const Buffer& buffer) {
    if (buffer.persistent) result.push_back({name, buffer.tensor});
  });
  return result;
}

LoadReport Module::load_state_dict(const StateDict& saved, bool strict) {
  // Every name of a shared parameter leads to its first.
  std::unordered_map<const TensorImpl*, std::string> first_names;
  std::unordered_map<std::string, std::string> aliases;
  visit_parameters([&](const std::string& name, const Parameter& parameter) {
    const auto [at, is_first] = first_names.emplace(parameter.tensor.impl(), name);
    if (!is_first) aliases.emplace(name, at->second);
  });
  StateDict renamed;
  for (const auto& [name, tensor] : saved) {
    const auto alias = aliases.find(name);
    if (alias == aliases.end()) {
      renamed.push_back({name, tensor});
    } else if (!find(saved, alias->second).defined()) {
      renamed.push_back({alias->second, tensor});
    }
  }
  return load(state_dict(), renamed, strict, type_name());
}

}  // namespace plinth::nn
