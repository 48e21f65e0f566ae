#include "train/checkpoint/sharded_model.h"

#include "core/error.h"
#include "models/registry.h"
#include "train/checkpoint/sharded.h"

namespace plinth {

std::unique_ptr<LanguageModel> load_sharded_model(const std::filesystem::path& directory,
                                                  bool average) {
  const ShardedCheckpoint checkpoint(directory);
  std::unique_ptr<LanguageModel> model = make_model(ConfigJson::read(directory / "config.json"));
  if (!average) {
    model->load_state_dict(checkpoint.whole("parameter"));
    return model;
  }
  check(checkpoint.index().ema_updates.has_value(), ErrorKind::Io, directory.string(),
        "holds no moving average of the weights");
  constexpr std::string_view kAverage = "average.";
  nn::StateDict averages = checkpoint.whole("ema");
  for (nn::NamedTensor& entry : averages) entry.name.erase(0, kAverage.size());
  model->load_state_dict(averages);
  return model;
}

}  // namespace plinth
