#include "checkpoint/pt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <span>

#include "checkpoint/file.h"
#include "checkpoint/layout.h"
#include "checkpoint/zip.h"
#include "core/check.h"

namespace nervus {
namespace {

constexpr std::uint64_t longest_pickle = std::uint64_t{16} << 10;
constexpr const char* advice = ": save one plain tensor, torch.save(tensor.detach().cpu(), path)";

struct StorageName {
  const char* name;
  DType dtype;
};

constexpr std::array<StorageName, 10> storages{{{"torch.FloatStorage", DType::f32},
                                                {"torch.HalfStorage", DType::f16},
                                                {"torch.BFloat16Storage", DType::bf16},
                                                {"torch.DoubleStorage", DType::f64},
                                                {"torch.LongStorage", DType::i64},
                                                {"torch.IntStorage", DType::i32},
                                                {"torch.ShortStorage", DType::i16},
                                                {"torch.CharStorage", DType::i8},
                                                {"torch.ByteStorage", DType::u8},
                                                {"torch.BoolStorage", DType::boolean}}};

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
    expect("\x80\2");  // protocol 2
    expect_name("torch._utils._rebuild_tensor_v2");
    expect("((");
    if (text() != "storage") refuse();
    tensor.dtype = storage_type();
    tensor.storage = text();
    text();  // the device
    tensor.elements = integer();
    expect("t");
    skip_memo();
    expect("Q");  // the tuple stands for a storage
    tensor.offset = integer();
    tensor.shape = integers();
    tensor.strides = integers();
    if (!accept("\x88") && !accept("\x89")) refuse();  // requires_grad
    expect_name("collections.OrderedDict");            // hooks
    for (const char* opcodes : {")R", "t", "R"}) {
      expect(opcodes);
      skip_memo();
    }
    expect(".");
    if (at_ != pickle_.size()) refuse();
    return tensor;
  }

 private:
  [[noreturn]] void refuse() const {
    fail(ErrorKind::input,
         path_ + ": holds something else than a tensor, at byte " + std::to_string(at_) + " of its pickle" + advice);
  }

  std::string_view take(std::size_t bytes) {
    if (bytes > pickle_.size() - at_) refuse();
    at_ += bytes;
    return pickle_.substr(at_ - bytes, bytes);
  }

  bool accept(std::string_view opcodes) {
    if (!pickle_.substr(at_).starts_with(opcodes)) return false;
    at_ += opcodes.size();
    return true;
  }
  void expect(std::string_view opcodes) {
    if (!accept(opcodes)) refuse();
  }
  // Takes the opcode that would remember the value before it, if there is one: nothing recalls it.
  void skip_memo() {
    if (accept("q")) take(1);
  }

  template <typename T>
  T number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::int64_t integer() {
    if (accept("K")) return number<std::uint8_t>();
    if (accept("M")) return number<std::uint16_t>();
    expect("J");
    return number<std::int32_t>();
  }

  std::string text() {
    expect("X");
    std::string value(take(number<std::uint32_t>()));
    skip_memo();
    return value;
  }

  // "module.name"
  std::string name() {
    expect("c");
    std::string value;
    for (const char separator : {'.', '\0'}) {
      value += take(std::min(pickle_.find('\n', at_), pickle_.size()) - at_);
      value += separator;
      expect("\n");
    }
    skip_memo();
    value.pop_back();
    return value;
  }
  void expect_name(std::string_view expected) {
    if (const std::string found = name(); found != expected) refuse_name(found);
  }
  [[noreturn]] void refuse_name(const std::string& found) const {
    fail(ErrorKind::input, path_ + ": its pickle names " + in_quotes(found) + advice);
  }

  DType storage_type() {
    const std::string found = name();
    for (const auto& storage : storages) {
      if (found == storage.name) return storage.dtype;
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
      if (values.back() < 0 || values.size() > (marked ? longest_rank : 3)) refuse();
    } while (!accept(marked ? "t" : ends[values.size() - 1]));
    skip_memo();
    return values;
  }

  std::string_view pickle_;
  const std::string& path_;
  std::size_t at_ = 0;
};

std::string read_entry(const File& file, const ZipEntry& entry) {
  std::string text(entry.bytes, '\0');
  file.read(entry.offset, text.data(), text.size());
  return text;
}

// What all entries' names begin with, such as "archive/".
std::string find_root(const std::map<std::string, ZipEntry>& entries, const std::string& path) {
  for (const auto& [name, entry] : entries) {
    const std::size_t slash = name.find('/');
    if (slash != std::string::npos && name.substr(slash) == "/data.pkl") return name.substr(0, slash + 1);
  }
  fail(ErrorKind::input, path + ": expected a tensor saved by torch.save, found a zip archive without data.pkl");
}

}  // namespace

Array read_pt(const std::filesystem::path& path) {
  const File file = File::open(path);
  char start[4] = {};
  file.read(0, start, std::min<std::uint64_t>(sizeof(start), file.size()));
  if (start[0] == '\x80') {
    fail(ErrorKind::input,
         file.path() + ": a pickle in the format before PyTorch 1.6: load it and save it again with torch.save");
  }
  if (std::string_view(start, 2) != "PK") {
    fail(ErrorKind::input, file.path() + ": expected a tensor saved by torch.save, found another kind of file");
  }
  const auto entries = read_zip(file);
  const std::string root = find_root(entries, file.path());
  if (const auto order = entries.find(root + "byteorder"); order != entries.end() && order->second.bytes != 6) {
    fail(ErrorKind::input, file.path() + ": its bytes are in big-endian order: save it on a little-endian machine");
  }
  const ZipEntry& pickle_entry = entries.at(root + "data.pkl");
  if (pickle_entry.bytes > longest_pickle) {
    fail(ErrorKind::input, file.path() + ": expected a pickle of at most 16384 bytes, found " +
                               std::to_string(pickle_entry.bytes) + advice);
  }
  const std::string pickle = read_entry(file, pickle_entry);
  const SavedTensor tensor = PickleReader(pickle, file.path()).read();
  const auto data = entries.find(root + "data/" + tensor.storage);
  if (data == entries.end()) {
    fail(ErrorKind::input, file.path() + ": its storage " + in_quotes(tensor.storage) + " is missing");
  }
  if (checked_bytes({tensor.elements}, tensor.dtype) != data->second.bytes) {
    fail(ErrorKind::input, file.path() + ": expected " + std::to_string(tensor.elements) + " " + name_of(tensor.dtype) +
                               " in its storage, found " + plural(static_cast<long long>(data->second.bytes), "byte"));
  }
  const std::string bytes = read_entry(file, data->second);
  std::optional<Array> array;
  if (tensor.shape.size() == tensor.strides.size() && tensor.offset >= 0) {
    array = gather(std::as_bytes(std::span(bytes)), tensor.dtype, tensor.shape, tensor.strides, tensor.offset);
  }
  if (!array) {
    fail(ErrorKind::input, file.path() + ": a tensor " + to_string(tensor.shape) + " with strides " +
                               to_string(tensor.strides) + " at offset " + std::to_string(tensor.offset) +
                               " does not fit a storage of " + plural(tensor.elements, "element") +
                               ": save tensor.contiguous()");
  }
  return *std::move(array);
}

}  // namespace nervus
