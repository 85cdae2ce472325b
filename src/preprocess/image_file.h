// Images from PNG and JPEG files and from raw arrays, with the pixels that Pillow's convert("RGB") gives.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "nervus/observation.h"

namespace nervus {

// What an image may be, checked before anything is allocated for its pixels. A file may not claim more than
// `pixels_per_byte` pixels for each of its bytes: the densest deflate stream of 1-bit pixels stays below.
struct ImageLimits {
  int side = 16384;
  long long pixels = 64LL << 20;
  long long pixels_per_byte = 8300;
};

// Decodes a PNG or JPEG, told apart by content. PNG: every colour type, depth and interlacing; alpha is dropped, grey
// is repeated, 16-bit channels keep their upper byte (16-bit grey saturates at 255, as in Pillow). JPEG: grey and
// YCbCr or RGB, accurate integer DCT and smooth chroma upsampling, Exif rotation ignored; CMYK is refused.
// `name` begins every message. Throws Error(input) for a broken or refused image, Error(io) for an unreadable file.
Image decode_image(std::span<const std::byte> bytes, std::string_view name);
Image read_image(const std::filesystem::path& path);

// An image from a u8 array [height, width, 3]. Throws Error(input) naming `name`.
Image image_from_array(const Array& array, std::string_view name);

}  // namespace nervus
