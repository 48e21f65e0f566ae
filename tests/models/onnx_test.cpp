// The protocol buffer of an ONNX file, read by hand; scripts/check_formats.py runs such files.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "models/formats/onnx_model.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

// The fields of a message by number, in order: bytes, or a varint as text.
using Message = std::multimap<int, std::string>;

uint64_t varint(std::string_view& rest) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(rest.at(0));
    rest.remove_prefix(1);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
}

Message parse(std::string_view rest) {
  Message fields;
  while (!rest.empty()) {
    const uint64_t tag = varint(rest);
    const int number = static_cast<int>(tag >> 3);
    if ((tag & 7) == 0) {
      fields.emplace(number, std::to_string(varint(rest)));
      continue;
    }
    const uint64_t size = (tag & 7) == 5 ? 4 : varint(rest);
    if (size > rest.size()) throw std::runtime_error("a field is cut off");
    fields.emplace(number, rest.substr(0, size));
    rest.remove_prefix(size);
  }
  return fields;
}

std::string one(const Message& message, int number) {
  EXPECT_EQ(message.count(number), 1u) << "field " << number;
  return message.find(number)->second;
}

std::vector<std::string> all(const Message& message, int number) {
  std::vector<std::string> values;
  const auto [begin, end] = message.equal_range(number);
  for (auto at = begin; at != end; ++at) values.push_back(at->second);
  return values;
}

// Of onnx.proto: a model's graph is field 7; a graph's nodes 1, initializers 5, inputs 11, outputs
// 12; a node's inputs 1, outputs 2; a tensor's name 8, bytes 9, place in another file 13.
Message graph_of(const std::filesystem::path& path) {
  return parse(one(parse(read_text_file(path)), 7));
}

std::map<std::string, Message> initializers(const Message& graph) {
  std::map<std::string, Message> found;
  for (const std::string& text : all(graph, 5)) {
    const Message tensor = parse(text);
    found.emplace(one(tensor, 8), tensor);
  }
  return found;
}

std::string bytes_of_weight(const Tensor& x) {
  return {static_cast<const char*>(x.raw_data()), static_cast<size_t>(x.numel()) * 4};
}

class Onnx : public testing::TestWithParam<const char*> {};

TEST_P(Onnx, EveryNodeTakesWhatIsThereBeforeIt) {
  const TemporaryDirectory folder;
  save_onnx(*load_pretrained(fixture(GetParam())), folder / "m.onnx");
  const Message graph = graph_of(folder / "m.onnx");
  std::set<std::string> known;
  for (const auto& [name, tensor] : initializers(graph)) known.insert(name);
  for (const std::string& input : all(graph, 11)) known.insert(one(parse(input), 1));
  for (const std::string& text : all(graph, 1)) {
    const Message node = parse(text);
    for (const std::string& input : all(node, 1)) EXPECT_TRUE(known.contains(input)) << input;
    for (const std::string& output : all(node, 2))
      EXPECT_TRUE(known.insert(output).second) << output << " is made twice";
  }
  ASSERT_EQ(all(graph, 12).size(), 1u);
  EXPECT_EQ(one(parse(all(graph, 12)[0]), 1), "logits");
  EXPECT_TRUE(known.contains("logits"));
}

TEST_P(Onnx, HoldsTheWeightsWithinOrBeside) {
  const TemporaryDirectory folder;
  const auto model = load_pretrained(fixture(GetParam()));
  save_onnx(*model, folder / "within.onnx");
  save_onnx(*model, folder / "beside.onnx", 100);
  EXPECT_FALSE(std::filesystem::exists(folder / "within.onnx.data"));
  const std::string data = read_text_file(folder / "beside.onnx.data");
  const auto within = initializers(graph_of(folder / "within.onnx"));
  const auto beside = initializers(graph_of(folder / "beside.onnx"));
  ASSERT_EQ(within.size(), beside.size());
  for (const auto& [name, tensor] : within) {
    std::map<std::string, std::string> place;
    for (const std::string& entry : all(beside.at(name), 13))
      place[one(parse(entry), 1)] = one(parse(entry), 2);
    EXPECT_EQ(place["location"], "beside.onnx.data");
    EXPECT_EQ(data.substr(std::stoul(place["offset"]), std::stoul(place["length"])), one(tensor, 9))
        << name;
  }
  // Tables and vectors lie as the files have them.
  size_t compared = 0;
  for (const auto& [name, weight] : export_weights(*model, model->weight_slices())) {
    const bool lies_so = weight.dim() == 1 || name.find("embed") != std::string::npos;
    if (!lies_so || !within.contains(name)) continue;
    EXPECT_EQ(one(within.at(name), 9), bytes_of_weight(weight)) << name;
    ++compared;
  }
  EXPECT_GT(compared, 4u);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Onnx,
                         testing::Values("gpt2", "llama", "llama_tied", "llama_scaled", "bert",
                                         "bert_untied"),
                         [](const auto& info) { return std::string(info.param); });

TEST(OnnxModel, NamesWhatItDoesNotTake) {
  const TemporaryDirectory folder;
  const auto model = load_pretrained(fixture("mixtral"));
  expect_error(ErrorKind::Argument, "onnx: model_type got mixtral, takes a llama without experts",
               [&] { save_onnx(*model, folder / "m.onnx"); });
  EXPECT_EQ(folder.names().size(), 0u);
}

}  // namespace
}  // namespace plinth
