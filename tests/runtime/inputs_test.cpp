#include "runtime/inputs.h"

#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "runtime/support.h"

using namespace nervus;

TEST_CASE("arrays without a batch axis get one, and a missing array is named") {
  std::map<std::string, Array> arrays = {{"images", Array(DType::f32, {2, 4, 1176})},
                                         {"img_masks", Array(DType::boolean, {2})},
                                         {"lang_tokens", Array(DType::i32, {5})},
                                         {"lang_masks", Array(DType::boolean, {5})},
                                         {"state", Array(DType::f32, {75})}};
  const Inputs inputs = Inputs::from(arrays);
  CHECK(inputs.images.shape == Shape{1, 2, 4, 1176});
  CHECK(inputs.state.shape == Shape{1, 75});
  CHECK(inputs.noise.count() == 0);
  arrays["images"] = Array(DType::u8, {2, 28, 28, 3});
  const Inputs pixels = Inputs::from(arrays);
  CHECK(pixels.images.shape == Shape{1, 2, 28, 28, 3});
  CHECK(pixels.limits().patches == 0);
  Inputs large = pixels;
  large.tokens = Array(DType::i32, {1, 5000});
  CHECK(test::error_of([&] { large.limits(); }) ==
        std::pair(ErrorKind::input, std::string("lang_tokens: expected at most 4096 tokens, found 5000")));
  arrays.erase("lang_masks");
  CHECK(test::error_of([&] { Inputs::from(arrays); }).second ==
        "inputs: expected an array named 'lang_masks' (images, img_masks, lang_tokens, lang_masks, state and, "
        "optionally, noise); found images, img_masks, lang_tokens, state");
  arrays["lang_masks"] = Array(DType::boolean, {1, 1, 5});
  CHECK(test::error_of([&] { Inputs::from(arrays); }).second ==
        "lang_masks: expected 1 or 2 axes, found bool [1, 1, 5]");
}

TEST_CASE("every wrong tensor of a call is refused with its name, what was expected and what was found") {
  const Inputs good = test::golden_inputs("causal");
  Policy policy = test::load_golden("causal", Precision::f32, 1, test::limits_of(good));
  const std::string limits = ": the policy was loaded with these limits (LoadOptions::limits)";
  const std::pair<std::function<void(Inputs&)>, std::string> table[] = {
      {[](Inputs& i) {
         i.images = Array(DType::f32, {1, 2, 63, 1176});
       },
       "images: expected f32, f16 or bf16 [1, 2, 64, 1176] (batch, views, patches, values), found f32 [1, 2, 63, "
       "1176]"},
      {[](Inputs& i) {
         i.images = Array(DType::u8, {1, 2, 64, 1176});
       },
       "images: expected f32, f16 or bf16 [1, 2, 64, 1176] (batch, views, patches, values), found u8 [1, 2, 64, 1176]"},
      {[](Inputs& i) {
         i.images = Array(DType::f32, {1, 3, 64, 1176});
       },
       "images: expected 1 to 2 views, found 3" + limits},
      {[](Inputs& i) {
         i.images = Array(DType::f32, {2, 2, 64, 1176});
       },
       "images: expected 1 to 1 samples, found 2" + limits},
      {[](Inputs& i) {
         i.images = Array(DType::f32, {0, 2, 64, 1176});
       },
       "images: expected 1 to 1 samples, found 0" + limits},
      {[](Inputs& i) {
         i.images = Array(DType::f32, {64, 1176});
       },
       "images: expected 4 axes (batch, views, patches, values), or of u8 5 (batch, views, rows, columns, RGB), found "
       "f32 [64, 1176]"},
      {[](Inputs& i) {
         i.images = Array(DType::u8, {1, 2, 112, 224, 3});
       },
       "images: expected u8 [1, 2, 112, 112, 3] (batch, views, rows, columns, RGB), found u8 [1, 2, 112, 224, 3]"},
      {[](Inputs& i) {
         i.images = Array(DType::u8, {1, 3, 112, 112, 3});
       },
       "images: expected 1 to 2 views, found 3" + limits},
      {[](Inputs& i) {
         i.images = Array(DType::f32, {1, 2, 112, 112, 3});
       },
       "images: expected 4 axes (batch, views, patches, values), or of u8 5 (batch, views, rows, columns, RGB), found "
       "f32 [1, 2, 112, 112, 3]"},
      {[](Inputs& i) {
         i.images = Array(DType::f32, {1, 2, 64, 1176});
         i.images.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
       },
       "images: expected finite values, found nan at element 5"},
      {[](Inputs& i) {
         i.image_mask = Array(DType::f32, {1, 2});
       },
       "img_masks: expected bool [1, 2] (batch, views), found f32 [1, 2]"},
      {[](Inputs& i) {
         i.image_mask = Array(DType::boolean, {1, 3});
       },
       "img_masks: expected bool [1, 2] (batch, views), found bool [1, 3]"},
      {[](Inputs& i) {
         i.tokens = Array(DType::f32, {1, 8});
       },
       "lang_tokens: expected i64 or i32 [1, tokens], found f32 [1, 8]"},
      {[](Inputs& i) {
         i.tokens = Array(DType::i64, {1, 9});
       },
       "lang_tokens: expected 1 to 8 tokens, found 9" + limits},
      {[](Inputs& i) {
         i.token_mask = Array(DType::boolean, {1, 7});
       },
       "lang_masks: expected bool [1, 8] (batch, tokens), found bool [1, 7]"},
      {[](Inputs& i) { i.tokens.data<std::int64_t>()[0] = 256; },
       "lang_tokens[0, 0]: expected a token of 0 to 255, found 256: is the tokenizer this checkpoint's?"},
      {[](Inputs& i) { i.tokens.data<std::int64_t>()[0] = -5; },
       "lang_tokens[0, 0]: expected a token of 0 to 255, found -1: is the tokenizer this checkpoint's?"},
      {[](Inputs& i) {
         i.noise = Array(DType::f32, {0, 50, 75});
       },
       "noise: expected f32, f16 or bf16 [1, 50, 75] (batch, n_action_steps, max_action_dim), found f32 [0, 50, 75]"},
      {[](Inputs& i) {
         i.state = Array(DType::f32, {1, 14});
       },
       "state: expected f32, f16 or bf16 [1, 75] (batch, max_state_dim), found f32 [1, 14]"},
      {[](Inputs& i) { i.state.data<float>()[3] = std::numeric_limits<float>::infinity(); },
       "state: expected finite values, found inf at element 3"},
      {[](Inputs& i) {
         i.noise = Array(DType::f32, {1, 49, 75});
       },
       "noise: expected f32, f16 or bf16 [1, 50, 75] (batch, n_action_steps, max_action_dim), found f32 [1, 49, 75]"},
  };
  const std::vector<float> expected = policy.infer(good).values;
  for (const auto& [spoil, message] : table) {
    Inputs bad = good;
    spoil(bad);
    const auto [kind, found] = test::error_of([&] { policy.infer(bad); });
    CHECK(kind == ErrorKind::input);
    CHECK(found == message);
  }
  CHECK(test::error_of([&] {
          policy.infer(good, {.noise = Array(DType::f32, {0, 50, 75})});
        }).first == ErrorKind::input);
  CHECK(policy.infer(good).values == expected);  // a refused call leaves the policy as it was
}
