#include "preprocess/image_file.h"

#include <cstdint>
#include <string>

#include "checkpoint/file.h"

namespace nervus {
Image sized_image(std::string_view name, long long width, long long height) {
  if (width <= 0 || height <= 0) refuse_image(name, "the image is empty: ", width, " x ", height, " pixels");
  if (width > ImageLimits::side || height > ImageLimits::side || width * height > ImageLimits::pixels) {
    refuse_image(name, "expected an image of at most ", ImageLimits::side, " pixels a side and ", ImageLimits::pixels,
                 " in all, found ", width, " x ", height);
  }
  return {static_cast<int>(width), static_cast<int>(height), {}};
}

Image decode_image(Bytes bytes, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(bytes, name);
  if (text.starts_with("\xff\xd8\xff")) return decode_jpeg(bytes, name);
  if (text.empty()) refuse_image(name, "expected a PNG or JPEG image, found an empty file");
  std::string found;
  for (const char byte : text.substr(0, 4)) found += " " + hexadecimal(static_cast<unsigned char>(byte), 2);
  refuse_image(name, "expected a PNG or JPEG image, found a file that begins with the bytes", found);
}

Image read_image(const std::filesystem::path& path) {
  const std::string text = as_input([&] { return read_text(path, ImageLimits::file_bytes); });
  return decode_image(std::as_bytes(std::span(text)), path.string());
}

Image image_from_array(const Array& array, std::string_view name) {
  const Shape& shape = array.shape;
  if (array.dtype != DType::u8 || shape.size() != 3 || shape[2] != 3) {
    refuse_image(name, "expected a u8 array [height, width, 3], found ", name_of(array.dtype), " ", to_string(shape));
  }
  Image image = sized_image(name, shape[1], shape[0]);
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(array.bytes.data());
  image.rgb.assign(pixels, pixels + array.bytes.size());
  check(array.count() == static_cast<std::int64_t>(image.rgb.size()),
        "image_from_array: as many bytes as the shape says");
  return image;
}

}  // namespace nervus
