#include "preprocess/image_file.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "checkpoint/safetensors.h"
#include "nervus/error.h"

using namespace nervus;

TEST_CASE("PNG of every colour type and JPEG of every sampling decode as in Pillow, to the last bit") {
  const std::filesystem::path directory = NERVUS_SOURCE_DIR "/tests/preprocess/images";
  const Safetensors expected = Safetensors::open(directory / "decoded.safetensors");
  CHECK(expected.tensors().size() == 20);
  for (const TensorInfo& tensor : expected.tensors()) {
    CAPTURE(tensor.name);
    const Image reference = image_from_array(expected.read(tensor.name), tensor.name);
    const Image image = read_image(directory / tensor.name);
    CHECK(image.width == reference.width);
    CHECK(image.height == reference.height);
    CHECK(image.rgb == reference.rgb);
  }
}

TEST_CASE("texts of a PNG may be larger unpacked than the file, and change no pixel") {
  const std::filesystem::path directory = NERVUS_SOURCE_DIR "/tests/preprocess/images";
  CHECK(read_image(directory / "texts.png").rgb == read_image(directory / "type2_depth8.png").rgb);
}

TEST_CASE("a file that is not there is an io error") {
  try {
    read_image("no/such/image.png");
    FAIL("read an image that is not there");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::io);
    CHECK(std::string(error.what()).starts_with("no/such/image.png: "));
  }
}

TEST_CASE("an array becomes an image without change") {
  const Array array = Array::from<std::uint8_t>({1, 2, 3, 4, 5, 6}, {1, 2, 3});
  const Image image = image_from_array(array, "cam_high");
  CHECK(image.width == 2);
  CHECK(image.height == 1);
  CHECK(image.rgb == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
}
