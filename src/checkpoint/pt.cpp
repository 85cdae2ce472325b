#include "checkpoint/pt.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <span>

#include "checkpoint/file.h"
#include "checkpoint/layout.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr std::uint64_t longest_pickle = std::uint64_t{16} << 10;
constexpr std::uint64_t longest_directory = std::uint64_t{1} << 20;
constexpr const char* advice = ": save one plain tensor, torch.save(tensor.detach().cpu(), path)";

// "torch.FloatStorage" and so on, in the order of DType; empty where there is none.
constexpr std::array<std::string_view, 14> storages = {"Bool",     "Byte", "Char", "",      "", "Short", "Half",
                                                       "BFloat16", "",     "Int",  "Float", "", "Long",  "Double"};

// A little-endian number; the bytes must be there.
template <typename T>
T number_at(std::string_view bytes, std::size_t offset) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// Where the bytes of a stored entry of a zip archive lie.
struct ZipEntry {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

// The table of contents of a zip archive of less than 4 GiB (APPNOTE.TXT, section 4.3). Entries by name, all within
// the file. Throws Error(input) if the archive is damaged, or an entry is compressed or encrypted.
std::map<std::string, ZipEntry> read_zip(const File& file) {
  const auto require = [&](bool whole) {
    if (!whole)
      fail(ErrorKind::input, file.path(), ": the zip archive is damaged or was cut short: copy or save it again");
  };
  const auto read = [&](std::uint64_t offset, std::uint64_t bytes) {
    require(offset <= file.size() && bytes <= file.size() - offset && bytes <= longest_directory);
    return file.read(offset, bytes);
  };
  // The record at the archive's end, in front of a comment, tells where the directory is. A ZIP64 copy is not needed.
  const std::uint64_t tail_bytes = std::min<std::uint64_t>(file.size(), 22 + 65535);
  const std::string tail = read(file.size() - tail_bytes, tail_bytes);
  const std::size_t end = tail.rfind("PK\5\6");
  require(end != std::string::npos && tail.size() - end >= 20);
  const std::string directory =
      read(number_at<std::uint32_t>(tail, end + 16), number_at<std::uint32_t>(tail, end + 12));

  std::map<std::string, ZipEntry> entries;
  for (std::string_view rest = directory; !rest.empty();) {
    require(rest.starts_with("PK\1\2") && rest.size() >= 46);
    const std::size_t name_bytes = number_at<std::uint16_t>(rest, 28);
    const std::size_t all_bytes =
        46 + name_bytes + number_at<std::uint16_t>(rest, 30) + number_at<std::uint16_t>(rest, 32);
    require(rest.size() >= all_bytes);
    const std::string name(rest.substr(46, name_bytes));
    const bool encrypted = number_at<std::uint16_t>(rest, 8) & 1;
    if (encrypted || number_at<std::uint16_t>(rest, 10) != 0) {
      fail(ErrorKind::input, file.path(), ": the entry ", in_quotes(name),
           " is compressed or encrypted: expected stored entries, as torch.save writes them");
    }
    const std::uint64_t bytes = number_at<std::uint32_t>(rest, 24), local = number_at<std::uint32_t>(rest, 42);
    const std::string header = read(local, 30);
    require(header.starts_with("PK\3\4"));
    const std::uint64_t offset =
        local + 30 + number_at<std::uint16_t>(header, 26) + number_at<std::uint16_t>(header, 28);
    require(offset <= file.size() && bytes <= file.size() - offset);
    require(entries.try_emplace(name, ZipEntry{offset, bytes}).second);
    rest.remove_prefix(all_bytes);
  }
  return entries;
}

// What the pickle says of a tensor.
struct SavedTensor {
  DType dtype = DType::f32;
  std::string storage;        // the key of its data
  std::int64_t elements = 0;  // of the storage
  std::int64_t offset = 0;    // in elements, as the strides
  Shape shape, strides;
};

// Reads the pickle of a tensor (opcodes: https://docs.python.org/3/library/pickletools.html). torch.save writes one
// sentence for every tensor, and this reader knows no other:
//   _rebuild_tensor_v2(('storage', FloatStorage, '0', 'cpu', elements), offset, shape, strides, False, OrderedDict())
class PickleReader {
 public:
  PickleReader(std::string_view pickle, const std::string& path) : pickle_(pickle), path_(path) {}

  SavedTensor read() {
    SavedTensor tensor;
    require(accept("\x80\2"));  // protocol 2
    expect_name("torch._utils._rebuild_tensor_v2");
    require(accept("((") && text() == "storage");
    tensor.dtype = storage_type();
    tensor.storage = text();
    text();  // the device
    tensor.elements = integer();
    require(accept("t"));
    skip_memo();
    require(accept("Q"));  // the tuple stands for a storage
    tensor.offset = integer();
    tensor.shape = integers();
    tensor.strides = integers();
    require(accept("\x88") || accept("\x89"));  // requires_grad
    expect_name("collections.OrderedDict");     // hooks
    for (const char* opcodes : {")R", "t", "R"}) {
      require(accept(opcodes));
      skip_memo();
    }
    require(accept(".") && at_ == pickle_.size());
    return tensor;
  }

 private:
  void require(bool understood) const {
    if (understood) return;
    fail(ErrorKind::input, path_, ": holds something else than a tensor, at byte ", at_, " of its pickle", advice);
  }

  std::string_view take(std::size_t bytes) {
    require(bytes <= pickle_.size() - at_);
    at_ += bytes;
    return pickle_.substr(at_ - bytes, bytes);
  }
  template <typename T>
  T number() {
    return number_at<T>(take(sizeof(T)), 0);
  }
  bool accept(std::string_view opcodes) {
    if (!pickle_.substr(at_).starts_with(opcodes)) return false;
    at_ += opcodes.size();
    return true;
  }
  // Takes the opcode that would remember the value before it, if there is one: nothing recalls it.
  void skip_memo() {
    if (accept("q")) take(1);
  }

  std::int64_t integer() {
    if (accept("K")) return number<std::uint8_t>();
    if (accept("M")) return number<std::uint16_t>();
    require(accept("J"));
    return number<std::int32_t>();
  }

  std::string text() {
    require(accept("X"));
    std::string value(take(number<std::uint32_t>()));
    skip_memo();
    return value;
  }

  std::string_view line() {
    const std::string_view text = take(std::min(pickle_.find('\n', at_), pickle_.size()) - at_);
    require(accept("\n"));
    return text;
  }
  // "module.name"
  std::string name() {
    require(accept("c"));
    const std::string_view module = line();
    std::string value = concat(module, ".", line());
    skip_memo();
    return value;
  }
  void expect_name(std::string_view expected) {
    if (const std::string found = name(); found != expected) refuse_name(found);
  }
  [[noreturn]] void refuse_name(const std::string& found) const {
    fail(ErrorKind::input, path_, ": its pickle names ", in_quotes(found), advice);
  }

  DType storage_type() {
    const std::string found = name();
    for (std::size_t i = 0; i < storages.size(); ++i) {
      if (!storages[i].empty() && found == concat("torch.", storages[i], "Storage")) return static_cast<DType>(i);
    }
    refuse_name(found);
  }

  // A tuple of integers from 0 on: (), one to three of them and an opcode for their number, or a mark and any number.
  std::vector<std::int64_t> integers() {
    std::vector<std::int64_t> values;
    if (accept(")")) return values;
    const bool marked = accept("(");
    constexpr std::string_view ends[3] = {"\x85", "\x86", "\x87"};
    do {
      values.push_back(integer());
      require(values.back() >= 0 && values.size() <= (marked ? longest_rank : 3));
    } while (!accept(marked ? "t" : ends[values.size() - 1]));
    skip_memo();
    return values;
  }

  std::string_view pickle_;
  const std::string& path_;
  std::size_t at_ = 0;
};

// What all entries' names begin with, such as "archive/".
std::string find_root(const std::map<std::string, ZipEntry>& entries, const std::string& path) {
  for (const auto& [name, entry] : entries) {
    const std::size_t slash = name.find('/');
    if (slash != std::string::npos && name.substr(slash) == "/data.pkl") return name.substr(0, slash + 1);
  }
  fail(ErrorKind::input, path, ": expected a tensor saved by torch.save, found a zip archive without data.pkl");
}

}  // namespace

Array read_pt(const std::filesystem::path& path) {
  const File file = File::open(path);
  const auto require = [&](bool holds, const auto&... otherwise) {
    if (!holds) fail(ErrorKind::input, file.path(), ": ", otherwise...);
  };
  const std::string start = file.read(0, std::min<std::uint64_t>(2, file.size()));
  require(!start.starts_with('\x80'),
          "a pickle in the format before PyTorch 1.6: load it and save it again with torch.save");
  require(start == "PK", "expected a tensor saved by torch.save, found another kind of file");
  const auto entries = read_zip(file);
  const std::string root = find_root(entries, file.path());
  const auto order = entries.find(root + "byteorder");
  require(order == entries.end() || order->second.bytes == 6,  // "little"
          "its bytes are in big-endian order: save it on a little-endian machine");
  const ZipEntry& words = entries.at(root + "data.pkl");
  require(words.bytes <= longest_pickle, "expected a pickle of at most ", longest_pickle, " bytes, found ", words.bytes,
          advice);
  const SavedTensor tensor = PickleReader(file.read(words.offset, words.bytes), file.path()).read();
  const auto data = entries.find(root + "data/" + tensor.storage);
  require(data != entries.end(), "its storage ", in_quotes(tensor.storage), " is missing");
  const auto [offset, bytes] = data->second;
  require(checked_bytes({tensor.elements}, tensor.dtype) == bytes, "expected ", tensor.elements, " ",
          name_of(tensor.dtype), " in its storage, found ", plural(bytes, "byte"));
  const std::string storage = file.read(offset, bytes);
  std::optional<Array> array;
  if (tensor.shape.size() == tensor.strides.size() && tensor.offset >= 0) {
    array = gather(std::as_bytes(std::span(storage)), tensor.dtype, tensor.shape, tensor.strides, tensor.offset);
  }
  require(array.has_value(), "a tensor ", to_string(tensor.shape), " with strides ", to_string(tensor.strides),
          " at offset ", tensor.offset, " does not fit a storage of ", plural(tensor.elements, "element"),
          ": save tensor.contiguous()");
  return *std::move(array);
}

}  // namespace nervus
