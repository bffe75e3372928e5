// From a matrix as checkpoints store it to the layout of the kernels, as it is or quantized: see kernels.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "halves.h"
#include "kernels.h"
#include "threads.h"

using namespace gpt1;

namespace {

float rounded(float x, int low, int high) {
    return std::min<float>(std::max<float>(std::nearbyint(x), low), high);
}

// The scale of least squared error among some near the one that just reaches the largest value.
float best_scale(const float* x, int count, int low, int high) {
    float extreme = 0;
    for (int i = 0; i < count; i++)
        if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
    if (extreme == 0) return 0;
    if (high > 7) return from_half(to_half(std::fabs(extreme) / high));
    float best = 0, least = INFINITY;
    for (int step = 35; step <= 55; step++) {  // `low` reaches further than `high`: it takes the extreme
        const float scale = from_half(to_half(extreme * 50 / (low * step)));
        if (scale == 0) continue;
        float error = 0;
        for (int i = 0; i < count; i++) {
            const float off = rounded(x[i] / scale, low, high) * scale - x[i];
            error += off * off;
        }
        if (error < least) least = error, best = scale;
    }
    return best;
}

// As many inputs lie together as TOGETHER says; what is left of a block is 0 already.
template <class T, int TOGETHER = 1>
void pack(const T* w, int inputs, int outputs, int64_t input_stride, int64_t output_stride, int64_t size, T* data,
          Threads& pool) {
    pool.run(padded(outputs, BLOCK) / BLOCK, [&](int block, int) {
        T* to = data + block * size;
        const int count = std::min(BLOCK, outputs - block * BLOCK);
        const T* from = w + block * BLOCK * output_stride;
        for (int i = 0; i < inputs; i += TOGETHER, to += TOGETHER * BLOCK, from += TOGETHER * input_stride)
            if (count == BLOCK && output_stride == 1)
                for (int lane = 0; lane < BLOCK; lane++)
                    for (int j = 0; j < TOGETHER; j++) to[lane * TOGETHER + j] = from[j * input_stride + lane];
            else
                for (int lane = 0; lane < count; lane++)
                    for (int j = 0; j < TOGETHER; j++)
                        to[lane * TOGETHER + j] = from[j * input_stride + lane * output_stride];
    });
}

}  // namespace

extern "C" {

// Lay out w, whose format is one in floating point, in memory that is 0: input i of output o is at
// w[i * input_stride + o * output_stride].
EXPORT void gpt1_pack(const void* w, Format format, int32_t inputs, int32_t outputs, int64_t input_stride,
                      int64_t output_stride, void* data, int32_t threads) {
    Threads pool(threads);
    const auto of_type = [&]<class T, int TOGETHER>(const T* from) {
        pack<T, TOGETHER>(from, inputs, outputs, input_stride, output_stride, block_size(format, inputs),
                          static_cast<T*>(data), pool);
    };
    switch (format) {
        case FLOAT32: return of_type.template operator()<uint32_t, 1>(static_cast<const uint32_t*>(w));
        case FLOAT16: return of_type.template operator()<uint16_t, 1>(static_cast<const uint16_t*>(w));
        case BFLOAT16: return of_type.template operator()<uint16_t, 2>(static_cast<const uint16_t*>(w));
        default: return;
    }
}

// Quantize w: input i of output o is at w[i * input_stride + o * output_stride].
EXPORT void gpt1_quantize(const float* w, int32_t inputs, int32_t outputs, int64_t input_stride,
                   int64_t output_stride, int32_t format, uint8_t* data, uint16_t* scales, int32_t threads) {
    const int groups = padded(inputs, GROUP) / GROUP, blocks = padded(outputs, BLOCK) / BLOCK;
    const int low = format == INT8 ? -127 : -8, high = format == INT8 ? 127 : 7;
    Threads pool(threads);
    pool.run(blocks, [&](int block, int) {
        for (int g = 0; g < groups; g++)
            for (int lane = 0; lane < BLOCK; lane++) {
                const int output = block * BLOCK + lane, first = g * GROUP;
                float values[GROUP] = {};
                if (output < outputs)
                    for (int i = 0; i < std::min(GROUP, inputs - first); i++)
                        values[i] = w[(first + i) * input_stride + output * output_stride];
                const float scale = best_scale(values, GROUP, low, high);
                const int64_t at = static_cast<int64_t>(block) * groups + g;
                scales[at * BLOCK + lane] = to_half(scale);
                const float inverse = scale == 0 ? 0 : 1 / scale;
                const auto q = [&](int i) { return static_cast<int>(rounded(values[i] * inverse, low, high)); };
                for (int i = 0; i < GROUP; i++) {
                    if (format == INT8)
                        data[((at * GROUP + i) / 4 * BLOCK + lane) * 4 + i % 4] = static_cast<uint8_t>(q(i));
                    else if (i % 8 < 4)
                        data[((at * GROUP + i) / 8 * BLOCK + lane) * 4 + i % 4] =
                            static_cast<uint8_t>((q(i) + 8) | (q(i + 4) + 8) << 4);
                }
            }
    });
}

// A hash of `size` bytes, a multiple of 8, and of what `seed` was made from: to notice that numbers changed.
EXPORT uint64_t gpt1_hash(const void* data, int64_t size, uint64_t seed) {
    constexpr int LANES = 8;
    uint64_t hash[LANES];
    for (int i = 0; i < LANES; i++) hash[i] = seed + i;
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (int64_t at = 0; at < size; at += LANES * 8)
        for (int i = 0; i < LANES && at + 8 * i < size; i++) {
            uint64_t word;
            std::memcpy(&word, bytes + at + 8 * i, 8);
            hash[i] = (hash[i] ^ word) * 0x9e3779b97f4a7c15;
            hash[i] ^= hash[i] >> 32;
        }
    uint64_t all = seed;
    for (const uint64_t lane : hash) all = (all ^ lane) * 0xbf58476d1ce4e5b9;
    return all;
}

}  // extern "C"
