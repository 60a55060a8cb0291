// Causal attention of one head in blocks of queries and keys, built once per instruction set into
// namespace DSMOE_ISA. Scores are kept for one pair of blocks at a time; the softmax is carried
// over blocks by its running maximum and sum, and made again in backward from log(sum(exp)).
#include <algorithm>
#include <cmath>

#include "modules/kernels/attention_table.h"
#include "modules/kernels/rotate.h"
#include "modules/kernels/tile_product.h"

namespace dsmoe::nn::kernels::DSMOE_ISA {
namespace {

template <class T>
using acc = opmath_t<T>;

constexpr int64_t kQueries = 96;  // of a block
constexpr int64_t kKeys = 128;

int64_t key_blocks(int64_t length) { return (length + kKeys - 1) / kKeys; }

/// Hands out aligned pieces of the workspace.
template <class A>
struct Arena {
  A* next;

  A* take(int64_t numbers) {
    A* const piece = next;
    next += whole_vectors<A>(numbers);
    return piece;
  }
  Rows<A> rows(int64_t count, int64_t width) {
    return {take(count * whole_vectors<A>(width)), whole_vectors<A>(width)};
  }
};

template <class A>
void clear(Rows<A> rows, int64_t count) {
  std::fill(rows.data, rows.data + count * rows.stride, A(0));
}

template <class T, class A>
void load_row(const T* from, int64_t width, A* to) {
  for (int64_t i = 0; i < width; ++i) to[i] = static_cast<A>(from[i]);
}

template <class T, class A>
void store_row(const A* from, int64_t width, A factor, T* to) {
  for (int64_t i = 0; i < width; ++i) to[i] = T(factor * from[i]);
}

/// Which part of a pair of blocks lies on or below the diagonal.
struct Triangle {
  int64_t first_query;
  int64_t queries;
  int64_t first_key;
  int64_t keys;

  /// Number of keys of the block that query row r sees.
  [[nodiscard]] int64_t reach(int64_t r) const {
    return std::clamp<int64_t>(first_query + r - first_key + 1, 0, keys);
  }
  /// First query row of the block that sees key row c.
  [[nodiscard]] int64_t seen_from(int64_t c) const {
    return std::max<int64_t>(0, first_key + c - first_query);
  }
};

template <class T>
struct Blocks {
  using A = acc<T>;

  const AttentionHead<T>& head;
  Arena<A> arena;
  int64_t key_width = head.nope + head.rope;
  Rows<A> query = arena.rows(kQueries, key_width);
  Rows<A> scores = arena.rows(kQueries, kKeys);
  Rows<A> keys_turned = arena.rows(key_blocks(head.length) * key_width, kKeys);

  Blocks(const AttentionHead<T>& h, A* workspace) : head(h), arena{workspace} {}

  /// Key row t: content of this head, then the rotated part, which heads may share.  (17)
  void load_key(int64_t t, A* to) const {
    load_row(head.kv + t * head.kv_stride, head.nope, to);
    load_row(head.rope_key + t * head.rope, head.rope, to + head.nope);
  }
  void load_value(int64_t t, A* to) const {
    load_row(head.kv + t * head.kv_stride + head.nope, head.value, to);
  }

  /// Query rows with their rotated part, times the softmax scale.
  void load_queries(int64_t first, int64_t count) {
    const int64_t pairs = head.rope / 2;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t t = first + r;
      A* row = query[r];
      load_row(head.query + t * head.query_stride, key_width, row);  // (16)
      const A *cos = head.cos + t * pairs, *sin = head.sin + t * pairs;
      rotate_pairs(row + head.nope, cos, sin, pairs, A(1));  // (14)
      for (int64_t i = 0; i < key_width; ++i) row[i] *= head.scale;
    }
  }

  [[nodiscard]] Triangle triangle(int64_t first_query, int64_t queries, int64_t first_key) const {
    return {first_query, queries, first_key,
            std::min(kKeys, std::min(head.length, first_query + queries) - first_key)};
  }

  [[nodiscard]] Rows<const A> turned(Rows<A> all, int64_t width, int64_t first_key) const {
    return {all.data + first_key / kKeys * width * kKeys, kKeys};
  }
};

/// Transposes blocks of kKeys rows: [T, width] -> blocks [width, kKeys].
template <class A>
void turn_blocks(Rows<const A> from, int64_t length, int64_t width, A* to) {
  for (int64_t first = 0; first < length; first += kKeys, to += width * kKeys) {
    const int64_t count = std::min(kKeys, length - first);
    for (int64_t w = 0; w < width; ++w) {
      for (int64_t c = 0; c < count; ++c) to[w * kKeys + c] = from[first + c][w];
      for (int64_t c = count; c < kKeys; ++c) to[w * kKeys + c] = A(0);
    }
  }
}

/// into = left right^T for what the queries of a block see of a block of keys.
template <class A>
void multiply_visible(Rows<A> left, int64_t depth, Rows<const A> right_turned, const Triangle& t,
                      Rows<A> into) {
  clear(into, t.queries);
  add_product<A>({left.data, left.stride, 1}, right_turned, into, t.queries, t.keys,
                 [&](int64_t, int64_t last) { return Extent{t.reach(last), 0, depth}; });
}

/// into += weights right, over the keys that each query sees.
template <class A>
void add_over_keys(Rows<A> weights, Rows<const A> right, const Triangle& t, int64_t columns,
                   Rows<A> into) {
  add_product<A>({weights.data, weights.stride, 1}, right, into, t.queries, columns,
                 [&](int64_t, int64_t last) { return Extent{columns, 0, t.reach(last)}; });
}

/// into += weights^T right, over the queries that see each key.
template <class A>
void add_over_queries(Rows<A> weights, Rows<A> right, const Triangle& t, int64_t columns,
                      Rows<A> into) {
  add_product<A>(
      {weights.data, 1, weights.stride}, {right.data, right.stride}, into, t.keys, columns,
      [&](int64_t first, int64_t) { return Extent{columns, t.seen_from(first), t.queries}; });
}

/// Zeroes what a panel of rows computed beyond the reach of one.
template <class A>
void clear_beyond(A* row, int64_t reach, int64_t keys) {
  std::fill(row + reach, row + whole_vectors<A>(keys), A(0));
}

template <class A>
A largest(const A* row, int64_t count) {
  A top = row[0];
  for (int64_t i = 1; i < count; ++i) top = row[i] > top ? row[i] : top;
  return top;
}

/// row -> exp(row - shift); returns the sum.
template <class A>
A exponentiate(A* row, int64_t count, A shift) {
  A sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    row[i] = std::exp(row[i] - shift);
    sum += row[i];
  }
  return sum;
}

/// Softmax of one query carried over blocks of keys.
template <class A>
struct RunningSoftmax {
  A top;
  A sum;

  /// Turns a row of scores into exp(score - top); returns the factor for what was summed before.
  A take(A* row, int64_t reach, bool first) {
    const A here = largest(row, reach);
    const A top_now = first ? here : std::max(top, here);
    const A factor = first ? A(0) : std::exp(top - top_now);
    sum = (first ? A(0) : sum * factor) + exponentiate(row, reach, top_now);
    top = top_now;
    return factor;
  }
};

template <class T>
struct Forward : Blocks<T> {
  using A = acc<T>;
  using Base = Blocks<T>;
  using Base::arena, Base::head;

  Rows<A> value = arena.rows(head.length, head.value);
  Rows<A> sums = arena.rows(kQueries, head.value);
  RunningSoftmax<A> softmax[kQueries];

  Forward(const AttentionHead<T>& h, A* workspace) : Base(h, workspace) {}

  void load_keys() {
    Arena<A> rest = arena;
    const Rows<A> key = rest.rows(head.length, Base::key_width);
    for (int64_t t = 0; t < head.length; ++t) {
      Base::load_key(t, key[t]);
      Base::load_value(t, value[t]);
    }
    turn_blocks<A>({key.data, key.stride}, head.length, Base::key_width, Base::keys_turned.data);
  }

  /// The part that one block of keys has in the output of a block of queries.  (18)
  void take_keys(const Triangle& t) {
    multiply_visible<A>(Base::query, Base::key_width,
                        Base::turned(Base::keys_turned, Base::key_width, t.first_key), t,
                        Base::scores);
    const bool first = t.first_key == 0;
    for (int64_t r = 0; r < t.queries; ++r) {
      const int64_t reach = t.reach(r);
      if (reach > 0) {
        const A factor = softmax[r].take(Base::scores[r], reach, first);
        for (int64_t i = 0; i < sums.stride; ++i) sums[r][i] *= factor;
      }
      clear_beyond(Base::scores[r], reach, t.keys);
    }
    add_over_keys<A>(Base::scores, {value[t.first_key], value.stride}, t, head.value, sums);
  }

  void run(T* out) {
    load_keys();
    for (int64_t q = 0; q < head.length; q += kQueries) {
      const int64_t count = std::min(kQueries, head.length - q);
      Base::load_queries(q, count);
      clear(sums, count);
      for (int64_t k = 0; k < q + count; k += kKeys) take_keys(Base::triangle(q, count, k));
      for (int64_t r = 0; r < count; ++r) {
        store_row(sums[r], head.value, A(1) / softmax[r].sum, out + (q + r) * head.out_stride);
        head.log_sum_exp[q + r] = softmax[r].top + std::log(softmax[r].sum);
      }
    }
  }
};

template <class T>
struct Backward : Blocks<T> {
  using A = acc<T>;
  using Base = Blocks<T>;
  using Base::arena, Base::head;

  const AttentionGradient<T>& gradient;
  Rows<A> key = arena.rows(head.length, Base::key_width);
  Rows<A> dkey = arena.rows(head.length, Base::key_width);
  Rows<A> value = arena.rows(head.length, head.value);
  Rows<A> dvalue = arena.rows(head.length, head.value);
  Rows<A> values_turned = arena.rows(key_blocks(head.length) * head.value, kKeys);
  Rows<A> dout = arena.rows(kQueries, head.value);
  Rows<A> dquery = arena.rows(kQueries, Base::key_width);
  Rows<A> dscores = arena.rows(kQueries, kKeys);
  A mean[kQueries];  // sum of out * dout of each query

  Backward(const AttentionHead<T>& h, const AttentionGradient<T>& g, A* workspace)
      : Base(h, workspace), gradient(g) {}

  void load_keys() {
    for (int64_t t = 0; t < head.length; ++t) {
      Base::load_key(t, key[t]);
      Base::load_value(t, value[t]);
    }
    turn_blocks<A>({key.data, key.stride}, head.length, Base::key_width, Base::keys_turned.data);
    turn_blocks<A>({value.data, value.stride}, head.length, head.value, values_turned.data);
    clear(dkey, head.length);
    clear(dvalue, head.length);
  }

  void load_gradients(int64_t first, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t at = (first + r) * head.out_stride;
      load_row(gradient.dout + at, head.value, dout[r]);
      mean[r] = 0;
      for (int64_t i = 0; i < head.value; ++i) mean[r] += dout[r][i] * A(gradient.out[at + i]);
    }
  }

  /// scores -> probabilities, dscores: gradient of probabilities -> gradient of scores.
  void differentiate_softmax(const Triangle& t) {
    for (int64_t r = 0; r < t.queries; ++r) {
      A* p = Base::scores[r];
      A* d = dscores[r];
      const int64_t reach = t.reach(r);
      const A shift = head.log_sum_exp[t.first_query + r];
      for (int64_t c = 0; c < reach; ++c) {
        p[c] = std::exp(p[c] - shift);
        d[c] = p[c] * (d[c] - mean[r]);
      }
      clear_beyond(p, reach, t.keys);
      clear_beyond(d, reach, t.keys);
    }
  }

  void take_keys(const Triangle& t) {
    const int64_t width = Base::key_width;
    multiply_visible<A>(Base::query, width, Base::turned(Base::keys_turned, width, t.first_key), t,
                        Base::scores);
    multiply_visible<A>(dout, head.value, Base::turned(values_turned, head.value, t.first_key), t,
                        dscores);
    differentiate_softmax(t);
    add_over_queries<A>(Base::scores, dout, t, head.value, dvalue.from_row(t.first_key));
    add_over_queries<A>(dscores, Base::query, t, width, dkey.from_row(t.first_key));
    add_over_keys<A>(dscores, {key[t.first_key], key.stride}, t, width, dquery);
  }

  void store_queries(int64_t first, int64_t count) {
    const int64_t pairs = head.rope / 2;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t t = first + r;
      rotate_pairs(dquery[r] + head.nope, head.cos + t * pairs, head.sin + t * pairs, pairs, A(-1));
      store_row(dquery[r], Base::key_width, head.scale, gradient.dquery + t * head.query_stride);
    }
  }

  void store_keys() {
    for (int64_t t = 0; t < head.length; ++t) {
      T* to = gradient.dkv + t * gradient.dkv_stride;
      store_row(dkey[t], head.nope, A(1), to);
      store_row(dkey[t] + head.nope, head.rope, A(1), gradient.drope_key + t * head.rope);
      store_row(dvalue[t], head.value, A(1), to + head.nope);
    }
  }

  void run() {
    load_keys();
    for (int64_t q = 0; q < head.length; q += kQueries) {
      const int64_t count = std::min(kQueries, head.length - q);
      Base::load_queries(q, count);
      load_gradients(q, count);
      clear(dquery, count);
      for (int64_t k = 0; k < q + count; k += kKeys) take_keys(Base::triangle(q, count, k));
      store_queries(q, count);
    }
    store_keys();
  }
};

template <class T>
void forward(const AttentionHead<T>& head, T* out, acc<T>* workspace) {
  Forward<T>(head, workspace).run(out);
}

template <class T>
void backward(const AttentionHead<T>& head, const AttentionGradient<T>& gradient,
              acc<T>* workspace) {
  Backward<T>(head, gradient, workspace).run();
}

/// Of backward, which takes more than forward.
template <class T>
int64_t workspace_size(int64_t length, int64_t key_width, int64_t value_width) {
  using A = acc<T>;
  const int64_t key = whole_vectors<A>(key_width);
  const int64_t value = whole_vectors<A>(value_width);
  const int64_t turned = key_blocks(length) * kKeys * (key_width + value_width);
  const int64_t block = kQueries * (2 * key + 2 * value + 2 * kKeys);
  return 2 * length * (key + value) + turned + block;
}

template <class T>
constexpr AttentionTable<T> kAttention{workspace_size<T>, forward<T>, backward<T>};

}  // namespace

const AttentionTable<float>& attention(float) { return kAttention<float>; }
const AttentionTable<double>& attention(double) { return kAttention<double>; }
const AttentionTable<c10::BFloat16>& attention(c10::BFloat16) { return kAttention<c10::BFloat16>; }

}  // namespace dsmoe::nn::kernels::DSMOE_ISA
