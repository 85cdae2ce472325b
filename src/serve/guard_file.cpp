#include "serve/guard_file.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/json.h"
#include "core/message.h"

namespace nervus::serve {
namespace {

constexpr float unlimited = JointLimits::unlimited;

// A misspelt limit would be one that does not hold.
void refuse_unknown(const Fields& fields, const std::set<std::string>& known) {
  for (const std::string& name : fields.names())
    if (!known.contains(name)) fields.refuse(name, "one of the fields " + joined(known));
}

// A float32, as the guard compares.
float number_or(const Fields& fields, const std::string& name, float fallback) {
  if (!fields.has(name)) return fallback;
  const auto value = static_cast<float>(fields.number(name));
  if (!std::isfinite(value)) fields.refuse(name, "a number that float32 holds");
  return value;
}

float positive_or(const Fields& fields, const std::string& name, float fallback) {
  const float value = number_or(fields, name, fallback);
  if (!(value > 0)) fields.refuse(name, "a number above 0");
  return value;
}

void check_order(const Fields& fields, const std::string& least, const std::string& most, float low, float high) {
  if (low > high) fields.refuse(most, concat("at least '", least, "', which is ", low));
}

JointLimits read_joint(const Fields& fields) {
  refuse_unknown(fields,
                 {"name", "min", "max", "state_min", "state_max", "max_jump", "max_rate", "max_excess", "comment"});
  JointLimits joint;
  joint.name = fields.text("name");
  joint.least = number_or(fields, "min", -unlimited);
  joint.most = number_or(fields, "max", unlimited);
  joint.state_least = number_or(fields, "state_min", -unlimited);
  joint.state_most = number_or(fields, "state_max", unlimited);
  joint.jump = positive_or(fields, "max_jump", unlimited);
  joint.rate = positive_or(fields, "max_rate", unlimited);
  joint.excess = number_or(fields, "max_excess", unlimited);
  if (joint.excess < 0) fields.refuse("max_excess", "a number of at least 0");
  check_order(fields, "min", "max", joint.least, joint.most);
  check_order(fields, "state_min", "state_max", joint.state_least, joint.state_most);
  return joint;
}

constexpr JsonLimits file_limits = {.bytes = std::uint64_t{1} << 20, .depth = 8, .values = 65536};

GuardLimits limits_from(const Fields& fields, const std::vector<std::string>& joints, std::size_t dimensions) {
  refuse_unknown(fields, {"version", "actions_per_second", "on_trip", "observation_age_ms", "joints", "comment"});
  fields.integer("version", 1, 1);
  GuardLimits limits;
  limits.actions_per_second = fields.has("actions_per_second") ? positive_or(fields, "actions_per_second", 0) : 0;
  limits.age_ms = positive_or(fields, "observation_age_ms", unlimited);
  const std::string verdict = fields.text_or("on_trip", "hold");
  if (verdict != "hold" && verdict != "stop") fields.refuse("on_trip", "'hold' or 'stop'");
  limits.verdict = verdict == "hold" ? Verdict::hold : Verdict::stop;

  const Json& list = fields.value("joints");
  if (!list.is_array() || list.size() != dimensions)
    fields.refuse("joints", concat("an array of ", dimensions, ", one a dimension of an action"));
  for (std::size_t j = 0; j < dimensions; ++j) {
    const std::string place = concat(fields.where("joints"), "[", j, "]");
    limits.joints.push_back(read_joint(Fields(list[j], place)));
    const JointLimits& joint = limits.joints.back();
    if (j < joints.size() && joint.name != joints[j])
      fail(ErrorKind::checkpoint, place, ": expected '", joints[j], "', which the policy has there, found '",
           joint.name, "'");
    if (std::isfinite(joint.rate) && limits.actions_per_second == 0)
      fail(ErrorKind::checkpoint, place, ": 'max_rate' needs the file's 'actions_per_second', found none");
  }
  return limits;
}

}  // namespace

GuardLimits read_guard_limits(const std::filesystem::path& path, const std::vector<std::string>& joints,
                              std::size_t dimensions) {
  return limits_from(Fields::read(path, file_limits), joints, dimensions);
}

GuardLimits parse_guard_limits(std::string_view text, const std::string& file, const std::vector<std::string>& joints,
                               std::size_t dimensions) {
  return limits_from(Fields::parse(text, file, file_limits), joints, dimensions);
}

}  // namespace nervus::serve
