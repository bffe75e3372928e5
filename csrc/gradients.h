// What a training step computes besides products of large matrices: one table for each instruction set.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace gpt1 {

// Numbers that are left out, drawn again wherever they are needed: those of a row depend on it and the seed.
struct Dropout {
    float probability;
    uint64_t seed;
};

// Tokens of all texts behind one another: queries, keys and values (tokens, 3, heads, size).
struct Attention {
    const float* qkv;
    int32_t heads, size;
    Dropout dropout;
};

// A text's tokens, from the first to behind the last.
struct Text {
    int64_t begin, end;
};

struct Gradients {
    // Numbers that the memory of the next two has to have room for.
    int64_t (*scratch)(const Attention& all, Text text);
    // One head of one text: what it mixes, (tokens, heads, size), and the logarithm of the sum of the
    // exponentials of each query's scores, (tokens, heads).
    void (*attend)(const Attention& all, Text text, int head, float* memory, float* mixed, float* log_sums);
    void (*attend_backward)(const Attention& all, Text text, int head, float* memory, const float* grad,
                            const float* mixed, const float* log_sums, float* grad_qkv);
    // y = gelu(x + bias) of rows.
    void (*gelu)(const float* x, const float* bias, float* y, int rows, int width);
    // Besides, grad of y becomes that of x, whose sum over the rows is that of the bias. Rows of y are y_row apart.
    void (*gelu_backward)(const float* x, const float* bias, float* y, int64_t y_row, float* grad, float* grad_bias,
                          int rows, int width);
    // y = normed * gain + bias, normed = (s - mean) / deviation of s = x + y without what is dropped of y;
    // scales are 1 / deviation. `row` is the number of the first row.
    void (*add_norm)(const float* x, const float* y, const float* gain, const float* bias, float epsilon,
                     Dropout dropout, int64_t row, int rows, int width, float* normed, float* scales, float* out);
    // grad of the output; of x, of y (may be the same memory where nothing is dropped), sums for gain and bias.
    void (*add_norm_backward)(const float* grad, const float* normed, const float* scales, const float* gain,
                              Dropout dropout, int64_t row, int rows, int width, float* grad_x, float* grad_y,
                              float* grad_gain, float* grad_bias);
    // Logits of a row become weight * (probabilities - 1 at the target), and 0 from `count` to `room`;
    // returns the log-probability of the target.
    float (*errors)(float* logits, int count, int room, int target, float weight);
    float (*sum_of_squares)(const float* x, int64_t count);
};

#define DECLARE(isa) extern const Gradients gradients_##isa;
DECLARE(portable)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(neon)
#undef DECLARE

}  // namespace gpt1
