#include "models/lingbot/expert.h"

#include <array>
#include <cmath>

#include "models/lingbot/names.h"

namespace nervus::lingbot {
namespace {

void apply_silu(std::vector<float>& x) {
  for (float& v : x) v = v / (1.0f + std::exp(-v));
}

std::vector<float> row_of(const std::vector<float>& x, std::int64_t row, std::int64_t width) {
  return {x.begin() + row * width, x.begin() + (row + 1) * width};
}

// What the norms are conditioned on, [times, D].
std::vector<float> condition(WeightReader& reader, const Config& config, const std::vector<float>& times) {
  std::vector<float> cond = time_embedding(times, config.expert.width);
  if (!config.separate_time) return cond;
  const auto count = static_cast<std::int64_t>(times.size());
  for (const char* name : {"time_mlp_in", "time_mlp_out"}) {
    cond = reader.affine(root + name, cond, count);
    apply_silu(cond);
  }
  return cond;
}

// Of one norm at each time: (1 + gamma) weight x / rms(x) + beta, and the gate of its residual.
std::vector<Style> styles(WeightReader& reader, const Config& config, const std::string& name,
                          const std::vector<float>& cond, std::int64_t times) {
  const std::int64_t width = config.expert.width;
  const std::vector<float> weight =
      reader.has(name + ".weight") ? reader.values(name + ".weight") : std::vector<float>(width, 1.0f);
  const auto affine = [&](const char* part) { return reader.affine(name + part, cond, times); };
  std::array<std::vector<float>, 3> parts;  // gamma, beta and gate, [times, D] each; the gate may be empty
  if (reader.has(name + ".gamma_beta_gate.weight")) {
    const std::vector<float> joint = affine(".gamma_beta_gate");  // [times, 3 D]
    for (std::int64_t i = 0; i < 3 * times; ++i) {
      const std::vector<float> part = row_of(joint, i, width);
      parts[i % 3].insert(parts[i % 3].end(), part.begin(), part.end());
    }
  } else {
    parts = {affine(".gamma"), affine(".beta")};
    if (reader.has(name + ".gate.weight")) parts[2] = affine(".gate");
  }
  auto& [gamma, beta, gate] = parts;
  for (std::size_t i = 0; i < gamma.size(); ++i) gamma[i] = (1.0f + gamma[i]) * weight[i % width];
  std::vector<Style> result;
  for (std::int64_t k = 0; k < times; ++k) {
    const auto constant = [&](const std::vector<float>& part) {
      return reader.device().constant(1, width, row_of(part, k, width));
    };
    result.push_back({{constant(gamma), constant(beta)}, gate.empty() ? Tensor{} : constant(gate)});
  }
  return result;
}

Heads heads_of(const Config& config) { return {config.expert.heads, config.expert.kv_heads, config.expert.head_size}; }

}  // namespace

BlockPlan plan_blocks(Device& device, const Config& config, std::int64_t rows) {
  return device.plan_blocks({.names = expert_root,
                             .qkv = "self_attn.q_proj",
                             .out = "self_attn.o_proj",
                             .gate_up = "mlp.gate_proj",
                             .down = "mlp.down_proj",
                             .width = config.expert.width,
                             .inner = config.expert.mlp,
                             .rows = rows,
                             .heads = heads_of(config)});
}

Expert::Expert(WeightReader& reader, const Config& config, std::int64_t rows, const BlockPlan& plan)
    : config_(config), rows_(rows), state_proj_(reader.linear({root + "state_proj"}, {.full_output = true})) {
  const BlockPlan* const edges = plan.wide ? nullptr : &plan;
  if (plan.fused && !config.separate_time) compose_action_in(reader, plan);
  if (!action_time_in_.fused) {
    composed_bias_.clear();
    action_in_ = reader.linear({root + "action_in_proj"}, {.full_output = config.separate_time});
    if (!config.separate_time)
      action_time_in_ = reader.linear({root + "action_time_mlp_in"}, {.inputs = config.expert.width});
  }
  if (!config.separate_time) {
    const BlockPlan* const fused = action_time_in_.fused ? edges : nullptr;
    action_time_out_ = reader.linear({root + "action_time_mlp_out"}, {.full_output = true, .block = fused});
  }
  for (std::int64_t i = 0; i < config.expert.layers; ++i) {
    const std::string n = expert_layer(i), a = n + "self_attn.";
    layers_.push_back({
        .qkv = reader.linear({a + "q_proj", a + "k_proj", a + "v_proj"}, {.block = &plan, .heads = heads_of(config)}),
        .out = reader.linear({a + "o_proj"}, {.full_output = true, .block = &plan}),
        .gate_up = reader.linear({n + "mlp.gate_proj", n + "mlp.up_proj"}, {.block = &plan, .gate_up = true}),
        .down = reader.linear({n + "mlp.down_proj"}, {.full_output = true, .block = &plan}),
    });
  }
  action_out_ = reader.linear({root + "action_out_proj"}, {.full_output = true, .block = edges});
}

// Nothing stands between the action projection and the actions' half of action_time_mlp_in: as one they are [E, A].
void Expert::compose_action_in(WeightReader& reader, const BlockPlan& plan) {
  const std::int64_t width = config_.expert.width, columns = config_.action;
  const std::vector<float> outer = reader.values(root + "action_time_mlp_in.weight");  // [E, 2 E]
  const std::vector<float> inner = reader.values(root + "action_in_proj.weight"),      // [E, A]
      inner_bias = reader.values(root + "action_in_proj.bias");
  std::vector<float> weight(width * columns);
  composed_bias_.assign(width, 0.0f);
  for (std::int64_t n = 0; n < width; ++n) {
    for (std::int64_t i = 0; i < width; ++i) {
      const float factor = outer[n * 2 * width + i];
      for (std::int64_t k = 0; k < columns; ++k) weight[n * columns + k] += factor * inner[i * columns + k];
      composed_bias_[n] += factor * inner_bias[i];
    }
  }
  LinearSource source{
      .name = root + "action_in_proj", .outputs = width, .inputs = columns, .block = &plan, .silu = true};
  source.read_weight = [&](DType to, void* target) {
    convert(DType::f32, weight.data(), to, target, std::ssize(weight));
  };
  action_time_in_ = reader.device().make_linear(source);
}

std::vector<TimeConstants> read_time_constants(WeightReader& reader, const Config& config,
                                               const std::vector<Step>& steps) {
  const auto count = static_cast<std::int64_t>(steps.size());
  const std::int64_t width = config.expert.width;
  std::vector<float> times;
  for (const Step& step : steps) times.push_back(step.t);
  const std::vector<float> cond = condition(reader, config, times);

  std::vector<TimeConstants> result(steps.size());
  for (std::int64_t i = 0; i < config.expert.layers; ++i) {
    const std::vector<Style> attn = styles(reader, config, expert_layer(i) + "input_layernorm", cond, count);
    const std::vector<Style> mlp = styles(reader, config, expert_layer(i) + "post_attention_layernorm", cond, count);
    for (std::int64_t k = 0; k < count; ++k) {
      result[k].attn_style.push_back(attn[k]);
      result[k].mlp_style.push_back(mlp[k]);
    }
  }
  const std::vector<Style> last =
      config.final_ada_norm
          ? styles(reader, config, expert_root + "norm", cond, count)
          : std::vector<Style>(steps.size(), Style{{reader.vector(expert_root + "norm.weight"), {}}, {}});
  const std::vector<float> time_bias =
      config.separate_time ? std::vector<float>{} : reader.affine(root + "action_time_mlp_in", cond, count, width);
  for (std::int64_t k = 0; k < count; ++k) {
    result[k].dt = steps[k].dt;
    result[k].final_norm = last[k].norm;
    if (!config.separate_time) result[k].action_time_bias = row_of(time_bias, k, width);
  }
  return result;
}

TimeConstants Expert::fold(Device& device, TimeConstants time) const {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    time.attn_style[i].norm = device.fold(time.attn_style[i].norm, layers_[i].qkv);
    time.mlp_style[i].norm = device.fold(time.mlp_style[i].norm, layers_[i].gate_up);
  }
  time.final_norm = device.fold(time.final_norm, action_out_);
  if (config_.separate_time) return time;
  for (std::size_t i = 0; i < composed_bias_.size(); ++i) time.action_time_bias[i] += composed_bias_[i];
  time.action_time_in = device.with_bias(action_time_in_, time.action_time_bias);
  return time;
}

Tensor Expert::states(Ops& ops, const Buffers& buffers) const {
  return ops.linear(ops.encode(buffers.state, state_proj_.input), state_proj_);
}

// Rows: the B states, then the B x n actions.
Residual Expert::embed_suffix(Ops& ops, const Tensor& states, const Tensor& x_t, const TimeConstants& time) const {
  const Residual h = ops.residual(states.rows + x_t.rows, layers_[0].qkv);
  const auto scope = ops.scope();
  const Norm& next = time.attn_style[0].norm;
  if (config_.separate_time) {
    ops.embed(h, states, ops.encode(x_t, action_in_.input), action_in_, next);
    return h;
  }
  Tensor x = x_t;
  if (!action_time_in_.fused) x = ops.linear(ops.encode(x_t, action_in_.input), action_in_);
  x = ops.silu_linear(x, time.action_time_in, h.h.rows, action_time_out_.input);
  ops.embed(h, states, x, action_time_out_, next);
  return h;
}

void Expert::advance(Ops& ops, const Buffers& buffers, const Rope& table, const Tensor& states, const Tensor& x_t,
                     const TimeConstants& time) const {
  const DeviceRows& rows = buffers.plan.suffix;
  const Rope rope{table.cosine, table.sine, rows.positions};
  const Visible visible(rows.ranges, true, rows.order);
  const Residual h = embed_suffix(ops, states, x_t, time);  // [B (1 + n), E]
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto scope = ops.scope();
    const Layer& w = layers_[i];
    const Style &attn = time.attn_style[i], &mlp = time.mlp_style[i];
    const Norm& next = i + 1 < layers_.size() ? time.attn_style[i + 1].norm : time.final_norm;
    const Tensor q = ops.qkv(h, attn.norm, w.qkv, rope, buffers.cache[i], rows.slots);
    Tensor x = ops.attention(q, buffers.cache[i], visible, w.qkv.heads, w.out.input);  // [B (1 + n), H d]
    ops.linear_add(h, x, w.out, attn.gate, mlp.norm);                                  // h += gate (x W^T)

    x = ops.gate_up(h, mlp.norm, w.gate_up, w.down.input);  // [B (1 + n), F]
    ops.linear_add(h, x, w.down, mlp.gate, next);
  }
  ops.euler_step(x_t, h, time.final_norm, action_out_, time.dt);
}

}  // namespace nervus::lingbot
