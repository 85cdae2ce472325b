#include "cli/actions.h"

#include <functional>
#include <limits>
#include <sstream>

#include "nervus/array_file.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

constexpr std::uintmax_t text_limit = 256u << 20;

std::string csv_of(const Result& result) {
  const ActionChunk& chunk = result.chunk;
  std::string out = result.batched ? "batch,step" : "step";
  for (std::int64_t d = 0; d < chunk.dimensions; ++d) out += "," + dimension_name(chunk, static_cast<std::size_t>(d));
  out += '\n';
  const float* value = chunk.values.data();
  for (std::int64_t b = 0; b < chunk.batch; ++b)
    for (std::int64_t s = 0; s < chunk.steps; ++s) {
      out += (result.batched ? std::to_string(b) + "," : "") + std::to_string(s);
      for (std::int64_t d = 0; d < chunk.dimensions; ++d) out += "," + shortest(*value++);
      out += '\n';
    }
  return out;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::input, path.string() + ": " + what + ": expected a file that 'nervus run --out' wrote");
}

// Values of a .csv with the columns "step" or "batch,step" and one a dimension.
Array array_of_csv(const std::filesystem::path& path) {
  std::istringstream lines(read_text(path, text_limit));
  std::string line;
  std::getline(lines, line);
  const bool batched = line.starts_with("batch,step,");
  if (!batched && !line.starts_with("step,")) refuse(path, "line 1 does not begin with 'step,'");
  std::vector<float> values, places;  // places: the columns before the values
  std::int64_t rows = 0, columns = 0, batches = 1;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string field;
    const std::size_t before = values.size();
    for (int column = 0; std::getline(fields, field, ','); ++column) {
      const auto value = number_of<float>(field);
      if (!value) refuse(path, "line " + std::to_string(rows + 2) + ": expected a number, found '" + field + "'");
      (column >= (batched ? 2 : 1) ? values : places).push_back(*value);
      if (batched && column == 0 && *value >= 0 && *value < 1e6f) batches = static_cast<std::int64_t>(*value) + 1;
    }
    const auto found = static_cast<std::int64_t>(values.size() - before);
    if (rows++ == 0) columns = found;
    if (found != columns || found == 0)
      refuse(path, "line " + std::to_string(rows + 1) + ": expected " + std::to_string(columns) + " values, found " +
                       std::to_string(found));
  }
  if (rows == 0 || batches < 1 || rows % batches != 0) refuse(path, std::to_string(rows) + " rows of values");
  for (std::int64_t row = 0, steps = rows / batches; row < rows; ++row) {
    const auto* place = &places[static_cast<std::size_t>(batched ? 2 * row : row)];
    if ((batched && *place++ != static_cast<float>(row / steps)) || *place != static_cast<float>(row % steps))
      refuse(path, "line " + std::to_string(row + 2) + ": expected " +
                       (batched ? "batch " + std::to_string(row / steps) + " and " : "") + "step " +
                       std::to_string(row % steps));
  }
  return Array::from(values, batched ? Shape{batches, rows / batches, columns} : Shape{rows, columns});
}

// Appends the numbers of nested lists with extents shape[axis ...].
void flatten(const Json& node, const Shape& shape, std::size_t axis, std::vector<float>& values) {
  if (axis == shape.size()) {
    values.push_back(node.is_null() ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(node.get<double>()));
    return;
  }
  if (!node.is_array() || static_cast<std::int64_t>(node.size()) != shape[axis])
    throw std::runtime_error("'values' does not have the shape " + to_string(shape));
  for (const Json& element : node) flatten(element, shape, axis + 1, values);
}

std::map<std::string, Array> arrays_of_json(const std::filesystem::path& path) {
  std::map<std::string, Array> arrays;
  try {
    const Json document = Json::parse(read_text(path, text_limit));
    for (const Json& result : document.at("results")) {
      const Shape shape = result.at("shape").get<Shape>();
      if (shape.empty() || shape.size() > 3)
        throw std::runtime_error("'shape' has " + std::to_string(shape.size()) + " extents");
      std::vector<float> values;
      flatten(result.at("values"), shape, 0, values);
      arrays[result.at("name").get<std::string>()] = Array::from(values, shape);
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string what = error.what();  // "[json.exception.parse_error.101] ..."
    refuse(path, what.starts_with("[json") ? what.substr(what.find("] ") + 2) : what);
  }
  return arrays;
}

}  // namespace

std::string dimension_name(const ActionChunk& chunk, std::size_t dimension) {
  const std::string &name = chunk.names.at(dimension), &unit = chunk.units.at(dimension);
  return unit.empty() ? name : name + " [" + unit + "]";
}

std::vector<std::pair<std::string, double>> stages_of(const ActionChunk& chunk) {
  std::vector<std::pair<std::string, double>> stages;
  for (const char* stage : {"preprocess", "vision", "prefix", "denoise", "postprocess", "total"})
    if (const auto time = chunk.timing.find(stage); time != chunk.timing.end()) stages.push_back(*time);
  return stages;
}

Array to_array(const Result& result) {
  const ActionChunk& chunk = result.chunk;
  return Array::from(chunk.values, result.batched ? Shape{chunk.batch, chunk.steps, chunk.dimensions}
                                                  : Shape{chunk.steps, chunk.dimensions});
}

Json to_json(const Result& result, bool with_values) {
  const Array array = to_array(result);
  Json out = {{"name", result.name}, {"steps", result.steps}, {"shape", array.shape}};
  out["names"] = result.chunk.names;
  out["units"] = result.chunk.units;
  for (const auto& [stage, milliseconds] : stages_of(result.chunk)) out["timing_ms"][stage] = milliseconds;
  if (!with_values) return out;
  const float* value = result.chunk.values.data();
  const std::function<Json(std::size_t)> nest = [&](std::size_t axis) {
    if (axis == array.shape.size()) return Json(number_of<double>(shortest(*value++)).value());
    Json list = Json::array();
    for (std::int64_t i = 0; i < array.shape[axis]; ++i) list.push_back(nest(axis + 1));
    return list;
  };
  out["values"] = nest(0);
  return out;
}

void check_action_path(const std::filesystem::path& path, std::size_t results) {
  const std::string ending = path.extension().string();
  if (ending == ".safetensors" || ending == ".json") return;
  if (ending != ".npy" && ending != ".csv")
    throw Error(ErrorKind::usage,
                "--out: " + path.string() + ": expected a name ending in .safetensors, .npy, .csv or .json");
  if (results > 1)
    throw Error(ErrorKind::usage, "--out: " + path.string() + ": a " + ending +
                                      " file holds one result, and --steps asks for " + std::to_string(results) +
                                      ": write .safetensors or .json");
}

void write_actions(const std::filesystem::path& path, const std::vector<Result>& results, const Json& document) {
  const std::string ending = path.extension().string();
  if (ending == ".csv") return write_text(path, csv_of(results.front()));
  if (ending == ".json") return write_text(path, document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  std::map<std::string, Array> arrays;
  for (const Result& result : results) arrays[result.name] = to_array(result);
  write_arrays(path, arrays);
}

std::map<std::string, Array> read_actions(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".json") return arrays_of_json(path);
  if (ending == ".csv") return {{path.stem().string(), array_of_csv(path)}};
  return read_arrays(path);
}

}  // namespace nervus::cli
