// What the decoder computes with: one table of functions for each instruction set.
#pragma once

#include <cstdint>

#define EXPORT __attribute__((visibility("default")))

namespace gpt1 {

enum Format : int32_t { FLOAT32 = 0, FLOAT16 = 1, BFLOAT16 = 2, INT8 = 3, INT4 = 4 };
enum Activation : int32_t { GELU = 0, RELU = 1, SILU = 2 };

constexpr int GROUP = 64;  // inputs that share a scale in INT8 and INT4
constexpr int BLOCK = 16;  // outputs that lie side by side
constexpr int LINE_INPUTS = 32;  // of BFLOAT16 that a line of a register of AMX holds
constexpr int SPAN = 64;   // tokens whose keys lie side by side
constexpr int QUERIES = 4;  // queries that share a pass over keys and values

// A matrix of `inputs` x `outputs`.
//
// FLOAT32, FLOAT16: [outputs / BLOCK][inputs][BLOCK].
// BFLOAT16: [outputs / BLOCK][inputs / 2][BLOCK][2]; inputs are rounded up to a multiple of LINE_INPUTS.
// INT8: [outputs / BLOCK][inputs / 4][BLOCK][4], signed.
// INT4: [outputs / BLOCK][inputs / 8][BLOCK][4]; byte j holds inputs j (low half) and j + 4, plus 8.
// Both: scales [outputs / BLOCK][inputs / GROUP][BLOCK], float16. All are padded with zeros.
// A token table has tokens as its outputs.
struct Matrix {
    Format format;
    int32_t inputs, outputs;
    const void* data;
    const uint16_t* scales;
};

// Rows of activations, and what they are rounded to for products with some formats, which has memory for a multiple
// of 16 rows: for INT8 and INT4, each group of inputs is its scale times numbers of 8 bits; with AMX, for BFLOAT16,
// inputs are the sum of two numbers of that format.
struct Rows {
    const float* values;   // (count, width)
    int8_t* quantized;     // (count, padded width)
    float* scales;         // [count / 16][groups][16]
    int32_t* sums;         // as the scales: of the quantized inputs
    uint16_t* halves;      // [count / 16][width / LINE_INPUTS][2][16][LINE_INPUTS]
    int count, width;

    // Where scale and sum of a group of a row are; those of the next row lie beside them, up to a multiple of 16.
    int64_t place(int row, int group) const {
        const int groups = (width + GROUP - 1) / GROUP;
        return (int64_t{row / 16} * groups + group) * 16 + row % 16;
    }
};

// What one head of a row of the cache holds: keys [tokens / SPAN][size][SPAN] and values [tokens][size], both
// FLOAT32 or both FLOAT16.
struct Memory {
    Format format;
    int32_t size;
    void *keys, *values;
};

struct Kernels {
    const char* name;
    // y[m, n] = bias[n] + sum_k x[m, k] W[k, n] for begin <= n < end; begin is a multiple of BLOCK, end is
    // one or the number of outputs; bias may be null.
    void (*product)(const Rows& x, const Matrix& w, const float* bias, float* y, int begin, int end);
    // Whether a product with such a matrix reads what round_row makes of the rows.
    bool (*rounds)(Format format);
    void (*round_row)(const Rows& x, int row, Format format);
    void (*activate)(Activation kind, float* x, int count);
    // y = layer_norm(x + y) * gain + bias
    void (*add_norm)(const float* x, float* y, const float* gain, const float* bias, float epsilon,
                     int width);
    // Put a token's key and value in its place.
    void (*remember)(const Memory& memory, int position, const float* key, const float* value);
    // `count` queries of tokens behind one another, the first at `position`: each sees the tokens up to its own.
    // Queries are `apart` numbers apart, outputs `out_apart`; weights have room for QUERIES times the tokens, of
    // which there are whole SPANs.
    void (*attend)(const Memory& memory, int position, int count, const float* queries, int64_t apart,
                   float* weights, float* out, int64_t out_apart);
    // Log-probability of `target` among `count` logits, in nats.
    float (*log_prob)(const float* logits, int count, int target);
    // Row `index` of a token table.
    void (*embed)(const Matrix& table, int index, float* out);
    float (*highest)(const float* scores, int count);
    // Weights e^((score - top) / temperature) of scores, 0 of those below the lowest; returns their sum.
    double (*weigh)(const float* scores, int count, float top, double temperature, float lowest, double* weights);
};

#define DECLARE(isa) extern const Kernels kernels_##isa;
DECLARE(portable)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(neon)
#undef DECLARE

// Made when it is first asked for, not when the library is loaded: that runs on every processor.
constexpr const char* AMX = "amx";
const Kernels* kernels_amx();

// Those of that name, or, of none, the best this processor can run; null if it cannot.
const Kernels* find_kernels(const char* name);

inline int padded(int n, int unit) { return (n + unit - 1) / unit * unit; }

// Numbers of a block of a matrix in floating point.
inline int64_t block_size(Format format, int inputs) {
    return int64_t{format == BFLOAT16 ? padded(inputs, LINE_INPUTS) : inputs} * BLOCK;
}

}  // namespace gpt1
