// WeightReader: from a checkpoint's tensors to linears and constants on a device, with progress.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "backends/device.h"
#include "checkpoint/checkpoint.h"
#include "models/families.h"
#include "models/nn/rotation.h"

namespace nervus {

// How tensors become one linear.
struct LinearLayout {
  std::int64_t pad_outputs = 1;  // the rows of each tensor are padded with zeros to a multiple of this
  std::int64_t pad_inputs = 1;   // likewise the columns
  std::int64_t inputs = 0;       // only so many of the first columns are taken; 0: all
  bool full_output = false;      // see LinearSource, as the rest
  const BlockPlan* block = nullptr;
  Heads heads = {};
  bool gate_up = false;
  Rotated rotated = {};
};

class WeightReader {
 public:
  // `table`: whose tensors alone are read, since theirs alone are the shapes that were checked. `dry`: nothing is read,
  // values are zero. `progress` counts the bytes of the tensors read.
  WeightReader(const Checkpoint& checkpoint, Device& device, const std::vector<TensorSpec>& table,
               ProgressFunction progress, bool dry);

  // Whether it is in the table and in the checkpoint.
  bool has(const std::string& name) const { return find(name) != nullptr; }
  // Tensors `name.weight` (and `name.bias`, where the first has one), stacked along the outputs.
  Linear linear(const std::vector<std::string>& names, const LinearLayout& layout = {});
  // A tensor as f32 [1, n].
  Tensor vector(const std::string& name);
  // A tensor [rows, columns] as `dtype`, e.g. an embedding.
  Tensor table(const std::string& name, DType dtype);
  // A whole tensor on the host.
  std::vector<float> values(const std::string& name);
  // y [T, N] = x [T, K] W^T + b of `name`, on the host in float32; for what is folded into constants. W are the K
  // columns from `first_input` on.
  std::vector<float> affine(const std::string& name, const std::vector<float>& x, std::int64_t rows,
                            std::int64_t first_input = 0);
  Device& device() { return device_; }

 private:
  const TensorInfo* find(const std::string& name) const;
  const TensorInfo& tensor(const std::string& name) const;
  void count(const TensorInfo& tensor);
  void fill_weight(const std::vector<std::string>& names, const LinearLayout& layout, DType to, void* target);

  const Checkpoint& checkpoint_;
  Device& device_;
  std::set<std::string> table_;
  ProgressFunction progress_;
  bool dry_;
  std::int64_t done_ = 0;
};

}  // namespace nervus
