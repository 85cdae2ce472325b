// q = rotate(qkv[:, :H d]); keys[slots[r]] = rotate(the next G d); values[slots[r]] = the last G d
// rotate(x1, x2) = (x1 cos - x2 sin, x2 cos + x1 sin) over the halves of a head, by the angles of positions[r].
// qkv [T, (H + 2 G) d], q [T, H d], keys and values [slots, G d]; a negative slot stores nothing. One block a row, a
// thread takes a pack of each half of a head; bound by memory.
// Reference: tests/reference/kernels.cpp, split_rope.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

struct Angles {
  const float* cosine;
  const float* sine;
  const std::int32_t* positions;
};

// Of one head size; `query` and `key_value` heads.
struct Split {
  int query;
  int key_value;
  int half;
};

template <typename T>
struct Targets {
  T* q;
  T* keys;
  T* values;
};

template <int N, typename T>
__global__ void split_rope_kernel(Targets<T> targets, const T* qkv, const std::int32_t* slots, Angles angles,
                                  Split split) {
  begin();
  const std::int64_t row = blockIdx.x;
  const int heads = split.query + 2 * split.key_value;
  const int size = 2 * split.half;
  const std::int64_t angle = static_cast<std::int64_t>(angles.positions[row]) * split.half;
  const std::int64_t slot = slots[row];
  const int packs = split.half / N;
  for (int item = threadIdx.x; item < heads * packs; item += blockDim.x) {
    const int head = item / packs;
    const int offset = item % packs * N;
    const T* in = qkv + (row * heads + head) * size + offset;
    float low[N];
    float high[N];
    load<N>(low, in);
    load<N>(high, in + split.half);
    const int key_head = head - split.query;
    if (key_head < split.key_value) {
      float cosine[N];
      float sine[N];
      load<N>(cosine, angles.cosine + angle + offset);
      load<N>(sine, angles.sine + angle + offset);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float turned = low[k] * cosine[k] - high[k] * sine[k];
        high[k] = high[k] * cosine[k] + low[k] * sine[k];
        low[k] = turned;
      }
    }
    if (key_head >= 0 && slot < 0) continue;
    T* out = key_head < 0 ? targets.q + (row * split.query + head) * size
             : key_head < split.key_value
                 ? targets.keys + (slot * split.key_value + key_head) * size
                 : targets.values + (slot * split.key_value + key_head - split.key_value) * size;
    store<N>(out + offset, low);
    store<N>(out + offset + split.half, high);
  }
}

}  // namespace

void split_rope(const Stream& stream, const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                const Heads& heads, const Rope& rope) {
  const Split split{static_cast<int>(heads.query), static_cast<int>(heads.key_value), static_cast<int>(heads.size / 2)};
  const Angles angles{data<const float>(rope.cosine), data<const float>(rope.sine),
                      data<const std::int32_t>(rope.positions)};
  with_type(qkv.dtype, [&](auto type) {
    with_pack(split.half, [&](auto n) {
      using T = typename decltype(type)::type;
      constexpr int N = decltype(n)::value;
      const Targets<T> targets{data<T>(q), data<T>(cache.keys), data<T>(cache.values)};
      const unsigned threads = threads_for((heads.query + 2 * heads.key_value) * split.half / N, 256);
      launch(stream, {dim3(static_cast<unsigned>(qkv.rows)), threads}, split_rope_kernel<N, T>, targets,
             data<const T>(qkv), data<const std::int32_t>(slots), angles, split);
    });
  });
}

}  // namespace nervus::cuda
