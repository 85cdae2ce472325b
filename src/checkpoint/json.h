// JSON from files that nobody vouches for: bounded in size, depth and number of values, without duplicate keys, and
// read through getters whose errors name file and field:
//   config.json: field 'vision_config.depth': expected a positive integer, found "two"
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace nervus {

// Whoever looks inside a Json includes <nlohmann/json.hpp>; whoever only uses Fields need not.
using Json = nlohmann::json;

struct JsonLimits {
  std::uint64_t bytes = std::uint64_t{64} << 20;
  int depth = 64;                               // arrays and objects inside each other
  std::int64_t values = std::int64_t{1} << 22;  // of any type, in the whole text
};

// Parses strict JSON (RFC 8259: valid UTF-8, no comments, no NaN or infinity, no duplicate keys). `file` is named in
// errors. Throws Error(checkpoint).
Json parse_json(std::string_view text, const std::string& file, const JsonLimits& limits = {});
// The same of a file; Error(io) if it cannot be read.
Json read_json(const std::filesystem::path& path, const JsonLimits& limits = {});

// An object of a JSON document, with its place in it. Copies share the document. Every getter throws
// Error(checkpoint) that names file, field, what was expected and what was found. A field that is null counts as
// missing; those with a fallback return it where the field is missing.
class Fields {
 public:
  static constexpr std::int64_t no_limit = std::numeric_limits<std::int64_t>::max();

  // Throws Error(checkpoint) unless `document` is an object.
  Fields(Json document, std::string file);
  static Fields parse(std::string_view text, const std::string& file, const JsonLimits& limits = {});
  static Fields read(const std::filesystem::path& path, const JsonLimits& limits = {});

  bool has(std::string_view name) const;
  // The names of this object's fields (null ones too), sorted.
  std::vector<std::string> names() const;

  std::int64_t integer(std::string_view name, std::int64_t min, std::int64_t max = no_limit) const;
  std::int64_t integer_or(std::string_view name, std::int64_t min, std::int64_t max, std::int64_t fallback) const {
    return has(name) ? integer(name, min, max) : fallback;
  }
  double number(std::string_view name) const;
  double number_or(std::string_view name, double fallback) const { return has(name) ? number(name) : fallback; }
  bool boolean(std::string_view name) const;
  bool boolean_or(std::string_view name, bool fallback) const { return has(name) ? boolean(name) : fallback; }
  std::string text(std::string_view name) const;
  std::string text_or(std::string_view name, const std::string& fallback) const {
    return has(name) ? text(name) : fallback;
  }
  std::vector<std::int64_t> integers(std::string_view name, std::int64_t min, std::int64_t max = no_limit) const;
  std::vector<double> numbers(std::string_view name) const;
  Fields object(std::string_view name) const;
  // The value as it is; a missing field is an error.
  const Json& value(std::string_view name) const;

  const std::string& file() const { return file_; }
  // "config.json: field 'vision_config.depth'"
  std::string where(std::string_view name) const;
  // Throws Error(checkpoint): "<where>: expected <expected>, found <the field's value>".
  [[noreturn]] void refuse(std::string_view name, const std::string& expected) const;

 private:
  Fields(std::shared_ptr<const Json> document, const Json* node, std::string file, std::string prefix);
  const Json* find(std::string_view name) const;

  std::shared_ptr<const Json> document_;
  const Json* node_;  // an object inside *document_
  std::string file_;
  std::string prefix_;  // "vision_config."
};

}  // namespace nervus
