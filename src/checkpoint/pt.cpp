#include "checkpoint/pt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

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
constexpr std::string_view rebuild_tensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view ordered_dict = "collections.OrderedDict";

struct Value;
using Item = std::shared_ptr<const Value>;

// What the pickle machine can hold.
struct Value {
  enum class Kind { mark, boolean, integer, text, name, tuple, hooks, storage, tensor };
  Kind kind = Kind::mark;
  std::int64_t integer = 0;  // an integer; elements of a storage; offset of a tensor in its storage
  std::string text{};        // a text; a name; the key of a storage
  DType dtype = DType::f32;  // of a storage
  std::vector<Item> items;   // of a tuple; a tensor's storage
  Shape shape, strides;      // of a tensor
};
using Kind = Value::Kind;

// Runs the opcodes (https://docs.python.org/3/library/pickletools.html) that torch.save writes for a tensor.
class PickleMachine {
 public:
  PickleMachine(std::string_view pickle, const std::string& path) : pickle_(pickle), path_(path) {}

  // The tensor that the pickle describes.
  Item run() {
    while (true) {
      const std::size_t place = at_;
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') break;
      if (!push_constant(opcode) && !combine(opcode)) {
        fail(ErrorKind::input, path_ + ": the pickle's opcode " + std::to_string(opcode) + " at byte " +
                                   std::to_string(place) + " is not one that a tensor needs" + advice);
      }
    }
    Item result = pop();
    if (result->kind != Kind::tensor || !stack_.empty()) refuse("a tensor at its end");
    return result;
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    fail(ErrorKind::input, path_ + ": the pickle, byte " + std::to_string(at_) + ": expected " + expected + advice);
  }

  std::string_view take(std::size_t bytes) {
    if (bytes > pickle_.size() - at_) refuse("more bytes");
    at_ += bytes;
    return pickle_.substr(at_ - bytes, bytes);
  }

  template <typename T>
  T number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view line() {
    const std::size_t end = pickle_.find('\n', at_);
    if (end == std::string_view::npos) refuse("the end of a line");
    const std::string_view text = pickle_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  Item pop() {
    if (stack_.empty()) refuse("a value on the stack");
    Item top = std::move(stack_.back());
    stack_.pop_back();
    return top;
  }

  bool push(Value value) {
    stack_.push_back(std::make_shared<const Value>(std::move(value)));
    return true;
  }
  bool push_integer(std::int64_t value) { return push({.kind = Kind::integer, .integer = value}); }

  // Opcodes that push a constant.
  bool push_constant(unsigned char opcode) {
    switch (opcode) {
      case 0x88: return push({.kind = Kind::boolean, .integer = 1});
      case 0x89: return push({.kind = Kind::boolean, .integer = 0});
      case 'K': return push_integer(number<std::uint8_t>());
      case 'M': return push_integer(number<std::uint16_t>());
      case 'J': return push_integer(number<std::int32_t>());
      case 'X': return push({.kind = Kind::text, .text = std::string(take(number<std::uint32_t>()))});
      case 'c': return push_name();
      case '(': return push({.kind = Kind::mark});
      case ')': return push({.kind = Kind::tuple});
      default: return false;
    }
  }

  // Opcodes that work on the stack and the memo.
  bool combine(unsigned char opcode) {
    switch (opcode) {
      case 0x80: take(1); return true;  // the protocol's number
      case 'q': return memorise(number<std::uint8_t>());
      case 'h': return recall(number<std::uint8_t>());
      case 0x85: return push_tuple(1);
      case 0x86: return push_tuple(2);
      case 0x87: return push_tuple(3);
      case 't': return push_marked_tuple();
      case 'Q': return push_storage();
      case 'R': return call();
      default: return false;
    }
  }

  bool push_name() {
    std::string name(line());
    name.append(1, '.').append(line());
    bool known = name == rebuild_tensor || name == ordered_dict;
    for (const auto& storage : storages) known |= name == storage.name;
    if (!known) fail(ErrorKind::input, path_ + ": its pickle names " + in_quotes(name) + advice);
    return push({.kind = Kind::name, .text = std::move(name)});
  }

  bool memorise(std::uint8_t key) {
    if (stack_.empty()) refuse("a value on the stack");
    memo_[key] = stack_.back();
    return true;
  }

  bool recall(std::uint8_t key) {
    if (memo_[key] == nullptr) refuse("a value in the memo");
    stack_.push_back(memo_[key]);
    return true;
  }

  bool push_tuple(std::size_t count) {
    Value tuple{.kind = Kind::tuple, .items = std::vector<Item>(count)};
    while (count-- > 0) {
      tuple.items[count] = pop();
      for (const Item& item : tuple.items[count]->items) {
        if (!item->items.empty()) refuse("tuples at most two deep inside each other");
      }
    }
    return push(std::move(tuple));
  }

  bool push_marked_tuple() {
    std::size_t mark = stack_.size();
    while (mark > 0 && stack_[mark - 1]->kind != Kind::mark) --mark;
    if (mark == 0) refuse("a mark on the stack");
    push_tuple(stack_.size() - mark);
    stack_.erase(stack_.end() - 2);
    return true;
  }

  // ('storage', torch.FloatStorage, '0', 'cpu', 6)
  bool push_storage() {
    const Item id = pop();
    if (!is_tuple(id, {Kind::text, Kind::name, Kind::text, Kind::text, Kind::integer})) refuse("a storage");
    for (const auto& storage : storages) {
      if (id->items[1]->text != storage.name) continue;
      return push({.kind = Kind::storage,
                   .integer = id->items[4]->integer,
                   .text = id->items[2]->text,
                   .dtype = storage.dtype});
    }
    refuse("a storage");
  }

  // collections.OrderedDict()
  // torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
  bool call() {
    const Item arguments = pop(), function = pop();
    const auto& items = arguments->items;
    if (function->kind != Kind::name) refuse("a function");
    if (function->text == ordered_dict && is_tuple(arguments, {})) return push({.kind = Kind::hooks});
    if (function->text != rebuild_tensor ||
        !is_tuple(arguments, {Kind::storage, Kind::integer, Kind::tuple, Kind::tuple, Kind::boolean, Kind::hooks})) {
      refuse("the arguments of a tensor");
    }
    return push({.kind = Kind::tensor,
                 .integer = items[1]->integer,
                 .items = {items[0]},
                 .shape = integers(items[2]),
                 .strides = integers(items[3])});
  }

  Shape integers(const Item& tuple) const {
    Shape values;
    if (tuple->items.size() > longest_rank) refuse("a shape of at most 64 extents");
    for (const Item& item : tuple->items) {
      if (item->kind != Kind::integer || item->integer < 0) refuse("shape and strides of integers from 0 on");
      values.push_back(item->integer);
    }
    return values;
  }

  static bool is_tuple(const Item& item, std::initializer_list<Kind> kinds) {
    return item->kind == Kind::tuple && std::equal(item->items.begin(), item->items.end(), kinds.begin(), kinds.end(),
                                                   [](const Item& a, Kind kind) { return a->kind == kind; });
  }

  std::string_view pickle_;
  const std::string& path_;
  std::size_t at_ = 0;
  std::vector<Item> stack_;
  std::array<Item, 256> memo_;
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
  const Item tensor = PickleMachine(pickle, file.path()).run();
  const Value& storage = *tensor->items[0];
  const auto data = entries.find(root + "data/" + storage.text);
  if (data == entries.end())
    fail(ErrorKind::input, file.path() + ": its storage " + in_quotes(storage.text) + " is missing");
  if (checked_bytes({storage.integer}, storage.dtype) != data->second.bytes) {
    fail(ErrorKind::input, file.path() + ": expected " + std::to_string(storage.integer) + " " +
                               name_of(storage.dtype) + " in its storage, found " +
                               plural(static_cast<long long>(data->second.bytes), "byte"));
  }
  const std::string bytes = read_entry(file, data->second);
  std::optional<Array> array;
  if (tensor->shape.size() == tensor->strides.size() && tensor->integer >= 0) {
    array = gather(std::as_bytes(std::span(bytes)), storage.dtype, tensor->shape, tensor->strides, tensor->integer);
  }
  if (!array) {
    fail(ErrorKind::input, file.path() + ": a tensor " + to_string(tensor->shape) + " with strides " +
                               to_string(tensor->strides) + " at offset " + std::to_string(tensor->integer) +
                               " does not fit a storage of " + plural(storage.integer, "element") +
                               ": save tensor.contiguous()");
  }
  return *std::move(array);
}

}  // namespace nervus
