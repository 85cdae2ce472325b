// y = softmax(q k^T / sqrt(d)) v in float32, over the slots of two ranges a row; zeros where they are empty
// q and y [T, H d], keys and values [slots, G d], ranges i32 [T, 4]. One warp for each row and head: a lane has a slot
// for the score, and every 32nd column for the sum. Bound by the latency of 32 slots after 32 slots: the kernel for any
// shape, against which faster ones are held.
// Reference: tests/reference/kernels.cpp, attention.
#include "backends/cuda/device/reductions.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr int warps = 4;           // of a block
constexpr int largest_head = 256;  // columns
constexpr int lane_columns = largest_head / 32;

template <typename T>
struct Sequence {
  const T* q;
  const T* keys;
  const T* values;
  const std::int32_t* ranges;
  int rows;
  int slots;
  int heads;
  int key_heads;
  int size;
  float scale;  // of a score
};

// The slot of the i-th key that a row sees, -1 behind the last.
struct Seen {
  int first, first_count, second, count;

  __device__ Seen(const std::int32_t* ranges, int slots)
      : first(max(ranges[0], 0)),
        first_count(max(min(ranges[1], slots) - first, 0)),
        second(max(ranges[2], 0)),
        count(first_count + max(min(ranges[3], slots) - second, 0)) {}
  __device__ int operator[](int i) const {
    return i >= count ? -1 : i < first_count ? first + i : second + i - first_count;
  }
};

template <int N, typename T>
__device__ float score(const float* query, const T* key, int size) {
  float total = 0.0f;
  for (int i = 0; i < size; i += N) {
    float values[N];
    load<N>(values, key + i);
#pragma unroll
    for (int k = 0; k < N; ++k) total += query[i + k] * values[k];
  }
  return total;
}

template <int N, typename Y, typename T>
__global__ void attention_kernel(Output<Y> y, Sequence<T> s) {
  __shared__ float queries[warps][largest_head];
  begin();
  const int lane = threadIdx.x % 32;
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  if (item >= static_cast<std::int64_t>(s.rows) * s.heads) return;
  const int head = static_cast<int>(item % s.heads);
  const std::int64_t offset = item * s.size;
  float* query = queries[threadIdx.x / 32];
  for (int i = lane; i < s.size; i += 32) query[i] = as_float(s.q[offset + i]) * s.scale;
  __syncwarp();

  const Seen seen(s.ranges + item / s.heads * 4, s.slots);
  const std::int64_t stride = static_cast<std::int64_t>(s.key_heads) * s.size;
  const std::int64_t key_head = static_cast<std::int64_t>(head / (s.heads / s.key_heads)) * s.size;
  float maximum = -INFINITY;
  float sum = 0.0f;
  float total[lane_columns] = {};
  for (int begin = 0; begin < seen.count; begin += 32) {
    const int slot = seen[begin + lane];
    const float own = slot < 0 ? -INFINITY : score<N>(query, s.keys + slot * stride + key_head, s.size);
    const float larger = fmaxf(maximum, warp_maximum(own));
    const float weight = slot < 0 ? 0.0f : expf(own - larger);
    const float kept = expf(maximum - larger);
    sum = sum * kept + warp_sum(weight);
    maximum = larger;
#pragma unroll
    for (int k = 0; k < lane_columns; ++k) total[k] *= kept;
    const int count = min(32, seen.count - begin);
    for (int j = 0; j < count; ++j) {
      const float share = __shfl_sync(~0u, weight, j);
      const T* value = s.values + __shfl_sync(~0u, slot, j) * stride + key_head;
#pragma unroll
      for (int k = 0; k < lane_columns; ++k) {
        const int column = k * 32 + lane;
        if (column < s.size) total[k] += share * as_float(value[column]);
      }
    }
  }
  const float inverse = (seen.count > 0 ? 1.0f / sum : 0.0f) * y.inverse;
#pragma unroll
  for (int k = 0; k < lane_columns; ++k) {
    const int column = k * 32 + lane;
    if (column < s.size) y.data[offset + column] = from_float<Y>(total[k] * inverse);
  }
}

}  // namespace

void attention(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges,
               const Heads& heads) {
  check(heads.size <= largest_head, "attention: heads of at most 256 columns");
  const auto rows = static_cast<int>(q.rows);
  with_output(y, [&](auto output) {
    with_type(q.dtype, [&](auto type) {
      with_pack(heads.size, [&](auto n) {
        using Y = typename decltype(output)::type;
        using T = typename decltype(type)::type;
        constexpr int N = decltype(n)::value;
        const Sequence<T> sequence{.q = data<const T>(q),
                                   .keys = data<const T>(cache.keys),
                                   .values = data<const T>(cache.values),
                                   .ranges = data<const std::int32_t>(ranges),
                                   .rows = rows,
                                   .slots = static_cast<int>(cache.keys.rows),
                                   .heads = static_cast<int>(heads.query),
                                   .key_heads = static_cast<int>(heads.key_value),
                                   .size = static_cast<int>(heads.size),
                                   .scale = 1.0f / std::sqrt(static_cast<float>(heads.size))};
        launch(stream, {blocks_for(q.rows * heads.query, warps), warps * 32}, attention_kernel<N, Y, T>, output,
               sequence);
      });
    });
  });
}

}  // namespace nervus::cuda
