// Numbers of float16, one at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace gpt1 {

// Rounds to nearest even; beyond the largest number it is that.
inline uint16_t to_half(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude >= 0x47800000) return sign | 0x7bff;
    if (magnitude < 0x38800000) {  // subnormal: a multiple of 2^-24
        float size;
        std::memcpy(&size, &magnitude, 4);
        return sign | static_cast<uint16_t>(std::nearbyint(size * 0x1p24f));
    }
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return sign | static_cast<uint16_t>(std::min<uint32_t>((rounded - 0x38000000) >> 13, 0x7bff));
}

inline float from_half(uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 0x3ff;
    const float size = exponent ? std::ldexp(static_cast<float>(mantissa | 0x400), exponent - 25)
                                : std::ldexp(static_cast<float>(mantissa), -24);
    return half & 0x8000 ? -size : size;
}

}  // namespace gpt1
