#include "preprocess/image_file.h"

#include <spng.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "core/message.h"

namespace nervus {
namespace {

using Bytes = std::span<const std::byte>;

template <typename... Parts>
[[noreturn]] void refuse(std::string_view name, const Parts&... parts) {
  fail(ErrorKind::input, name, ": ", parts...);
}

// An image of those sides, if they are within the limits, without its pixels yet.
Image sized(std::string_view name, long long width, long long height) {
  if (width <= 0 || height <= 0) refuse(name, "the image is empty: ", width, " x ", height, " pixels");
  if (width > ImageLimits::side || height > ImageLimits::side || width * height > ImageLimits::pixels) {
    refuse(name, "expected an image of at most ", ImageLimits::side, " pixels a side and ", ImageLimits::pixels,
           " in all, found ", width, " x ", height);
  }
  return {static_cast<int>(width), static_cast<int>(height), {}};
}

// Makes room for the pixels, unless the file's bytes cannot hold `claimed` units, each at most `most` of them.
void make_room(std::string_view name, Image& image, long long claimed, std::size_t found, long long most) {
  if (claimed > static_cast<long long>(found) * most) {
    refuse(name, "claims ", image.width, " x ", image.height, " pixels, which ",
           plural(static_cast<long long>(found), "byte"), " cannot hold; the file is cut short or damaged");
  }
  image.rgb.resize(3 * static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height));
}

void require_png(std::string_view name, int status) {
  if (status != 0) refuse(name, "not a whole PNG image: ", spng_strerror(status));
}

// Pillow opens 16-bit grey as mode I;16, whose conversion to RGB clips instead of scaling.
void decode_deep_grey(spng_ctx* context, std::string_view name, Image& image) {
  std::vector<std::uint16_t> grey(image.rgb.size() / 3);
  require_png(name, spng_decode_image(context, grey.data(), grey.size() * 2, SPNG_FMT_PNG, 0));
  std::uint8_t* target = image.rgb.data();
  for (const std::uint16_t level : grey) {
    target = std::fill_n(target, 3, static_cast<std::uint8_t>(std::min<int>(level, 255)));
  }
}

Image decode_png(Bytes bytes, std::string_view name) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), &spng_ctx_free);
  check(context != nullptr, "decode_png: a libspng context");
  spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
  spng_set_chunk_limits(context.get(), bytes.size(), bytes.size());
  require_png(name, spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  spng_ihdr header{};
  require_png(name, spng_get_ihdr(context.get(), &header));
  Image image = sized(name, header.width, header.height);
  std::size_t scanlines = 0;
  require_png(name, spng_decoded_image_size(context.get(), SPNG_FMT_PNG, &scanlines));
  make_room(name, image, static_cast<long long>(scanlines), bytes.size(), ImageLimits::png_bytes_per_byte);
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth == 16) {
    decode_deep_grey(context.get(), name, image);
  } else {
    require_png(name, spng_decode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_RGB8, 0));
  }
  return image;
}

Image decode_jpeg(Bytes bytes, std::string_view name) {
  const std::unique_ptr<void, decltype(&tjDestroy)> handle(tjInitDecompress(), &tjDestroy);
  check(handle != nullptr, "decode_jpeg: a libjpeg-turbo decoder");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto require = [&](int status) {
    if (status != 0) refuse(name, "not a whole JPEG image: ", tjGetErrorStr2(handle.get()));
  };
  int width = 0, height = 0, subsampling = 0, color_space = 0;
  require(tjDecompressHeader3(handle.get(), data, bytes.size(), &width, &height, &subsampling, &color_space));
  if (width == 0) refuse(name, "not a whole JPEG image: the file ends before its sides are told");
  Image image = sized(name, width, height);
  if (color_space == TJCS_CMYK || color_space == TJCS_YCCK) {
    refuse(name, "expected a grey or RGB JPEG, found CMYK; convert it to RGB first");
  }
  make_room(name, image, static_cast<long long>(width) * height, bytes.size(), ImageLimits::jpeg_pixels_per_byte);
  constexpr int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  require(tjDecompress2(handle.get(), data, bytes.size(), image.rgb.data(), width, 0, height, TJPF_RGB, flags));
  return image;
}

}  // namespace

Image decode_image(Bytes bytes, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(bytes, name);
  if (text.starts_with("\xff\xd8\xff")) return decode_jpeg(bytes, name);
  if (text.empty()) refuse(name, "expected a PNG or JPEG image, found an empty file");
  std::string found;
  for (const char byte : text.substr(0, 4)) found += " " + hexadecimal(static_cast<unsigned char>(byte), 2);
  refuse(name, "expected a PNG or JPEG image, found a file that begins with the bytes", found);
}

Image read_image(const std::filesystem::path& path) {
  const std::string text = as_input([&] { return read_text(path, ImageLimits::file_bytes); });
  return decode_image(std::as_bytes(std::span(text)), path.string());
}

Image image_from_array(const Array& array, std::string_view name) {
  const Shape& shape = array.shape;
  if (array.dtype != DType::u8 || shape.size() != 3 || shape[2] != 3) {
    refuse(name, "expected a u8 array [height, width, 3], found ", name_of(array.dtype), " ", to_string(shape));
  }
  Image image = sized(name, shape[1], shape[0]);
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(array.bytes.data());
  image.rgb.assign(pixels, pixels + array.bytes.size());
  check(array.count() == static_cast<std::int64_t>(image.rgb.size()),
        "image_from_array: as many bytes as the shape says");
  return image;
}

}  // namespace nervus
