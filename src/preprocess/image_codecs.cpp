#include <spng.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "preprocess/image_file.h"

namespace nervus {
namespace {

constexpr std::size_t unpacked_chunks = std::size_t{8} << 20;  // texts and profiles may be larger than the file

// Makes room for the pixels, unless the file's bytes cannot hold `claimed` units, each at most `most` of them.
void make_room(std::string_view name, Image& image, long long claimed, std::size_t found, long long most) {
  if (claimed > static_cast<long long>(found) * most) {
    refuse_image(name, "claims ", image.width, " x ", image.height, " pixels, which ", plural(found, "byte"),
                 " cannot hold; the file is cut short or damaged");
  }
  image.rgb.resize(3 * static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height));
}

void require_png(std::string_view name, int status) {
  if (status != 0) refuse_image(name, "not a whole PNG image: ", spng_strerror(status));
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

}  // namespace

Image decode_png(Bytes bytes, std::string_view name) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), &spng_ctx_free);
  check(context != nullptr, "decode_png: a libspng context");
  spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
  const std::size_t room = std::max(bytes.size(), unpacked_chunks);
  spng_set_chunk_limits(context.get(), room, room);
  require_png(name, spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  spng_ihdr header{};
  require_png(name, spng_get_ihdr(context.get(), &header));
  Image image = sized_image(name, header.width, header.height);
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
    if (status != 0) refuse_image(name, "not a whole JPEG image: ", tjGetErrorStr2(handle.get()));
  };
  int width = 0, height = 0, subsampling = 0, color_space = 0;
  require(tjDecompressHeader3(handle.get(), data, bytes.size(), &width, &height, &subsampling, &color_space));
  if (width == 0) refuse_image(name, "not a whole JPEG image: the file ends before its sides are told");
  Image image = sized_image(name, width, height);
  if (color_space == TJCS_CMYK || color_space == TJCS_YCCK) {
    refuse_image(name, "expected a grey or RGB JPEG, found CMYK; convert it to RGB first");
  }
  make_room(name, image, static_cast<long long>(width) * height, bytes.size(), ImageLimits::jpeg_pixels_per_byte);
  constexpr int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  require(tjDecompress2(handle.get(), data, bytes.size(), image.rgb.data(), width, 0, height, TJPF_RGB, flags));
  return image;
}

}  // namespace nervus
