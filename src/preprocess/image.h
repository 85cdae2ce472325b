// Images to patches: Pillow's bilinear resize and the Qwen2-VL image processor.
#pragma once

#include <string_view>

#include "nervus/observation.h"

namespace nervus {

// How an image is cut: `patch` pixels a side, `merge` x `merge` patches become one token, `temporal` frames a patch.
struct PatchGeometry {
  int patch = 14;
  int merge = 2;
  int temporal = 2;
};

// Throws Error(input) whose message begins with `name` unless there are width x height pixels, at least one.
void require_pixels(const Image& image, std::string_view name);
// Values in one patch: 3 temporal patch^2 (1176).
int patch_values(const PatchGeometry& geometry);
// Patches of an image. Throws Error(input) unless both sides are positive multiples of patch * merge.
int patch_count(int width, int height, const PatchGeometry& geometry);

// The image at width x height, equal to the last bit to Pillow's Image.resize((width, height), BILINEAR): a triangle
// filter that widens when it shrinks, horizontal pass first, 8-bit results between the passes, coefficients in 22-bit
// fixed point. (Pillow 13 runs the vertical pass first where the height shrinks far more than the width, as it never
// does for a camera's landscape frame; that moves a last bit.) Throws Error(input) on an empty image or target.
Image resize_bilinear(const Image& image, int width, int height);

// Writes [patch_count, patch_values] floats: pixel / 255, minus mean, over std of each channel; the frame repeated
// `temporal` times; patches in blocks of merge x merge, each laid out as (channel, frame, row, column). Equals the
// Qwen2-VL image processor without its own resize.
void extract_patches(const Image& image, const PatchGeometry& geometry, float* out);

}  // namespace nervus
