// Products of int8 and int4 matrices with several rows, by AMX, which multiplies a group of inputs of 16 rows with a
// block of outputs at once. Groups are added in the order in which the kernels of AVX-512 add them: the bits are the
// same.
#include <algorithm>
#include <vector>

#include "kernels.h"
#include "simd.h"

namespace gpt1 {
namespace {

// What a register has room for. Fewer rows than half of it are left to the kernels of AVX-512.
constexpr int ROWS = 16;

constexpr int LINE = 64;             // bytes of a row of a register
constexpr int TILE = GROUP * BLOCK;  // bytes of weights: [GROUP / 4][BLOCK][4]

// Bytes from what is multiplied to what is asked of memory meanwhile.
constexpr int AHEAD = 4096;

// Groups after which the next rows have their turn: that much of a block stays in the nearest cache.
constexpr int DEPTH = 12;

// Two groups take turns: registers 0 and 1 hold sums, 2 and 3 inputs of as many rows, 4 and 5 weights.
void configure() {
    struct alignas(LINE) {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t bytes_a_row[16] = {LINE, LINE, LINE, LINE, LINE, LINE};
        uint8_t rows[16] = {};
    } config;
    for (int tile = 0; tile < 6; tile++) config.rows[tile] = tile < 4 ? ROWS : GROUP / 4;
    asm volatile("" ::"r"(&config) : "memory");  // GCC takes the next line to read 8 bytes, and would leave out the rest
    _tile_loadconfig(&config);
}

inline void multiply(int turn, const int8_t* inputs, int64_t stride, const int8_t* weights, int32_t* sums) {
    if (turn == 0) {  // numbers of registers are part of the instructions
        _tile_zero(0);
        _tile_loadd(2, inputs, stride);
        _tile_loadd(4, weights, LINE);
        _tile_dpbssd(0, 2, 4);
        _tile_stored(0, sums, LINE);
    } else {
        _tile_zero(1);
        _tile_loadd(3, inputs, stride);
        _tile_loadd(5, weights, LINE);
        _tile_dpbssd(1, 3, 5);
        _tile_stored(1, sums, LINE);
    }
}

// `depth` groups of ROWS rows and a block, added to what y holds, or to the bias (may be null) before the `first`. Of
// the rows `count` are wanted. While sums of a group are on their way, those of the one before are added.
void tile(const Rows& x, int row, int count, const int8_t* weights, const uint16_t* scales, const float* bias,
          float* y, int64_t ldy, int64_t room, int first, int depth) {
    const int64_t groups = padded(x.width, GROUP) / GROUP, stride = groups * GROUP;
    const int8_t* inputs = x.quantized + row * stride + first * GROUP;
    const float* input_scales = x.scales + row * groups + first * ROWS;
    alignas(LINE) int32_t sums[2][ROWS * BLOCK];
    Floats acc[ROWS];
    UNROLL for (int m = 0; m < ROWS; m++)
        acc[m] = first == 0 ? bias ? load(bias) : Floats{} : m < count ? load_some(y + m * ldy, room) : Floats{};
    for (int g = 0; g <= depth; g++) {
        if (g < depth) {
            if (row == 0)
                for (int i = 0; i < TILE; i += LINE) __builtin_prefetch(weights + g * TILE + AHEAD + i);
            multiply(g % 2, inputs + g * GROUP, stride, weights + g * TILE, sums[g % 2]);
        }
        if (g > 0) {
            const Floats scale = load(reinterpret_cast<const Half*>(scales + (g - 1) * BLOCK));
            const Ints* done = reinterpret_cast<const Ints*>(sums[(g - 1) % 2]);
            UNROLL for (int m = 0; m < ROWS; m++)
                acc[m] += __builtin_convertvector(done[m], Floats) * (scale * input_scales[(g - 1) * ROWS + m]);
        }
    }
    UNROLL for (int m = 0; m < ROWS; m++)
        if (m < count) store_some(y + m * ldy, acc[m], room);
}

// A block of int4 as one of int8.
void unpack(const uint8_t* packed, int groups, int8_t* bytes) {
    const __m512i low = _mm512_set1_epi8(15), zero = _mm512_set1_epi8(8);
    for (int i = 0; i < groups * TILE / 2; i += LINE) {
        __builtin_prefetch(packed + i + AHEAD);
        const __m512i both = _mm512_loadu_si512(packed + i);
        const __m512i first = _mm512_and_si512(both, low), second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        _mm512_storeu_si512(bytes + 2 * i, _mm512_sub_epi8(first, zero));
        _mm512_storeu_si512(bytes + 2 * i + LINE, _mm512_sub_epi8(second, zero));
    }
}

void tiles(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    struct alignas(LINE) Line { int8_t bytes[LINE]; };
    static thread_local std::vector<Line> unpacked;
    const int groups = padded(x.width, GROUP) / GROUP;
    if (w.format == INT4) unpacked.resize(groups * TILE / LINE);
    configure();
    for (int at = begin; at < end; at += BLOCK) {
        const int64_t behind = int64_t{at / BLOCK} * groups;  // groups of the blocks before
        const int8_t* weights = static_cast<const int8_t*>(w.data) + behind * TILE;
        if (w.format == INT4) {
            unpack(static_cast<const uint8_t*>(w.data) + behind * TILE / 2, groups, unpacked.data()->bytes);
            weights = unpacked.data()->bytes;
        }
        for (int first = 0; first < groups; first += DEPTH)
            for (int row = 0; row < x.count; row += ROWS)
                tile(x, row, std::min(ROWS, x.count - row), weights + first * TILE,
                        w.scales + (behind + first) * BLOCK, bias ? bias + at : nullptr,
                        y + int64_t{row} * w.outputs + at, w.outputs, w.outputs - at, first,
                        std::min(DEPTH, groups - first));
    }
    _tile_release();
}

void product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    const bool is_integer = w.format == INT8 || w.format == INT4;
    const auto chosen = is_integer && x.count > ROWS / 2 ? tiles : kernels_avx512.product;
    chosen(x, w, bias, y, begin, end);
}

Kernels with_tiles() {
    Kernels kernels = kernels_avx512;
    kernels.name = "amx";
    kernels.product = product;
    return kernels;
}

}  // namespace

extern const Kernels kernels_amx = with_tiles();

}  // namespace gpt1
