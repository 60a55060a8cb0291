#pragma once

// Products of small matrices that stay in a core's caches: the matrix part of attention.
// Included by files that are built once per instruction set; DSMOE_ISA names that set.
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace dsmoe::nn::kernels::DSMOE_ISA {

#if defined(__AVX512F__)
inline constexpr int64_t kVectorBytes = 64;
inline constexpr int64_t kTileVectors = 4;
#elif defined(__AVX__)
inline constexpr int64_t kVectorBytes = 32;
inline constexpr int64_t kTileVectors = 2;
#else
inline constexpr int64_t kVectorBytes = 16;
inline constexpr int64_t kTileVectors = 2;
#endif
inline constexpr int64_t kTileRows = 6;

/// Numbers of type A in one vector register.
template <class A>
inline constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(A));

template <class A>
int64_t whole_vectors(int64_t n) {
  return (n + kLanes<A> - 1) / kLanes<A> * kLanes<A>;
}

template <class A>
struct Vector {
  typedef A type __attribute__((vector_size(static_cast<size_t>(kVectorBytes)), may_alias));
};

/// A matrix read one number at a time: rows and columns at any stride, so also a transpose.
template <class A>
struct Strided {
  const A* data;
  int64_t row;
  int64_t column;

  [[nodiscard]] Strided from_row(int64_t r) const { return {data + r * row, row, column}; }
  [[nodiscard]] Strided from_column(int64_t c) const { return {data + c * column, row, column}; }
};

/// Row-major and aligned, its rows whole vectors long.
template <class A>
struct Rows {
  A* data;
  int64_t stride;

  [[nodiscard]] Rows from_row(int64_t r) const { return {data + r * stride, stride}; }
  [[nodiscard]] Rows from_column(int64_t c) const { return {data + c, stride}; }
  [[nodiscard]] A* operator[](int64_t r) const { return data + r * stride; }
};

/// c += a b on R rows and V vectors of columns, which stay in registers over the whole depth.
template <class A, int64_t R, int64_t V>
void add_tile(Strided<A> a, Rows<const A> b, Rows<A> c, int64_t depth) {
  using vector = typename Vector<A>::type;
  vector sum[size_t{R}][size_t{V}];
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < V; ++v) sum[r][v] = reinterpret_cast<const vector*>(c[r])[v];
  }
  for (int64_t k = 0; k < depth; ++k) {
    const auto* row = reinterpret_cast<const vector*>(b[k]);
    const A* column = a.data + k * a.column;
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      const A factor = column[r * a.row];
#pragma GCC unroll 8
      for (int64_t v = 0; v < V; ++v) sum[r][v] += factor * row[v];
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < V; ++v) reinterpret_cast<vector*>(c[r])[v] = sum[r][v];
  }
}

template <class A>
using TileFunction = void (*)(Strided<A>, Rows<const A>, Rows<A>, int64_t);

template <class A, int64_t... I>
constexpr auto make_tiles(std::integer_sequence<int64_t, I...>) {
  return std::array<TileFunction<A>, sizeof...(I)>{
      add_tile<A, 1 + I / kTileVectors, 1 + I % kTileVectors>...};
}

/// add_tile for 1..kTileRows rows and 1..kTileVectors vectors.
template <class A>
inline constexpr auto kTiles =
    make_tiles<A>(std::make_integer_sequence<int64_t, kTileRows * kTileVectors>());

/// What of a product the rows [first, last] of the result need.
struct Extent {
  int64_t columns;      // of the result, from 0
  int64_t depth_begin;  // of the sum
  int64_t depth_end;
};

/// c += a b, [rows, columns]; `extent(first, last)` says what a panel of rows needs: the triangle
/// above the diagonal of attention costs nothing.
template <class A, class ExtentOf>
void add_product(Strided<A> a, Rows<const A> b, Rows<A> c, int64_t rows, int64_t columns,
                 const ExtentOf& extent) {
  const int64_t vectors = (columns + kLanes<A> - 1) / kLanes<A>;
  const int64_t chunks = (vectors + kTileVectors - 1) / kTileVectors;
  const int64_t chunk = (vectors + chunks - 1) / chunks * kLanes<A>;
  for (int64_t n = 0; n < columns; n += chunk) {
    for (int64_t m = 0; m < rows; m += kTileRows) {
      const int64_t height = std::min(kTileRows, rows - m);
      const Extent e = extent(m, m + height - 1);
      const int64_t width = std::min(chunk, e.columns - n);
      if (width <= 0 || e.depth_begin >= e.depth_end) continue;
      const int64_t wide = (width + kLanes<A> - 1) / kLanes<A>;
      kTiles<A>[static_cast<size_t>((height - 1) * kTileVectors + wide - 1)](
          a.from_row(m).from_column(e.depth_begin), b.from_row(e.depth_begin).from_column(n),
          c.from_row(m).from_column(n), e.depth_end - e.depth_begin);
    }
  }
}

}  // namespace dsmoe::nn::kernels::DSMOE_ISA
