// y = softmax(q k^T / sqrt(d)) v, for vector_kernels.cpp alone.
//
// A tile is up to `tile` pairs (row, query head) of one key head, rows with ranges that begin at the same slots. The
// pairs are the lanes of vectors: S^T [keys, tile] = K Q^T, P^T = exp(S^T - max), Y^T [d, tile] = V^T P^T / sum. Every
// lane goes through its own row's keys in order, so a row's result does not depend on its tile.
// Bound by multiply-adds. Reference: tests/reference/kernels.cpp.
#pragma once

#include <omp.h>

#include <utility>

#include "backends/cpu/simd.h"

namespace nervus::NERVUS_TARGET {
namespace {

constexpr int tile_vectors = lanes == 16 ? 4 : 2;
constexpr std::int64_t tile = tile_vectors * lanes;
constexpr int block = 4;                // keys, or columns of v, whose sums are held in registers
constexpr std::int64_t key_block = 64;  // keys that are widened to float at once
constexpr float infinity = __builtin_inff();

struct Tile {
  std::int64_t row;    // where the run of rows starts
  std::int64_t pair;   // the first pair, counted from there, query heads of a row first
  std::int64_t pairs;  // 1 .. tile
};

// One of the two ranges of a tile: all lanes see [begin, common), lane i sees [begin, ends[i]).
struct TileRange {
  std::int64_t begin;
  std::int64_t common;
  std::int64_t end;
  std::int32_t ends[tile];
};

struct Attention {
  const Tensor& y;
  const Tensor& q;
  const KeyValues& cache;
  const std::int32_t* ranges;
  const Heads& heads;
  std::int64_t group;  // query heads of a key head
};

// A thread's memory.
struct TileMemory {
  float* query;   // [d, tile], scaled
  float* scores;  // [2 slots, tile]
  float* result;  // [d, tile]
  float* wide;    // [key_block, d]
};

template <int step, int... i>
void exchange(Floats& a, Floats& b, std::integer_sequence<int, i...>) {
  const Floats low = __builtin_shufflevector(a, b, ((i & step) ? lanes + i - step : i)...);
  b = __builtin_shufflevector(a, b, ((i & step) ? lanes + i : i + step)...);
  a = low;
}

template <int step = 1>
[[gnu::always_inline]] inline void transpose(Floats (&x)[lanes]) {
  for (int i = 0; i < lanes; ++i) {
    if ((i & step) == 0) exchange<step>(x[i], x[i + step], std::make_integer_sequence<int, lanes>());
  }
  if constexpr (2 * step < lanes) transpose<2 * step>(x);
}

// Rows [first, first + count) of one key head as floats; `stride` is set to the distance of rows.
template <typename T>
const float* widened(const Tensor& cache, std::int64_t first, std::int64_t count, std::int64_t head, std::int64_t d,
                     float* buffer, std::int64_t& stride) {
  const T* rows = static_cast<const T*>(cache.data) + first * cache.columns + head * d;
  stride = cache.columns;
  if constexpr (sizeof(T) == sizeof(float)) {
    return rows;
  } else {
    for (std::int64_t r = 0; r < count; ++r) {
      for (std::int64_t i = 0; i < d; i += lanes) store_at(buffer + r * d, load_at(rows + r * stride, i, d), i, d);
    }
    stride = d;
    return buffer;
  }
}

template <int vectors, int keys>
void score_block(float* scores, const float* query, const float* key, std::int64_t stride, std::int64_t d) {
  Floats total[keys][vectors] = {};
  for (std::int64_t i = 0; i < d; ++i) {
    for (int v = 0; v < vectors; ++v) {
      const Floats part = load(query + i * tile + v * lanes);
      for (int k = 0; k < keys; ++k) total[k][v] += key[k * stride + i] * part;
    }
  }
  for (int k = 0; k < keys; ++k) {
    for (int v = 0; v < vectors; ++v) store(scores + k * tile + v * lanes, total[k][v]);
  }
}

// S^T of the keys [begin, end) of a range.
template <typename T, int vectors>
void score_range(const Attention& a, std::int64_t head, const TileRange& range, const TileMemory& memory,
                 float* scores) {
  const std::int64_t d = a.heads.size;
  for (std::int64_t first = range.begin; first < range.end; first += key_block) {
    const std::int64_t count = range.end - first < key_block ? range.end - first : key_block;
    std::int64_t stride = 0;
    const float* keys = widened<T>(a.cache.keys, first, count, head, d, memory.wide, stride);
    std::int64_t k = 0;
    for (; k + block <= count; k += block, scores += block * tile) {
      score_block<vectors, block>(scores, memory.query, keys + k * stride, stride, d);
    }
    for (; k < count; ++k, scores += tile) {
      score_block<vectors, 1>(scores, memory.query, keys + k * stride, stride, d);
    }
  }
}

Ints sees(const TileRange& range, std::int64_t key, int vector) {
  return static_cast<std::int32_t>(key) < load(range.ends + vector * lanes);
}

template <int vectors>
void raise_maximum(Floats* maximum, const float* scores, const TileRange& range) {
  for (std::int64_t key = range.begin; key < range.end; ++key, scores += tile) {
    for (int v = 0; v < vectors; ++v) {
      Floats s = load(scores + v * lanes);
      if (key >= range.common) s = sees(range, key, v) ? s : all(-infinity);
      maximum[v] = larger(s, maximum[v]);
    }
  }
}

// Scores to weights e^(s - maximum), 0 where a lane does not see the key.
template <int vectors>
void exponentiate(Floats* sum, const Floats* maximum, float* scores, const TileRange& range) {
  for (std::int64_t key = range.begin; key < range.end; ++key, scores += tile) {
    for (int v = 0; v < vectors; ++v) {
      Floats p = exponential(load(scores + v * lanes) - maximum[v]);
      if (key >= range.common) p = sees(range, key, v) ? p : Floats{};
      sum[v] += p;
      store(scores + v * lanes, p);
    }
  }
}

// result [columns, tile] += V^T P^T over `count` keys from `first`. Where not every lane sees a key (`masked`), its
// value does not touch the lanes that do not, even if it is a NaN.
template <int vectors, int columns, bool masked>
void value_block(float* result, const float* weights, const float* values, std::int64_t stride, const TileRange& range,
                 std::int64_t first, std::int64_t count) {
  Floats total[columns][vectors];
  for (int c = 0; c < columns; ++c) {
    for (int v = 0; v < vectors; ++v) total[c][v] = load(result + c * tile + v * lanes);
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (int v = 0; v < vectors; ++v) {
      const Floats p = load(weights + k * tile + v * lanes);
      for (int c = 0; c < columns; ++c) {
        const Floats added = total[c][v] + values[k * stride + c] * p;
        if constexpr (masked) total[c][v] = sees(range, first + k, v) ? added : total[c][v];
        else total[c][v] = added;
      }
    }
  }
  for (int c = 0; c < columns; ++c) {
    for (int v = 0; v < vectors; ++v) store(result + c * tile + v * lanes, total[c][v]);
  }
}

template <typename T, int vectors, bool masked>
void value_range(const Attention& a, std::int64_t head, const TileRange& range, const TileMemory& memory,
                 const float* weights) {
  const std::int64_t d = a.heads.size;
  const std::int64_t end = masked ? range.end : range.common;
  for (std::int64_t first = masked ? range.common : range.begin; first < end; first += key_block) {
    const std::int64_t count = end - first < key_block ? end - first : key_block;
    const float* part = weights + (first - range.begin) * tile;
    std::int64_t stride = 0;
    const float* values = widened<T>(a.cache.values, first, count, head, d, memory.wide, stride);
    std::int64_t c = 0;
    for (; c + block <= d; c += block) {
      value_block<vectors, block, masked>(memory.result + c * tile, part, values + c, stride, range, first, count);
    }
    for (; c < d; ++c) {
      value_block<vectors, 1, masked>(memory.result + c * tile, part, values + c, stride, range, first, count);
    }
  }
}

// Where the pairs of a tile (for the lanes behind them, the last) start in a row-major [T, H d].
void find_pairs(const Attention& a, const Tile& t, std::int64_t head, std::int64_t* offsets) {
  std::int64_t row = t.row + t.pair / a.group;
  std::int64_t query = t.pair % a.group;
  for (std::int64_t p = 0; p < tile; ++p) {
    offsets[p] = row * a.q.columns + (head * a.group + query) * a.heads.size;
    if (p + 1 < t.pairs && ++query == a.group) {
      query = 0;
      ++row;
    }
  }
}

template <typename T, int vectors>
void pack_query(const Attention& a, const std::int64_t* offsets, float* query) {
  const std::int64_t d = a.heads.size;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  for (int v = 0; v < vectors; ++v) {
    for (std::int64_t i = 0; i < d; i += lanes) {
      Floats part[lanes];
      for (int p = 0; p < lanes; ++p) {
        part[p] = load_at(static_cast<const T*>(a.q.data) + offsets[v * lanes + p], i, d) * scale;
      }
      transpose(part);
      float* to = query + i * tile + v * lanes;
      for (int k = 0; k < lanes && i + k < d; ++k) store(to + k * tile, part[k]);
    }
  }
}

template <typename Y, int vectors>
void write_result(const Attention& a, const Tile& t, const std::int64_t* offsets, const float* result,
                  const Floats* inverse) {
  const std::int64_t d = a.heads.size;
  for (int v = 0; v < vectors; ++v) {
    for (std::int64_t i = 0; i < d; i += lanes) {
      Floats part[lanes];
      for (int k = 0; k < lanes; ++k) {
        const std::int64_t column = i + k < d ? i + k : d - 1;
        part[k] = load(result + column * tile + v * lanes) * inverse[v];
      }
      transpose(part);
      for (int p = 0; p < lanes && v * lanes + p < t.pairs; ++p) {
        store_at(static_cast<Y*>(a.y.data) + offsets[v * lanes + p], part[p], i, d);
      }
    }
  }
}

TileRange range_of(const Attention& a, const Tile& t, int which) {
  TileRange range;
  range.begin = a.ranges[(t.row + t.pair / a.group) * 4 + 2 * which];
  range.common = range.end = 0;
  for (std::int64_t p = 0; p < tile; ++p) {
    const std::int64_t pair = t.pair + (p < t.pairs ? p : t.pairs - 1);
    const std::int32_t end = a.ranges[(t.row + pair / a.group) * 4 + 2 * which + 1];
    range.ends[p] = end;
    range.common = p == 0 || end < range.common ? end : range.common;
    range.end = p == 0 || end > range.end ? end : range.end;
  }
  range.common = range.common > range.begin ? range.common : range.begin;
  range.end = range.end > range.begin ? range.end : range.begin;
  return range;
}

template <typename T, typename Y, int vectors>
void attend_tile(const Attention& a, const Tile& t, std::int64_t head, const TileMemory& memory) {
  const TileRange ranges[2] = {range_of(a, t, 0), range_of(a, t, 1)};
  float* scores[2] = {memory.scores, memory.scores + (ranges[0].end - ranges[0].begin) * tile};
  std::int64_t offsets[tile];
  find_pairs(a, t, head, offsets);
  pack_query<T, vectors>(a, offsets, memory.query);
  Floats maximum[vectors];
  Floats sum[vectors];
  Floats inverse[vectors];
  for (int v = 0; v < vectors; ++v) maximum[v] = all(-infinity);
  for (int v = 0; v < vectors; ++v) sum[v] = Floats{};
  for (int i = 0; i < 2; ++i) {
    score_range<T, vectors>(a, head, ranges[i], memory, scores[i]);
    raise_maximum<vectors>(maximum, scores[i], ranges[i]);
  }
  __builtin_memset(memory.result, 0, static_cast<std::size_t>(a.heads.size * tile) * sizeof(float));
  for (int i = 0; i < 2; ++i) {
    exponentiate<vectors>(sum, maximum, scores[i], ranges[i]);
    value_range<T, vectors, false>(a, head, ranges[i], memory, scores[i]);
    value_range<T, vectors, true>(a, head, ranges[i], memory, scores[i]);
  }
  for (int v = 0; v < vectors; ++v) {
    const Ints some = sees(ranges[0], ranges[0].begin, v) | sees(ranges[1], ranges[1].begin, v);
    inverse[v] = some ? 1.0f / sum[v] : Floats{};
  }
  write_result<Y, vectors>(a, t, offsets, memory.result, inverse);
}

template <typename T, typename Y>
void attend(const Attention& a, const Tile& t, std::int64_t head, const TileMemory& memory) {
  const std::int64_t vectors = (t.pairs + lanes - 1) / lanes;
  if (vectors == 1) return attend_tile<T, Y, 1>(a, t, head, memory);
  if constexpr (tile_vectors == 4) {
    if (vectors == 3) return attend_tile<T, Y, 3>(a, t, head, memory);
    if (vectors == 4) return attend_tile<T, Y, 4>(a, t, head, memory);
  }
  attend_tile<T, Y, 2>(a, t, head, memory);
}

std::int64_t tiles_bound(std::int64_t rows, const Heads& heads) {
  return rows * ((heads.query / heads.key_value + tile - 1) / tile);
}

std::int64_t thread_floats(std::int64_t slots, std::int64_t d) {
  return (2 * d + 2 * slots) * tile + (key_block * d + lanes) / lanes * lanes;
}

std::int64_t attention_scratch(std::int64_t rows, std::int64_t slots, const Heads& heads, int threads) {
  return threads * thread_floats(slots, heads.size) * 4 +
         tiles_bound(rows, heads) * static_cast<std::int64_t>(sizeof(Tile));
}

// Cuts the rows into runs that begin at the same slots, and these into tiles; returns their number.
std::int64_t cut_tiles(const Attention& a, Tile* tiles) {
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < a.q.rows;) {
    std::int64_t end = row + 1;
    while (end < a.q.rows && a.ranges[4 * end] == a.ranges[4 * row] && a.ranges[4 * end + 2] == a.ranges[4 * row + 2]) {
      ++end;
    }
    const std::int64_t pairs = (end - row) * a.group;
    for (std::int64_t pair = 0; pair < pairs; pair += tile) {
      tiles[count++] = {row, pair, pairs - pair < tile ? pairs - pair : tile};
    }
    row = end;
  }
  return count;
}

template <typename T, typename Y>
void attend_all(const Attention& a, void* scratch, int threads) {
  const std::int64_t d = a.heads.size;
  auto* floats = static_cast<float*>(scratch);
  const std::int64_t own = thread_floats(a.cache.keys.rows, d);
  auto* tiles = reinterpret_cast<Tile*>(floats + threads * own);
  const std::int64_t count = cut_tiles(a, tiles);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (std::int64_t item = 0; item < count * a.heads.key_value; ++item) {
    float* memory = floats + omp_get_thread_num() * own;
    float* scores = memory + 2 * d * tile;
    attend<T, Y>(a, tiles[item / a.heads.key_value], item % a.heads.key_value,
                 {memory, scores, memory + d * tile, scores + 2 * a.cache.keys.rows * tile});
  }
}

void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges, const Heads& heads,
               void* scratch, int threads) {
  const Attention a{y, q, cache, static_cast<const std::int32_t*>(ranges.data), heads, heads.query / heads.key_value};
  const bool narrow_q = q.dtype == DType::bf16;
  const bool narrow_y = y.dtype == DType::bf16;
  if (narrow_q && narrow_y) attend_all<Bits16, Bits16>(a, scratch, threads);
  else if (narrow_q) attend_all<Bits16, float>(a, scratch, threads);
  else if (narrow_y) attend_all<float, Bits16>(a, scratch, threads);
  else attend_all<float, float>(a, scratch, threads);
}

}  // namespace
}  // namespace nervus::NERVUS_TARGET
