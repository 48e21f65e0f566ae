#include "kernels/c_api/launch_error.h"

namespace plinth::kernels::c_api {

const char* launch_error() {
  return nullptr;
}

}  // namespace plinth::kernels::c_api
