#include "data/tasks/squad.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/json_fields.h"

namespace plinth {
namespace {

using json_fields::Json;

// The byte at which the text's character of a number begins, or npos.
size_t byte_of(std::string_view text, uint64_t character) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (begins && character-- == 0) return at;
  }
  return std::string_view::npos;
}

std::vector<SquadAnswer> read_answers(const Json& json, const std::string& context,
                                      std::string_view name) {
  std::vector<SquadAnswer> answers;
  for (const Json& item : json_fields::array(json, "answers", name)) {
    const std::string& text = json_fields::string(item, "text", name);
    const Json& start = json_fields::at(item, "answer_start", name);
    check(start.is_number_unsigned(), ErrorKind::Format, name,
          "answer_start must be a whole number, got ", start.dump());
    const size_t begin = byte_of(context, start.get<uint64_t>());
    check(begin != std::string::npos && !text.empty() &&
              std::string_view(context).substr(begin).starts_with(text),
          ErrorKind::Format, name, "answer ", printable(text), " does not stand at character ",
          start.dump(), " of the context");
    answers.push_back({text, static_cast<int64_t>(begin)});
  }
  return answers;
}

SquadQuestion read_question(const Json& json, const std::shared_ptr<const std::string>& context) {
  const std::string name = "question";
  SquadQuestion question{json_fields::string(json, "id", name),
                         json_fields::string(json, "question", name),
                         context,
                         {}};
  if (!json_fields::boolean(json, "is_impossible", false, name))
    question.answers = read_answers(json, *context, name);
  return question;
}

}  // namespace

std::vector<SquadQuestion> read_squad(const std::filesystem::path& file, BadLines& bad) {
  const std::string name = file.string();
  const Json json = read_json(file);
  std::vector<SquadQuestion> questions;
  int64_t number = 0;
  for (const Json& article : json_fields::array(json, "data", name)) {
    for (const Json& paragraph : json_fields::array(article, "paragraphs", name)) {
      const auto context =
          std::make_shared<const std::string>(json_fields::string(paragraph, "context", name));
      for (const Json& item : json_fields::array(paragraph, "qas", name)) {
        ++number;
        try {
          questions.push_back(read_question(item, context));
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::Format) throw;
          bad.skip(file, number, error.what());
        }
      }
    }
  }
  return questions;
}

}  // namespace plinth
