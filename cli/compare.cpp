// nervus compare: two files of arrays or actions.
#include <algorithm>
#include <cmath>
#include <set>

#include "cli/actions.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

struct CompareOptions {
  std::string a, b;
  double tolerance = 0;
  std::string metric = "max";
  std::vector<std::string> names;
};

using Arrays = std::map<std::string, Array>;

struct Difference {
  std::string why;  // empty if values could be compared
  double absolute = 0, relative = 0, cosine = 1;
  std::size_t worst = 0;  // flat index of the largest difference
  bool identical = false;
};

std::vector<double> to_double(const Array& array) {
  if (array.dtype == DType::f64) return {array.data<double>(), array.data<double>() + array.count()};
  if (array.dtype == DType::i64) return {array.data<std::int64_t>(), array.data<std::int64_t>() + array.count()};
  if (array.dtype == DType::u64) return {array.data<std::uint64_t>(), array.data<std::uint64_t>() + array.count()};
  const std::vector<float> values = array.to_float();
  return {values.begin(), values.end()};
}

// Leading extents of one say nothing about the values.
Shape squeezed(Shape shape) {
  while (shape.size() > 1 && shape.front() == 1) shape.erase(shape.begin());
  return shape;
}

Difference difference_of(const Array& a, const Array& b) {
  if (a.dtype != b.dtype) return {std::string("type: ") + name_of(a.dtype) + " and " + name_of(b.dtype)};
  if (squeezed(a.shape) != squeezed(b.shape)) return {"shape: " + to_string(a.shape) + " and " + to_string(b.shape)};
  Difference out{.why = {}, .identical = a.bytes == b.bytes};
  const std::vector<double> x = to_double(a), y = to_double(b);
  double largest = 0, dot = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = x[i] == y[i] ? 0 : std::abs(x[i] - y[i]);
    if (!(difference <= out.absolute) && !std::isnan(out.absolute)) {
      out.absolute = difference;
      out.worst = i;
    }
    largest = std::max(largest, std::abs(y[i]));
    dot += x[i] * y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  out.relative = out.absolute == 0 ? 0 : out.absolute / largest;
  if (out.identical || out.absolute == 0) return out;
  out.cosine = xx > 0 && yy > 0 ? dot / std::sqrt(xx) / std::sqrt(yy) : 0;
  return out;
}

std::string index_of(std::size_t flat, const Shape& shape) {
  Shape index(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0; flat /= static_cast<std::size_t>(shape[axis]))
    index[axis] = static_cast<std::int64_t>(flat % static_cast<std::size_t>(shape[axis]));
  return to_string(index);
}

bool within(const Difference& difference, const CompareOptions& options) {
  if (!difference.why.empty()) return false;
  if (options.tolerance == 0) return difference.identical;
  return (options.metric == "max" ? difference.relative : 1 - difference.cosine) <= options.tolerance;
}

// Single arrays are compared whatever their names; of several, those of one name.
std::vector<std::pair<std::string, Difference>> differences(const CompareOptions& options, const Arrays& a,
                                                            const Arrays& b) {
  if (a.size() == 1 && b.size() == 1 && options.names.empty())
    return {{a.begin()->first, difference_of(a.begin()->second, b.begin()->second)}};
  std::set<std::string> names(options.names.begin(), options.names.end());
  if (names.empty())
    for (const auto* arrays : {&a, &b})
      for (const auto& [name, array] : *arrays) names.insert(name);
  std::vector<std::pair<std::string, Difference>> out;
  for (const std::string& name : names) {
    if (a.contains(name) && b.contains(name)) out.emplace_back(name, difference_of(a.at(name), b.at(name)));
    else out.emplace_back(name, Difference{"not in " + (a.contains(name) ? options.b : options.a)});
  }
  return out;
}

int compare(const CompareOptions& options, const Output& output) {
  const Arrays a = read_actions(options.a), b = read_actions(options.b);
  if (a.empty() && b.empty())
    throw Error(ErrorKind::input, options.a + " and " + options.b + ": expected arrays to compare, found none");
  Table table({"array", "largest error", "over largest value", "1 - cosine", "at", ""});
  Json document = {{"a", options.a}, {"b", options.b}, {"metric", options.metric}, {"tolerance", options.tolerance}};
  document["arrays"] = Json::array();
  bool passed = true;
  for (const auto& [name, difference] : differences(options, a, b)) {
    const bool good = within(difference, options);
    passed = passed && good;
    Json entry = {{"name", name}, {"passed", good}};
    if (!difference.why.empty()) {
      table.add({name, difference.why, "", "", "", "FAIL"}, Style::bad);
      entry["why"] = difference.why;
    } else {
      const std::string index = difference.absolute == 0 ? "" : index_of(difference.worst, a.at(name).shape);
      table.add({name, number(difference.absolute, 3), number(difference.relative, 3), number(1 - difference.cosine, 3),
                 index,
                 difference.identical ? "identical"
                 : good               ? "pass"
                                      : "FAIL"},
                good ? Style::plain : Style::bad);
      entry.update({{"identical", difference.identical},
                    {"error", difference.absolute},
                    {"relative_error", difference.relative},
                    {"cosine", difference.cosine},
                    {"worst", index}});
    }
    document["arrays"].push_back(entry);
  }
  document["passed"] = passed;
  output.verdict(table, document, passed, passed ? "equal within the tolerance" : "DIFFERENT");
  return passed ? 0 : 1;
}

}  // namespace

Command add_compare(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<CompareOptions>();
  add_option(verb, "A", options->a, "PATH", "Found: .safetensors, .npy, .pt, or actions in .json or .csv").required();
  add_option(verb, "B", options->b, "PATH", "Expected: likewise").required();
  add_option(verb, "--tolerance", options->tolerance, "X",
             "Largest difference by --metric; 0: every bit must be the same")
      .check(CLI::Validator(
          [](const std::string& text) {
            double value = 0;
            const bool good = CLI::detail::lexical_cast(text, value) && std::isfinite(value) && value >= 0;
            return good ? std::string() : "expected a number not below 0, found '" + text + "'";
          },
          ""));
  add_option(verb, "--metric", options->metric, "max|cosine",
             "max: largest |a - b| over the largest |b|; cosine: 1 - cosine");
  add_option(verb, "--names", options->names, "NAME...", "Compare these arrays alone (default: all of both files)");
  verb.footer(
      "Types must be the same, and shapes but for leading extents of one; .json and .csv hold f32. Exit code 1 if\n"
      "anything differs beyond the tolerance or is in one file alone.\n"
      "\nExample:\n  nervus compare actions.safetensors expected.safetensors --names actions.10 --tolerance 1e-4\n");
  return [options, &output] { return compare(*options, output); };
}

}  // namespace nervus::cli
