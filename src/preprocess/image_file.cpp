#include "preprocess/image_file.h"

#include <spng.h>
#include <turbojpeg.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "core/check.h"

namespace nervus {
namespace {

using Bytes = std::span<const std::byte>;

[[noreturn]] void refuse(std::string_view name, const std::string& what) {
  fail(ErrorKind::input, std::string(name) + ": " + what);
}

std::string extent(long long width, long long height) { return std::to_string(width) + " x " + std::to_string(height); }

void require_sides(std::string_view name, long long width, long long height) {
  if (width <= 0 || height <= 0) refuse(name, "the image is empty: " + extent(width, height) + " pixels");
  if (width > ImageLimits::side || height > ImageLimits::side || width * height > ImageLimits::pixels) {
    refuse(name, "expected an image of at most " + std::to_string(ImageLimits::side) + " pixels a side and " +
                     std::to_string(ImageLimits::pixels) + " in all, found " + extent(width, height));
  }
}

[[noreturn]] void refuse_claim(std::string_view name, long long width, long long height, std::size_t bytes) {
  refuse(name, "claims " + extent(width, height) + " pixels, which " + plural(static_cast<long long>(bytes), "byte") +
                   " cannot hold; the file is cut short or damaged");
}

Image sized(long long width, long long height) {
  return {static_cast<int>(width), static_cast<int>(height),
          std::vector<std::uint8_t>(static_cast<std::size_t>(width * height) * 3)};
}

struct FreePng {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};

void require_png(std::string_view name, int status) {
  if (status != 0) refuse(name, std::string("not a whole PNG image: ") + spng_strerror(status));
}

int png_channels(int color_type) {
  if (color_type == SPNG_COLOR_TYPE_TRUECOLOR) return 3;
  if (color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA) return 4;
  return color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ? 2 : 1;
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
  const std::unique_ptr<spng_ctx, FreePng> context(spng_ctx_new(0));
  check(context != nullptr, "decode_png: a libspng context");
  spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
  spng_set_chunk_limits(context.get(), bytes.size(), bytes.size());
  require_png(name, spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  spng_ihdr header{};
  require_png(name, spng_get_ihdr(context.get(), &header));
  require_sides(name, header.width, header.height);
  const long long row_bits = static_cast<long long>(header.width) * png_channels(header.color_type) * header.bit_depth;
  const long long scanlines = header.height * ((row_bits + 7) / 8);
  if (scanlines > static_cast<long long>(bytes.size()) * ImageLimits::png_bytes_per_byte) {
    refuse_claim(name, header.width, header.height, bytes.size());
  }
  Image image = sized(header.width, header.height);
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth == 16) {
    decode_deep_grey(context.get(), name, image);
  } else {
    require_png(name, spng_decode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_RGB8, 0));
  }
  return image;
}

struct FreeJpeg {
  void operator()(void* handle) const { tjDestroy(handle); }
};

Image decode_jpeg(Bytes bytes, std::string_view name) {
  const std::unique_ptr<void, FreeJpeg> handle(tjInitDecompress());
  check(handle != nullptr, "decode_jpeg: a libjpeg-turbo decoder");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto require = [&](int status) {
    if (status != 0) refuse(name, std::string("not a whole JPEG image: ") + tjGetErrorStr2(handle.get()));
  };
  int width = 0, height = 0, subsampling = 0, color_space = 0;
  require(tjDecompressHeader3(handle.get(), data, bytes.size(), &width, &height, &subsampling, &color_space));
  if (width == 0) refuse(name, "not a whole JPEG image: the file ends before its sides are told");
  require_sides(name, width, height);
  if (color_space == TJCS_CMYK || color_space == TJCS_YCCK) {
    refuse(name, "expected a grey or RGB JPEG, found CMYK; convert it to RGB first");
  }
  if (static_cast<long long>(width) * height >
      static_cast<long long>(bytes.size()) * ImageLimits::jpeg_pixels_per_byte) {
    refuse_claim(name, width, height, bytes.size());
  }
  Image image = sized(width, height);
  constexpr int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  require(tjDecompress2(handle.get(), data, bytes.size(), image.rgb.data(), width, 0, height, TJPF_RGB, flags));
  return image;
}

template <std::size_t N>
bool starts_with(Bytes bytes, const std::array<unsigned char, N>& magic) {
  return bytes.size() >= N && std::memcmp(bytes.data(), magic.data(), N) == 0;
}

}  // namespace

Image decode_image(Bytes bytes, std::string_view name) {
  constexpr std::array<unsigned char, 8> png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  constexpr std::array<unsigned char, 3> jpeg = {0xff, 0xd8, 0xff};
  if (starts_with(bytes, png)) return decode_png(bytes, name);
  if (starts_with(bytes, jpeg)) return decode_jpeg(bytes, name);
  if (bytes.empty()) refuse(name, "expected a PNG or JPEG image, found an empty file");
  std::string found;
  for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 4); ++i) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto value = std::to_integer<unsigned>(bytes[i]);
    found += {' ', digits[value >> 4], digits[value & 15u]};
  }
  refuse(name, "expected a PNG or JPEG image, found a file that begins with the bytes" + found);
}

Image read_image(const std::filesystem::path& path) {
  const File file = File::open(path);
  if (file.size() > static_cast<std::uint64_t>(ImageLimits::file_bytes)) {
    refuse(file.path(), "expected an image file of at most " + std::to_string(ImageLimits::file_bytes) +
                            " bytes, found " + std::to_string(file.size()));
  }
  std::vector<std::byte> bytes(file.size());
  file.read(0, bytes.data(), bytes.size());
  return decode_image(bytes, file.path());
}

Image image_from_array(const Array& array, std::string_view name) {
  const Shape& shape = array.shape;
  if (array.dtype != DType::u8 || shape.size() != 3 || shape[2] != 3) {
    refuse(name, std::string("expected a u8 array [height, width, 3], found ") + name_of(array.dtype) + " " +
                     to_string(shape));
  }
  require_sides(name, shape[1], shape[0]);
  Image image = sized(shape[1], shape[0]);
  check(array.bytes.size() == image.rgb.size(), "image_from_array: as many bytes as the shape says");
  std::memcpy(image.rgb.data(), array.bytes.data(), image.rgb.size());
  return image;
}

}  // namespace nervus
