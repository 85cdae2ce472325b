#include "models/nn/weight_reader.h"

#include <cstring>

namespace nervus {
namespace {

std::int64_t padded(std::int64_t size, std::int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

std::int64_t columns_of(const TensorInfo& tensor) {  // a convolution kernel counts as a matrix
  return element_count({tensor.shape.begin() + 1, tensor.shape.end()});
}

std::int64_t taken_columns(const TensorInfo& tensor, const LinearLayout& layout) {
  return layout.inputs > 0 ? layout.inputs : columns_of(tensor);
}

}  // namespace

WeightReader::WeightReader(const Checkpoint& checkpoint, Device& device, const std::vector<TensorSpec>& table,
                           ProgressFunction progress, bool dry)
    : checkpoint_(checkpoint), device_(device), progress_(std::move(progress)), dry_(dry) {
  for (const TensorSpec& spec : table) table_.insert(spec.name);
}

const TensorInfo* WeightReader::find(const std::string& name) const {
  return table_.contains(name) ? checkpoint_.find(name) : nullptr;
}

const TensorInfo& WeightReader::tensor(const std::string& name) const {
  const TensorInfo* info = find(name);
  check(info != nullptr, "the weight table required " + name);
  return *info;
}

void WeightReader::count(const TensorInfo& tensor) {
  done_ += static_cast<std::int64_t>(tensor.bytes);
  const auto total = static_cast<std::int64_t>(checkpoint_.total_bytes());
  if (progress_) progress_(std::min(done_, total), total, tensor.name);  // some tensors are read twice
}

void WeightReader::fill_weight(const std::vector<std::string>& names, const LinearLayout& layout, DType to,
                               void* target) {
  auto* out = static_cast<std::byte*>(target);
  const std::size_t size = size_of(to);
  for (const std::string& name : names) {
    const TensorInfo& info = tensor(name + ".weight");
    const std::int64_t rows = info.shape[0], columns = columns_of(info), taken = taken_columns(info, layout);
    const std::size_t row_bytes = padded(taken, layout.pad_inputs) * size;
    if (dry_) {
      // a device that is real has made room, which nobody will look at
    } else if (taken == columns && row_bytes == columns * size && !layout.rotated) {
      checkpoint_.read(info.name, to, out);
    } else {  // through a copy, row by row into zeros
      std::memset(out, 0, rows * row_bytes);
      Array whole = checkpoint_.read(info.name, layout.rotated ? DType::f32 : to);
      if (layout.rotated) layout.rotated.apply(whole.data<float>(), rows, columns, device_.crew());
      const std::size_t stride = columns * size_of(whole.dtype);
      for (std::int64_t r = 0; r < rows; ++r) {
        convert(whole.dtype, whole.bytes.data() + r * stride, to, out + r * row_bytes, taken);
      }
    }
    const std::int64_t padding = padded(rows, layout.pad_outputs) - rows;
    std::memset(out + rows * row_bytes, 0, padding * row_bytes);
    out += (rows + padding) * row_bytes;
    count(info);
  }
}

Linear WeightReader::linear(const std::vector<std::string>& names, const LinearLayout& layout) {
  const TensorInfo& first = tensor(names[0] + ".weight");
  LinearSource source{.name = names[0],
                      .full_output = layout.full_output,
                      .largest_input = layout.rotated.largest_input(),
                      .block = layout.block,
                      .heads = layout.heads,
                      .gate_up = layout.gate_up};
  source.inputs = padded(taken_columns(first, layout), layout.pad_inputs);
  for (const std::string& name : names) {
    const TensorInfo& info = tensor(name + ".weight");
    check(taken_columns(info, layout) == taken_columns(first, layout), name + " stacks on " + names[0]);
    source.outputs += padded(info.shape[0], layout.pad_outputs);
  }
  source.read_weight = [&](DType to, void* target) { fill_weight(names, layout, to, target); };
  if (has(names[0] + ".bias")) {
    source.read_bias = [&](float* target) {
      for (const std::string& name : names) {
        std::vector<float> bias = values(name + ".bias");
        layout.rotated.apply_to_bias(bias, device_.crew());
        const std::int64_t rows = static_cast<std::int64_t>(bias.size()), all = padded(rows, layout.pad_outputs);
        check(rows == tensor(name + ".weight").shape[0], name + ": a bias for each output");
        std::memcpy(target, bias.data(), bias.size() * sizeof(float));
        std::memset(target + rows, 0, (all - rows) * sizeof(float));
        target += all;
      }
    };
  }
  return device_.make_linear(source);
}

std::vector<float> WeightReader::values(const std::string& name) {
  const TensorInfo& info = tensor(name);
  std::vector<float> result(element_count(info.shape));
  if (!dry_) checkpoint_.read(name, DType::f32, result.data());
  count(info);
  return result;
}

Tensor WeightReader::vector(const std::string& name) {
  const std::vector<float> numbers = values(name);
  return device_.constant(1, static_cast<std::int64_t>(numbers.size()), numbers);
}

Tensor WeightReader::table(const std::string& name, DType dtype) {
  const TensorInfo& info = tensor(name);
  Tensor result{nullptr, dtype, info.shape[0], info.shape[1]};
  result.data = device_.allocate(result.bytes());
  if (!dry_) {
    const Array whole = checkpoint_.read(name, dtype);
    device_.upload(result, whole.bytes.data());
  }
  count(info);
  return result;
}

std::vector<float> WeightReader::affine(const std::string& name, const std::vector<float>& x, std::int64_t rows,
                                        std::int64_t first_input) {
  const TensorInfo& info = tensor(name + ".weight");
  const std::int64_t outputs = info.shape[0], stride = info.shape[1], inputs = stride - first_input;
  std::vector<float> y(rows * outputs);
  if (dry_) return y;
  check(static_cast<std::int64_t>(x.size()) == rows * inputs, name + ": rows of its width");
  const std::vector<float> weight = values(name + ".weight");
  const std::vector<float> bias = has(name + ".bias") ? values(name + ".bias") : std::vector<float>(outputs);
  std::vector<float> transposed(inputs * rows), sum(rows);  // rows innermost: the loop over them vectorises
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < inputs; ++i) transposed[i * rows + r] = x[r * inputs + i];
  }
  for (std::int64_t o = 0; o < outputs; ++o) {
    std::fill(sum.begin(), sum.end(), bias[o]);
    for (std::int64_t i = 0; i < inputs; ++i) {
      const float w = weight[o * stride + first_input + i];
      const float* column = transposed.data() + i * rows;
      for (std::int64_t r = 0; r < rows; ++r) sum[r] += w * column[r];
    }
    for (std::int64_t r = 0; r < rows; ++r) y[r * outputs + o] = sum[r];
  }
  return y;
}

}  // namespace nervus
