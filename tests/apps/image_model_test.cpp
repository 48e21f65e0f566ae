// Models of images as the program shows and copies them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/apps/plinth_program.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

using testing::HasSubstr;

TEST(Plinth, InspectsAndConvertsModelsOfImages) {
  const TemporaryDirectory here;
  const auto run = [&](std::vector<std::string> arguments) {
    return PlinthProcess(here.path(), std::move(arguments)).wait();
  };
  const Outcome vit = run({"inspect", fixture("vit").string(), "--tensors"});
  EXPECT_EQ(vit.status, 0) << vit.errors;
  EXPECT_THAT(vit.output, HasSubstr("model       vit in "));
  EXPECT_THAT(vit.output, HasSubstr("image       12 x 12, 3 channels, in patches of 4 x 4\n"));
  EXPECT_THAT(vit.output, HasSubstr("labels      5\n"));
  EXPECT_THAT(vit.output, HasSubstr("vit.embeddings.cls_token"));
  EXPECT_THAT(run({"inspect", fixture("clip").string()}).output,
              HasSubstr("images      2 layers of width 12, 2 heads of 6\n"));
  EXPECT_THAT(run({"inspect", fixture("vit_mae").string()}).output,
              HasSubstr("masked      7 of 9 patches\n"));
  const Outcome copied = run({"convert", fixture("vit").string(), "copy", "--dtype", "bfloat16"});
  EXPECT_EQ(copied.status, 0) << copied.errors;
  EXPECT_EQ(weight_names(here / "copy"), weight_names(fixture("vit")));
  EXPECT_EQ(SafetensorsCheckpoint::open(here / "copy").records()[0].dtype, DType::BFloat16);
  const Outcome averaged = run({"convert", fixture("vit").string(), "other", "--average"});
  EXPECT_EQ(averaged.status, 2);
  EXPECT_THAT(averaged.errors, HasSubstr("--average: got a vit, takes a language model"));
}

}  // namespace
}  // namespace plinth
