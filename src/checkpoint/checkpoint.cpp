#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <set>

#include "core/check.h"

namespace nervus {
namespace {

constexpr const char* index_name = "model.safetensors.index.json";

class Fnv1a {
 public:
  void add(const void* data, std::size_t bytes) {
    for (const auto* byte = static_cast<const unsigned char*>(data); bytes-- > 0; ++byte) {
      state_ = (state_ ^ *byte) * 0x100000001b3u;
    }
  }
  void add(const std::string& text) { add(text.c_str(), text.size() + 1); }
  std::string hexadecimal() const {
    std::string text(16, '0');
    for (int i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[(state_ >> (60 - 4 * i)) & 15];
    return text;
  }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325u;
};

bool is_plain(const std::string& file_name) {
  return !file_name.empty() && file_name != "." && file_name != ".." &&
         file_name.find_first_of("/\\") == std::string::npos && file_name.find('\0') == std::string::npos;
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& directory) {
  std::error_code ignored;  // what cannot be looked up does not exist
  if (!std::filesystem::is_directory(directory, ignored)) {
    fail(ErrorKind::io,
         directory.string() + ": expected a checkpoint directory, found " +
             (std::filesystem::exists(directory, ignored) ? "a file: name the directory it is in" : "nothing there"));
  }
  Checkpoint checkpoint(directory);
  if (std::filesystem::exists(directory / "model.safetensors", ignored)) {
    checkpoint.add_file(directory / "model.safetensors");
  } else if (std::filesystem::exists(directory / index_name, ignored)) {
    checkpoint.open_index(directory / index_name);
  } else {
    fail(ErrorKind::checkpoint,
         directory.string() + ": expected model.safetensors or " + index_name + " in it, found neither");
  }
  return checkpoint;
}

void Checkpoint::add_file(const std::filesystem::path& path) {
  files_.push_back(Safetensors::open(path));
  const Safetensors& file = files_.back();
  for (const auto& tensor : file.tensors()) {
    const auto [place, added] = places_.try_emplace(tensor.name, Place{files_.size() - 1, &tensor});
    if (!added) {
      fail(ErrorKind::checkpoint, file.source(tensor.name) + ": it is also in " + files_[place->second.file].path());
    }
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
    std::error_code ignored;
    if (!std::filesystem::exists(directory_ / shard, ignored)) {
      fail(ErrorKind::checkpoint, index.file() + ": the shard " + in_quotes(shard) + " is missing: download it again");
    }
    add_file(directory_ / shard);
  }
  for (const auto& name : weight_map.names()) {
    const auto place = places_.find(name);
    const std::string shard = (directory_ / weight_map.text(name)).string();
    if (place == places_.end() || files_[place->second.file].path() != shard) {
      fail(ErrorKind::checkpoint,
           index.file() + ": tensor " + in_quotes(name) + ": expected it in " + shard + ", found " +
               (place == places_.end() ? "it in no shard" : "it in " + files_[place->second.file].path()));
    }
  }
  for (const auto& [name, place] : places_) {
    if (!weight_map.has(name)) fail(ErrorKind::checkpoint, source(name) + ": it is not named in " + index.file());
  }
  if (!index.has("metadata") || !index.object("metadata").has("total_size")) return;
  const double total_size = index.object("metadata").number("total_size");  // some tools write 1.0e9
  if (total_size != static_cast<double>(total_bytes())) {
    index.object("metadata").refuse("total_size", std::to_string(total_bytes()) + ", the bytes of all tensors");
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
  return (files_.size() == 1 ? files_[0].path() : directory_.string()) + ": tensor " + in_quotes(name);
}

const Checkpoint::Place& Checkpoint::place(const std::string& name) const {
  const auto place = places_.find(name);
  if (place == places_.end()) fail(ErrorKind::checkpoint, source(name) + ": there is none of that name");
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
  Fnv1a hash;
  unsigned char window[256];
  for (const auto& [name, place] : places_) {
    const TensorInfo& tensor = *place.tensor;
    hash.add(name);
    hash.add(format_name(tensor.dtype) + " " + to_string(tensor.shape));
    const std::uint64_t bytes = std::min<std::uint64_t>(sizeof(window), tensor.bytes);
    for (std::uint64_t i = 0; i < 4; ++i) {
      files_[place.file].read_bytes(tensor, (tensor.bytes - bytes) / 3 * i, window, bytes);
      hash.add(window, bytes);
    }
  }
  return hash.hexadecimal();
}

Fields Checkpoint::config_fields() const { return Fields::read(directory_ / "config.json"); }

}  // namespace nervus
