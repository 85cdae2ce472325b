// Images from files and from arrays.
#pragma once

#include <filesystem>
#include <string_view>

#include "nervus/array.h"
#include "nervus/observation.h"

namespace nervus {

// Decodes a PNG or JPEG file, told apart by content, with the pixels that Pillow's convert("RGB") gives. Throws
// Error(input) for a broken or refused image, Error(io) for an unreadable file.
Image read_image(const std::filesystem::path& path);

// An image from a u8 array [height, width, 3]. Throws Error(input) whose message begins with `name`.
Image image_from_array(const Array& array, std::string_view name);

}  // namespace nervus
