// Vectors of float as wide as the instruction set this file is compiled for.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "halves.h"
#include "kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Before a loop of few rounds, known when compiled, whose variables should all stay in registers.
#define UNROLL _Pragma("GCC unroll 16")

namespace {

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX2__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif

typedef float Floats __attribute__((vector_size(WIDTH * 4)));
typedef float FloatsAnywhere __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t Words __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t Halves __attribute__((vector_size(WIDTH * 2), aligned(2), may_alias));

struct Half { uint16_t bits; };      // IEEE float16
struct BFloat { uint16_t bits; };    // the upper half of a float32

inline Floats splat(float x) { return x - Floats{}; }
inline Floats load(const float* p) { return *reinterpret_cast<const FloatsAnywhere*>(p); }
inline void store(float* p, Floats v) { *reinterpret_cast<FloatsAnywhere*>(p) = v; }

inline Floats load(const Half* p) {
#if defined(__AVX512F__)
    return reinterpret_cast<Floats>(
        _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX2__)
    return reinterpret_cast<Floats>(
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__aarch64__)
    return reinterpret_cast<Floats>(
        vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p)))));
#else
    // Move the exponent and mantissa over, then let a product set the exponent's bias right.
    const Words wide = __builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words);
    const Words magnitude = (wide & 0x7fff) << 13, sign = (wide & 0x8000) << 16;
    const Floats scaled = reinterpret_cast<Floats>(magnitude) * 0x1p112f;
    const Words result = reinterpret_cast<Words>(scaled) | sign;
    return reinterpret_cast<Floats>(result);
#endif
}

// The first or second input of WIDTH outputs, from what a matrix holds of two inputs and a block.
template <int INPUT, class T>
inline Floats load_input(const T* pair, int output) {
    if constexpr (std::is_same_v<T, BFloat>) {
        Words both;
        std::memcpy(&both, pair + 2 * output, sizeof both);
        return reinterpret_cast<Floats>(INPUT == 0 ? both << 16 : both & 0xffff0000);
    } else {
        return load(pair + INPUT * gpt1::BLOCK + output);
    }
}

// Beyond the largest number of float16 it is that.
inline void store(Half* p, Floats v) {
    constexpr float LARGEST = 65504;
    v = v > LARGEST ? splat(LARGEST) : v;
    v = v < -LARGEST ? splat(-LARGEST) : v;
#if defined(__AVX512F__)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(reinterpret_cast<__m512>(v), 0));
#elif defined(__AVX2__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(reinterpret_cast<__m256>(v), 0));
#else
    for (int i = 0; i < WIDTH; i++) p[i].bits = gpt1::to_half(v[i]);
#endif
}

// Where a row ends before the vector does. Not inlined, as whole vectors would go through memory as well.
[[gnu::noinline]] inline Floats load_end(const float* p, int64_t room, float rest) {
    Floats v = splat(rest);
    for (int64_t i = 0; i < room; i++) v[i] = p[i];
    return v;
}
[[gnu::noinline]] inline void store_end(float* p, Floats v, int64_t room) {
    for (int64_t i = 0; i < room; i++) p[i] = v[i];
}
inline Floats load_some(const float* p, int64_t room, float rest = 0) {
    return room >= WIDTH ? load(p) : load_end(p, room, rest);
}
inline void store_some(float* p, Floats v, int64_t room) {
    if (room >= WIDTH) store(p, v);
    else store_end(p, v, room);
}

inline Floats max(Floats a, Floats b) { return a > b ? a : b; }

inline float sum(Floats v) {  // always in the same order
    float lanes[WIDTH];
    store(lanes, v);
    for (int width = WIDTH / 2; width; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}

#if defined(__AVX512F__)
inline float largest(Floats v) { return _mm512_reduce_max_ps(reinterpret_cast<__m512>(v)); }
inline int32_t sum(Ints v) { return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(v)); }
#else
inline float largest(Floats v) {
    float best = v[0];
    for (int i = 1; i < WIDTH; i++) best = v[i] > best ? v[i] : best;
    return best;
}
inline int32_t sum(Ints v) {
    int32_t all = 0;
    for (int i = 0; i < WIDTH; i++) all += v[i];
    return all;
}
#endif

// e^x to about one unit in the last place, as Cephes computes it; 0 below -87.3.
inline Floats exp(Floats x) {
    const Floats low = splat(-87.33654f), high = splat(88.37626f);
    const Ints vanishes = x < low;
    x = x < low ? low : x;
    x = x > high ? high : x;
    const Floats shifted = x * 1.44269504f + 12582912.0f;  // rounds to an integer in the low bits
    const Floats n = shifted - 12582912.0f;
    const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Floats p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    p *= reinterpret_cast<Floats>(power);
    return vanishes ? Floats{} : p;
}

// What the tanh form of GELU multiplies x with: a sigmoid of twice what is in the tanh.
constexpr float GELU_LINEAR = 1.5957691216f, GELU_CUBIC = 0.0713548163f;
inline Floats sigmoid(Floats u) { return 1.0f / (1.0f + exp(-u)); }
inline Floats gate(Floats x) { return sigmoid(x * (GELU_LINEAR + GELU_CUBIC * x * x)); }

}  // namespace
