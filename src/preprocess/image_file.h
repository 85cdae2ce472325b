// Images from PNG and JPEG files and from raw arrays, with the pixels that Pillow's convert("RGB") gives.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "core/message.h"
#include "nervus/image_file.h"

namespace nervus {

using Bytes = std::span<const std::byte>;

// Bounds on an image, checked against its header before anything is allocated for its pixels.
struct ImageLimits {
  static constexpr long long side = 16384;                 // of width and height, each
  static constexpr long long pixels = 64LL << 20;          // width times height
  static constexpr long long file_bytes = 256LL << 20;     // compressed
  static constexpr long long png_bytes_per_byte = 1032;    // scanlines to file: deflate cannot do more
  static constexpr long long jpeg_pixels_per_byte = 1024;  // at least one bit for each block of 64 pixels is 512
};

// Decodes a PNG or JPEG, told apart by content. PNG: every colour type, depth and interlacing; transparency is
// dropped, grey is repeated, 16-bit colours keep their upper byte, 16-bit grey saturates at 255. JPEG: grey, YCbCr or
// RGB, accurate integer DCT, smooth chroma upsampling, Exif rotation not applied; CMYK is refused, and so is whatever
// libjpeg warns of, since half an image is no view. Every message begins with `name`. Throws Error(input).
Image decode_image(Bytes bytes, std::string_view name);

// Its decoders, by libspng and libjpeg-turbo.
Image decode_png(Bytes bytes, std::string_view name);
Image decode_jpeg(Bytes bytes, std::string_view name);

// An image of those sides, if they are within ImageLimits, without its pixels yet.
Image sized_image(std::string_view name, long long width, long long height);

template <typename... Parts>
[[noreturn]] void refuse_image(std::string_view name, const Parts&... parts) {
  fail(ErrorKind::input, name, ": ", parts...);
}

}  // namespace nervus
