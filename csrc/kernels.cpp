// The kernels, compiled once for each instruction set: see CMakeLists.txt.
//
// The order in which the terms of an output are added never depends on how many rows are computed
// together or which thread does it. A token's scores are therefore the same bits alone, in a batch,
// and in a prompt read at once.
#include <algorithm>

#include "kernels.h"
#include "simd.h"

namespace gpt1 {
namespace {

// Vectors that hold a block of outputs.
constexpr int PARTS = BLOCK / WIDTH;

// Rows and blocks of a tile, whose sums all stay in registers; of few rows and of many.
constexpr int TILE_ROWS = 4, TILE_BLOCKS = WIDTH == 16 ? 4 : 1;
constexpr int TALL_ROWS = WIDTH == 16 ? 8 : 4, TALL_BLOCKS = WIDTH == 16 ? 2 : 1;

// The same for integers, whose tiles hold the sums of a group as well.
constexpr int FEW_ROWS = WIDTH == 16 ? 8 : WIDTH == 8 ? 4 : 1;
constexpr int MANY_ROWS = WIDTH == 16 ? 4 : FEW_ROWS, MANY_BLOCKS = WIDTH == 16 ? 2 : 1;

// Blocks at a time of a single row: as many streams through memory as keep it busy, which divide a strip of the
// decoder evenly. Prefetching by hand made it slower; several rows read fewer streams, and gain from it.
constexpr int STREAMS = WIDTH == 16 ? 6 : 4, INTEGER_STREAMS = WIDTH == 16 ? 8 : 2;

// Bytes, of all streams, from what several rows multiply to what is asked of memory meanwhile.
constexpr int AHEAD = 4096;

// Passes over a slice of a single block up to which they ask memory for the next: with more, it is a trifle.
constexpr int FETCHING = 8;

// Inputs after which the next rows have their turn: that much of the matrix stays in the cache.
constexpr int DEPTH = 768;

inline Floats start(const float* bias, int at) { return bias ? load(bias + at) : Floats{}; }

// ------------------------------------------------------------------ products in floating point

// What the rows of a slice of a single block ask of memory meanwhile: a share of the next slice each, a step of
// lines for so many inputs. What waits for memory and what computes are then never apart.
struct Ahead {
    const void* lines;
    int inputs;
};

// y[m, n] (+)= sum_k x[m, k] W[k, n] for M rows and N blocks of outputs, `depth` inputs from `first` on.
// With FETCH, it also asks memory for what comes after: for several blocks, a little later in each of them.
template <class T, int M, int N, bool FETCH>
inline void tile(const Rows& x, int row, const Matrix& w, const float* bias, float* y, int block, int first,
                 int depth, Ahead ahead) {
    constexpr bool IN_STREAMS = FETCH && N > 1, NEXT_SLICE = FETCH && N == 1;
    const int64_t ldy = w.outputs, stride = block_size(w.format, w.inputs);
    const T* data = static_cast<const T*>(w.data) + block * stride + int64_t{first} * BLOCK;
    const float* in = x.values + int64_t{row} * x.width + first;
    Floats acc[M][N][PARTS];
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int p = 0; p < PARTS; p++) {
                const int at = (block + n) * BLOCK + p * WIDTH;
                acc[m][n][p] = first == 0 ? start(bias, at) : load_some(y + (row + m) * ldy + at, ldy - at);
            }
    const auto add = [&]<int INPUT>(int k) {  // the first or second of inputs k and k + 1
        if constexpr (IN_STREAMS && (INPUT == 0 || sizeof(T) == 4))
            UNROLL for (int n = 0; n < N; n++)
                __builtin_prefetch(data + n * stride + (k + INPUT) * BLOCK + AHEAD / N / sizeof(T));
        Floats weights[N][PARTS];
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int p = 0; p < PARTS; p++)
                weights[n][p] = load_input<INPUT>(data + n * stride + k * BLOCK, p * WIDTH);
        UNROLL for (int m = 0; m < M; m++) {
            const Floats factor = splat(in[int64_t{m} * x.width + k + INPUT]);
            UNROLL for (int n = 0; n < N; n++)
                UNROLL for (int p = 0; p < PARTS; p++) acc[m][n][p] += factor * weights[n][p];
        }
    };
    const T* lines = static_cast<const T*>(ahead.lines);
    for (int k = 0, end; k < depth;) {
        end = NEXT_SLICE ? std::min(k + ahead.inputs, depth) : depth;
        if constexpr (NEXT_SLICE) {
            __builtin_prefetch(lines, 0, 2);  // not in place of what is multiplied now
            if constexpr (sizeof(T) == 4) __builtin_prefetch(lines + BLOCK, 0, 2);
            lines += 2 * BLOCK;
        }
        _Pragma("GCC unroll 2") for (; k < end; k += 2) {
            add.template operator()<0>(k);
            add.template operator()<1>(k);
        }
    }
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int p = 0; p < PARTS; p++) {
                const int at = (block + n) * BLOCK + p * WIDTH;
                store_some(y + (row + m) * ldy + at, acc[m][n][p], ldy - at);
            }
}

// All rows, M at a time, then the rest.
template <class T, int M, int N>
void tiles(const Rows& x, int row, const Matrix& w, const float* bias, float* y, int block, int first, int depth) {
    const int passes = x.count / M;
    const T* next = static_cast<const T*>(w.data) + block * block_size(w.format, w.inputs) + (first + depth) * BLOCK;
    for (; row + M <= x.count; row += M) {
        const Ahead ahead{next + int64_t{row / M} * (depth / passes) * BLOCK, 2 * passes};
        if (M > 2 && (N == 1 ? passes <= FETCHING : row == 0))
            tile<T, M, N, true>(x, row, w, bias, y, block, first, depth, ahead);
        else
            tile<T, M, N, false>(x, row, w, bias, y, block, first, depth, ahead);
    }
    if constexpr (M > 1)
        if (row < x.count) tiles<T, M / 2, N>(x, row, w, bias, y, block, first, depth);
}

template <class T, int M, int N>
void blocks(const Rows& x, const Matrix& w, const float* bias, float* y, int block, int last) {
    for (; block + N <= last; block += N)
        for (int first = 0; first < x.width; first += DEPTH)
            tiles<T, M, N>(x, 0, w, bias, y, block, first, x.width - first < DEPTH ? x.width - first : DEPTH);
    if constexpr (N > 1)
        if (block < last) blocks<T, M, 1>(x, w, bias, y, block, last);
}

template <class T>
void float_product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    const int block = begin / BLOCK, last = padded(end, BLOCK) / BLOCK;
    if (x.count == 1)
        blocks<T, 1, STREAMS>(x, w, bias, y, block, last);
    else if (x.count < TALL_ROWS)
        blocks<T, TILE_ROWS, TILE_BLOCKS>(x, w, bias, y, block, last);
    else
        blocks<T, TALL_ROWS, TALL_BLOCKS>(x, w, bias, y, block, last);
}

// ------------------------------------------------------------------ products in integers

// Bytes of WIDTH outputs and 4 inputs each.

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
typedef __m512i Bytes;
inline Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline Bytes splat4(const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}
inline Ints dot_unsigned(Ints acc, Bytes w, Bytes x) {  // w in 0..255
    return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc), w, x));
}
constexpr int INT8_ZERO = 128;
inline Bytes weights8(Bytes w) { return _mm512_xor_si512(w, _mm512_set1_epi8(-128)); }
inline Ints dot_int8(Ints acc, Bytes w, Bytes x) { return dot_unsigned(acc, w, x); }
inline Bytes low_halves(Bytes w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
inline Bytes high_halves(Bytes w) { return low_halves(_mm512_srli_epi16(w, 4)); }
inline Ints dot_int4(Ints acc, Bytes low, Bytes high, Bytes x, Bytes next) {
    return dot_unsigned(dot_unsigned(acc, low, x), high, next);
}
#elif defined(__AVX2__)
typedef __m256i Bytes;
inline Bytes load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Bytes splat4(const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
}
inline Ints add_pairs(Ints acc, __m256i pairs) {
    return acc + reinterpret_cast<Ints>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
constexpr int INT8_ZERO = 0;
inline Bytes weights8(Bytes w) { return w; }
inline Ints dot_int8(Ints acc, Bytes w, Bytes x) {  // both in -127..127: sums of pairs fit 16 bits
    return add_pairs(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
}
inline Bytes low_halves(Bytes w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
inline Bytes high_halves(Bytes w) { return low_halves(_mm256_srli_epi16(w, 4)); }
inline Ints dot_int4(Ints acc, Bytes low, Bytes high, Bytes x, Bytes next) {  // sums of fours fit 16 bits
    return add_pairs(acc, _mm256_add_epi16(_mm256_maddubs_epi16(low, x), _mm256_maddubs_epi16(high, next)));
}
#else
typedef int8_t Bytes __attribute__((vector_size(16)));
inline Bytes load_bytes(const uint8_t* p) {
    Bytes w;
    std::memcpy(&w, p, 16);
    return w;
}
inline Bytes splat4(const int8_t* x) {
    Bytes four;
    for (int i = 0; i < 16; i++) four[i] = x[i % 4];
    return four;
}
constexpr int INT8_ZERO = 0;
inline Bytes weights8(Bytes w) { return w; }
inline Ints dot_int8(Ints acc, Bytes w, Bytes x) {
#if defined(__ARM_FEATURE_DOTPROD)
    return reinterpret_cast<Ints>(vdotq_s32(reinterpret_cast<int32x4_t>(acc),
                                            reinterpret_cast<int8x16_t>(w), reinterpret_cast<int8x16_t>(x)));
#elif defined(__aarch64__)
    const int8x16_t a = reinterpret_cast<int8x16_t>(w), b = reinterpret_cast<int8x16_t>(x);
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return acc + reinterpret_cast<Ints>(vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#else
    for (int i = 0; i < 16; i++) acc[i / 4] += w[i] * x[i];
    return acc;
#endif
}
inline Bytes low_halves(Bytes w) { return w & 15; }
inline Bytes high_halves(Bytes w) { return (w >> 4) & 15; }
inline Ints dot_int4(Ints acc, Bytes low, Bytes high, Bytes x, Bytes next) {
    return dot_int8(dot_int8(acc, low, x), high, next);
}
#endif

// y[m, n] = bias[n] + sum of groups: scale[n] * x_scale[m] * integer dot; M rows, N blocks of outputs.
template <Format F, int M, int N>
inline void integer_tile(const Rows& x, int row, const Matrix& w, const float* bias, float* y, int64_t ldy,
                         int block) {
    constexpr int BYTES = F == INT8 ? GROUP * BLOCK : GROUP * BLOCK / 2, ZERO = F == INT8 ? INT8_ZERO : 8;
    constexpr int STEP = F == INT8 ? 4 : 8;  // inputs a load holds of each output
    const int groups = padded(x.width, GROUP) / GROUP;
    const uint8_t* data = static_cast<const uint8_t*>(w.data) + static_cast<int64_t>(block) * groups * BYTES;
    const uint16_t* scales = w.scales + static_cast<int64_t>(block) * groups * BLOCK;
    const int64_t stride = static_cast<int64_t>(groups) * BYTES;
    const int8_t* inputs = x.quantized + static_cast<int64_t>(row) * groups * GROUP;
    Floats acc[M][N][PARTS];
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int p = 0; p < PARTS; p++)
                acc[m][n][p] = start(bias, (block + n) * BLOCK + p * WIDTH);
    for (int g = 0; g < groups; g++) {
        Ints dot[M][N][PARTS];
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int n = 0; n < N; n++)
                UNROLL for (int p = 0; p < PARTS; p++)
                    dot[m][n][p] = Ints{} - ZERO * x.sums[x.place(row, g) + m];
        for (int k = 0; k < GROUP; k += STEP) {
            UNROLL for (int n = 0; n < N; n++) {
                const uint8_t* from = data + n * stride + g * BYTES + k / STEP * BLOCK * 4;
                UNROLL for (int p = 0; p < PARTS; p++) {
                    const Bytes bytes = load_bytes(from + p * WIDTH * 4);
                    if constexpr (M > 1) __builtin_prefetch(from + p * WIDTH * 4 + AHEAD / N);
                    UNROLL for (int m = 0; m < M; m++) {
                        const int8_t* in = inputs + static_cast<int64_t>(m) * groups * GROUP + g * GROUP + k;
                        Ints& sum = dot[m][n][p];
                        if constexpr (F == INT8)
                            sum = dot_int8(sum, weights8(bytes), splat4(in));
                        else
                            sum = dot_int4(sum, low_halves(bytes), high_halves(bytes), splat4(in), splat4(in + 4));
                    }
                }
            }
        }
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int p = 0; p < PARTS; p++) {
                const Floats scale = load(reinterpret_cast<const Half*>(
                    scales + (static_cast<int64_t>(n) * groups + g) * BLOCK + p * WIDTH));
                UNROLL for (int m = 0; m < M; m++)
                    acc[m][n][p] += __builtin_convertvector(dot[m][n][p], Floats) *
                                    (scale * x.scales[x.place(row, g) + m]);
            }
    }
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int p = 0; p < PARTS; p++) {
                const int at = (block + n) * BLOCK + p * WIDTH;
                store_some(y + (row + m) * ldy + at, acc[m][n][p], ldy - at);
            }
}

template <Format F, int M, int N>
void integer_tiles(const Rows& x, int row, const Matrix& w, const float* bias, float* y, int block) {
    for (; row + M <= x.count; row += M) integer_tile<F, M, N>(x, row, w, bias, y, w.outputs, block);
    if constexpr (M > 1)
        if (row < x.count) integer_tiles<F, M / 2, N>(x, row, w, bias, y, block);
}

template <Format F, int M, int N>
void integer_blocks(const Rows& x, const Matrix& w, const float* bias, float* y, int block, int last) {
    for (; block + N <= last; block += N) integer_tiles<F, M, N>(x, 0, w, bias, y, block);
    if constexpr (N > 1)
        if (block < last) integer_blocks<F, M, 1>(x, w, bias, y, block, last);
}

template <Format F>
void integer_product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    const int block = begin / BLOCK, last = padded(end, BLOCK) / BLOCK;
    if (x.count == 1)
        integer_blocks<F, 1, INTEGER_STREAMS>(x, w, bias, y, block, last);
    else if (x.count <= FEW_ROWS)
        integer_blocks<F, FEW_ROWS, 1>(x, w, bias, y, block, last);
    else
        integer_blocks<F, MANY_ROWS, MANY_BLOCKS>(x, w, bias, y, block, last);
}

bool rounds(Format format) { return format == INT8 || format == INT4; }

void round_row(const Rows& x, int row, Format) {
    const int groups = padded(x.width, GROUP) / GROUP;
    const float* values = x.values + static_cast<int64_t>(row) * x.width;
    for (int g = 0; g < groups; g++) {
        const int count = x.width - g * GROUP < GROUP ? x.width - g * GROUP : GROUP;
        const float* in = values + g * GROUP;
        Floats best{};
        for (int i = 0; i < count; i += WIDTH) {
            const Floats v = load(in + i), size = v < 0.0f ? -v : v;
            best = size > best ? size : best;
        }
        const float scale = largest(best) / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
        int8_t* out = x.quantized + (static_cast<int64_t>(row) * groups + g) * GROUP;
        Ints total{};
        typedef int8_t Narrow __attribute__((vector_size(WIDTH), aligned(1), may_alias));
        std::memset(out, 0, GROUP);
        for (int i = 0; i < count; i += WIDTH) {
            const Floats rounded = load(in + i) * inverse + 12582912.0f - 12582912.0f;
            const Ints q = __builtin_convertvector(rounded, Ints);
            *reinterpret_cast<Narrow*>(out + i) = __builtin_convertvector(q, Narrow);
            total += q;
        }
        x.scales[x.place(row, g)] = scale;
        x.sums[x.place(row, g)] = sum(total);
    }
}

// ------------------------------------------------------------------ by format

void product(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end) {
    switch (w.format) {
        case FLOAT32: return float_product<float>(x, w, bias, y, begin, end);
        case FLOAT16: return float_product<Half>(x, w, bias, y, begin, end);
        case BFLOAT16: return float_product<BFloat>(x, w, bias, y, begin, end);
        case INT8: return integer_product<INT8>(x, w, bias, y, begin, end);
        case INT4: return integer_product<INT4>(x, w, bias, y, begin, end);
    }
}

template <class T>
void float_row(const Matrix& table, int index, float* out) {
    const T* data = static_cast<const T*>(table.data) + index / BLOCK * block_size(table.format, table.inputs);
    const int lane = index % BLOCK, part = lane / WIDTH * WIDTH;
    for (int i = 0; i < table.inputs; i += 2) {
        out[i] = load_input<0>(data + i * BLOCK, part)[lane % WIDTH];
        out[i + 1] = load_input<1>(data + i * BLOCK, part)[lane % WIDTH];
    }
}

template <Format F>
void integer_row(const Matrix& table, int index, float* out) {
    constexpr int STEP = F == INT8 ? 4 : 8;  // inputs of which the bytes of a block lie together
    const int groups = padded(table.inputs, GROUP) / GROUP, lane = index % BLOCK;
    const int64_t first = int64_t{index / BLOCK} * groups;  // of the block's groups
    const uint8_t* data = static_cast<const uint8_t*>(table.data) + first * GROUP / STEP * BLOCK * 4 + lane * 4;
    for (int g = 0; g < groups; g++) {
        Half lanes[WIDTH] = {Half{table.scales[(first + g) * BLOCK + lane]}};
        const float scale = load(lanes)[0];
        for (int i = g * GROUP; i < std::min((g + 1) * GROUP, table.inputs); i++) {
            const uint8_t byte = data[i / STEP * BLOCK * 4 + i % 4];
            const int whole = F == INT8 ? static_cast<int8_t>(byte) : (i % 8 < 4 ? byte & 15 : byte >> 4) - 8;
            out[i] = scale * static_cast<float>(whole);
        }
    }
}

void embed(const Matrix& table, int index, float* out) {
    switch (table.format) {
        case FLOAT32: return float_row<float>(table, index, out);
        case FLOAT16: return float_row<Half>(table, index, out);
        case BFLOAT16: return float_row<BFloat>(table, index, out);
        case INT8: return integer_row<INT8>(table, index, out);
        case INT4: return integer_row<INT4>(table, index, out);
    }
}

// ------------------------------------------------------------------ the rest

void activate(Activation kind, float* x, int count) {
    for (int i = 0; i < count; i += WIDTH) {
        const Floats v = load(x + i);
        if (kind == RELU) {
            store(x + i, v > 0.0f ? v : Floats{});
        } else {  // v * sigmoid(u)
            const Floats u = kind == SILU ? v : v * (GELU_LINEAR + GELU_CUBIC * v * v);
            store(x + i, v / (1.0f + exp(-u)));
        }
    }
}

void add_norm(const float* x, float* y, const float* gain, const float* bias, float epsilon, int width) {
    Floats total{}, squares{};
    for (int i = 0; i < width; i += WIDTH) {
        const Floats v = load(x + i) + load(y + i);
        store(y + i, v);
        total += v;
    }
    const float mean = sum(total) / static_cast<float>(width);
    for (int i = 0; i < width; i += WIDTH) {
        const Floats v = load(y + i) - mean;
        squares += v * v;
    }
    const float scale = 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + epsilon);
    for (int i = 0; i < width; i += WIDTH)
        store(y + i, (load(y + i) - mean) * scale * load(gain + i) + load(bias + i));
}

// ------------------------------------------------------------------ attention

// Vectors of tokens or of numbers of one that M queries take at a time.
template <int M>
constexpr int VECTORS = M == 1 ? std::min(8, SPAN / WIDTH) : WIDTH == 16 ? 4 : 2;

// Ask memory for some bytes: a single query waits for keys and values.
constexpr int BEHIND = 2048;  // what is read
inline void fetch(const void* from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i);
}

// Scores of M queries with the first `tokens` tokens, and those that share their last SPAN.
template <class T, int M>
inline void scores(const T* keys, int tokens, int size, const float* queries, int64_t apart, float* weights,
                   int64_t room) {
    constexpr int N = VECTORS<M>;
    const float scale = 1.0f / std::sqrt(static_cast<float>(size));
    for (int s = 0; s < padded(tokens, SPAN); s += N * WIDTH) {
        const T* from = keys + int64_t{s / SPAN} * size * SPAN + s % SPAN;
        Floats acc[M][N] = {};
        for (int d = 0; d < size; d++) {
            if constexpr (M == 1) fetch(from + d * SPAN + BEHIND / sizeof(T), N * WIDTH * sizeof(T));
            Floats key[N];
            UNROLL for (int n = 0; n < N; n++) key[n] = load(from + d * SPAN + n * WIDTH);
            UNROLL for (int m = 0; m < M; m++) {
                const Floats factor = splat(queries[m * apart + d]);
                UNROLL for (int n = 0; n < N; n++) acc[m][n] += factor * key[n];
            }
        }
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int n = 0; n < N; n++) store(weights + m * room + s + n * WIDTH, acc[m][n] * scale);
    }
}

// Scores of `tokens` tokens become e^(score - the highest), those up to `end` 0; returns 1 / their sum.
inline float weigh_tokens(float* weights, int tokens, int end) {
    for (int s = tokens; s < end; s++) weights[s] = -INFINITY;
    Floats best = splat(-INFINITY);
    for (int s = 0; s < end; s += WIDTH) best = max(load(weights + s), best);
    const float top = largest(best);
    Floats total{};
    for (int s = 0; s < end; s += WIDTH) {
        const Floats v = exp(load(weights + s) - top);
        store(weights + s, v);
        total += v;
    }
    return 1.0f / sum(total);
}

// Numbers d to d + N * WIDTH of what M queries mix, the first of `tokens` tokens, each other of one more.
template <class T, int M, int N>
inline void mix(const T* values, int tokens, int size, int d, const float* weights, int64_t room,
                const float* shares, float* out, int64_t out_apart) {
    Floats acc[M][N] = {};
    const auto add = [&](int s, int m) {
        const Floats weight = splat(weights[m * room + s]);
        UNROLL for (int n = 0; n < N; n++) acc[m][n] += weight * load(values + int64_t{s} * size + d + n * WIDTH);
    };
    for (int s = 0; s < tokens; s++) {
        if constexpr (M == 1) fetch(values + int64_t{s} * size + d + BEHIND / sizeof(T), N * WIDTH * sizeof(T));
        UNROLL for (int m = 0; m < M; m++) add(s, m);
    }
    UNROLL for (int more = 1; more < M; more++)
        UNROLL for (int m = more; m < M; m++) add(tokens + more - 1, m);
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < N; n++) store(out + m * out_apart + d + n * WIDTH, acc[m][n] * shares[m]);
}

template <class T, int M>
void attend_together(const Memory& memory, int position, const float* queries, int64_t apart, float* weights,
                     float* out, int64_t out_apart) {
    constexpr int N = VECTORS<M>;
    const T* values = static_cast<const T*>(memory.values);
    const int tokens = position + 1, end = padded(position + M, SPAN), size = memory.size;
    scores<T, M>(static_cast<const T*>(memory.keys), position + M, size, queries, apart, weights, end);
    if constexpr (M == 1) fetch(values, BEHIND);
    float shares[M];
    for (int m = 0; m < M; m++) shares[m] = weigh_tokens(weights + m * end, tokens + m, end);
    int d = 0;
    for (; d + N * WIDTH <= size; d += N * WIDTH)
        mix<T, M, N>(values, tokens, size, d, weights, end, shares, out, out_apart);
    for (; d < size; d += WIDTH)
        mix<T, M, 1>(values, tokens, size, d, weights, end, shares, out, out_apart);
}

template <class T>
void attend(const Memory& memory, int position, int count, const float* queries, int64_t apart, float* weights,
            float* out, int64_t out_apart) {
    int m = 0;
    for (; m + QUERIES <= count; m += QUERIES)
        attend_together<T, QUERIES>(memory, position + m, queries + m * apart, apart, weights, out + m * out_apart,
                                    out_apart);
    for (; m < count; m++)
        attend_together<T, 1>(memory, position + m, queries + m * apart, apart, weights, out + m * out_apart,
                              out_apart);
}

void attend(const Memory& memory, int position, int count, const float* queries, int64_t apart, float* weights,
            float* out, int64_t out_apart) {
    const auto of_format = memory.format == FLOAT32 ? attend<float> : attend<Half>;
    of_format(memory, position, count, queries, apart, weights, out, out_apart);
}

template <class T>
void remember(const Memory& memory, int position, const float* key, const float* value) {
    T* keys = static_cast<T*>(memory.keys) + int64_t{position / SPAN} * memory.size * SPAN + position % SPAN;
    T* values = static_cast<T*>(memory.values) + int64_t{position} * memory.size;
    for (int d = 0; d < memory.size; d += WIDTH) {
        T lanes[WIDTH];
        store(lanes, load(key + d));
        for (int i = 0; i < WIDTH; i++) keys[(d + i) * SPAN] = lanes[i];
        store(values + d, load(value + d));
    }
}

void remember(const Memory& memory, int position, const float* key, const float* value) {
    const auto of_format = memory.format == FLOAT32 ? remember<float> : remember<Half>;
    of_format(memory, position, key, value);
}

// ------------------------------------------------------------------ of logits

float log_prob(const float* logits, int count, int target) {
    float top = logits[0];
    for (int i = 1; i < count; i++) top = logits[i] > top ? logits[i] : top;
    Floats total{};
    int i = 0;
    for (; i + WIDTH <= count; i += WIDTH) total += exp(load(logits + i) - top);
    float all = sum(total);
    for (; i < count; i++) all += std::exp(logits[i] - top);
    return logits[target] - top - std::log(all);
}

// e^x of x <= 0 in double, to a few units in the last place; 0 where that is below 2^-1021.
inline double exp_of_negative(double x) {
    constexpr double SHIFT = 0x1.8p52;  // makes the lowest bits of a sum a whole number
    const double clamped = x > -707.0 ? x : -707.0;
    const double shifted = clamped * 0x1.71547652b82fep0 + SHIFT, whole = shifted - SHIFT;
    const double r = (clamped - whole * 0x1.62e42fee00000p-1) - whole * 0x1.a39ef35793c76p-33;
    double sum = 1.0 / 6227020800;
    constexpr double FACTORIALS[] = {479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1};
    UNROLL for (double factorial : FACTORIALS) sum = sum * r + 1.0 / factorial;
    int64_t bits, zero;
    std::memcpy(&bits, &shifted, 8);
    std::memcpy(&zero, &SHIFT, 8);
    const int64_t power = (bits - zero + 1023) << 52;
    double scale;
    std::memcpy(&scale, &power, 8);
    return x > -707.0 ? sum * scale : 0.0;
}

float highest(const float* scores, int count) {
    Floats best = splat(-INFINITY);
    int i = 0;
    for (; i + WIDTH <= count; i += WIDTH) {
        const Floats v = load(scores + i);
        best = v > best ? v : best;
    }
    float top = largest(best);
    for (; i < count; i++) top = scores[i] > top ? scores[i] : top;
    return top;
}

double weigh(const float* scores, int count, float top, double temperature, float lowest, double* weights) {
    constexpr int SUMS = 16;
    double totals[SUMS] = {};
    int i = 0;
    for (; i + SUMS <= count; i += SUMS)
        for (int j = 0; j < SUMS; j++) {
            const float score = scores[i + j];
            const double weight = exp_of_negative((static_cast<double>(score) - top) / temperature);
            weights[i + j] = score >= lowest ? weight : 0.0;
            totals[j] += weights[i + j];
        }
    double total = 0;
    for (; i < count; i++) {
        weights[i] = scores[i] >= lowest ? exp_of_negative((static_cast<double>(scores[i]) - top) / temperature) : 0;
        total += weights[i];
    }
    for (double part : totals) total += part;
    return total;
}

}  // namespace

#define TABLE_OF(isa) kernels_##isa
#define TABLE(isa) TABLE_OF(isa)
#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)
extern const Kernels TABLE(GPT1_ISA);
constinit const Kernels TABLE(GPT1_ISA) = {TEXT(GPT1_ISA), product,  rounds,   round_row, activate, add_norm,
                                           remember,       attend,   log_prob, embed,     highest,  weigh};

}  // namespace gpt1
