#include "runtime/inputs.h"

#include <limits>

#include "core/message.h"
#include "nervus/array_file.h"

namespace nervus {
namespace {

constexpr std::size_t names_shown = 8;
constexpr const char* image_axes =
    "4 axes (batch, views, patches, values), or of u8 5 (batch, views, rows, columns, RGB)";

[[noreturn]] void refuse(const std::string& name, const std::string& expected, const Array& found) {
  fail(ErrorKind::input, name, ": expected ", expected, ", found ", name_of(found.dtype), " ", to_string(found.shape));
}

bool is_mask(const Array& a) { return a.dtype == DType::boolean || a.dtype == DType::u8; }

// "[1, 3, 256, 1176]" with words where the extent is free.
void check_float(const std::string& name, const Array& array, const Shape& shape, const std::string& words) {
  if (!is_float(array.dtype) || array.dtype == DType::f64 || array.dtype == DType::e4m3 || array.shape != shape) {
    refuse(name, "f32, f16 or bf16 " + to_string(shape) + " (" + words + ")", array);
  }
}

void check_limit(const std::string& name, const char* what, std::int64_t found, std::int64_t limit) {
  if (found >= 1 && found <= limit) return;
  fail(ErrorKind::input, name, ": expected 1 to ", limit, " ", what, ", found ", found,
       ": the policy was loaded with these limits (LoadOptions::limits)");
}

std::vector<std::uint8_t> mask_of(const Array& array) {
  const auto* values = array.data<std::uint8_t>();
  std::vector<std::uint8_t> mask(values, values + array.count());
  for (std::uint8_t& value : mask) value = value != 0;
  return mask;
}

std::vector<std::int32_t> tokens_of(const Array& array) {
  std::vector<std::int32_t> tokens(array.count());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::int64_t token =
        array.dtype == DType::i64 ? array.data<std::int64_t>()[i] : array.data<std::int32_t>()[i];
    const bool fits = token >= 0 && token <= std::numeric_limits<std::int32_t>::max();
    tokens[i] = fits ? static_cast<std::int32_t>(token) : -1;  // refused by the plan if it is ever read
  }
  return tokens;
}

bool are_pixels(const Array& images) { return images.dtype == DType::u8 && images.shape.size() == 5; }

void check_images(const Array& images, const ModelShape& shape, const Limits& limits) {
  if (images.shape.size() != 4 && !are_pixels(images)) refuse("images", image_axes, images);
  const std::int64_t batch = images.shape[0], views = images.shape[1];
  check_limit("images", "samples", batch, limits.batch);
  check_limit("images", "views", views, limits.views);
  if (are_pixels(images)) {
    const std::int64_t side = shape.patches.side(limits.patches);
    const Shape pixels{batch, views, side, side, 3};
    if (images.shape == pixels) return;
    refuse("images", concat("u8 ", to_string(pixels), " (batch, views, rows, columns, RGB)"), images);
  }
  check_float("images", images, {batch, views, limits.patches, shape.patches.values()},
              "batch, views, patches, values");
}

// The array of that name, with a batch axis.
Array take(std::map<std::string, Array>& arrays, const std::string& name, std::size_t rank) {
  const auto found = arrays.find(name);
  if (found == arrays.end()) {
    std::vector<std::string> names;
    for (const auto& [other, array] : arrays) {
      if (names.size() < names_shown) names.push_back(other);
    }
    const std::size_t left_out = arrays.size() - names.size();
    const std::string more = left_out > 0 ? concat(" and ", left_out, " more") : "";
    fail(ErrorKind::input, "inputs: expected an array named '", name,
         "' (images, img_masks, lang_tokens, lang_masks, state and, optionally, noise); found ",
         (names.empty() ? "none" : joined(names) + more));
  }
  Array array = std::move(found->second);
  if (array.shape.size() + 1 == rank) array.shape.insert(array.shape.begin(), 1);
  if (array.shape.size() != rank) refuse(name, concat(rank - 1, " or ", rank, " axes"), array);
  return array;
}

}  // namespace

Inputs Inputs::from(std::map<std::string, Array> arrays) {
  const auto images = arrays.find("images");
  const bool of_pixels = images != arrays.end() && images->second.dtype == DType::u8;
  Inputs inputs;
  inputs.images = take(arrays, "images", of_pixels ? 5 : 4);
  inputs.image_mask = take(arrays, "img_masks", 2);
  inputs.tokens = take(arrays, "lang_tokens", 2);
  inputs.token_mask = take(arrays, "lang_masks", 2);
  inputs.state = take(arrays, "state", 2);
  if (arrays.contains("noise")) inputs.noise = take(arrays, "noise", 3);
  return inputs;
}

Inputs Inputs::load(const std::filesystem::path& path) { return from(read_arrays(path)); }

Limits Inputs::limits() const {
  if (images.shape.size() != 4 && !are_pixels(images)) refuse("images", image_axes, images);
  if (tokens.shape.size() != 2) refuse("lang_tokens", "2 axes (batch, tokens)", tokens);
  const Limits found{images.shape[0], images.shape[1], are_pixels(images) ? 0 : images.shape[2], tokens.shape[1]};
  const auto at_most = [](const char* name, const char* what, std::int64_t extent, std::int64_t most) {
    if (extent > most) fail(ErrorKind::input, name, ": expected at most ", most, " ", what, ", found ", extent);
  };
  at_most("images", "samples", found.batch, largest_limits.batch);
  at_most("images", "views", found.views, largest_limits.views);
  at_most("images", "patches a view", found.patches, largest_limits.patches);
  at_most("lang_tokens", "tokens", found.text_tokens, largest_limits.text_tokens);
  return found;
}

void check_state(const Array& state, const Array& noise, std::int64_t batch, const ModelShape& shape) {
  check_float("state", state, {batch, shape.state}, "batch, max_state_dim");
  if (is_given(noise)) {
    check_float("noise", noise, {batch, shape.chunk, shape.action}, "batch, n_action_steps, max_action_dim");
  }
}

Presence check_inputs(const Inputs& inputs, const Array& noise, const ModelShape& shape, const Limits& limits) {
  check_images(inputs.images, shape, limits);
  const std::int64_t batch = inputs.images.shape[0], views = inputs.images.shape[1];
  if (!is_mask(inputs.image_mask) || inputs.image_mask.shape != Shape{batch, views}) {
    refuse("img_masks", "bool " + to_string({batch, views}) + " (batch, views)", inputs.image_mask);
  }
  const Array& tokens = inputs.tokens;
  if ((tokens.dtype != DType::i64 && tokens.dtype != DType::i32) || tokens.shape.size() != 2 ||
      tokens.shape[0] != batch) {
    refuse("lang_tokens", "i64 or i32 [" + std::to_string(batch) + ", tokens]", tokens);
  }
  const std::int64_t text = tokens.shape[1];
  check_limit("lang_tokens", "tokens", text, limits.text_tokens);
  if (!is_mask(inputs.token_mask) || inputs.token_mask.shape != tokens.shape) {
    refuse("lang_masks", "bool " + to_string(tokens.shape) + " (batch, tokens)", inputs.token_mask);
  }
  check_state(inputs.state, noise, batch, shape);
  return {.batch = batch,
          .views = views,
          .text = text,
          .image_mask = mask_of(inputs.image_mask),
          .token_mask = mask_of(inputs.token_mask),
          .tokens = tokens_of(tokens)};
}

}  // namespace nervus
