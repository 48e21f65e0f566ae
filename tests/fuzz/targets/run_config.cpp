// A run's TOML, into fields of every type.

#include "tests/fuzz/target.h"
#include "train/config/schema.h"

namespace {

using namespace plinth;

struct Settings {
  std::string name = "run", family = "gpt2";
  std::filesystem::path directory;
  uint8_t heads = 12;
  int64_t steps = 1;
  double lr = 6e-4;
  float beta = 0.5F;
  bool compile = true;
  std::vector<std::string> shards;
  std::vector<int> mesh = {1};
  std::vector<double> weights;
  ConfigSchema schema;

  Settings() {
    schema.field("name", &name);
    schema.field("run.directory", &directory);
    schema.field("model.family", &family).words({"gpt2", "llama"});
    schema.field("model.heads", &heads).at_least(1);
    schema.field("train.steps", &steps);
    schema.field("train.compile", &compile);
    schema.field("train.parallel.mesh", &mesh).at_least(1);
    schema.field("optimizer.lr", &lr).range(0, 10);
    schema.field("optimizer.beta", &beta).above(0);
    schema.field("data.shards", &shards);
    schema.field("data.weights", &weights);
  }
};

}  // namespace

PLINTH_FUZZ_TARGET(run_config) {
  Settings settings;
  // A text without a line break may also be an override.
  if (input.find('\n') == std::string_view::npos && input.starts_with('!')) {
    settings.schema.set(input.substr(1));
  } else {
    settings.schema.load_text(input, "run.toml");
  }
  const std::string written = settings.schema.to_toml();
  Settings again;
  fuzz::must_read([&] { return again.schema.load_text(written, "written"); });
  fuzz::require(again.schema.to_toml() == written, "reads other settings than it wrote");
}
