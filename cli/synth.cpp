// nervus synth: a checkpoint of random weights with the public names and shapes.
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/tools.h"

namespace nervus::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  SynthOptions synth;
  std::string out;
};

int synth(Options options, const Output& output) {
  const fs::path target = options.out;
  std::error_code error;
  if (fs::exists(target, error) && !fs::is_directory(target, error))
    throw Error(ErrorKind::usage, "--out: " + options.out + ": expected a directory, found a file");
  for (const char* file :
       {"config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "norm_stats.json"})
    if (fs::exists(target / file, error))
      throw Error(ErrorKind::usage, "--out: " + options.out + " already holds " + file + ": name another directory");
  Unfinished directory(target);
  options.synth.progress = output.progress();
  synthesise(directory.path(), options.synth);
  directory.commit();
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(target))
    if (entry.is_regular_file()) bytes += entry.file_size();
  output.text(options.synth.preset + ": " + scaled(static_cast<double>(bytes), "B") + " in " + options.out);
  output.document({{"preset", options.synth.preset},
                   {"seed", options.synth.seed},
                   {"dtype", options.synth.dtype},
                   {"outliers", options.synth.outliers},
                   {"out", options.out},
                   {"bytes", bytes}});
  return 0;
}

}  // namespace

Command add_synth(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<Options>();
  add_option(verb, "--preset", options->synth.preset, CLI::detail::join(synth_presets(), "|"), "Which model");
  add_seed(verb, options->synth.seed, "Seed of the weights: the same seed gives the same bytes on any machine");
  add_option(verb, "--out", options->out, "DIR", "Directory to write, made if need be").required();
  add_option(verb, "--dtype", options->synth.dtype, "f32|f16|bf16", "Type of the tensors");
  verb.add_flag("--outliers", options->synth.outliers,
                "Plant channels 20 to 50 times larger than the rest, as trained language models have");
  add_threads(verb, options->synth.threads);
  verb.footer(
      "lingbot-vla-4b has 4.2 B parameters: 16.7 GB in f32, 8.4 GB in bf16; tiny has the same structure in a few\n"
      "megabytes. Beside the weights: config.json, a tokenizer and norm_stats.json.\n"
      "\nExample:\n  nervus synth --preset tiny --seed 1 --out tiny\n");
  return [options, &output] { return synth(*options, output); };
}

}  // namespace nervus::cli
