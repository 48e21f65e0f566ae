#pragma once

// Modules: named parameters, buffers and children, in the order of their registration.
//
//   class Block : public nn::Layer {
//    public:
//     Block(int64_t dim, int64_t heads)
//         : norm_(make<nn::LayerNorm>("norm", dim)), mlp_(make<nn::MLP>("mlp", dim, 4 * dim)),
//           gain_(register_parameter("gain", {dim}, nn::init::ones())) {}
//     Tensor forward(const Tensor& x) override { return x + mlp_(norm_(x)) * gain_; }
//
//    private:
//     nn::Handle<nn::LayerNorm> norm_;
//     nn::Handle<nn::MLP> mlp_;
//     Tensor gain_;
//   };

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/op_scope.h"
#include "core/tensor.h"
#include "nn/init.h"
#include "nn/state_dict.h"

namespace plinth::nn {

class Module;

// A parameter that belongs to no module yet.
struct NewParameter {
  Tensor value;
  Initializer initializer;
};

struct NamedModule {
  std::string path;  // "" for the module itself, "blocks.0.attention" below it
  Module* module;

  // The last part of the path: "attention".
  std::string_view name() const { return std::string_view(path).substr(path.rfind('.') + 1); }
};

inline const Tensor& observed(const Tensor& output) {
  return output;
}

// Sees the modules as they run (nn/summary.h). `output` is what observed() gives for the type that
// a module gives, and undefined where there is no such function.
class ForwardObserver {
 public:
  ForwardObserver();
  virtual ~ForwardObserver();
  ForwardObserver(const ForwardObserver&) = delete;
  ForwardObserver& operator=(const ForwardObserver&) = delete;

  virtual void enter(const Module& module) = 0;
  virtual void leave(const Module& module, const Tensor& output) = 0;

  // This thread's, or null.
  static ForwardObserver* active() { return active_; }

 private:
  static inline thread_local ForwardObserver* active_ = nullptr;
  ForwardObserver* outer_;
};

// A module owned by another, or by several, called like a function.
template <class M>
class Handle : public std::shared_ptr<M> {
 public:
  Handle() = default;
  Handle(std::shared_ptr<M> module) : std::shared_ptr<M>(std::move(module)) {}

  template <class... Args>
  decltype(auto) operator()(Args&&... args) const {
    return (**this)(std::forward<Args>(args)...);
  }
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // ---- what it holds; dotted names, this module's own tensors before its children's ----
  // Each parameter once, by its first name, however many modules share it.
  std::vector<NamedTensor> named_parameters() const;
  Tensors parameters() const;
  std::vector<NamedTensor> named_buffers() const;
  // This module first, then its children, each once.
  std::vector<NamedModule> named_modules() const;
  int64_t parameter_count() const;
  // Calls f(module) for every module below this one, and last for this one.
  void apply(const std::function<void(Module&)>& f);

  // ---- modes ----
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }
  // Whether all its parameters take gradients: false freezes them.
  void set_requires_grad(bool requires_grad);

  // ---- values ----
  // Parameters, then persistent buffers; the tensors themselves, not copies.
  StateDict state_dict() const;
  // Copies values in, converting dtypes; all of them or, on error, none. A shared parameter may be
  // given under any of its names. Throws Error(Shape) that lists the names with another shape and,
  // if strict, those missing and unexpected.
  LoadReport load_state_dict(const StateDict& saved, bool strict = true);
  // Draws every parameter that has an initialiser again, keyed by (seed, dotted name).
  void reset_parameters(uint64_t seed);
  // Lets go of the gradients, or overwrites them with zeros where they are to stay in place.
  void zero_grad(bool set_to_none = true);
  // Converts floating-point parameters and buffers in place, and drops gradients. Optimizers made
  // before must be made again.
  void to(DType dtype);
  // Moves every parameter and buffer in place, and drops gradients. Optimizers made before must be
  // made again.
  void to(Device device);

  // "Linear": the class, without namespaces.
  virtual std::string type_name() const;

 protected:
  // Called by to(Device) after this module's tensors moved: for tensors that are neither parameters
  // nor buffers.
  virtual void moved_to(Device) {}

  // A parameter with the given value, which may be another module's parameter: then both share it.
  // Returns the handle to keep. Names are not empty, have no dot, and are used once; otherwise
  // Error(Argument).
  Tensor register_parameter(std::string name, const Tensor& value);
  // A parameter that is initialised with the next key of the thread's generator (unless SkipInit),
  // and again by reset_parameters.
  Tensor register_parameter(std::string name, const Shape& shape, Initializer initializer,
                            TensorOptions options = {});
  // The same in two parts: what may fail, and what makes it this module's.
  static NewParameter new_parameter(const Shape& shape, Initializer initializer,
                                    TensorOptions options = {});
  Tensor register_parameter(std::string name, NewParameter parameter);
  // A tensor that is part of the module's state but not trained; one that is not persistent is left
  // out of state_dict().
  Tensor register_buffer(std::string name, const Tensor& value, bool persistent = true);

  template <class M>
  std::shared_ptr<M> register_module(const std::string& name, std::shared_ptr<M> module) {
    add_child(name, module);
    return module;
  }
  // register_module(name, std::make_shared<M>(args...)).
  template <class M, class... Args>
  std::shared_ptr<M> make(const std::string& name, Args&&... args) {
    return register_module(name, std::make_shared<M>(std::forward<Args>(args)...));
  }

  // Runs `forward` as this module's: observers see when it starts, and what it gives.
  template <class Forward>
  auto trace(Forward&& forward) const {
    const OpScope scope(scope_name(), ScopeKind::Module);
    ForwardObserver* observer = ForwardObserver::active();
    if (!observer) return forward();
    observer->enter(*this);
    auto output = forward();
    if constexpr (requires { observed(output); }) {
      observer->leave(*this, observed(output));
    } else {
      observer->leave(*this, {});
    }
    return output;
  }

 private:
  struct Parameter {
    std::string name;
    Tensor tensor;
    Initializer initializer;
  };
  struct Buffer {
    std::string name;
    Tensor tensor;
    bool persistent;
  };
  struct Child {
    std::string name;
    std::shared_ptr<Module> module;
  };

  void check_name(std::string_view name, std::string_view what) const;
  const char* scope_name() const;
  // Tells this module and those below it where they are in the outermost one.
  void place_at(const std::string& path);
  void add_child(const std::string& name, std::shared_ptr<Module> module);
  // Calls visit(dotted name, parameter) for all, shared ones more than once.
  void visit_parameters(
      const std::function<void(const std::string&, const Parameter&)>& visit) const;
  void visit_buffers(const std::function<void(const std::string&, const Buffer&)>& visit) const;
  // Calls visit(path, module) for this module and those below, each once.
  void visit_modules(const std::function<void(const std::string&, Module&)>& visit) const;

  std::vector<Parameter> parameters_;
  std::vector<Buffer> buffers_;
  std::vector<Child> children_;
  bool training_ = true;
  std::string path_;  // of a shared module, the last that it was registered under
  mutable std::atomic<const char*> scope_name_ = nullptr;  // made when the module first runs
};

// A module of one tensor that gives one tensor.
class Layer : public Module {
 public:
  virtual Tensor forward(const Tensor& x) = 0;
  Tensor operator()(const Tensor& x) {
    return trace([&] { return forward(x); });
  }
};

// A module whose forward takes and gives what it likes: class Gpt : public nn::ModuleOf<Gpt>.
template <class Self>
class ModuleOf : public Module {
 public:
  template <class... Args>
  auto operator()(Args&&... args) {
    return trace([&] { return static_cast<Self&>(*this).forward(std::forward<Args>(args)...); });
  }
};

}  // namespace plinth::nn
