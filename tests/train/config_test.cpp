#include <gtest/gtest.h>

#include <limits>

#include "core/io/file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "train/config/schema.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

enum class Attention { Full, Sliding };

struct Settings {
  std::string name = "run";
  std::string family = "gpt2";
  Attention attention = Attention::Full;
  int layers = 12;
  uint8_t heads = 12;
  int64_t steps = 0;
  double lr = 6e-4;
  float beta2 = 0.95f;
  bool compile = true;
  std::vector<std::string> shards;
  std::vector<int> mesh = {1, 1};
  std::vector<double> weights = {0.5};
};

struct Fixture {
  Fixture() {
    schema.section("model", "the architecture");
    schema.field("name", &s.name).help("of the run");
    schema.field("model.family", &s.family).words({"gpt2", "llama"}).help("architecture");
    schema.choice<Attention>("model.attention", &s.attention,
                             {{"full", Attention::Full}, {"sliding", Attention::Sliding}});
    schema.field("model.layers", &s.layers).range(1, 1000).help("transformer blocks");
    schema.field("model.heads", &s.heads).at_least(1);
    schema.field("optimizer.lr", &s.lr).range(0, 10).help("peak learning rate");
    schema.field("optimizer.beta2", &s.beta2).above(0);
    schema.field("train.steps", &s.steps).required().at_least(1).help("optimizer steps");
    schema.field("train.compile", &s.compile);
    schema.field("data.shards", &s.shards);
    schema.field("data.weights", &s.weights).range(0, 1);
    schema.field("train.parallel.mesh", &s.mesh).at_least(1);
  }
  void load(std::string_view text) { schema.load_text(text, "run.toml"); }

  Settings s;
  ConfigSchema schema;
};

TEST(Config, ReadsEveryTypeIntoItsMember) {
  Fixture f;
  f.load(R"(
name = "tiny"
[model]
family = "llama"
attention = "sliding"
layers = 4
heads = 2
[optimizer]
lr = 1            # an integer where a float is asked for
beta2 = 0.9
[train]
steps = 1e6       # a float without a fraction where an integer is
compile = false
parallel.mesh = [2, 4]
[data]
shards = ["a.bin", "b.bin"]
weights = [1, 0.25]
)");
  f.schema.finish();
  EXPECT_EQ(f.s.name, "tiny");
  EXPECT_EQ(f.s.family, "llama");
  EXPECT_EQ(f.s.attention, Attention::Sliding);
  EXPECT_EQ(f.s.layers, 4);
  EXPECT_EQ(f.s.heads, 2);
  EXPECT_EQ(f.s.lr, 1.0);
  EXPECT_EQ(f.s.beta2, 0.9f);
  EXPECT_EQ(f.s.steps, 1'000'000);
  EXPECT_FALSE(f.s.compile);
  EXPECT_THAT(f.s.mesh, ElementsAre(2, 4));
  EXPECT_THAT(f.s.shards, ElementsAre("a.bin", "b.bin"));
  EXPECT_THAT(f.s.weights, ElementsAre(1.0, 0.25));
}

TEST(Config, NamesPlaceKeyAndWhatItTakes) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"\n[optimizer]\nlearn_rate = 1",
       "run.toml:3: unknown key 'optimizer.learn_rate', the nearest is"},
      {"[optimizer]\nl = 1", "run.toml:2: unknown key 'optimizer.l', the nearest is optimizer.lr"},
      {"[train]\nlr = 1", "run.toml:2: unknown key 'train.lr', the nearest is optimizer.lr"},
      {"steps = 1", "run.toml:1: unknown key 'steps', the nearest is train.steps"},
      {"[modell]\nlayers = 3", "run.toml:1: unknown key 'modell', the nearest is"},
      {"[model]\nlayers.x = 3",
       "run.toml:2: model.layers got a table, takes an integer from 1 to 1000"},
      {"model = 3", "run.toml:1: model got the integer 3, but it is a section: write [model]"},
      {"[optimizer]\nlr = 'fast'",
       "run.toml:2: optimizer.lr got the string 'fast', takes a float from 0 to 10"},
      {"[optimizer]\nlr = true", "optimizer.lr got the boolean true, takes a float from 0 to 10"},
      {"[optimizer]\nlr = 10.5", "optimizer.lr got 10.5, takes a float from 0 to 10"},
      {"[optimizer]\nlr = -1", "optimizer.lr got -1.0, takes a float from 0 to 10"},
      {"[optimizer]\nlr = nan", "optimizer.lr got nan, takes a float from 0 to 10"},
      {"[optimizer]\nbeta2 = 0", "optimizer.beta2 got 0.0, takes a float above 0"},
      {"[optimizer]\nbeta2 = inf", "optimizer.beta2 got inf, takes a float above 0"},
      {"[optimizer]\nbeta2 = 1e39", "optimizer.beta2 got 1e+39, takes a float above 0"},
      {"[train]\nsteps = 0", "train.steps got 0, takes an integer of at least 1"},
      {"[train]\nsteps = 1.5", "train.steps got the float 1.5, takes an integer of at least 1"},
      {"[train]\nsteps = 1e300",
       "train.steps got the float 1e+300, takes an integer of at least 1"},
      {"[train]\ncompile = 1", "train.compile got the integer 1, takes true or false"},
      {"[model]\nlayers = 4294967297",
       "model.layers got 4294967297, takes an integer from 1 to 1000"},
      {"[model]\nheads = 256", "model.heads got 256, takes an integer of at least 1"},
      {"[model]\nfamily = 'gtp2'", "model.family got 'gtp2', takes one of gpt2, llama"},
      {"[model]\nfamily = 2", "model.family got the integer 2, takes one of gpt2, llama"},
      {"[model]\nattention = ''", "model.attention got '', takes one of full, sliding"},
      {"name = 1979-05-27", "name got a date or time, takes a string"},
      {"[data]\nshards = 'a'", "data.shards got the string 'a', takes a list of strings"},
      {"[data]\nshards = ['a', 1]",
       "data.shards got a list of values of several kinds, takes a list"},
      {"[[data]]\nshards = []", "data got a list of values of several kinds, but it is a section"},
      {"[data]\nweights = [0.5, 2]",
       "data.weights got 2.0, takes a list of floats, each from 0 to 1"},
      {"[train]\nparallel.mesh = [1.5]",
       "mesh got a list of floats, takes a list of integers, each"},
      {"[train]\nparallel.mesh = [true]", "mesh got a list of booleans, takes a list of integers"},
      {"[train]\nparallel.mesh = [0]", "mesh got 0, takes a list of integers, each of at least 1"},
      {"[train\nsteps = 1", "run.toml:1: no TOML: "},
      {"[train]\nsteps = 1\nsteps = 2", "run.toml:3: no TOML: "},
      {"name = '\xff'", "run.toml:1: no TOML: "},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    Fixture f;
    expect_error(ErrorKind::Config, c.message, [&] { f.load(c.text); });
  }
}

TEST(Config, RefusesAKeyNestedTooDeepToRead) {
  std::string key;
  for (int i = 0; i < 100'000; ++i) key += "a.";
  Fixture f;
  expect_error(ErrorKind::Config, "run.toml: has 100000 dots, expected at most 10000",
               [&] { f.load(key + "a = 1"); });
  expect_error(ErrorKind::Config, "run.toml:1: keys are nested deeper than 32 levels",
               [&] { f.load(key.substr(0, 20'000) + "a = 1"); });
  expect_error(ErrorKind::Config,
               "run.toml:1: no TOML: ", [&] { f.load("name = " + std::string(100'000, '[')); });
}

TEST(Config, SaysWhatIsMissing) {
  Fixture f;
  f.load("[model]\nlayers = 2");
  expect_error(ErrorKind::Config,
               "train.steps: is missing, takes an integer of at least 1: optimizer steps",
               [&] { f.schema.finish(); });
  f.schema.set("train.steps=5");
  f.schema.finish();
}

TEST(Config, OverridesReplaceTheFile) {
  Fixture f;
  f.load("[optimizer]\nlr = 0.1\n[train]\nsteps = 3");
  for (const char* assignment :
       {"optimizer.lr=3e-4", "train.steps=1e3", "train.compile=false", "model.attention=sliding",
        "name=a = b, 'c'", "model.family=\"llama\"", "data.shards=a.bin,dir/b.bin",
        "train.parallel.mesh=2,3", "data.weights=[0.5, 1]"}) {
    f.schema.set(assignment);
  }
  EXPECT_EQ(f.s.lr, 3e-4);
  EXPECT_EQ(f.s.steps, 1000);
  EXPECT_FALSE(f.s.compile);
  EXPECT_EQ(f.s.attention, Attention::Sliding);
  EXPECT_EQ(f.s.name, "a = b, 'c'");
  EXPECT_EQ(f.s.family, "llama");
  EXPECT_THAT(f.s.shards, ElementsAre("a.bin", "dir/b.bin"));
  EXPECT_THAT(f.s.mesh, ElementsAre(2, 3));
  EXPECT_THAT(f.s.weights, ElementsAre(0.5, 1.0));
  f.schema.set("data.shards=[\"x,y\"]");
  EXPECT_THAT(f.s.shards, ElementsAre("x,y"));
  f.schema.set("data.shards=[]");
  EXPECT_THAT(f.s.shards, IsEmpty());
  f.schema.set("data.weights=[]");
  EXPECT_THAT(f.s.weights, IsEmpty());
  f.schema.set("name=");
  EXPECT_EQ(f.s.name, "");
}

TEST(Config, NamesWhatIsWrongInAnOverride) {
  const struct {
    const char* assignment;
    const char* message;
  } cases[] = {
      {"lr", "command line: got 'lr', expected key=value"},
      {"=3", "command line: got '=3', expected key=value"},
      {"optimizer.rl=3", "command line: unknown key 'optimizer.rl', the nearest is optimizer.lr"},
      {"optimizer.lr=fast", "optimizer.lr got 'fast', takes a float from 0 to 10"},
      {"optimizer.lr=", "optimizer.lr got '', takes a float from 0 to 10"},
      {"optimizer.lr=1\nname=2", "optimizer.lr got '1\\x0aname=2', takes a float"},
      {"optimizer.lr='1'", "optimizer.lr got the string '1', takes a float"},
      {"train.compile=yes", "train.compile got 'yes', takes true or false"},
      {"train.parallel.mesh=2,x", "train.parallel.mesh got '[2,x]', takes a list of integers"},
      {"name=\xff", "name got '\\xff', which is not UTF-8"},
  };
  for (const auto& c : cases) {
    Fixture f;
    expect_error(ErrorKind::Config, c.message, [&] { f.schema.set(c.assignment); });
  }
}

TEST(Config, PrintsEveryFieldAsTomlThatReadsBackTheSame) {
  Fixture f;
  f.schema.set("name=quote \" backslash \\ tab \t bell \a é");
  f.schema.set("train.steps=10");
  f.schema.set("optimizer.lr=0.1");
  f.schema.set("data.shards=a,b");
  const std::string toml = f.schema.to_toml();
  EXPECT_EQ(toml, R"(name = "quote \" backslash \\ tab \t bell \u0007 é"

[model]
family = "gpt2"
attention = "full"
layers = 12
heads = 12

[optimizer]
lr = 0.1
beta2 = 0.95

[train]
steps = 10
compile = true

[data]
shards = ["a", "b"]
weights = [0.5]

[train.parallel]
mesh = [1, 1]
)");
  Fixture again;
  again.load(toml);
  EXPECT_EQ(again.schema.to_toml(), toml);
  EXPECT_EQ(again.s.name, f.s.name);
  EXPECT_EQ(again.s.beta2, 0.95f);
  EXPECT_EQ(again.schema.values()[5], std::pair(std::string("optimizer.lr"), std::string("0.1")));
}

TEST(Config, FloatsKeepTheirBitsThroughToml) {
  for (const double value : {0.1, 1e-5, 1.0 / 3, 5e-324, 1e22, 123456789.0, 9.999999999999999}) {
    Fixture f;
    double x = value;
    f.schema.field("x", &x);
    const std::string toml = f.schema.to_toml();
    x = 0;
    f.load(toml.substr(toml.find("x ="), toml.find('\n', toml.find("x =")) - toml.find("x =")));
    EXPECT_EQ(x, value) << toml;
  }
}

TEST(Config, ExplainsEveryField) {
  const std::string help = Fixture().schema.help();
  EXPECT_THAT(help, HasSubstr("[model]  the architecture\n"));
  EXPECT_THAT(help, HasSubstr("  optimizer.lr\n"
                              "      peak learning rate\n"
                              "      a float from 0 to 10; default 6e-04\n"));
  EXPECT_THAT(help, HasSubstr("      an integer of at least 1; required\n"));
  EXPECT_THAT(help, HasSubstr("      one of gpt2, llama; default \"gpt2\"\n"));
}

TEST(Config, LoadsAFileAndNamesIt) {
  const TemporaryDirectory dir;
  const std::string path = (dir / "c.toml").string();
  Fixture f;
  expect_error(ErrorKind::Io, path + ": cannot open", [&] { f.schema.load(path); });
  write_file_atomically(path, "[train]\nsteps = 7\nstop = 1");
  expect_error(ErrorKind::Config, path + ":3: unknown key 'train.stop', the nearest is train.steps",
               [&] { f.schema.load(path); });
}

TEST(Config, RefusesAKeyDeclaredTwiceOrBadly) {
  Fixture f;
  expect_error(ErrorKind::Argument, "key name is declared twice",
               [&] { f.schema.field("name", &f.s.name); });
  for (const char* key : {"", "a..b", ".a", "a.", "a b"}) {
    expect_error(ErrorKind::Argument, "is not made of letters",
                 [&] { f.schema.field(key, &f.s.name); });
  }
}

}  // namespace
}  // namespace plinth
