// Any bytes either decode to an image, which then resizes to patches, or are an Error.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nervus/error.h"
#include "preprocess/image.h"
#include "preprocess/image_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const nervus::Image image = nervus::decode_image(std::as_bytes(std::span(data, size)), "image");
    const nervus::Image resized = nervus::resize_bilinear(image, 28, 28);
    const nervus::PatchGeometry geometry;
    std::vector<float> patches(static_cast<std::size_t>(nervus::patch_count(28, 28, geometry)) *
                               static_cast<std::size_t>(geometry.values()));
    nervus::extract_patches(resized, geometry, patches.data());
  } catch (const nervus::Error&) {
  }
  return 0;
}
