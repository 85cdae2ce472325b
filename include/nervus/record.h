// What `nervus serve --record FILE` wrote: every request that a policy computed, and what it answered. A replay asks a
// policy the same again and compares to the last bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nervus/options.h"

namespace nervus {

// How a file ends. What comes behind the last whole record is not read.
struct RecordEnd {
  std::uint64_t usable_bytes = 0, ignored_bytes = 0;
  bool damaged = false;  // bytes in the file have changed, and records behind them are lost
  std::string why;  // empty: the file is whole; otherwise in words, of a damage or of a last record that is cut short
};

struct RecordInfo {
  // As served: robot, precision, recipe, steps, time grid, normalization. The rest, among it device, statistics and
  // calibration, are defaults.
  LoadOptions load;
  std::string version, family, device;  // of the nervus and the policy that answered
};

// Throws Error(input) if the file is no recording, Error(io) if it cannot be read.
RecordInfo read_record_info(const std::filesystem::path& file);

// A reply that is not what was recorded.
struct ReplayDifference {
  std::uint64_t record = 0;  // of the file, from 0
  std::uint64_t session = 0, ticket = 0, seed = 0;
  int steps = 0;
  std::string dialect;
  std::string recorded,
      replayed;  // "ok", or the refusal: "guard_tripped: step 3: ..."; with other shapes "ok [50, 14]"
  // The first action that differs; absent where one of both has none.
  struct Element {
    std::int64_t step = 0, joint = 0;
    std::string name;  // of the joint, where the policy knows it
    float recorded = 0, replayed = 0;
  };
  std::optional<Element> first;
  std::int64_t elements = 0;  // that differ
  double largest = 0;         // difference of two elements
};

struct ReplayReport {
  RecordInfo info;
  RecordEnd end;
  std::uint64_t records = 0;    // that are whole
  std::uint64_t identical = 0;  // of those that were compared
  std::uint64_t skipped = 0;    // whose answer depended on time, or on a failed device
  std::vector<ReplayDifference> differences;

  bool passed() const { return differences.empty() && !end.damaged; }
};

// Runs every request through the policy in `directory`, as `load` says. Throws what Policy::load and read_record_info
// throw, and Error(input) if the file holds no request.
ReplayReport replay(const std::filesystem::path& file, const std::filesystem::path& directory, const LoadOptions& load);

}  // namespace nervus
