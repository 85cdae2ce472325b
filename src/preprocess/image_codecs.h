// The decoders of image files, by libspng and libjpeg-turbo. What they take and refuse: preprocess/image_file.h.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "nervus/observation.h"

namespace nervus {

using Bytes = std::span<const std::byte>;

Image decode_png(Bytes bytes, std::string_view name);
Image decode_jpeg(Bytes bytes, std::string_view name);

// An image of those sides, if they are within ImageLimits, without its pixels yet.
Image sized_image(std::string_view name, long long width, long long height);

}  // namespace nervus
