// Sums over the actions of a row, block by block: what `entropy_core.batched._sums` says in torch, for rows in
// the processor's memory. A block comes from memory once and is walked in cache: for its peak, then for its sums.
//
// Numbers come in vectors of as many as a register holds. The last vector of a row is filled up with forbidden
// actions, which add nothing. Sums are made in A: double for double, float for every other type of logits.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>

namespace {

#if defined(__AVX512F__)
constexpr int bytes = 64;
#elif defined(__AVX__)
constexpr int bytes = 32;
#else
constexpr int bytes = 16;
#endif

// How A is made of bits; from where on e^x is 0: `lowest` · log2(e) rounds to the lowest exponent; and the series
// (e^r − 1 − r)/r² for |r| ≤ ½ log 2, last power first: in float the best fit of its degree, to 6e-8, in double
// 1/k! down from k = 14.
template <class A> struct Format;
template <> struct Format<float> {
  using Bits = std::uint32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float lowest = -87.33654F;
  static constexpr float series[] = {0.00139261761F, 0.00836317307F, 0.0416665547F, 0.16666577F, 0.5F};
};
template <> struct Format<double> {
  using Bits = std::uint64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double lowest = -708.3964185322641;
  static constexpr double series[] = {1 / 87178291200., 1 / 6227020800., 1 / 479001600., 1 / 39916800., 1 / 3628800.,
                                      1 / 362880.,      1 / 40320.,      1 / 5040.,      1 / 720.,      1 / 120.,
                                      1 / 24.,          1 / 6.,          1 / 2.};
};

template <class A> constexpr int lanes = bytes / sizeof(A);
template <class T, int n> using Packed [[gnu::vector_size(n * sizeof(T))]] = T;
template <class A> using Vector = Packed<A, lanes<A>>;
template <class A> using BitVector = Packed<typename Format<A>::Bits, lanes<A>>;
template <class A> constexpr A infinity = std::numeric_limits<A>::infinity();

struct bfloat16 {
  std::uint16_t bits;
};

template <class T> struct Accumulator {
  using type = float;
};
template <> struct Accumulator<double> {
  using type = double;
};
template <class T> using Accumulating = typename Accumulator<T>::type;

// Vectors of A from and to numbers of type T in memory.
template <class T> struct Memory {
  using A = Accumulating<T>;
  using Stored = Packed<T, lanes<A>>;
  static A load_one(T x) { return A(x); }
  static Vector<A> load(const T *from) {
    Stored x;
    std::memcpy(&x, from, sizeof x);
    return __builtin_convertvector(x, Vector<A>);
  }
  static void store(Vector<A> x, T *to) {
    const auto y = __builtin_convertvector(x, Stored);
    std::memcpy(to, &y, sizeof y);
  }
};

template <> struct Memory<bfloat16> {
  using Stored = Packed<std::uint16_t, lanes<float>>;
  static float load_one(bfloat16 x) {
    const bfloat16 filled[lanes<float>] = {x};
    return load(filled)[0];
  }
  static Vector<float> load(const bfloat16 *from) {
    Stored x;
    std::memcpy(&x, from, sizeof x);
    return Vector<float>(__builtin_convertvector(x, BitVector<float>) << 16);
  }
  static void store(Vector<float> x, bfloat16 *to) {  // to nearest, ties to even; NaN stays NaN
    const auto bits = BitVector<float>(x);
    const auto rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const auto y = __builtin_convertvector(x == x ? rounded : (bits >> 16) | 0x40, Stored);
    std::memcpy(to, &y, sizeof y);
  }
};

// e^x = scale · (1 + linear + bend) with scale = 2^k, k whole, linear = x − k log 2 of size at most ½ log 2 and
// bend = e^linear − 1 − linear, a power series. Where k is 0, scale is 1 and linear is x.
template <class A> struct Exponential {
  Vector<A> scale, linear, bend;
};

template <class A> inline Exponential<A> exponential(Vector<A> x) {
  using F = Format<A>;
  using Bits = typename F::Bits;
  constexpr A to_whole = A(3) * A(Bits(1) << (F::mantissa - 1));  // what is added to it becomes whole
  const Vector<A> shifted = x * A(1.4426950408889634) + to_whole;
  const Vector<A> r = x - (shifted - to_whole) * A(0.6931471805599453);
  Vector<A> series = Vector<A>{} + F::series[0];
  for (std::size_t k = 1; k < std::size(F::series); k++) series = series * r + F::series[k];
  const auto power = (BitVector<A>(shifted) << F::mantissa) + (Bits(F::bias) << F::mantissa);
  return {Vector<A>(power), r, r * r * series};
}

// e^a for a gap a ≤ 0, and 0 at `lowest`.
template <class A> inline Vector<A> weight(Vector<A> a) {
  const auto e = exponential<A>(a);
  return a == Format<A>::lowest ? Vector<A>{} : (e.linear + e.bend) * e.scale + e.scale;
}

// e^v − 1 − v, of v²/2 to its own digits.
template <class A> inline Vector<A> excess(Vector<A> v) {
  const auto e = exponential<A>(v);
  return e.scale * e.bend + ((e.scale * e.linear - v) + (e.scale - 1));
}

// Of two numbers; the first one if it is NaN.
template <class A> inline Vector<A> larger(Vector<A> x, Vector<A> y) { return x < y ? y : x; }
template <class A> inline Vector<A> smaller(Vector<A> x, Vector<A> y) { return y < x ? y : x; }

template <class A> inline Vector<A> gap(Vector<A> z, A peak) {
  return larger<A>(z - peak, Vector<A>{} + Format<A>::lowest);
}

template <class A> inline Vector<A> gap(Vector<A> z, A peak, A scale) {
  return larger<A>((z - peak) * scale, Vector<A>{} + Format<A>::lowest);
}


// The numbers of a vector made one, by halves: few steps wait for each other.
template <class A, class Join> inline A joined(Vector<A> x, Join join) {
  A half[lanes<A>];
  std::memcpy(half, &x, sizeof x);
  for (int width = lanes<A> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) half[i] = join(half[i], half[i + width]);
  return half[0];
}

template <class A> inline A sum(Vector<A> x) {
  return joined<A>(x, [](A a, A b) { return a + b; });
}

template <class A> inline A largest(Vector<A> x) {
  return joined<A>(x, [](A a, A b) { return std::max(a, b); });
}

template <class A> inline A finite(A peak) { return peak == -infinity<A> ? A(0) : peak; }

constexpr std::int64_t longest = 2048;  // of a block: what is kept of each action stays in the nearest cache

// So many actions of a row, read as vectors.
template <class T> struct Block {
  using A = Accumulating<T>;
  const T *from;
  std::int64_t length;
  Vector<A> read(std::int64_t j, A filling) const {
    if (j + lanes<A> <= length) return Memory<T>::load(from + j);
    T last[lanes<A>] = {};
    std::memcpy(last, from + j, (length - j) * sizeof(T));
    const auto x = Memory<T>::load(last);
    Vector<A> filled = x;
    for (std::int64_t i = length - j; i < lanes<A>; i++) filled[i] = filling;
    return filled;
  }
  // Ask for the block after this one, while there is arithmetic to do.
  void look_ahead(std::int64_t j) const { __builtin_prefetch(from + longest + j); }
};

template <class A> struct Kept {  // gap and weight of each action of a block
  alignas(bytes) Vector<A> gaps[longest / lanes<A>], weights[longest / lanes<A>];
};

template <class A> constexpr Kept<A> *no_memory = nullptr;

template <class A, std::size_t n> inline void write(const A (&fields)[n], A *out, std::int64_t stride) {
  for (std::size_t k = 0; k < n; k++) out[k * stride] = fields[k];
}

template <class A> struct Mode {
  A peak;
  std::int64_t place;
};

template <class T, class A = Accumulating<T>> inline Mode<A> mode_of(const Block<T> &z) {
  Vector<A> peaks = Vector<A>{} - infinity<A>;
  BitVector<A> places = {};
  for (std::int64_t j = 0; j < z.length; j += lanes<A>) {
    const auto x = z.read(j, -infinity<A>);
    places = x > peaks ? BitVector<A>{} + typename Format<A>::Bits(j) : places;
    peaks = x > peaks ? x : peaks;
  }
  const A peak = largest<A>(peaks);
  std::int64_t place = z.length - 1;
  for (int i = 0; i < lanes<A>; i++)
    place = std::min(place, peaks[i] == peak ? std::int64_t(places[i]) + i : place);
  return {peak, place};
}

// The fields of `_sums.policy_terms` of one block.
template <class T, class A = Accumulating<T>, class... Scale>
inline void policy_block(const Block<T> &z, A peak, A *out, std::int64_t stride, Kept<A> *kept, Scale... scale) {
  const A from = finite(peak);
  Vector<A> total = {}, below = {}, gaps = {}, gap_gap = {};
  for (std::int64_t j = 0, i = 0; j < z.length; j += lanes<A>, i++) {
    const auto a = gap<A>(z.read(j, -infinity<A>), from, scale...), e = weight<A>(a), ae = a * e;
    if (kept)
      kept->gaps[i] = a, kept->weights[i] = e;
    else
      z.look_ahead(j);
    total += e;
    below += a == 0 ? Vector<A>{} : e;
    gaps += ae;
    gap_gap += a * ae;
  }
  write({peak, sum<A>(total), sum<A>(below), sum<A>(gaps), sum<A>(gap_gap)}, out, stride);
}

// The fields of `_sums.step_terms` of one block.
template <class T, class A = Accumulating<T>>
inline void step_block(const Block<T> &z, const Block<T> &u, A *out, std::int64_t stride) {
  const auto mode = mode_of(z);
  const A origin = Memory<T>::load_one(u.from[mode.place]);
  Kept<A> kept;
  policy_block(z, mode.peak, out, stride, &kept);
  Vector<A> shift = {}, gap_shift = {}, shift_shift = {}, gap_shift_shift = {}, growth = {}, gap_growth = {},
            shift_growth = {}, highest = Vector<A>{} - infinity<A>, lowest = Vector<A>{} + infinity<A>;
  for (std::int64_t j = 0, i = 0; j < z.length; j += lanes<A>, i++) {
    z.look_ahead(j), u.look_ahead(j);
    const auto a = kept.gaps[i], e = kept.weights[i];
    const auto v = z.read(j, -infinity<A>) == -infinity<A> ? Vector<A>{} : u.read(j, 0) - origin;
    const auto grown = excess<A>(v), ve = v * e, vve = v * ve, ge = (v + grown) * e;
    shift += ve;
    gap_shift += a * ve;
    shift_shift += vve;
    gap_shift_shift += a * vve;
    growth += grown * e;
    gap_growth += a * ge;
    shift_growth += v * ge;
    highest = larger<A>(highest, v);
    lowest = smaller<A>(lowest, v);
  }
  write({origin, sum<A>(shift), sum<A>(gap_shift), sum<A>(shift_shift), sum<A>(gap_shift_shift), sum<A>(growth),
         sum<A>(gap_growth), sum<A>(shift_growth), largest<A>(highest), -largest<A>(-lowest)}, out + 5 * stride, stride);
}

// A matrix of so many rows, cut into blocks of at most `longest` actions.
struct Shape {
  std::int64_t rows, actions;
  int threads;
};

template <class Work> void over_blocks(const Shape &shape, Work work) {
  const std::int64_t blocks = (shape.actions + longest - 1) / longest, count = shape.rows * blocks;
#pragma omp parallel for num_threads(shape.threads) schedule(static)
  for (std::int64_t i = 0; i < count; i++) {
    const std::int64_t start = (i % blocks) * longest;
    work(i / blocks, start, std::min(longest, shape.actions - start), i, count);
  }
}

template <class T> void policy(const Shape *shape, const T *z, std::int64_t stride, double scale, void *out) {
  using A = Accumulating<T>;
  over_blocks(*shape, [=](auto row, auto start, auto length, auto i, auto count) {
    const Block<T> block{z + row * stride + start, length};
    if (scale == 1)
      policy_block(block, mode_of(block).peak, static_cast<A *>(out) + i, count, no_memory<A>);
    else
      policy_block(block, mode_of(block).peak, static_cast<A *>(out) + i, count, no_memory<A>, A(scale));
  });
}

template <class T>
void step(const Shape *shape, const T *z, std::int64_t stride, const T *u, std::int64_t u_stride, void *out) {
  using A = Accumulating<T>;
  over_blocks(*shape, [=](auto row, auto start, auto length, auto i, auto count) {
    step_block(Block<T>{z + row * stride + start, length}, Block<T>{u + row * u_stride + start, length},
               static_cast<A *>(out) + i, count);
  });
}

// The policy's sums of (z − peak) + (Δz − origin); forbidden actions stay so.
template <class T>
void moved(const Shape *shape, const T *z, std::int64_t stride, const T *u, std::int64_t u_stride, const void *peaks,
           const void *origins, void *out) {
  using A = Accumulating<T>;
  over_blocks(*shape, [=](auto row, auto start, auto length, auto i, auto count) {
    const A peak = static_cast<const A *>(peaks)[row], origin = static_cast<const A *>(origins)[row];
    const Block<T> logits{z + row * stride + start, length}, step{u + row * u_stride + start, length};
    Vector<A> after[longest / lanes<A>];
    for (std::int64_t j = 0, k = 0; j < length; j += lanes<A>, k++) {
      const auto logit = logits.read(j, -infinity<A>);
      after[k] = logit == -infinity<A> ? logit : (logit - peak) + (step.read(j, 0) - origin);
    }
    const Block<A> block{reinterpret_cast<const A *>(after), length};
    policy_block(block, mode_of(block).peak, static_cast<A *>(out) + i, count, no_memory<A>);
  });
}

// e^a (level + slope a + bend a²) with a = scale (z − peak), and 0 where a row does not count.
template <class T, class A = Accumulating<T>, class... Scale>
inline void pullback_block(const Block<T> &z, const A *numbers, T *to, Scale... scale) {
  const A peak = numbers[0], level = numbers[1], slope = numbers[2], bend = numbers[3], counted = numbers[4];
  for (std::int64_t j = 0; j < z.length; j += lanes<A>) {
    z.look_ahead(j);
    const auto a = gap<A>(z.read(j, -infinity<A>), peak, scale...);
    const auto g = counted == 0 ? Vector<A>{} : weight<A>(a) * (level + a * (slope + a * bend));
    if (j + lanes<A> <= z.length) {
      Memory<T>::store(g, to + j);
    } else {
      T last[lanes<A>];
      Memory<T>::store(g, last);
      std::memcpy(to + j, last, (z.length - j) * sizeof(T));
    }
  }
}

template <class T>
void pullback(const Shape *shape, const T *z, std::int64_t stride, T *gradient, double scale, const void *per_row) {
  using A = Accumulating<T>;
  over_blocks(*shape, [=](auto row, auto start, auto length, auto, auto) {
    const Block<T> logits{z + row * stride + start, length};
    const A *numbers = static_cast<const A *>(per_row) + 5 * row;
    T *to = gradient + row * shape->actions + start;
    if (scale == 1)
      pullback_block(logits, numbers, to);
    else
      pullback_block(logits, numbers, to, A(scale));
  });
}

}  // namespace

#define FOR_TYPE(name, T)                                                                                              \
  extern "C" void policy_##name(const Shape *shape, const T *z, std::int64_t stride, double scale, void *out) {        \
    policy(shape, z, stride, scale, out);                                                                              \
  }                                                                                                                    \
  extern "C" void step_##name(const Shape *shape, const T *z, std::int64_t stride, const T *u, std::int64_t u_stride,  \
                              void *out) {                                                                             \
    step(shape, z, stride, u, u_stride, out);                                                                          \
  }                                                                                                                    \
  extern "C" void moved_##name(const Shape *shape, const T *z, std::int64_t stride, const T *u, std::int64_t u_stride, \
                               const void *peaks, const void *origins, void *out) {                                    \
    moved(shape, z, stride, u, u_stride, peaks, origins, out);                                                         \
  }                                                                                                                    \
  extern "C" void pullback_##name(const Shape *shape, const T *z, std::int64_t stride, T *gradient, double scale,      \
                                  const void *per_row) {                                                               \
    pullback(shape, z, stride, gradient, scale, per_row);                                                              \
  }

FOR_TYPE(float64, double)
FOR_TYPE(float32, float)
FOR_TYPE(bfloat16, bfloat16)
#ifdef __FLT16_MAX__
FOR_TYPE(float16, _Float16)
#endif

// For the test of `exponential`: e^x − 1 − x, and `weight`, of whole vectors of numbers.
extern "C" void exponentials(const float *x, float *excesses, float *weights, std::int64_t count) {
  for (std::int64_t j = 0; j < count; j += lanes<float>) {
    Memory<float>::store(excess<float>(Memory<float>::load(x + j)), excesses + j);
    Memory<float>::store(weight<float>(Memory<float>::load(x + j)), weights + j);
  }
}
