// What the tests on a CUDA device share.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "nervus/error.h"
#include "runtime/engine.h"
#include "runtime/support.h"

namespace nervus::test {

inline bool has_cuda() {
  try {
    describe_cuda();
    return true;
  } catch (const Error& error) {
    MESSAGE("skipped: " << std::string(error.what()));
    CHECK(error.kind() == ErrorKind::unsupported);
    CHECK_MESSAGE(std::getenv("NERVUS_TEST_NEEDS_CUDA") == nullptr, "a GPU was asked for");
    return false;
  }
}

// How many calls an endurance test makes: few, or as the environment says.
inline int calls_to_make(int few) {
  const char* text = std::getenv("NERVUS_TEST_CALLS");
  return text == nullptr ? few : std::max(few, std::atoi(text));
}

// Calls within limits, of any extents, masks and numbers.
class RandomCalls {
 public:
  RandomCalls(const Limits& limits, std::int64_t state, std::uint64_t seed)
      : limits_(limits), state_(state), random_(seed), pool_(1 << 20) {
    std::normal_distribution<float> normal;
    for (float& value : pool_) value = normal(random_);
  }

  std::int64_t below(std::int64_t end) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(end));
  }

  Array bytes(Shape shape) {
    Array array(DType::u8, std::move(shape));
    for (std::byte& value : array.bytes) value = static_cast<std::byte>(random_());
    return array;
  }
  Inputs draw() {
    const std::int64_t batch = 1 + below(limits_.batch), views = 1 + below(limits_.views);
    const std::int64_t text = 1 + below(limits_.text_tokens);
    Inputs inputs;
    const std::int64_t side = PatchGeometry{}.side(limits_.patches);
    inputs.images =
        below(2) == 0 ? floats({batch, views, limits_.patches, 1176}) : bytes({batch, views, side, side, 3});
    inputs.state = floats({batch, state_});
    inputs.image_mask = Array(DType::boolean, {batch, views});
    for (std::byte& there : inputs.image_mask.bytes) there = std::byte{below(4) > 0};
    inputs.tokens = Array(DType::i64, {batch, text});
    inputs.token_mask = Array(DType::boolean, {batch, text});
    for (std::int64_t b = 0; b < batch; ++b) {
      const std::int64_t valid = below(text + 1);
      for (std::int64_t t = 0; t < text; ++t) {
        inputs.tokens.data<std::int64_t>()[b * text + t] = below(100);
        inputs.token_mask.data<std::uint8_t>()[b * text + t] = t < valid;
      }
    }
    return inputs;
  }

 private:
  Array floats(Shape shape) {
    Array array(DType::f32, std::move(shape));
    const auto size = static_cast<std::int64_t>(pool_.size());
    std::int64_t from = below(size);
    for (std::int64_t done = 0; done < array.count();) {
      const std::int64_t some = std::min(size - from, array.count() - done);
      std::copy_n(pool_.data() + from, some, array.data<float>() + done);
      done += some;
      from = 0;
    }
    return array;
  }

  Limits limits_;
  std::int64_t state_;
  std::mt19937_64 random_;
  std::vector<float> pool_;
};

}  // namespace nervus::test
