// Products by AMX, which multiplies a piece of 16 rows with a piece of a block of outputs at once.
//
// Of int8 and int4, with more than eight rows: groups are added in the order in which the kernels of AVX-512 add them,
// so the bits are the same. Of bfloat16, with any number of rows: AMX multiplies numbers of that format alone, so an
// input is taken as the sum of two of them, which together are within 2^-17 of it.
#include <algorithm>
#include <vector>

#include "kernels.h"
#include "simd.h"

namespace gpt1 {
namespace {

constexpr int ROWS = 16;  // that a register has room for
constexpr int LINE = 64;  // bytes of one of them

// Bytes from what is multiplied to what is asked of memory meanwhile.
constexpr int AHEAD = 4096;

// Registers 0 to 3 hold sums, 4 and 5 inputs of as many rows, 6 and 7 weights: lines of 4 bytes an output. Their
// numbers are part of the instructions.
void configure(int rows) {
    struct alignas(LINE) {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t bytes[16] = {LINE, LINE, LINE, LINE, LINE, LINE, LINE, LINE};
        uint8_t rows[16] = {};
    } config;
    for (int i = 0; i < 8; i++) config.rows[i] = i < 6 ? static_cast<uint8_t>(rows) : BLOCK;
    asm volatile("" ::"r"(&config) : "memory");  // GCC takes the next line to read 8 bytes, and would leave out the rest
    _tile_loadconfig(&config);
}

// ------------------------------------------------------------------ int8 and int4

constexpr int TILE = GROUP * BLOCK;  // bytes of weights: [GROUP / 4][BLOCK][4]

// Groups after which the next rows have their turn: that much of a block stays in the nearest cache.
constexpr int DEPTH = 12;

inline void multiply(int turn, const int8_t* inputs, int64_t stride, const int8_t* weights, int32_t* sums) {
    if (turn == 0) {
        _tile_zero(0);
        _tile_loadd(4, inputs, stride);
        _tile_loadd(6, weights, LINE);
        _tile_dpbssd(0, 4, 6);
        _tile_stored(0, sums, LINE);
    } else {
        _tile_zero(1);
        _tile_loadd(5, inputs, stride);
        _tile_loadd(7, weights, LINE);
        _tile_dpbssd(1, 5, 7);
        _tile_stored(1, sums, LINE);
    }
}

// `depth` groups of ROWS rows and a block, added to what y holds, or to the bias (may be null) before the `first`. Of
// the rows `count` are wanted. While sums of a group are on their way, those of the one before are added.
void integer_tile(const Rows& x, int row, int count, const int8_t* weights, const uint16_t* scales, const float* bias,
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

void integer_product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    struct alignas(LINE) Line { int8_t bytes[LINE]; };
    static thread_local std::vector<Line> unpacked;
    const int groups = padded(x.width, GROUP) / GROUP;
    if (w.format == INT4) unpacked.resize(groups * TILE / LINE);
    configure(ROWS);
    for (int at = begin; at < end; at += BLOCK) {
        const int64_t behind = int64_t{at / BLOCK} * groups;  // groups of the blocks before
        const int8_t* weights = static_cast<const int8_t*>(w.data) + behind * TILE;
        if (w.format == INT4) {
            unpack(static_cast<const uint8_t*>(w.data) + behind * TILE / 2, groups, unpacked.data()->bytes);
            weights = unpacked.data()->bytes;
        }
        for (int first = 0; first < groups; first += DEPTH)
            for (int row = 0; row < x.count; row += ROWS)
                integer_tile(x, row, std::min(ROWS, x.count - row), weights + first * TILE,
                        w.scales + (behind + first) * BLOCK, bias ? bias + at : nullptr,
                        y + int64_t{row} * w.outputs + at, w.outputs, w.outputs - at, first,
                        std::min(DEPTH, groups - first));
    }
    _tile_release();
}

// ------------------------------------------------------------------ bfloat16

constexpr int PIECE = ROWS * LINE_INPUTS;  // numbers of a register

// Steps after which the next blocks have their turn, if there are more rows than a tile has.
constexpr int STEPS = 24;

void round_row(const Rows& x, int row, Format format) {
    if (format != BFLOAT16) return kernels_avx512.round_row(x, row, format);
    const int steps = padded(x.width, LINE_INPUTS) / LINE_INPUTS;
    const float* values = x.values + int64_t{row} * x.width;
    uint16_t* to = x.halves + int64_t{row / ROWS} * steps * 2 * PIECE + row % ROWS * LINE_INPUTS;
    const auto narrow = [](__m512 first, __m512 second) {
        return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
    };
    for (int i = 0; i < x.width; i += LINE_INPUTS, to += 2 * PIECE) {
        const __m512 first = _mm512_loadu_ps(values + i);
        const __m512 second = i + BLOCK < x.width ? _mm512_loadu_ps(values + i + BLOCK) : _mm512_setzero_ps();
        const __m512i both = narrow(first, second);
        const __m512 near_first = _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(both)), 16));
        const __m512 near_second = _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1)), 16));
        _mm512_storeu_si512(to, both);
        _mm512_storeu_si512(to + PIECE, narrow(_mm512_sub_ps(first, near_first), _mm512_sub_ps(second, near_second)));
    }
}

// M times ROWS rows (1 or 2) and N blocks (1 or 2), `depth` steps from `first` on: added to y, or to the bias (may be
// null) before the `first`.
template <int M, int N>
void tile(const Rows& x, int row, const Matrix& w, const float* bias, float* y, int at, int first, int depth) {
    const int steps = padded(x.width, LINE_INPUTS) / LINE_INPUTS, count = std::min(M * ROWS, x.count - row);
    const int64_t ldy = w.outputs, stride = int64_t{steps} * PIECE, stride_x = 2 * stride;
    const uint16_t* weights = static_cast<const uint16_t*>(w.data) + at / BLOCK * stride + first * PIECE;
    const uint16_t* inputs = x.halves + row / ROWS * stride_x + first * 2 * PIECE;
    alignas(LINE) float sums[2][2][ROWS][BLOCK];
    for (int n = 0; n < N; n++)
        for (int m = 0; m < count; m++) {
            const int out = at + n * BLOCK;
            store(sums[m / ROWS][n][m % ROWS],
                  first ? load_some(y + (row + m) * ldy + out, ldy - out) : bias ? load(bias + out) : Floats{});
        }
    _tile_loadd(0, sums[0][0], LINE);
    if constexpr (N > 1) _tile_loadd(1, sums[0][1], LINE);
    if constexpr (M > 1) _tile_loadd(2, sums[1][0], LINE);
    if constexpr (M > 1 && N > 1) _tile_loadd(3, sums[1][1], LINE);
    for (int step = 0; step < depth; step++, weights += PIECE) {
        if (row == 0)
            for (int n = 0; n < N; n++)
                for (int i = 0; i < PIECE; i += LINE / 2)
                    __builtin_prefetch(weights + n * stride + i + AHEAD / N / sizeof(uint16_t));
        _tile_loadd(6, weights, LINE);
        if constexpr (N > 1) _tile_loadd(7, weights + stride, LINE);
        for (int part = 0; part < 2; part++, inputs += PIECE) {
            _tile_loadd(4, inputs, LINE);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (N > 1) _tile_dpbf16ps(1, 4, 7);
            if constexpr (M > 1) {
                _tile_loadd(5, inputs + stride_x, LINE);
                _tile_dpbf16ps(2, 5, 6);
                if constexpr (N > 1) _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    _tile_stored(0, sums[0][0], LINE);
    if constexpr (N > 1) _tile_stored(1, sums[0][1], LINE);
    if constexpr (M > 1) _tile_stored(2, sums[1][0], LINE);
    if constexpr (M > 1 && N > 1) _tile_stored(3, sums[1][1], LINE);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < count; m++) {
            const int out = at + n * BLOCK;
            store_some(y + (row + m) * ldy + out, load(sums[m / ROWS][n][m % ROWS]), ldy - out);
        }
}

template <int N>
void tiles(const Rows& x, const Matrix& w, const float* bias, float* y, int at, int first, int depth) {
    int row = 0;
    for (; row + ROWS < x.count; row += 2 * ROWS) tile<2, N>(x, row, w, bias, y, at, first, depth);
    if (row < x.count) tile<1, N>(x, row, w, bias, y, at, first, depth);
}

void bfloat_product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    const int steps = padded(x.width, LINE_INPUTS) / LINE_INPUTS, together = x.count <= 2 * ROWS ? steps : STEPS;
    configure(std::min(ROWS, x.count));
    for (int first = 0; first < steps; first += together) {
        const int depth = std::min(together, steps - first);
        int at = begin;
        for (; at + BLOCK < end; at += 2 * BLOCK) tiles<2>(x, w, bias, y, at, first, depth);
        if (at < end) tiles<1>(x, w, bias, y, at, first, depth);
    }
    _tile_release();
}

// ------------------------------------------------------------------ by format

bool rounds(Format format) { return format == BFLOAT16 || kernels_avx512.rounds(format); }

void product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    const bool is_integer = w.format == INT8 || w.format == INT4;
    const auto of_format = w.format == BFLOAT16                 ? bfloat_product
                           : is_integer && x.count > ROWS / 2 ? integer_product
                                                                : kernels_avx512.product;
    of_format(x, w, bias, y, begin, end);
}

Kernels with_tiles() {
    Kernels kernels = kernels_avx512;
    kernels.name = AMX;
    kernels.product = product;
    kernels.rounds = rounds;
    kernels.round_row = round_row;
    return kernels;
}

}  // namespace

const Kernels* kernels_amx() {
    static const Kernels kernels = with_tiles();
    return &kernels;
}

}  // namespace gpt1
