#pragma once

namespace plinth::kernels::c_api {

// What the last launches on this thread's GPU failed with, in words, or null. Defined by
// launch_error_runtime.cpp where there is one, else by launch_error_absent.cpp.
const char* launch_error();

}  // namespace plinth::kernels::c_api
