// The CUDA device's attention kernels for bf16 against the reference in float32, on inputs that bf16 holds.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>

#include "core/message.h"
#include "fused_lab.h"
#include "reference/device.h"

namespace nervus {
namespace {

using Ranges = std::vector<std::array<std::int32_t, 4>>;

struct Scene {
  Heads heads;
  std::int64_t slots;
  Ranges ranges;
  bool tiled = false;  // q and y, which asks for the kernel of few rows
  bool settled = false;
  std::vector<std::int32_t> order = {};  // see Visible
  bool e4m3 = false;                     // y
};

// The least interval around what the rows' first (part 0) or second (part 2) ranges name.
std::array<std::int32_t, 2> hull(const Ranges& ranges, std::size_t part) {
  std::array<std::int32_t, 2> around{std::numeric_limits<std::int32_t>::max(), 0};
  for (const auto& row : ranges) {
    if (row[part] >= row[part + 1]) continue;
    around = {std::min(around[0], row[part]), std::max(around[1], row[part + 1])};
  }
  return around;
}

// What no row sees: NaN outside both hulls, where nothing may be read; between, large and finite: it may be read,
// and is then weighed with zero.
void poison_unseen(const Scene& scene, std::vector<float>& keys, std::vector<float>& values) {
  const auto first = hull(scene.ranges, 0), second = hull(scene.ranges, 2);
  const auto within = [](std::int32_t slot, std::int32_t begin, std::int32_t end) {
    return slot >= begin && slot < end;
  };
  const auto width = static_cast<std::size_t>(scene.heads.key_value * scene.heads.size);
  for (std::int32_t slot = 0; slot < scene.slots; ++slot) {
    if (std::any_of(scene.ranges.begin(), scene.ranges.end(),
                    [&](const auto& row) { return within(slot, row[0], row[1]) || within(slot, row[2], row[3]); })) {
      continue;
    }
    const bool between = within(slot, first[0], first[1]) || within(slot, second[0], second[1]);
    const float poison = between ? 1e30f : std::numeric_limits<float>::quiet_NaN();
    std::fill_n(keys.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(slot) * width), width, poison);
    std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(slot) * width), width, poison);
  }
}

std::vector<float> attend(FusedLab& lab, const Scene& scene) {
  const auto rows = static_cast<std::int64_t>(scene.ranges.size());
  const std::int64_t width = scene.heads.key_value * scene.heads.size, columns = scene.heads.query * scene.heads.size;
  std::vector<float> keys = lab.draw(scene.slots * width, 2.0f),
                     values = lab.draw(scene.slots * width, scene.e4m3 ? 3.0f : 1.0f);
  poison_unseen(scene, keys, values);
  const DType dtype = lab.plain().activation();
  const KeyValues cache{lab.plain().input(dtype, scene.slots, width, keys),
                        lab.plain().input(dtype, scene.slots, width, values)};
  std::vector<std::int32_t> ranges;
  for (const auto& row : scene.ranges) ranges.insert(ranges.end(), row.begin(), row.end());
  const std::vector<float> queries = lab.draw(rows * columns, 1.0f);
  const bool tiled = scene.tiled && lab.tiles();
  const Tensor q = tiled ? lab.rows(rows, columns, queries) : lab.plain().input(dtype, rows, columns, queries);
  Visible visible(lab.plain().integers(rows, 4, ranges), scene.settled);
  if (!scene.order.empty()) visible.order = lab.plain().integers(1, std::ssize(scene.order), scene.order);
  const Encoding encoding = scene.e4m3 ? lab.e4m3() : Encoding{.dtype = dtype, .tiled = tiled};
  return lab.values(lab.ops().attention(q, cache, visible, scene.heads, encoding));
}

void check_scene(Device& device, const Scene& scene) {
  CAPTURE(scene.slots);
  CAPTURE(scene.ranges.size());
  CAPTURE(scene.heads.size);
  CAPTURE(scene.settled);
  const auto reference = make_reference_device(Precision::f32);
  BlockPlan tiled;
  tiled.fused = true;
  FusedLab first(device, 21, tiled), second(device, 21, tiled), expected_lab(*reference, 21, {});
  const std::vector<float> found = attend(first, scene);
  check_close("attention", scene.e4m3 ? DType::e4m3 : DType::bf16, found, attend(expected_lab, scene));
  CHECK(same_bits(found, attend(second, scene)));
}

TEST_CASE("cuda attention: a device of plain attention alone computes every head size in bf16, and says so") {
  if (!cuda_or_skip(Precision::bf16)) return;
  const auto device = make_cuda_device(Precision::bf16, 0, true, Attention::plain);
  for (const Heads heads : {Heads{4, 4, 16}, Heads{4, 4, 80}, Heads{4, 2, 128}}) {
    Scene scene{.heads = heads, .slots = 140, .ranges = {}};
    for (std::int32_t r = 0; r < 100; ++r) scene.ranges.push_back({0, 50, 50 + r % 7, 110 + r % 30});
    check_scene(*device, scene);
  }
  const std::vector<std::string> plan = device->attention_plan();
  REQUIRE(plan.size() == 4);
  CHECK(plan[0] == "the plain kernel alone, as was asked for");
  CHECK(plan[1] == "4 heads of 128 over 2, bf16: plain, as was asked for");
  for (const std::int64_t rows : {50, 408}) {
    const BlockShape shape{.names = "", .width = 768, .inner = 2752, .rows = rows, .heads = {16, 2, 128}};
    CHECK_FALSE(device->plan_blocks(shape).fused);
  }
}

TEST_CASE("cuda attention: a device of fast attention alone refuses what its kernels lack") {
  if (!cuda_or_skip(Precision::bf16)) return;
  const auto device = make_cuda_device(Precision::bf16, 0, true, Attention::fast);
  check_scene(*device, {.heads = {2, 1, 64}, .slots = 4, .ranges = {{1, 2, 3, 4}}});
  std::string message;
  try {
    check_scene(*device, {.heads = {2, 1, 16}, .slots = 4, .ranges = {{1, 2, 3, 4}}});
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::unsupported);
    message = error.what();
  }
  CHECK(message ==
        "attention 'fast': the fast kernels have heads of 64, 80 and 128 columns, not 16: use --attention auto");
  CHECK_THROWS_AS(make_cuda_device(Precision::f32, 0, true, Attention::fast), Error);
}

// cuda:0 in bf16, or null and a message of why not. Kernels of few rows are compiled for every CUDA device.
std::unique_ptr<Device> device_or_skip() { return cuda_or_skip(Precision::bf16); }

// The same, and a device with the kernels of any compute capability alone; or none.
std::vector<std::unique_ptr<Device>> devices_or_skip() {
  std::vector<std::unique_ptr<Device>> devices;
  if (auto device = device_or_skip()) {
    devices.push_back(std::move(device));
    devices.push_back(make_cuda_device(Precision::bf16, 0, false));
  }
  return devices;
}

TEST_CASE("cuda attention: few rows see 1 to 400 slots of two ranges") {
  const auto device = device_or_skip();
  if (!device) return;
  for (const std::int32_t seen : {1, 2, 39, 41, 64, 65, 242, 293, 319, 320, 321, 400}) {
    for (const bool settled : {false, true}) {
      Scene scene{.heads = {4, 2, 128}, .slots = seen + 40, .ranges = {}, .tiled = true, .settled = settled};
      const std::int32_t middle = seen * 3 / 4;
      for (int r = 0; r < 51; ++r) scene.ranges.push_back({3, 3 + middle, middle + 20, seen + 20});
      check_scene(*device, scene);
    }
  }
}

TEST_CASE("cuda attention: few rows that see different slots, one range alone, or nothing") {
  const auto device = device_or_skip();
  if (!device) return;
  Scene expert{.heads = {16, 2, 128}, .slots = 330, .ranges = {{0, 0, 0, 0}}, .tiled = true, .settled = true};
  for (std::int32_t r = 0; r < 51; ++r) expert.ranges.push_back({5, 208, 264, r == 0 ? 265 : 315});
  check_scene(*device, expert);
  Scene mixed{.heads = {2, 1, 128}, .slots = 500, .ranges = {}, .tiled = true, .settled = false};
  for (std::int32_t r = 0; r < 102; ++r) {
    const std::array<std::int32_t, 4> kinds[] = {
        {r, r + 17, 200 + r, 201 + 2 * r}, {7, 7, 210, 215}, {r % 11, 90, 9, 9}, {0, 0, 0, 0}, {9, 5, 300, 200 + r}};
    mixed.ranges.push_back(kinds[r % 5]);
  }
  for (const bool settled : {false, true}) {
    mixed.settled = settled;
    check_scene(*device, mixed);
  }
  check_scene(*device, {.heads = {3, 1, 128}, .slots = 4, .ranges = Ranges(16, {0, 0, 0, 0}), .tiled = true});
  check_scene(*device, {.heads = {3, 3, 128}, .slots = 4, .ranges = {{1, 2, 3, 4}}, .tiled = true});
}

TEST_CASE("cuda attention: few rows, written in e4m3 over a scale that some values exceed") {
  const auto device = device_or_skip();
  if (!device) return;
  for (const std::int32_t rows : {1, 16, 51, 64, 102}) {
    Scene scene{
        .heads = {16, 2, 128}, .slots = 330, .ranges = {}, .tiled = true, .settled = true, .order = {}, .e4m3 = true};
    for (std::int32_t r = 0; r < rows; ++r) scene.ranges.push_back({5, r % 7 == 3 ? 6 : 208, 264, 264 + r % 50});
    check_scene(*device, scene);
  }
}

// As the expert's rows of several samples: the states, then the actions; a sample's rows in tiles of their own.
Scene samples_in_order(std::int32_t samples, std::int32_t actions, Heads heads) {
  const std::int32_t prefix = 70, stride = prefix + 1 + actions;
  Scene scene{.heads = heads, .slots = samples * stride + 9, .ranges = {}};
  const auto see = [&](std::int32_t b, std::int32_t own) {
    const std::int32_t first = b * stride;
    scene.ranges.push_back({first, first + prefix - b, first + prefix, first + prefix + own});
  };
  for (std::int32_t b = 0; b < samples; ++b) see(b, 1);
  for (std::int32_t b = 0; b < samples; ++b) {
    for (std::int32_t i = 0; i < actions; ++i) see(b, 1 + actions);
  }
  constexpr std::int32_t tile = Visible::tile;
  for (std::int32_t b = 0; b < samples; ++b) {
    scene.order.push_back(b);
    for (std::int32_t i = 0; i < actions; ++i) scene.order.push_back(samples + b * actions + i);
    scene.order.resize((scene.order.size() + tile - 1) / tile * tile, -1);
  }
  return scene;
}

TEST_CASE("cuda attention: compute capability 9.0 has a kernel of its own, where a device fuses") {
  bool fuses = true;  // the first of the two
  for (const auto& device : devices_or_skip()) {
    check_scene(*device, {.heads = {2, 1, 64}, .slots = 4, .ranges = {{1, 2, 3, 4}}});
    const bool own = device->description().find("sm_90") != std::string::npos && fuses;
    CHECK(device->attention_plan()[1] ==
          concat("2 heads of 64 over 1, bf16: fast, by tiles", own ? " of a warpgroup" : ""));
    fuses = false;
  }
}

TEST_CASE("cuda attention: rows in an order of their own") {
  for (const auto& device : devices_or_skip()) {
    for (const Heads heads : {Heads{4, 4, 80}, Heads{4, 2, 64}, Heads{16, 2, 128}}) {
      for (const std::int32_t samples : {2, 3, 8}) {
        for (const std::int32_t actions : {1, 50, 63, 70}) {
          Scene scene = samples_in_order(samples, actions, heads);
          check_scene(*device, scene);
          scene.settled = true;
          check_scene(*device, scene);
        }
      }
    }
  }
}

TEST_CASE("cuda attention: few rows of several samples in an order of their own, tiled, also in e4m3") {
  const auto device = device_or_skip();
  if (!device) return;
  for (const std::int32_t samples : {2, 3, 4}) {
    for (const std::int32_t actions : {1, 15, 50, 63}) {
      for (const bool e4m3 : {false, true}) {
        CAPTURE(samples);
        CAPTURE(actions);
        Scene scene = samples_in_order(samples, actions, {16, 2, 128});
        scene.tiled = true, scene.settled = actions != 15, scene.e4m3 = e4m3;
        check_scene(*device, scene);
      }
    }
  }
}

TEST_CASE("cuda attention: windows, views and causal ranges of many rows, in every head size") {
  for (const auto& device : devices_or_skip()) {
    for (const Heads heads : {Heads{4, 4, 80}, Heads{4, 2, 64}, Heads{4, 1, 128}}) {
      for (const std::int32_t rows : {1, 16, 63, 64, 65, 130, 300}) {
        Scene windows{.heads = heads, .slots = rows, .ranges = {}};
        Scene causal{.heads = heads, .slots = rows + 7, .ranges = {}};
        Scene prefix{.heads = heads, .slots = rows + 40, .ranges = {}};
        for (std::int32_t r = 0; r < rows; ++r) {
          windows.ranges.push_back({r / 64 * 64, std::min(r / 64 * 64 + 64, rows), 0, 0});
          causal.ranges.push_back({3, 4 + r, 0, 0});
          prefix.ranges.push_back({0, rows / 2, rows / 2 + 20, rows + (r % 3)});
        }
        for (const Scene& scene : {windows, causal, prefix}) check_scene(*device, scene);
      }
    }
  }
}

TEST_CASE("cuda attention: many rows of samples far apart, rows that see nothing, a cache beyond the tiles") {
  for (const auto& device : devices_or_skip()) {
    for (const Heads heads : {Heads{2, 2, 80}, Heads{2, 1, 64}, Heads{2, 1, 128}}) {
      Scene far{.heads = heads, .slots = 16000, .ranges = {}};
      for (std::int32_t r = 0; r < 150; ++r) {
        if (r % 50 == 49) far.ranges.push_back({0, 0, 0, 0});
        else if (r < 70) far.ranges.push_back({10, 60 + r, 80 + r, 90 + 2 * r});
        else far.ranges.push_back({15000, 15070, 15500 + r, 15700});
      }
      check_scene(*device, far);
      far.slots = 16400;
      check_scene(*device, far);
      check_scene(*device, {.heads = heads, .slots = 9, .ranges = Ranges(70, {0, 0, 0, 0})});
    }
  }
}

}  // namespace
}  // namespace nervus
