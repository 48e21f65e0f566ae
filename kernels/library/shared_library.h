#pragma once

// A library of the GPU backend that is loaded when it is first needed, so that the program starts
// in milliseconds and runs where there is none.
//
// A library has a header here, kernels/library/<name>.h: a struct with a pointer for each function
// of it that Plinth calls, and an accessor that returns the struct, filled. The accessor is defined
// twice: kernels/library/<name>.cpp takes the functions from the shared library,
// kernels/device/emulate/library/<name>.cpp has the emulator's own, for tests.

#include <initializer_list>
#include <string>

namespace plinth::kernels::cuda {

class SharedLibrary {
 public:
  // Opens the first of `names` that the system finds; where the environment variable `variable` is
  // set, the file that it names and nothing else. The library stays open as long as the program
  // runs.
  SharedLibrary(std::initializer_list<const char*> names, const char* variable);

  bool is_open() const { return handle_ != nullptr; }
  // Why it is not open, or lacks a symbol that was asked for: the linker's words.
  const std::string& error() const { return error_; }

  // Sets `function` to the library's symbol; null and an error() where it has none.
  template <class Function>
  void find(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(symbol(name));
  }
  // The same for what older versions lack: null is no error.
  template <class Function>
  void find_newer(const char* name, Function*& function) {
    const std::string before = error_;
    find(name, function);
    error_ = before;
  }

 private:
  void* symbol(const char* name);

  void* handle_ = nullptr;
  std::string error_;
};

}  // namespace plinth::kernels::cuda
