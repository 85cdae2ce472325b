// Images to patches: Pillow's bilinear resize and the Qwen2-VL image processor.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/patches.h"
#include "nervus/observation.h"

namespace nervus {

// Throws Error(input) whose message begins with `name` unless there are width x height pixels, at least one.
void require_pixels(const Image& image, std::string_view name);
// Patches of an image. Throws Error(input) unless both sides are positive multiples of patch * merge.
int patch_count(int width, int height, const PatchGeometry& geometry);

// The image at width x height, equal to the last bit to Pillow's Image.resize((width, height), BILINEAR): a triangle
// filter that widens when it shrinks, horizontal pass first, 8-bit results between the passes, coefficients in 22-bit
// fixed point. (Pillow 13 runs the vertical pass first where the height shrinks far more than the width, as it never
// does for a camera's landscape frame; that moves a last bit.) Throws Error(input) on an empty image or target.
Image resize_bilinear(const Image& image, int width, int height);
// Rows [begin, end) of it, 3 width bytes each, to `out`.
void resize_rows(const Image& image, int width, int height, int begin, int end, std::uint8_t* out);

// Writes [patch_count, values of a patch] floats, which equal the Qwen2-VL image processor's without its own resize.
void extract_patches(const Image& image, const PatchGeometry& geometry, float* out);

}  // namespace nervus
