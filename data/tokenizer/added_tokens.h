#pragma once

// Tokens that are found in the text before it is cut into pre-tokens: special tokens such as
// <|endoftext|>, and words added to a vocabulary. As in Hugging Face's tokenizers.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace plinth {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;      // only found when the caller allows special tokens
  bool normalized = false;   // looked for after the tokens that are not
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the whitespace before it
  bool rstrip = false;       // takes the whitespace behind it
};

class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  const std::vector<AddedToken>& all() const { return tokens_; }
  const AddedToken* find(int32_t id) const;

  // A part of the text: an added token's id, or -1 for what lies between them.
  struct Segment {
    size_t begin;
    size_t end;
    int32_t id;
  };

  // Cuts valid UTF-8 text at the added tokens: at each place the longest one, from left to right.
  std::vector<Segment> split(std::string_view text, bool allow_special) const;

 private:
  // The bytes of token contents as a tree.
  struct Node {
    std::unordered_map<uint8_t, uint32_t> next;
    int32_t token = -1;  // index of the token that ends here
  };
  struct Tree {
    std::vector<Node> nodes{1};
    std::array<bool, 256> starts{};

    void insert(std::string_view content, int32_t token);
    int32_t longest_at(std::string_view text) const;  // -1: none
  };

  void split_part(const Tree& tree, std::string_view text, size_t begin, size_t end,
                  bool allow_special, std::vector<Segment>& segments) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  Tree raw_;
  Tree normalized_;
};

}  // namespace plinth
