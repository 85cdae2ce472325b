#include "models/nn/rotating_reader.h"

#include <algorithm>

namespace nervus {

RotatingReader::RotatingReader(WeightReader& reader, std::int64_t width, const std::vector<std::string>& readers)
    : reader_(reader) {
  const auto in_int8 = [&](const std::string& name) { return reader.device().encoding_for(name).by_row(); };
  if (std::ranges::any_of(readers, in_int8)) rotation_.emplace(width);
}

Linear RotatingReader::writer(const std::string& name, LinearLayout layout) {
  layout.full_output = true;
  if (rotation_) layout.rotated.outputs = &*rotation_;
  return reader_.linear({name}, layout);
}

Linear RotatingReader::reader(Norm& norm, const std::string& scale, const std::vector<std::string>& names,
                              LinearLayout layout) {
  std::vector<float> values = reader_.values(scale);
  if (rotation_) {
    layout.rotated.inputs = &*rotation_;
    layout.rotated.scale = values;
    std::ranges::fill(values, 1.0f);
  }
  norm = {reader_.device().constant(1, std::ssize(values), values), {}};
  return reader_.linear(names, layout);
}

}  // namespace nervus
