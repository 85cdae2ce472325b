// q, k, v = split_rope(x W^T + b), or of norm(x): queries [T, H d] and, at cache rows slots[r], keys and values [slots,
// G d]. Work: product_sm90.cuh; eight channels of the first half of a head lie beside the eight that they are rotated
// with, so one thread holds both. Bound: see product_sm90.cuh; 3840 x 1280 at 768 rows are 7.5 GFLOP and 9.8 MB of
// weights in bf16. Reference: ReferenceKernels::linear, split_rope.
#include "backends/cuda/wide/launch_sm90.cuh"

namespace nervus::cuda {
namespace {

template <bool Fused>
struct QkvEpilogue {
  static constexpr bool fused = Fused, normed = Fused;
  static constexpr const char* name = "qkv";
  static constexpr int blocks = 2, staged_bytes = 32;  // of 8 channels of both halves
  static constexpr int weights_ahead = Fused ? 8 : 2;  // a norm before it ends soon
  const float* cosine;
  const float* sine;
  const int* positions;
  const int* slots;
  __nv_bfloat16* q;
  __nv_bfloat16* keys;
  __nv_bfloat16* values;
  int query_heads, key_heads, half;  // half: of the head size
  unsigned inverse_half;             // 2^32 / half, rounded up: divides exactly what is below 2^25
  int outputs;

  struct Row {
    int row;  // negative beyond the last
    int slot, angle;
  };
  struct Rows {
    Row row[2];
  };
  struct Inputs {
    float2 cosine[2], sine[2];  // of two channels, for two rows
  };

  // What a lane finishes at once: eight channels of a row, and those that they are rotated with.
  struct Item {
    __nv_bfloat16* target;  // of the first half's; null where it is not kept
    int angle;              // in the tables; negative where it is not turned
  };
  struct Turn {
    float cosine[8], sine[8];
  };
  template <int chunks>
  struct Part {
    static constexpr int count = (16 * chunks + 31) / 32;  // items of a lane
    // For which there are registers beside the sums.
    static constexpr int ahead = chunks > 6 ? 1 : count < 3 ? count : 3;
    Row own;  // of lane % 16
    int output;
    Item items[count];
    Turn turns[ahead];

    Part() = default;
    __device__ Part(const QkvEpilogue& e, int first_row, int rows, int output)
        : own(e.one_row(first_row + static_cast<int>(threadIdx.x) % 16, rows)), output(output) {}
    __device__ void prepare(const QkvEpilogue& e) {
      const int lane = threadIdx.x % 32;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const int index = i * 32 + lane, chunk = index % chunks;
        items[i] = e.item(own, min(index / chunks, 15), index < 16 * chunks ? output + chunk * 16 : e.outputs);
      }
    }
    __device__ void load(const QkvEpilogue& e) {
#pragma unroll
      for (int i = 0; i < ahead; ++i) turns[i] = e.turn(items[i]);
    }
  };

  __device__ Row one_row(int row, int count) const {
    if (row >= count) return {-1, -1, 0};
    return {row, slots[row], positions[row] * half};
  }
  // Where the first half of a row's head is; null where it is not kept.
  __device__ __nv_bfloat16* target(const Row& row, int head) const {
    if (head < query_heads) {
      return row.row < 0 ? nullptr : q + (static_cast<std::int64_t>(row.row) * query_heads + head) * 2 * half;
    }
    if (row.slot < 0) return nullptr;
    const int g = head - query_heads;
    const std::int64_t at = (static_cast<std::int64_t>(row.slot) * key_heads + g) * 2 * half;
    return g < key_heads ? keys + at : values + at - key_heads * 2 * half;
  }
  __device__ bool turned(int head) const { return head < query_heads + key_heads; }

  // Where the inputs are split: two channels of rows row and row + 8.
  __device__ Rows rows(int row, int count) const { return {{one_row(row, count), one_row(row + 8, count)}}; }
  __device__ Inputs inputs(const Rows& rows, int output) const {
    const int channel = (output / 16 * 8 + output % 8) % half;
    const auto angle = [&](const float* table, int s) {
      return __ldg(reinterpret_cast<const float2*>(table + rows.row[s].angle + channel));
    };
    return {{angle(cosine, 0), angle(cosine, 1)}, {angle(sine, 0), angle(sine, 1)}};
  }
  __device__ void finish(const Rows& rows, int output, const float4 (&v)[2], const Inputs& in) const {
    const int channel = output / 16 * 8 + output % 8, head = channel / half, first = channel % half;
    const float2 low[2] = {{v[0].x, v[0].y}, {v[0].z, v[0].w}}, high[2] = {{v[1].x, v[1].y}, {v[1].z, v[1].w}};
    for (int s = 0; s < 2; ++s) {
      __nv_bfloat16* at = target(rows.row[s], head);
      if (at == nullptr) continue;
      const float2 c = turned(head) ? in.cosine[s] : make_float2(1, 1);
      const float2 d = turned(head) ? in.sine[s] : make_float2(0, 0);
      *reinterpret_cast<__nv_bfloat162*>(at + first) =
          __floats2bfloat162_rn(low[s].x * c.x - high[s].x * d.x, low[s].y * c.y - high[s].y * d.y);
      *reinterpret_cast<__nv_bfloat162*>(at + first + half) =
          __floats2bfloat162_rn(high[s].x * c.x + low[s].x * d.x, high[s].y * c.y + low[s].y * d.y);
    }
  }

  // Otherwise: eight channels of a row, rounded to bf16 before they are rotated, as by the small ops.
  template <int chunks>
  __device__ void stage(std::byte* first, std::byte* second, int channel, const float4 (&v)[2]) const {
    const auto put = [&](std::byte* row, int at, float x, float y) {
      reinterpret_cast<__nv_bfloat162*>(row)[at / 2] = __floats2bfloat162_rn(x, y);
    };
    put(first, channel, v[0].x, v[0].y), put(first, 8 * chunks + channel, v[1].x, v[1].y);
    put(second, channel, v[0].z, v[0].w), put(second, 8 * chunks + channel, v[1].z, v[1].w);
  }
  // Of the row that lane `from` knows.
  __device__ Item item(const Row& own, int from, int output) const {
    const Row row{__shfl_sync(~0u, own.row, from), __shfl_sync(~0u, own.slot, from), __shfl_sync(~0u, own.angle, from)};
    const int channel = output / 2, head = __umulhi(channel, inverse_half), first = channel - head * half;
    __nv_bfloat16* at = output < outputs ? target(row, head) : nullptr;
    return {at == nullptr ? nullptr : at + first, turned(head) ? row.angle + first : -1};
  }
  __device__ Turn turn(const Item& item) const {
    Turn turn;
    load_constants(turn.cosine, cosine + max(item.angle, 0));
    load_constants(turn.sine, sine + max(item.angle, 0));
    return turn;
  }
  template <int chunks>
  __device__ void store(const Part<chunks>& part, const std::byte* area, int stride) const {
    constexpr int count = Part<chunks>::count, ahead = Part<chunks>::ahead;
    Turn more[count];  // those behind them
#pragma unroll
    for (int i = ahead; i < count; ++i) more[i] = turn(part.items[i]);
#pragma unroll
    for (int i = 0; i < count; ++i) {  // without branches, which would part what is under way
      const int index = min(i * 32 + static_cast<int>(threadIdx.x % 32), 16 * chunks - 1);
      const auto* staged = reinterpret_cast<const __nv_bfloat16*>(area + index / chunks * stride);
      float low[8], high[8];
      load<8>(low, staged + index % chunks * 8);
      load<8>(high, staged + (chunks + index % chunks) * 8);
      rotate(low, high, i < ahead ? part.turns[i < ahead ? i : 0] : more[i], part.items[i].angle >= 0);
      if (part.items[i].target == nullptr) continue;
      cuda::store<8>(part.items[i].target, low);
      cuda::store<8>(part.items[i].target + half, high);
    }
  }
  static __device__ void rotate(float (&low)[8], float (&high)[8], const Turn& turn, bool turned) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float c = turned ? turn.cosine[i] : 1.0f, s = turned ? turn.sine[i] : 0.0f;
      const float first = low[i] * c - high[i] * s;
      high[i] = high[i] * c + low[i] * s;
      low[i] = first;
    }
  }
  static __device__ void load_constants(float (&out)[8], const float* in) {
    const auto* from = reinterpret_cast<const float4*>(in);
    const float4 a = load_constant_here(from), b = load_constant_here(from + 1);
    out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w, out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
  }
};

}  // namespace

void wide_qkv(const Stream& stream, const WideTile& tile, const Tensor& q, const KeyValues& cache, const Tensor& slots,
              const WideProduct& product, const Heads& heads, const Rope& rope) {
  const auto half = static_cast<unsigned>(heads.size / 2);
  const auto run = [&]<bool Fused>() {
    const QkvEpilogue<Fused> epilogue{.cosine = rope.cosine.as<float>(),
                                      .sine = rope.sine.as<float>(),
                                      .positions = rope.positions.as<std::int32_t>(),
                                      .slots = slots.as<std::int32_t>(),
                                      .q = data<__nv_bfloat16>(q),
                                      .keys = data<__nv_bfloat16>(cache.keys),
                                      .values = data<__nv_bfloat16>(cache.values),
                                      .query_heads = static_cast<int>(heads.query),
                                      .key_heads = static_cast<int>(heads.key_value),
                                      .half = static_cast<int>(half),
                                      .inverse_half = static_cast<unsigned>(((std::uint64_t{1} << 32) - 1) / half + 1),
                                      .outputs = static_cast<int>(product.weight.rows)};
    if constexpr (Fused) launch_wide<wide_fused_qkv_tiles>(stream, tile, product, {}, epilogue);
    else launch_wide<wide_qkv_tiles>(stream, tile, product, {}, epilogue);
  };
  if (product.squares) run.template operator()<true>();
  else run.template operator()<false>();
}

}  // namespace nervus::cuda
