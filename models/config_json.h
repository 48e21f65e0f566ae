#pragma once

// Reading the config.json of a Hugging Face model directory, with errors that name file and key.

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "kernels/dtype.h"

namespace plinth {

// How files spell the forms of GELU: "gelu" is the exact one, the others are the tanh
// approximation.
inline constexpr std::array<std::string_view, 3> kGeluNames = {"gelu", "gelu_new",
                                                               "gelu_pytorch_tanh"};

// A JSON object of settings. A key that is absent or null takes the default; a value of the wrong
// type, or outside what the key takes, throws Error(Format, file).
class ConfigJson {
 public:
  // Throws Error(Io) or Error(Format).
  static ConfigJson read(const std::filesystem::path& path);
  static ConfigJson parse(std::string_view text, std::string_view subject);

  // The file, for messages.
  const std::string& subject() const { return subject_; }
  bool has(std::string_view key) const;
  // Whether there is no key at all.
  bool empty() const;

  // A size: an integer of at least 1 and at most 2^31 - 1. Without a default the key is required.
  int64_t size(std::string_view key, std::optional<int64_t> otherwise = std::nullopt) const;
  // A number of layers or experts: likewise, but at most 10000. They are made before any weights
  // are looked at, so a small file could ask for all memory.
  int64_t count(std::string_view key, std::optional<int64_t> otherwise = std::nullopt) const;
  // A height and a width: a list of two sizes, or one that is both.
  std::array<int64_t, 2> sides(std::string_view key, std::array<int64_t, 2> otherwise) const;
  // A finite number, at least `least`. Without a default the key is required.
  double number(std::string_view key, std::optional<double> otherwise, double least = 0) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key, std::string_view otherwise) const;
  // One of the words, else Error(Format) with the nearest.
  std::string word(std::string_view key, std::string_view otherwise,
                   std::span<const std::string_view> words) const;
  // The first string of a list; `otherwise` for an empty one.
  std::string first_text(std::string_view key, std::string_view otherwise) const;
  // The first word of a list, as word(); `otherwise` for an empty one.
  std::string first_word(std::string_view key, std::string_view otherwise,
                         std::span<const std::string_view> words) const;
  // The id of a token, of a list the first: nothing if null, `otherwise` if absent.
  std::optional<int64_t> token(std::string_view key,
                               std::optional<int64_t> otherwise = std::nullopt) const;
  // One id or a list of them: none if null, `otherwise` if absent.
  std::vector<int64_t> tokens(std::string_view key, std::vector<int64_t> otherwise = {}) const;
  // An object inside; an empty one if absent or null.
  ConfigJson object(std::string_view key) const;

  // Throws Error(Format) unless the key has this value or is absent: for what Plinth would compute
  // differently.
  void expect(std::string_view key, bool value) const;

 private:
  ConfigJson(std::shared_ptr<const nlohmann::json> json, std::string subject, std::string prefix);
  const nlohmann::json* find(std::string_view key) const;
  int64_t integer(std::string_view key, std::optional<int64_t> otherwise, int64_t most) const;
  std::string known_word(std::string_view key, const std::string& value,
                         std::span<const std::string_view> words) const;
  [[noreturn]] void refuse(std::string_view key, std::string_view takes) const;

  std::shared_ptr<const nlohmann::json> json_;
  std::string subject_;
  std::string prefix_;  // of the keys, in messages: "rope_parameters."
};

// The text of a config.json: `settings`, and what every family's ends with; of language models with
// tokens, of which several may end a text.
std::string finished_config(nlohmann::ordered_json settings, DType dtype);
std::string finished_config(nlohmann::ordered_json settings, std::optional<int64_t> bos_token,
                            const std::vector<int64_t>& eos_tokens, DType dtype);

// The token that ends a text where one is written; a generated one ends at any of them.
std::optional<int64_t> first_token(const std::vector<int64_t>& tokens);

}  // namespace plinth
