#include "core/random.h"

namespace plinth {

Generator& generator() {
  thread_local Generator generator;
  return generator;
}

}  // namespace plinth
