#include "models/lingbot/config.h"

#include <algorithm>

#include "core/message.h"
#include "models/lingbot/names.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t largest = 1 << 20;                    // of any extent: products of two stay far from overflow
constexpr std::int64_t most_pixels = 256, most_frames = 16;  // of a patch
constexpr std::int64_t most_layers = 512;                    // of a stack: the weight table lists the tensors of each

// Sizes from shapes. A size that the config names must agree with the tensors; one it does not name is theirs.
class Sizes {
 public:
  Sizes(const Checkpoint* tensors) : tensors_(tensors) {}

  bool known() const { return tensors_ != nullptr; }
  bool has(const std::string& name) const { return tensors_ != nullptr && tensors_->find(name) != nullptr; }

  // The extent of `axis` of a tensor, or `fallback` without the tensor.
  std::int64_t extent(const std::string& name, std::size_t axis, std::int64_t fallback) const {
    const TensorInfo* tensor = tensors_ == nullptr ? nullptr : tensors_->find(name);
    if (tensor == nullptr) return fallback;
    if (axis >= tensor->shape.size() || tensor->shape[axis] < 1 || tensor->shape[axis] > largest) {
      fail(ErrorKind::checkpoint, tensors_->source(name), ": expected axis ", axis, " of 1 to ", largest,
           ", found shape ", to_string(tensor->shape));
    }
    return tensor->shape[axis];
  }

  // How many of prefix + "0." + suffix, prefix + "1." + suffix, ... there are.
  std::int64_t count(const std::string& prefix, const std::string& suffix, std::int64_t fallback) const {
    if (tensors_ == nullptr) return fallback;
    std::int64_t n = 0;
    while (has(prefix + std::to_string(n) + "." + suffix)) ++n;
    return n > 0 ? n : fallback;
  }

 private:
  const Checkpoint* tensors_;
};

// The field if it is there (checked against the tensors later, by the weight table), else what the tensors say.
std::int64_t size_or(const Fields& fields, std::string_view name, std::int64_t found) {
  return fields.integer_or(name, 1, largest, found);
}

VisionConfig read_vision(const Fields& root_fields, const Sizes& sizes) {
  VisionConfig v;
  const std::string block = vision_block(0);
  v.depth = sizes.count(vision_root + "blocks.", "norm1.weight", v.depth);
  v.width = sizes.extent(vision_root + "patch_embed.proj.weight", 0, v.width);
  v.mlp = sizes.extent(block + "mlp.gate_proj.weight", 0, v.mlp);
  if (root_fields.has("vision_config")) {
    const Fields fields = root_fields.object("vision_config");
    v.depth = fields.integer_or("depth", 1, most_layers, v.depth);
    v.width = size_or(fields, "hidden_size", v.width);
    v.heads = size_or(fields, "num_heads", v.heads);
    v.mlp = size_or(fields, "intermediate_size", v.mlp);
    v.channels = size_or(fields, "in_channels", size_or(fields, "in_chans", v.channels));
    v.patch = fields.integer_or("patch_size", 1, most_pixels, v.patch);
    v.temporal = fields.integer_or("temporal_patch_size", 1, most_frames, v.temporal);
    v.merge = fields.integer_or("spatial_merge_size", 1, most_pixels, v.merge);
    v.window = size_or(fields, "window_size", v.window);
    if (fields.has("fullatt_block_indexes")) v.full_blocks = fields.integers("fullatt_block_indexes", 0, v.depth - 1);
    if (fields.text_or("hidden_act", "silu") != "silu") fields.refuse("hidden_act", "\"silu\"");
    if (v.width % v.heads != 0 || v.head_size() % 4 != 0) {
      fields.refuse("num_heads", "heads whose size (" + std::to_string(v.width) + " / heads) is a multiple of 4");
    }
    if (v.window < v.patch * v.merge) {
      fields.refuse("window_size",
                    "at least patch_size x spatial_merge_size (" + std::to_string(v.patch * v.merge) + ")");
    }
    if (v.channels != 3) fields.refuse("in_channels", "3 (red, green, blue)");
  } else if (v.width % v.heads != 0 || v.head_size() % 4 != 0) {
    fail(ErrorKind::checkpoint, root_fields.file(), ": field 'vision_config': expected it, since a width of ", v.width,
         " does not divide into 16 heads; found none");
  }
  return v;
}

DecoderConfig read_decoder(const Fields& fields, const Sizes& sizes, const std::string& prefix, DecoderConfig d) {
  const std::string layer = prefix + "layers.0.";
  d.layers = fields.integer_or("num_hidden_layers", 1, most_layers,
                               sizes.count(prefix + "layers.", "self_attn.k_proj.weight", d.layers));
  d.width = size_or(fields, "hidden_size", sizes.extent(layer + "self_attn.k_proj.weight", 1, d.width));
  d.mlp = size_or(fields, "intermediate_size", sizes.extent(layer + "mlp.gate_proj.weight", 0, d.mlp));
  const std::int64_t q_rows = sizes.extent(layer + "self_attn.q_proj.weight", 0, d.heads * d.head_size);
  d.heads = size_or(fields, "num_attention_heads", std::max<std::int64_t>(1, q_rows / d.head_size));
  if (q_rows % d.heads != 0) {
    fail(ErrorKind::checkpoint, fields.where("num_attention_heads"), ": expected a divisor of q_proj's ", q_rows,
         " rows, found ", d.heads);
  }
  d.head_size = q_rows / d.heads;
  if (sizes.has(layer + "self_attn.q_proj.weight") == false && fields.has("num_attention_heads")) {
    if (!fields.has("head_dim") && d.heads > d.width) {
      fields.refuse("num_attention_heads", "at most hidden_size (" + std::to_string(d.width) + "), or a head_dim");
    }
    d.head_size = size_or(fields, "head_dim", d.width / d.heads);  // no tensors: the config decides
  }
  const std::int64_t k_rows = sizes.extent(layer + "self_attn.k_proj.weight", 0, d.kv_heads * d.head_size);
  d.kv_heads = size_or(fields, "num_key_value_heads", std::max<std::int64_t>(1, k_rows / d.head_size));
  if (d.heads % d.kv_heads != 0) {
    fail(ErrorKind::checkpoint, fields.where("num_key_value_heads"), ": expected a divisor of ", d.heads,
         " query heads, found ", d.kv_heads);
  }
  if (d.head_size % 2 != 0) {
    fail(ErrorKind::checkpoint, fields.where("head_dim"), ": expected an even size, found ", d.head_size);
  }
  if (fields.text_or("hidden_act", "silu") != "silu") fields.refuse("hidden_act", "\"silu\"");
  const double eps = fields.number_or("rms_norm_eps", 1e-6);
  if (eps < 0.99e-6 || eps > 1.01e-6) fields.refuse("rms_norm_eps", "1e-06, as the public implementation has it");
  return d;
}

// A flag of the config against the tensor that comes with it.
bool agreed(const Fields& fields, std::string_view name, const Sizes& sizes, const std::string& tensor) {
  if (!sizes.known()) return fields.boolean_or(name, false);
  const bool there = sizes.has(tensor);
  if (fields.boolean_or(name, there) != there) {
    fields.refuse(name, concat(there ? "true, since the checkpoint has the tensor '"
                                     : "false, since the checkpoint has no tensor '",
                               tensor, "'"));
  }
  return there;
}

void read_variants(const Fields& fields, const Sizes& sizes, Config& c) {
  using Gate = AdaNormConfig::Gate;
  const std::string norm = expert_layer(0) + "input_layernorm.", last = expert_root + "norm.";
  const std::string joint_last = last + "gamma_beta_gate.weight";
  const bool joint = agreed(fields, "nosplit_gate_liner", sizes, norm + "gamma_beta_gate.weight");
  const bool separate = agreed(fields, "split_gate_liner", sizes, norm + "gate.weight");
  c.ada_norm.gate = joint ? Gate::joint : separate ? Gate::separate : Gate::none;
  c.separate_time = agreed(fields, "separate_time_proj", sizes, root + "time_mlp_in.weight");
  c.final_ada_norm =
      agreed(fields, "final_norm_adanorm", sizes, sizes.has(joint_last) ? joint_last : last + "gamma.weight");
  c.causal = fields.boolean_or("vlm_causal", false);
  if (sizes.known()) {
    c.ada_norm.weight = agreed(fields, "old_adanorm", sizes, norm + "weight");
    c.final_weight = sizes.has(last + "weight");
    c.final_gate = sizes.has(last + "gate.weight");
  } else {
    c.ada_norm.weight = fields.boolean_or("old_adanorm", !joint && !separate);
    c.final_weight = !c.final_ada_norm || c.ada_norm.weight;
    c.final_gate = separate;
  }
}

void read_queries(const Fields& fields, const Sizes& sizes, Config& c) {
  if (!fields.has("align_params")) return;
  const Fields align = fields.object("align_params");
  if (align.text_or("mode", "") != "query") return;
  c.query_tokens = align.integer("num_task_tokens", 1, 4096);
  const std::string name = root + "depth_align_embs";
  if (sizes.known() && !sizes.has(name)) {
    fail(ErrorKind::checkpoint, align.where("mode"), ": \"query\" needs the tensor '", name,
         "', found none: the depth queries cannot be invented; export the checkpoint again "
         "with them, or remove align_params if the model was trained without");
  }
  c.query_rows = sizes.extent(name, 0, c.query_tokens * 8);
  if (c.query_rows % c.query_tokens != 0) {
    align.refuse("num_task_tokens", "a divisor of the " + std::to_string(c.query_rows) + " rows of '" + name + "'");
  }
}

}  // namespace

bool recognises(const Fields& fields, const Checkpoint* tensors) {
  if (fields.has("type")) return fields.text("type") == "lingbotvla";
  return tensors != nullptr && tensors->find(language_layer(0) + "self_attn.k_proj.weight") != nullptr;
}

Config::Config()
    : ModelShape{.image_side = 224,
                 .vocabulary = 151936,
                 .text_tokens = 72,
                 .state = 75,
                 .action = 75,
                 .chunk = 50,
                 .steps = 10,
                 .cameras = {"cam_high", "cam_left_wrist", "cam_right_wrist"}} {}

Config read_config(const Fields& fields, const Checkpoint* tensors) {
  Config c;
  const Sizes sizes(tensors);
  c.vision = read_vision(fields, sizes);
  c.patches = {static_cast<int>(c.vision.patch), static_cast<int>(c.vision.merge), static_cast<int>(c.vision.temporal)};
  c.language = read_decoder(fields, sizes, language_root, c.language);
  const bool has_expert = fields.has("qwen_expert_config");
  c.expert = read_decoder(has_expert ? fields.object("qwen_expert_config") : Fields::parse("{}", fields.file()), sizes,
                          expert_root, c.expert);
  c.vocabulary = size_or(fields, "vocab_size", sizes.extent(language_root + "embed_tokens.weight", 0, c.vocabulary));
  c.state = size_or(fields, "max_state_dim", sizes.extent(root + "state_proj.weight", 1, c.state));
  c.action = size_or(fields, "max_action_dim", sizes.extent(root + "action_in_proj.weight", 1, c.action));
  c.chunk = fields.integer_or("n_action_steps", 1, 4096, c.chunk);
  c.steps = static_cast<int>(fields.integer_or("num_steps", 1, 1000, c.steps));
  c.text_tokens = fields.integer_or("tokenizer_max_length", 1, 4096, c.text_tokens);
  if (fields.has("resize_imgs_with_padding")) {
    const std::vector<std::int64_t> sides = fields.integers("resize_imgs_with_padding", 1, 4096);
    const std::int64_t cell = c.vision.patch * c.vision.merge;
    if (sides.size() != 2 || sides[0] != sides[1] || sides[0] % cell != 0) {
      fields.refuse("resize_imgs_with_padding", "two equal multiples of " + std::to_string(cell));
    }
    c.image_side = sides[0];
  }
  const std::int64_t grid = c.image_side / c.vision.patch;
  if (grid * grid > largest_limits.patches) {
    fields.refuse("resize_imgs_with_padding", concat("at most ", largest_limits.patches, " patches of ", c.vision.patch,
                                                     " pixels a side, not ", grid, " x ", grid));
  }
  read_variants(fields, sizes, c);
  read_queries(fields, sizes, c);
  if (c.expert.layers != c.language.layers || c.expert.kv_heads != c.language.kv_heads ||
      c.expert.head_size != c.language.head_size) {
    fail(ErrorKind::checkpoint, fields.where("qwen_expert_config"),
         ": expected the language model's layers, key/value heads and head size (", c.language.layers, ", ",
         c.language.kv_heads, ", ", c.language.head_size, "), since the expert attends to its cache; found ",
         c.expert.layers, ", ", c.expert.kv_heads, ", ", c.expert.head_size);
  }
  return c;
}

}  // namespace nervus::lingbot
