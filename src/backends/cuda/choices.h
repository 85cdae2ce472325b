// Which kernel computes a product of each shape: measured once for all devices of a kind in a process, and kept as text
// (LoadOptions::plan), so that other loads compute the same bits.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/cuda/wide/tile.h"

namespace nervus::cuda {

// What a product of one shape is computed with.
struct Choice {
  enum class Kernel { plain, library, tile };
  using Algorithm = std::array<unsigned char, 64>;  // a cublasLtMatmulAlgo_t, which is data

  Kernel kernel = Kernel::plain;
  WideTile tile;                 // of Kernel::tile
  Algorithm algorithm{};         // of Kernel::library
  bool apart = false;            // its product is of sums alone; finish_linear does the rest
  int candidates = 0;            // how many it was the best of
  std::int64_t nanoseconds = 0;  // that it took

  bool operator==(const Choice&) const = default;
};

// By shape: "linear 3840 1280 768 bf16 f32 6", "gate_up ...", "qkv ...", "fused_qkv ...".
using ChoiceMap = std::map<std::string, Choice>;
// How the shape of a product begins: "qkv ".
std::string_view beginning_of(WideRole role);
// What choices hold for: {"device", "NVIDIA H200, sm_90, 132 SMs"}, {"kernels", "0f3a..."}, ...
using ChoiceIdentity = std::vector<std::pair<std::string, std::string>>;

// Lines of text: the identity, a line for each shape, and a checksum.
std::string write_choices(const ChoiceIdentity& identity, const ChoiceMap& choices);
// Throws Error(checkpoint) where the text is not what write_choices gives, Error(unsupported) where it is of another
// identity; both name `file`, what was expected and found, and the mend.
ChoiceMap read_choices(std::string_view text, const std::string& file, const ChoiceIdentity& identity);

// The choices of one device.
class Choices {
 public:
  explicit Choices(ChoiceIdentity identity);

  // Takes over what read_choices finds, but for shapes that have a choice.
  void use(std::string_view text, const std::string& file);
  // All of them, for use().
  std::string text() const { return write_choices(identity_, choices_); }

  // The choice for a shape that this device meets first: what use() took over; or else what a device of the same
  // identity made before in this process; or else what `measure` makes, which no other device does meanwhile. What was
  // kept must be one that `fits`: Error(checkpoint) where it is the file's and does not.
  const Choice& choose(const std::string& shape, const std::function<bool(const Choice&)>& fits,
                       const std::function<Choice()>& measure);

  // "choices: 3 measured now, 0 measured before in this process, 40 read from h200.plan"
  std::string summary() const;

 private:
  struct Shared;

  ChoiceIdentity identity_;
  std::shared_ptr<Shared> shared_;  // by devices of the identity
  ChoiceMap choices_;
  std::string file_;
  int measured_ = 0, met_before_ = 0, read_ = 0;
};

}  // namespace nervus::cuda
