// plinth tokenize: trains a tokenizer on texts, and writes their tokens as shards.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/numbers.h"
#include "train/logging/format.h"
#include "train/pretrain/prepare.h"

namespace plinth::apps {

namespace {

struct TokenizeArguments {
  PrepareOptions options;
  DeviceOptions device;
};

void run(const TokenizeArguments& arguments) {
  arguments.device.apply();
  const PreparedCorpus corpus = prepare_corpus(arguments.options);
  std::printf("%s documents, %s, vocabulary of %lld\n",
              format_count(static_cast<double>(corpus.documents)).c_str(),
              format_bytes(static_cast<uint64_t>(corpus.bytes)).c_str(),
              static_cast<long long>(corpus.vocab_size));
  std::printf("%s training tokens, %s validation tokens, %.2f bytes per token\n",
              format_count(static_cast<double>(corpus.train_tokens)).c_str(),
              format_count(static_cast<double>(corpus.validation_tokens)).c_str(),
              static_cast<double>(corpus.bytes) /
                  static_cast<double>(corpus.train_tokens + corpus.validation_tokens));
  const std::string folder = arguments.options.out.string();
  std::printf("\nin a configuration:\n  [data]\n  train = [\"%s/train_*.bin\"]\n", folder.c_str());
  if (corpus.validation_tokens)
    std::printf("  validation = [\"%s/validation_*.bin\"]\n", folder.c_str());
  std::printf("  tokenizer = \"%s\"\n", folder.c_str());
}

}  // namespace

void add_tokenize(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("tokenize", "train a tokenizer and write texts as token shards");
  const auto arguments = std::make_shared<TokenizeArguments>();
  PrepareOptions& options = arguments->options;
  command->add_option("texts", options.texts, "text files")->required();
  command->add_option("--out", options.out, "folder for the tokenizer and the shards")->required();
  auto* train = command
                    ->add_option("--train-vocab", options.train_vocab,
                                 "train a tokenizer with this many tokens")
                    ->check(whole_number(257, 1 << 20));
  command
      ->add_option("--kind", options.kind,
                   "what to train: byte pairs over bytes, SentencePiece's unigram model (as T5's) "
                   "or byte pairs (as Llama 2's), or BERT's word pieces")
      ->check(CLI::IsMember({"byte-bpe", "unigram", "sentencepiece-bpe", "wordpiece"}))
      ->capture_default_str()
      ->needs(train);
  command
      ->add_option("--sentinels", options.sentinels,
                   "tokens <extra_id_N> of a SentencePiece model, for T5's pretraining")
      ->check(whole_number(0, 1000))
      ->capture_default_str()
      ->needs(train);
  command->add_flag("--cased", options.cased, "word pieces keep case and accents")->needs(train);
  command
      ->add_option(
          "--tokenizer", options.tokenizer,
          "folder with a tokenizer.json, a SentencePiece model, or BERT's vocab.txt, to use")
      ->excludes(train);
  command
      ->add_option("--documents", options.documents, "what a document is: file, line or paragraph")
      ->check(CLI::IsMember({"file", "line", "paragraph"}))
      ->capture_default_str();
  command->add_option("--validation", options.validation_share, "part of the documents held out")
      ->check(real_number(0, 0.9))
      ->capture_default_str();
  command->add_option("--seed", options.seed, "which documents are held out")
      ->check(seed_number())
      ->capture_default_str();
  command->add_option("--shard-tokens", options.shard_tokens, "tokens of a shard")
      ->check(whole_number(1000, INT32_MAX))
      ->capture_default_str();
  arguments->device.add_threads_to(*command);
  command->footer(
      "\nExample: plinth tokenize kjv.txt --out data/kjv --train-vocab 4096 --validation 0.05");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
