// RotatingReader: reads the linears around one residual stream, which is held rotated (rotation.h) where a linear reads
// it in int8: then no channel of a row is much larger than the rest. Otherwise it reads what WeightReader reads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/nn/weight_reader.h"

namespace nervus {

class RotatingReader {
 public:
  // `readers`: those whose format decides. All of a stream is rotated or none, whatever the formats of the rest.
  RotatingReader(WeightReader& reader, std::int64_t width, const std::vector<std::string>& readers);

  bool rotates() const { return rotation_.has_value(); }
  // What starts the stream, or is added to it.
  Linear writer(const std::string& name, LinearLayout layout = {});
  // What reads the stream through the norm whose scale has this name, and `norm` itself: of a stream that is rotated
  // the linear takes over the scale.
  Linear reader(Norm& norm, const std::string& scale, const std::vector<std::string>& names, LinearLayout layout);

 private:
  WeightReader& reader_;
  std::optional<Rotation> rotation_;
};

}  // namespace nervus
