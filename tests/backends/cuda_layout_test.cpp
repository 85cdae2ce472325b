// Where the fused blocks' weights and activations lie: pure arithmetic, tested without a device.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "backends/cuda/block/formats.h"
#include "backends/cuda/block/layout.h"

namespace nervus::cuda {
namespace {

BlockLayout e4m3_layout(std::int64_t outputs, std::int64_t inputs) {
  return choose_block_layout(BlockRole::add, outputs, inputs, 0, DType::e4m3);
}

std::vector<BlockLayout> layouts() {
  return {choose_block_layout(BlockRole::qkv, 2560, 768, 128),
          choose_block_layout(BlockRole::qkv, 512, 128, 128),
          choose_block_layout(BlockRole::gate_up, 5504, 768, 0),
          choose_block_layout(BlockRole::gate_up, 416, 160, 0),
          choose_block_layout(BlockRole::add, 768, 2048, 0),
          choose_block_layout(BlockRole::add, 768, 2752, 0),
          choose_block_layout(BlockRole::add, 128, 208, 0),
          choose_block_layout(BlockRole::add, 75, 768, 0),
          choose_block_layout(BlockRole::add, 768, 768, 0),
          e4m3_layout(768, 2048),
          e4m3_layout(768, 2752),
          e4m3_layout(160, 192),
          choose_block_layout(BlockRole::qkv, 2560, 768, 128, DType::e4m3),
          choose_block_layout(BlockRole::qkv, 512, 96, 128, DType::e4m3),
          choose_block_layout(BlockRole::gate_up, 5504, 768, 0, DType::e4m3)};
}

// Whether `at(i)` for i in [0, count) are the numbers [0, count), each once.
template <typename Function>
bool is_permutation(std::int64_t count, const Function& at) {
  std::vector<bool> met(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t x = at(i);
    if (x < 0 || x >= count || met[static_cast<std::size_t>(x)]) return false;
    met[static_cast<std::size_t>(x)] = true;
  }
  return true;
}

TEST_CASE("cuda layout: every element of a packed weight has a place of its own, with its warpgroup's") {
  for (const BlockLayout& w : layouts()) {
    CAPTURE(w.outputs);
    CAPTURE(w.inputs);
    REQUIRE(w.columns > 0);
    const std::int64_t inputs = w.elements() / (w.tiles() * w.columns);  // with padding
    CHECK(inputs >= w.inputs);
    CHECK(w.tiles() * w.columns >= w.outputs);
    CHECK(is_permutation(w.elements(), [&](std::int64_t i) { return w.offset(i / inputs, i % inputs); }));
    const std::int64_t part = inputs / (w.cluster * BlockLayout::warpgroups), half = 16 / w.element;
    bool together = true;
    for (std::int64_t n = 0; n < w.outputs; ++n) {
      for (std::int64_t k = 0; k < inputs; k += half) {
        const std::int64_t at = w.offset(n, k);
        together = together && at / w.share() == n / w.columns * w.cluster * BlockLayout::warpgroups + k / part;
        together = together && at % half == 0 && w.offset(n, k + half - 1) == at + half - 1;  // 16 bytes are one read
      }
    }
    CHECK(together);
  }
}

TEST_CASE("cuda layout: more outputs than packing has rows of blocks are not fused") {
  CHECK(choose_block_layout(BlockRole::gate_up, 65504, 768, 0).columns > 0);
  CHECK(choose_block_layout(BlockRole::gate_up, 65536, 768, 0).columns == 0);
}

TEST_CASE("cuda layout: packed outputs are the weight's rows in another order, with what is mixed side by side") {
  for (const BlockLayout& w : layouts()) {
    CAPTURE(w.outputs);
    CHECK(is_permutation(w.outputs, [&](std::int64_t n) { return w.source_row(n); }));
    const std::int64_t apart = w.role == BlockRole::add   ? 1
                               : w.role == BlockRole::qkv ? w.head_size / 2
                                                          : w.outputs / 2;
    bool beside = true;
    for (std::int64_t n = 0; n < w.outputs; n += 2) beside = beside && w.source_row(n + 1) - w.source_row(n) == apart;
    CHECK(beside);
  }
}

TEST_CASE("cuda layout: every element of a tiled activation has a place of its own, its tile of 16 rows together") {
  for (const int element : {1, 2}) {
    for (const std::int64_t columns : {32, 128, 768, 2752}) {
      for (const std::int64_t rows : {64, 128}) {
        CHECK(is_permutation(rows * columns,
                             [&](std::int64_t i) { return tiled_offset(i / columns, i % columns, columns, element); }));
        CHECK(tiled_offset(rows - 16, 0, columns, element) == (rows - 16) * columns);
      }
    }
  }
  CHECK(is_permutation(64 * 16, [&](std::int64_t i) { return tiled_offset(i / 16, i % 16, 16); }));
  // Eight values of a lane: two columns, 8 rows further, 8 columns further, both.
  CHECK(tiled_offset(0, 1, 32) == 1);
  CHECK(tiled_offset(8, 0, 32) == 2);
  CHECK(tiled_offset(0, 8, 32) == 4);
  CHECK(tiled_offset(0, 2, 32) == 8);
  CHECK(tiled_offset(1, 0, 32) == 32);
  CHECK(tiled_offset(0, 16, 32) == 256);
}

TEST_CASE("cuda layout: in e4m3 a lane has four columns of a row together, and weights have the same order of inputs") {
  // 16 values of a lane: two columns, two more 8 further, 8 rows further, 16 columns further.
  CHECK(tiled_offset(0, 1, 64, 1) == 1);
  CHECK(tiled_offset(0, 8, 64, 1) == 2);
  CHECK(tiled_offset(0, 9, 64, 1) == 3);
  CHECK(tiled_offset(8, 0, 64, 1) == 4);
  CHECK(tiled_offset(0, 16, 64, 1) == 8);
  CHECK(tiled_offset(0, 2, 64, 1) == 16);
  CHECK(tiled_offset(1, 0, 64, 1) == 64);
  CHECK(tiled_offset(0, 32, 64, 1) == 512);
  // The matrix unit multiplies byte 4 p + i of each half of a step with register i of lane p.
  const BlockLayout w = e4m3_layout(768, 2752);
  bool same = true;
  for (std::int64_t k = 0; k < w.inputs; ++k) {
    const std::int64_t at = tiled_offset(0, k, w.inputs, 1), lane = at % 512 / 16, half = at % 16 / 8;
    const std::int64_t step = k / 32 % w.steps * 32 * w.columns;
    same = same && at % 8 < 4 && w.offset(0, k) % w.share() == step + half * 16 * w.columns + lane * 4 + at % 4;
  }
  CHECK(same);
}

TEST_CASE("cuda layout: the expert's block fits, what the kernels were not made for does not") {
  const BlockShape expert{.names = "expert", .width = 768, .inner = 2752, .rows = 51, .heads = {16, 2, 128}};
  const auto fits = [](const BlockShape& shape) {
    const FusedBlock block = fuse_block(shape, {});
    CHECK(block.plan.fused == (block.text != "not fused: no kernels for this shape"));
    CHECK(block.plan.wide == (block.plan.fused && shape.rows > 128));
    return block.plan.fused;
  };
  CHECK(fits(expert));
  const auto with = [&](auto change) {
    BlockShape shape = expert;
    change(shape);
    return fits(shape);
  };
  CHECK(with([](BlockShape& s) { s.rows = 128; }));
  CHECK(with([](BlockShape& s) { s.width = 128, s.inner = 208, s.heads = {2, 1, 128}; }));
  CHECK(with([](BlockShape& s) { s.rows = 129; }));  // by wide tiles, which want other shapes
  CHECK(with([](BlockShape& s) { s.rows = 408, s.width = 1024, s.inner = 11008, s.heads = {24, 4, 64}; }));
  CHECK_FALSE(with([](BlockShape& s) { s.rows = 408, s.width = 1152; }));
  CHECK_FALSE(with([](BlockShape& s) { s.rows = 408, s.width = 736; }));
  CHECK_FALSE(with([](BlockShape& s) { s.rows = 408, s.inner = 2764; }));
  CHECK_FALSE(with([](BlockShape& s) { s.rows = 408, s.heads.size = 72; }));
  CHECK_FALSE(with([](BlockShape& s) { s.heads.size = 64; }));
  CHECK_FALSE(with([](BlockShape& s) { s.width = 2048; }));
  CHECK_FALSE(with([](BlockShape& s) { s.width = 744; }));
  CHECK_FALSE(with([](BlockShape& s) { s.inner = 2760; }));
  CHECK_FALSE(with([](BlockShape& s) { s.inner = 11008; }));
  CHECK_FALSE(with([](BlockShape& s) { s.heads.query = 24; }));
  CHECK(choose_block_layout(BlockRole::add, 768, 2880, 0).columns > 0);
  CHECK(choose_block_layout(BlockRole::add, 768, 2896, 0).columns == 0);
  CHECK(e4m3_layout(768, 2816).columns > 0);
  CHECK(e4m3_layout(768, 2848).columns == 0);
  CHECK(e4m3_layout(768, 208).columns == 0);
  CHECK(choose_block_layout(BlockRole::qkv, 2560, 800, 128, DType::e4m3).columns == 0);
  CHECK(choose_block_layout(BlockRole::gate_up, 5504, 752, 0, DType::e4m3).columns == 0);
  CHECK(choose_block_layout(BlockRole::gate_up, 768 + 16, 768, 0).columns == 0);
  CHECK(choose_block_layout(BlockRole::qkv, 2560, 768, 80).columns == 0);
}

TEST_CASE("cuda formats: of a block's linears those in e4m3 are fused so, or in bf16 where a range is not known") {
  const BlockShape shape{.names = "expert.",
                         .qkv = ".q",
                         .out = ".out",
                         .gate_up = ".gate",
                         .down = ".down",
                         .width = 768,
                         .inner = 2752,
                         .rows = 51,
                         .heads = {16, 2, 128}};
  const std::string unknown = " in bf16: the calibration has no range of the stream before ";
  const auto refusal = [&](const std::string& linear, DType dtype) {
    const FusedBlock found = fuse_block(shape, {{"expert.0.out", {DType::e4m3, 0.5f}}, {linear, {dtype, 1, 1}}});
    CHECK(found.plan.inputs.empty() != found.plan.fused);
    return found.plan.fused ? "" : found.text;
  };
  CHECK(fuse_block(shape, {}).plan.fused);
  CHECK(fuse_block(shape, {}).text == "five fused kernels a layer");
  const FusedBlock all = fuse_block(shape, {{"expert.0.q", {DType::e4m3, 2, 3}},
                                            {"expert.0.out", {DType::e4m3, 4}},
                                            {"expert.0.gate", {DType::e4m3, 5, 6}},
                                            {"expert.0.down", {DType::e4m3, 7}}});
  CHECK(all.plan.fused);
  CHECK(all.text == "five fused kernels a layer, 4 linears in f8_e4m3");
  CHECK(all.plan.inputs == std::map<std::string, Encoding>{{"expert.0.q", {DType::e4m3, 3}},
                                                           {"expert.0.out", {DType::e4m3, 4}},
                                                           {"expert.0.gate", {DType::e4m3, 6}},
                                                           {"expert.0.down", {DType::e4m3, 7}}});
  const FusedBlock some = fuse_block(
      shape, {{"expert.0.q", {DType::e4m3, 2}}, {"expert.0.out", {DType::e4m3, 4}}, {"expert.1.q", {DType::e4m3, 2}}});
  CHECK(some.text == "five fused kernels a layer, 1 linear in f8_e4m3, 2 linears" + unknown +
                         "their norms: run `nervus calibrate` again");
  CHECK(some.plan.inputs.at("expert.1.q") == Encoding{DType::bf16});
  CHECK(fuse_block(shape, {{"expert.0.gate", {DType::e4m3, 2}}}).text ==
        "five fused kernels a layer, 1 linear" + unknown + "its norm: run `nervus calibrate` again");
  CHECK(refusal("expert.1.down", DType::e4m3) == "");
  CHECK(refusal("expert.1.down", DType::i8) == "not fused: expert.1.down is in i8, expected f8_e4m3 or bf16");
  CHECK(refusal("expert.1.q", DType::f16) == "not fused: expert.1.q is in f16, expected f8_e4m3 or bf16");
  CHECK(refusal("expert.1.k", DType::e4m3) == "not fused: expert.1.k is in f8_e4m3, and none of the block's four");
  BlockShape odd = shape;
  odd.inner = 2768;  // of which down would have half a step
  CHECK(fuse_block(odd, {{"expert.1.down", {DType::e4m3, 1}}}).text ==
        "not fused: expert.1.down is in f8_e4m3, which has no kernel for 2768 inputs");
}

}  // namespace
}  // namespace nervus::cuda
