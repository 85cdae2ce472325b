#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <set>

#include "checkpoint/file.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr const char* index_name = "model.safetensors.index.json";

bool is_plain(const std::string& file_name) {
  return !file_name.empty() && file_name != "." && file_name != ".." &&
         file_name.find_first_of("/\\") == std::string::npos && file_name.find('\0') == std::string::npos;
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& directory) {
  std::error_code ignored;  // what cannot be looked up does not exist
  if (!std::filesystem::is_directory(directory, ignored)) {
    const bool exists = is_there(directory);
    fail(ErrorKind::io, directory.string(), ": expected a checkpoint directory, found ",
         exists ? "a file: name the directory it is in" : "nothing there");
  }
  Checkpoint checkpoint(directory);
  if (is_there(directory / "model.safetensors")) {
    checkpoint.add_file(directory / "model.safetensors");
  } else if (is_there(directory / index_name)) {
    checkpoint.open_index(directory / index_name);
  } else {
    fail(ErrorKind::checkpoint, directory.string(), ": expected model.safetensors or ", index_name,
         " in it, found neither");
  }
  return checkpoint;
}

void Checkpoint::add_file(const std::filesystem::path& path) {
  files_.push_back(Safetensors::open(path));
  const Safetensors& file = files_.back();
  for (const auto& tensor : file.tensors()) {
    const auto [place, added] = places_.try_emplace(tensor.name, Place{files_.size() - 1, &tensor});
    const std::string& owner = files_[place->second.file].path();
    if (!added) fail(ErrorKind::checkpoint, file.source(tensor.name), ": it is also in ", owner);
  }
}

void Checkpoint::open_index(const std::filesystem::path& path) {
  const Fields index = Fields::read(path);
  const Fields weight_map = index.object("weight_map");
  std::set<std::string> shards;
  for (const auto& name : weight_map.names()) {
    const std::string shard = weight_map.text(name);
    if (!is_plain(shard)) weight_map.refuse(name, "the plain name of a file in the same directory");
    shards.insert(shard);
  }
  for (const auto& shard : shards) {
    if (!is_there(directory_ / shard)) {
      fail(ErrorKind::checkpoint, index.file(), ": the shard ", in_quotes(shard), " is missing: download it again");
    }
    add_file(directory_ / shard);
  }
  for (const auto& name : weight_map.names()) {
    const auto place = places_.find(name);
    const std::string expected = (directory_ / weight_map.text(name)).string();
    const std::string found = place == places_.end() ? "no shard" : files_[place->second.file].path();
    if (found == expected) continue;
    fail(ErrorKind::checkpoint, index.file(), ": tensor ", in_quotes(name), ": expected it in ", expected,
         ", found it in ", found);
  }
  for (const auto& [name, place] : places_) {
    if (!weight_map.has(name)) fail(ErrorKind::checkpoint, source(name), ": it is not named in ", index.file());
  }
  if (!index.has("metadata") || !index.object("metadata").has("total_size")) return;
  const double total_size = index.object("metadata").number("total_size");  // some tools write 1.0e9
  if (total_size != static_cast<double>(total_bytes())) {
    index.object("metadata").refuse("total_size", concat(total_bytes(), ", the bytes of all tensors"));
  }
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto place = places_.find(name);
  return place == places_.end() ? nullptr : place->second.tensor;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : places_) names.push_back(name);
  return names;
}

std::string Checkpoint::source(std::string_view name) const {
  const auto place = places_.find(name);
  if (place != places_.end()) return files_[place->second.file].source(name);
  return concat(files_.size() == 1 ? files_[0].path() : directory_.string(), ": tensor ", in_quotes(name));
}

const Checkpoint::Place& Checkpoint::place(const std::string& name) const {
  const auto place = places_.find(name);
  if (place == places_.end()) fail(ErrorKind::checkpoint, source(name), ": there is none of that name");
  return place->second;
}

void Checkpoint::read(const std::string& name, DType to, void* target) const {
  const Place& from = place(name);
  files_[from.file].read(*from.tensor, to, target);
}

Array Checkpoint::read(const std::string& name, DType to) const {
  Array array(to, place(name).tensor->shape);
  read(name, to, array.bytes.data());
  return array;
}

std::uint64_t Checkpoint::total_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [name, place] : places_) total += place.tensor->bytes;
  return total;
}

std::string Checkpoint::digest() const {
  std::uint64_t state = 0xcbf29ce484222325u;
  const auto add = [&state](std::string_view bytes) {
    for (const char byte : bytes) state = (state ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  };
  for (const auto& [name, place] : places_) {
    const TensorInfo& tensor = *place.tensor;
    add(concat(name, '\0', format_name(tensor.dtype), " ", to_string(tensor.shape), '\0'));
    const std::uint64_t bytes = std::min<std::uint64_t>(256, tensor.bytes);
    for (std::uint64_t i = 0; i < 4; ++i) {
      add(files_[place.file].read_bytes(tensor, (tensor.bytes - bytes) / 3 * i, bytes));
    }
  }
  return hexadecimal(state, 16);
}

Fields Checkpoint::config_fields() const { return Fields::read(directory_ / "config.json"); }

}  // namespace nervus
