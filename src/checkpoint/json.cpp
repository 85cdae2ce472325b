#include "checkpoint/json.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/file.h"
#include "core/message.h"

namespace nervus {
namespace {

// Builds a Json from the events of nlohmann's parser, which is itself iterative, within limits.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string file, const JsonLimits& limits) : file_(std::move(file)), limits_(limits) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return add(Json::object()); }
  bool start_array(std::size_t) override { return add(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    const auto [place, added] = open_.back()->get_ref<Json::object_t&>().try_emplace(std::move(name));
    if (!added)
      fail(ErrorKind::checkpoint, file_, ": the key ", in_quotes(place->first), " occurs twice in one object");
    member_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ...; last read: '...'; expected ..."
    std::string what = error.what();
    what.replace(0, what.find("] ") + 2, ": ");
    if (what.starts_with(": parse error")) what.erase(0, std::string_view(": parse error").size());
    if (const auto read = what.find("; last read: '"); read != std::string::npos) {
      const auto end = what.rfind("'; expected ");
      what.erase(read, end == std::string::npos ? end : end + 1 - read);
    }
    fail(ErrorKind::checkpoint, file_, ": not valid JSON", what.substr(0, 300));
  }

  Json take() { return std::move(root_); }

 private:
  bool add(Json value) {
    if (++values_ > limits_.values) {
      fail(ErrorKind::checkpoint, file_, ": expected at most ", limits_.values, " JSON values");
    }
    const bool opens = value.is_structured();
    if (opens && open_.size() >= static_cast<std::size_t>(limits_.depth)) {
      fail(ErrorKind::checkpoint, file_, ": expected arrays and objects at most ", limits_.depth,
           " deep inside each other");
    }
    Json* place = open_.empty() ? &root_ : member_;
    if (!open_.empty() && open_.back()->is_array()) place = &open_.back()->get_ref<Json::array_t&>().emplace_back();
    *place = std::move(value);
    if (opens) open_.push_back(place);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string file_;
  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> open_;  // the containers that are open; only the last one grows, so the pointers stay valid
  Json* member_ = nullptr;   // the value of the last key
  std::int64_t values_ = 0;
};

std::string found(const Json& value) {
  if (value.is_array()) return concat("an array of ", value.size());
  return value.is_object() ? "an object" : shortened(value.dump(), 60);
}

bool in_range(const Json& value, std::int64_t min, std::int64_t max) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && !std::in_range<std::int64_t>(value.get<std::uint64_t>())) return false;
  return value.get<std::int64_t>() >= min && value.get<std::int64_t>() <= max;
}

// "a positive integer"
std::string integer_range(std::int64_t min, std::int64_t max) {
  if (max != Fields::no_limit) return concat("an integer from ", min, " to ", max);
  if (min == 0) return "a non-negative integer";
  return min == 1 ? "a positive integer" : concat("an integer of at least ", min);
}

// The field, which `accepts` must be true of.
template <typename Accepts>
const Json& expect(const Fields& fields, std::string_view name, const std::string& expected, Accepts accepts) {
  if (!fields.has(name) || !std::invoke(accepts, fields.value(name))) fields.refuse(name, expected);
  return fields.value(name);
}

// The elements of an array that must all be `kind`.
template <typename Value, typename Accepts>
std::vector<Value> elements(const Fields& fields, std::string_view name, const std::string& kind, Accepts accepts) {
  const Json& values = expect(fields, name, "an array, each " + kind, &Json::is_array);
  const auto wrong = std::ranges::find_if_not(values, accepts);
  if (wrong == values.end()) return values.get<std::vector<Value>>();
  fail(ErrorKind::checkpoint, fields.where(concat(name, "[", wrong - values.begin(), "]")), ": expected ", kind,
       ", found ", found(*wrong));
}

}  // namespace

Json parse_json(std::string_view text, const std::string& file, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    fail(ErrorKind::checkpoint, file, ": expected at most ", limits.bytes, " bytes of JSON, found ", text.size());
  }
  // The parser would take a zero byte for the end of the text.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    fail(ErrorKind::checkpoint, file, ": not valid JSON: a zero byte at offset ", zero);
  }
  Builder builder(file, limits);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json read_json(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_text(path, limits.bytes), path.string(), limits);
}

Fields::Fields(Json document, std::string file)
    : document_(std::make_shared<const Json>(std::move(document))), node_(document_.get()), file_(std::move(file)) {
  if (!node_->is_object()) fail(ErrorKind::checkpoint, file_, ": expected a JSON object, found ", found(*node_));
}

Fields::Fields(std::shared_ptr<const Json> document, const Json* node, std::string file, std::string prefix)
    : document_(std::move(document)), node_(node), file_(std::move(file)), prefix_(std::move(prefix)) {}

Fields Fields::parse(std::string_view text, const std::string& file, const JsonLimits& limits) {
  return {parse_json(text, file, limits), file};
}

Fields Fields::read(const std::filesystem::path& path, const JsonLimits& limits) {
  return {read_json(path, limits), path.string()};
}

const Json* Fields::find(std::string_view name) const {
  const auto place = node_->find(name);
  return place == node_->end() || place->is_null() ? nullptr : &*place;
}

bool Fields::has(std::string_view name) const { return find(name) != nullptr; }

std::vector<std::string> Fields::names() const {
  std::vector<std::string> names;
  for (const auto& member : node_->items()) names.push_back(member.key());
  return names;
}

std::string Fields::where(std::string_view name) const {
  return concat(file_, ": field ", in_quotes(concat(prefix_, name)));
}

void Fields::refuse(std::string_view name, const std::string& expected) const {
  const auto place = node_->find(name);
  const std::string what = place == node_->end() ? "but it is missing" : "found " + found(*place);
  fail(ErrorKind::checkpoint, where(name), ": expected ", expected, ", ", what);
}

std::int64_t Fields::integer(std::string_view name, std::int64_t min, std::int64_t max) const {
  const auto accepts = [&](const Json& value) { return in_range(value, min, max); };
  return expect(*this, name, integer_range(min, max), accepts).get<std::int64_t>();
}

double Fields::number(std::string_view name) const {
  return expect(*this, name, "a number", &Json::is_number).get<double>();
}

bool Fields::boolean(std::string_view name) const {
  return expect(*this, name, "true or false", &Json::is_boolean).get<bool>();
}

std::string Fields::text(std::string_view name) const {
  return expect(*this, name, "a string", &Json::is_string).get<std::string>();
}

std::vector<std::int64_t> Fields::integers(std::string_view name, std::int64_t min, std::int64_t max) const {
  const auto accepts = [&](const Json& value) { return in_range(value, min, max); };
  return elements<std::int64_t>(*this, name, integer_range(min, max), accepts);
}

std::vector<double> Fields::numbers(std::string_view name) const {
  return elements<double>(*this, name, "a number", &Json::is_number);
}

Fields Fields::object(std::string_view name) const {
  const Json& value = expect(*this, name, "an object", &Json::is_object);
  return {document_, &value, file_, concat(prefix_, name, ".")};
}

const Json& Fields::value(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) refuse(name, "a value");
  return *value;
}

}  // namespace nervus
