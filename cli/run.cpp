// nervus run: camera images, joint state and an instruction in, a chunk of actions out.
#include <algorithm>
#include <optional>

#include "cli/actions.h"
#include "cli/interrupt.h"
#include "cli/observation.h"
#include "cli/options.h"
#include "cli/plot.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/policy.h"

namespace nervus::cli {
namespace {

struct RunOptions {
  PolicyOptions policy;
  std::string inputs;
  std::vector<std::string> images;
  std::string state, prompt, robot, norm_stats, normalization, noise, out, plot;
  std::uint64_t seed = 0;
  CLI::Option* seed_given = nullptr;
  CLI::Option* prompt_given = nullptr;
};

// What the policy is given: tensors, or an observation.
struct Source {
  std::optional<Inputs> inputs;
  Observation observation;
  std::vector<std::string> joints;  // as the state's file names them
};

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::usage, message); }

void check_usage(const RunOptions& options) {
  const bool observed = !options.images.empty() || !options.state.empty() || options.prompt_given->count() > 0;
  if (options.inputs.empty() && !observed) refuse("give --inputs, or --image, --state and --prompt");
  if (!options.inputs.empty() && observed)
    refuse("--inputs and an observation (--image, --state, --prompt) exclude each other");
  if (observed && options.images.empty()) refuse("an observation needs at least one --image CAMERA=FILE");
  if (observed && options.state.empty()) refuse("an observation needs --state FILE");
  if (observed && options.prompt_given->count() == 0) refuse("an observation needs --prompt TEXT");
  if (!options.noise.empty() && options.seed_given->count() > 0) refuse("--noise and --seed exclude each other");
  if (!options.inputs.empty() && !options.robot.empty())
    refuse("--robot goes with an observation: the actions of --inputs stay in the model's units");
  if (options.robot.empty() && !(options.norm_stats.empty() && options.normalization.empty()))
    refuse("--norm-stats and --normalization need --robot, which says whose joints they are");
  for (const std::string& file : {options.out, options.plot})
    if (!file.empty()) expect_output(file);
  if (!options.out.empty()) check_action_path(options.out, std::max<std::size_t>(1, options.policy.steps.size()));
  if (!options.plot.empty() && !options.plot.ends_with(".svg"))
    refuse("--plot: " + options.plot + ": expected a name ending in .svg");
}

Source read_source(const RunOptions& options) {
  Source source;
  if (!options.inputs.empty()) {
    source.inputs = Inputs::load(options.inputs);
    if (options.seed_given->count() > 0) source.inputs->noise = Array();
  } else {
    for (const std::string& image : options.images) add_image(source.observation, image);
    StateFile state = read_state(options.state);
    source.observation.state = std::move(state.values);
    source.observation.prompt = options.prompt;
    source.joints = std::move(state.names);
  }
  return source;
}

Array read_noise(const RunOptions& options) {
  if (options.noise.empty()) return {};
  Array noise = read_one_array(options.noise, "noise");
  if (noise.count() == 0) throw Error(ErrorKind::input, options.noise + ": expected noise, found no values");
  if (noise.shape.size() == 2) noise.shape.insert(noise.shape.begin(), 1);
  return noise;
}

LoadOptions load_options(const RunOptions& options, const Source& source, const Output& output) {
  LoadOptions load = options.policy.load_options(output.progress());
  load.robot = options.robot;
  load.norm_stats = options.norm_stats;
  load.normalization = options.normalization;
  if (source.inputs) load.limits = source.inputs->limits();
  return load;
}

// Joints in another order than the robot's would move the wrong ones.
void check_joints(const RunOptions& options, const Source& source, const std::vector<std::string>& joints) {
  if (source.joints.size() != joints.size()) return;
  for (std::size_t i = 0; i < joints.size(); ++i)
    if (source.joints[i] != joints[i])
      throw Error(ErrorKind::input, options.state + ": names[" + std::to_string(i) + "]: expected '" + joints[i] +
                                        "', which robot '" + options.robot + "' has there, found '" + source.joints[i] +
                                        "'");
}

void print_chunk(const Result& result, const std::vector<float>& state, const Output& output) {
  const ActionChunk& chunk = result.chunk;
  std::vector<std::int64_t> steps = {0, 1, 2, chunk.steps / 2, chunk.steps - 2, chunk.steps - 1};
  std::erase_if(steps, [&](std::int64_t step) { return step < 0 || step >= chunk.steps; });
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  std::vector<std::string> headings = {"dimension"};
  if (!state.empty()) headings.emplace_back("state");
  for (const std::int64_t step : steps) headings.push_back("step " + std::to_string(step));
  Table table(headings);
  constexpr std::size_t shown = 16;
  const auto dimensions = static_cast<std::size_t>(chunk.dimensions);
  for (std::size_t d = 0; d < std::min(dimensions, shown); ++d) {
    std::vector<std::string> cells = {dimension_name(chunk, d)};
    if (!state.empty()) cells.push_back(d < state.size() ? number(state[d]) : "");
    for (const std::int64_t step : steps)
      cells.push_back(number(chunk.values[static_cast<std::size_t>(step) * dimensions + d]));
    table.add(cells);
  }
  output.text("\n" + result.name + (chunk.batch > 1 ? ", first of " + std::to_string(chunk.batch) + " samples" : ""));
  output.table(table);
  if (dimensions > shown)
    output.text("  and " + std::to_string(dimensions - shown) + " more dimensions: --out writes them all");
}

void print_timing(const std::vector<Result>& results, const Output& output) {
  std::vector<std::string> headings = {"timing"};
  for (const auto& [stage, milliseconds] : stages_of(results.front().chunk)) headings.push_back(stage);
  Table table(headings);
  for (const Result& result : results) {
    std::vector<std::string> cells = {result.name};
    for (const auto& [stage, milliseconds] : stages_of(result.chunk)) cells.push_back(duration(milliseconds));
    table.add(cells);
  }
  output.text("");
  output.table(table);
}

// The file that the noise came from; empty where the seed made it.
std::string noise_file(const RunOptions& options, const Source& source) {
  if (!options.noise.empty()) return options.noise;
  return source.inputs && source.inputs->noise.count() > 0 ? options.inputs : "";
}

Json document_of(const RunOptions& options, const PolicyInfo& info, const std::string& noise,
                 const std::vector<Result>& results, bool with_values) {
  Json document = {{"nervus", version()},   {"checkpoint", options.policy.checkpoint}, {"family", info.family},
                   {"device", info.device}, {"precision", name_of(info.precision)},    {"robot", options.robot}};
  if (noise.empty()) document["seed"] = options.seed;
  else document["noise"] = noise;
  for (const Result& result : results) document["results"].push_back(to_json(result, with_values));
  return document;
}

int run(const RunOptions& options, const Output& output) {
  check_usage(options);
  const Source source = read_source(options);
  const Array noise = read_noise(options);
  Policy policy = Policy::load(options.policy.checkpoint, load_options(options, source, output));
  check_joints(options, source, policy.info().joints);
  std::vector<Result> results;
  for (const int steps : policy.info().steps) {
    const InferOptions infer{.steps = steps, .seed = options.seed, .noise = noise};
    results.push_back({"actions." + std::to_string(steps), steps, source.inputs.has_value(),
                       source.inputs ? policy.infer(*source.inputs, infer) : policy.infer(source.observation, infer)});
  }

  const PolicyInfo& info = policy.info();
  const std::string noise_path = noise_file(options, source);
  const ActionChunk& chunk = results.front().chunk;
  const std::string about = info.family + ", " + name_of(info.precision) + ", " +
                            (noise_path.empty() ? "seed " + std::to_string(options.seed)
                                                : "noise of " + std::filesystem::path(noise_path).filename().string()) +
                            ": " + std::to_string(chunk.steps) + " steps of " + std::to_string(chunk.dimensions) +
                            " values";
  output.text(about + ", on " + info.device);
  if (options.out.empty() && options.plot.empty())
    for (const Result& result : results) print_chunk(result, source.observation.state, output);
  print_timing(results, output);
  if (!options.out.empty()) {
    write_actions(options.out, results, document_of(options, info, noise_path, results, true));
    output.text("\nactions: " + options.out);
  }
  if (!options.plot.empty()) {
    write_text(options.plot, to_svg({options.robot.empty() ? "Actions" : "Actions of " + options.robot, about, results,
                                     source.observation.state}));
    output.text("plot:    " + options.plot);
  }
  output.document(document_of(options, info, noise_path, results, options.out.empty()));
  return 0;
}

void add_observation(CLI::App& verb, RunOptions& options) {
  add_option(verb, "--image", options.images, "CAMERA=FILE",
             "A camera's frame, once a camera: cam_high, cam_left_wrist, cam_right_wrist; PNG, JPEG or .npy "
             "[height, width, 3] u8, RGB, any size; a camera without a frame counts as a missing view");
  add_option(verb, "--state", options.state, "FILE",
             "Joint state in the robot's order and units (rad, m): .json (a list, or an object with 'state'), "
             ".npy, .csv or .txt");
  options.prompt_given = &add_option(verb, "--prompt", options.prompt, "TEXT", "The instruction, UTF-8");
  add_option(verb, "--robot", options.robot, "NAME",
             "Whose joints these are: aloha or robotwin (14 each: left arm 6, left gripper, right arm 6, right "
             "gripper); without it values pass in the model's units");
  add_option(verb, "--norm-stats", options.norm_stats, "FILE",
             "Statistics of the robot's data (default: norm_stats.json beside the checkpoint)");
  add_option(verb, "--normalization", options.normalization, "TYPE",
             "identity, meanstd, std, minmax, bounds_98, bounds_99, bounds_98_woclip or bounds_99_woclip "
             "(default: the robot's)");
}

}  // namespace

Command add_run(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<RunOptions>();
  add_checkpoint(verb, options->policy.checkpoint);
  add_option(verb, "--inputs", options->inputs, "PATH",
             "Tensors of the call, a .safetensors or a directory of .npy or .pt: images [B, V, P, 1176] or, u8, [B, V, "
             "S, S, 3], img_masks "
             "[B, V], lang_tokens and lang_masks [B, T], state [B, 75], noise [B, 50, 75]; actions are in the "
             "model's units");
  add_observation(verb, *options);
  add_steps(verb, options->policy);
  add_device(verb, options->policy);
  add_seed(verb, options->seed, "Seed of the noise; with --inputs, in place of theirs");
  options->seed_given = verb.get_option("--seed");
  add_option(verb, "--noise", options->noise, "FILE", "The noise itself: one f32 array [50, 75] or [B, 50, 75]");
  add_option(verb, "--out", options->out, "FILE",
             "Write the actions: .safetensors or .json (any number of --steps), .npy or .csv (one)");
  add_option(verb, "--plot", options->plot, "FILE", "Draw each dimension over the chunk: .svg");
  verb.footer(
      "Shapes: B samples, V views, P patches, T text tokens. Without --out and --plot the chunk is shown in short.\n"
      "\nExample:\n"
      "  nervus run --checkpoint tiny --robot aloha --steps 10 25 \\\n"
      "      --image cam_high=examples/aloha/cam_high.png --state examples/aloha/state.json \\\n"
      "      --norm-stats examples/aloha/norm_stats.json --prompt 'pick up the red cube' \\\n"
      "      --out actions.json --plot actions.svg\n");
  return [options, &output] { return run(*options, output); };
}

}  // namespace nervus::cli
