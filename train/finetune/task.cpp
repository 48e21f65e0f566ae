#include "train/finetune/task.h"

#include "core/error.h"

namespace plinth {

std::string TaskData::picture(const TaskOutputs&, int64_t) const {
  throw Error(ErrorKind::Argument, "picture", "this task has none; detection and segmentation do");
}

}  // namespace plinth
