// y = the patches of RGB images, whose levels become those of a table
// y [V P, 3 F p p], pixels u8 [V, 3 S S], levels f32 [3, 256]. Blocks (patch, image), a pixel a thread, which writes
// its three channels to every frame; bound by memory. Reference: tests/reference/kernels.cpp, cut_patches.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

template <typename Y>
__global__ void cut_patches_kernel(Output<Y> y, const std::uint8_t* pixels, const float* levels,
                                   const PatchGeometry geometry, int side) {
  begin();
  const int area = geometry.area();
  const auto [row, column] = geometry.corner(static_cast<int>(blockIdx.x), side);
  const std::int64_t patch = static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
  const std::uint8_t* image = pixels + static_cast<std::int64_t>(blockIdx.y) * 3 * side * side;
  for (int i = static_cast<int>(threadIdx.x); i < area; i += static_cast<int>(blockDim.x)) {
    const int at = (row + i / geometry.patch) * side + column + i % geometry.patch;
    for (int channel = 0; channel < 3; ++channel) {
      const float value[1] = {levels[channel * 256 + image[3 * at + channel]]};
      for (int frame = 0; frame < geometry.temporal; ++frame)
        y.store(patch * geometry.values() + (channel * geometry.temporal + frame) * area + i, value);
    }
  }
}

}  // namespace

void cut_patches(const Stream& stream, const Tensor& y, const Tensor& pixels, const Tensor& levels,
                 const PatchGeometry& geometry) {
  const std::int64_t patches = y.rows / pixels.rows;  // of an image
  const dim3 blocks(static_cast<unsigned>(patches), static_cast<unsigned>(pixels.rows));
  with_output(y, [&](auto output) {
    using Y = typename decltype(output)::type;
    launch(stream, {blocks, threads_for(geometry.area(), 256)}, cut_patches_kernel<Y>, output,
           data<const std::uint8_t>(pixels), data<const float>(levels), geometry, geometry.side(patches));
  });
}

}  // namespace nervus::cuda
