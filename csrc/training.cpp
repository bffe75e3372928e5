// Parts of a training step: the loops over texts, heads and rows, shared by threads.
//
// A part is the same rows whatever the number of threads, so that sums over rows are the same bits.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "gradients.h"

namespace gpt1 {
namespace {

constexpr int64_t ROWS = 32;  // of a part
constexpr int64_t STRETCH = 1 << 14;  // numbers of a part of a sum

// Runs a function in every thread of a team, this one included: GOMP_parallel, which OpenMP's libraries have.
using Fork = void (*)(void (*)(void*), void*, unsigned, unsigned);

// Who computes: `fork` may be null, then threads are made here.
struct Team {
    Fork fork;
    int32_t threads;
    const Gradients* kernels;
};

// Products of matrices by an OpenBLAS with numbers of 64 bits for sizes, which someone else has loaded.
struct Blas {
    void (*sgemm)(int order, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                  const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
    int (*threads)();
    void (*set_threads)(int count);
};

// A matrix, or the transpose of one, whose rows are `apart` numbers apart.
struct Rowwise {
    const float* data;
    int64_t apart;
    int32_t transposed;

    const float* from_row(int64_t i) const { return data + (transposed ? i : i * apart); }
    const float* from_column(int64_t j) const { return data + (transposed ? j * apart : j); }
};

template <class Body>
void share(const Team& team, int64_t parts, const Body& body) {
    struct Work {
        const Body& body;
        const int64_t parts;
        std::atomic<int64_t> next{0};
    } work{body, parts};
    const auto take = [](void* shared) {
        Work& mine = *static_cast<Work*>(shared);
        for (int64_t part; (part = mine.next.fetch_add(1, std::memory_order_relaxed)) < mine.parts;) mine.body(part);
    };
    const int64_t threads = std::min<int64_t>(team.threads, parts);
    if (threads > 1 && team.fork) return team.fork(take, &work, static_cast<unsigned>(threads), 0);
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads; i++) others.emplace_back(take, &work);
    take(&work);
    for (std::thread& other : others) other.join();
}

// body(first row, rows, part)
template <class Body>
void share_rows(const Team& team, int64_t rows, const Body& body) {
    share(team, (rows + ROWS - 1) / ROWS, [&](int64_t part) {
        body(part * ROWS, static_cast<int>(std::min(ROWS, rows - part * ROWS)), part);
    });
}

// body(text, head, memory)
template <class Body>
void share_heads(const Team& team, const Attention& all, const int64_t* starts, int64_t texts, const Body& body) {
    share(team, texts * all.heads, [&](int64_t part) {
        thread_local std::vector<float> memory;
        const int64_t* bounds = starts + part / all.heads;
        const Text text{bounds[0], bounds[1]};
        const auto needed = static_cast<size_t>(team.kernels->scratch(all, text));
        if (memory.size() < needed) memory.resize(needed);
        body(text, static_cast<int>(part % all.heads), memory.data());
    });
}

}  // namespace

extern "C" {

EXPORT const Gradients* gpt1_gradients(const char* name) {
    const Kernels* found = find_kernels(name);
    const auto named = [&](const char* isa) { return found && !std::strcmp(found->name, isa); };
#if defined(__x86_64__)
    if (named(AMX) || named(kernels_avx512.name)) return &gradients_avx512;
    if (named(kernels_avx2.name)) return &gradients_avx2;
#elif defined(__aarch64__)
    if (named(kernels_neon.name)) return &gradients_neon;
#endif
    return named(kernels_portable.name) ? &gradients_portable : nullptr;
}

// starts: where the texts begin, and where the last ends.
EXPORT void gpt1_attend(const Team* team, const Attention* all, const int64_t* starts, int64_t texts, float* mixed,
                        float* log_sums) {
    share_heads(*team, *all, starts, texts, [&](Text text, int head, float* memory) {
        team->kernels->attend(*all, text, head, memory, mixed, log_sums);
    });
}

EXPORT void gpt1_attend_backward(const Team* team, const Attention* all, const int64_t* starts, int64_t texts,
                                 const float* grad, const float* mixed, const float* log_sums, float* grad_qkv) {
    share_heads(*team, *all, starts, texts, [&](Text text, int head, float* memory) {
        team->kernels->attend_backward(*all, text, head, memory, grad, mixed, log_sums, grad_qkv);
    });
}

EXPORT void gpt1_gelu(const Team* team, const float* x, const float* bias, int64_t rows, int32_t width, float* y) {
    share_rows(*team, rows, [&](int64_t row, int count, int64_t) {
        team->kernels->gelu(x + row * width, bias, y + row * width, count, width);
    });
}

// grad_bias: (parts, width), a sum for each ROWS rows; so are the other sums below.
EXPORT void gpt1_gelu_backward(const Team* team, const float* x, const float* bias, int64_t rows, int32_t width,
                               float* y, int64_t y_row, float* grad, float* grad_bias) {
    share_rows(*team, rows, [&](int64_t row, int count, int64_t part) {
        const int64_t at = row * width;
        team->kernels->gelu_backward(x + at, bias, y + row * y_row, y_row, grad + at, grad_bias + part * width, count,
                                     width);
    });
}

EXPORT void gpt1_add_norm(const Team* team, const float* x, const float* y, const float* gain, const float* bias,
                          float epsilon, const Dropout* dropout, int64_t rows, int32_t width, float* normed,
                          float* scales, float* out) {
    share_rows(*team, rows, [&](int64_t row, int count, int64_t) {
        const int64_t at = row * width;
        team->kernels->add_norm(x + at, y + at, gain, bias, epsilon, *dropout, row, count, width, normed + at,
                                scales + row, out + at);
    });
}

EXPORT void gpt1_add_norm_backward(const Team* team, const float* grad, const float* normed, const float* scales,
                                   const float* gain, const Dropout* dropout, int64_t rows, int32_t width,
                                   float* grad_x, float* grad_y, float* grad_gain, float* grad_bias) {
    share_rows(*team, rows, [&](int64_t row, int count, int64_t part) {
        const int64_t at = row * width, sums = part * width;
        team->kernels->add_norm_backward(grad + at, normed + at, scales + row, gain, *dropout, row, count, width,
                                         grad_x + at, grad_y + at, grad_gain + sums, grad_bias + sums);
    });
}

// Rows of `room` logits, `count` of which are some; log_probs: of the targets.
EXPORT void gpt1_errors(const Team* team, float* logits, int64_t rows, int32_t count, int32_t room,
                        const int64_t* targets, const float* weights, float* log_probs) {
    share(*team, rows, [&](int64_t row) {
        log_probs[row] = team->kernels->errors(logits + row * room, count, room, static_cast<int>(targets[row]),
                                               weights[row]);
    });
}

// C (m, n) = alpha A B + beta C, rows of C ldc apart: each thread of the team does a stretch of the longer side.
EXPORT void gpt1_product(const Team* team, const Blas* blas, const Rowwise* a, const Rowwise* b, int64_t m, int64_t n,
                         int64_t k, float alpha, float beta, float* c, int64_t ldc) {
    constexpr int ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, UNIT = 64;
    const auto form = [](const Rowwise* x) { return x->transposed ? TRANSPOSED : PLAIN; };
    const bool wide = n > m;
    const int64_t length = wide ? n : m, units = (length + UNIT - 1) / UNIT;
    const int64_t stretch = (units + team->threads - 1) / team->threads * UNIT;
    const int before = blas->threads();
    blas->set_threads(1);
    share(*team, (length + stretch - 1) / stretch, [&](int64_t part) {
        const int64_t first = part * stretch, count = std::min(stretch, length - first);
        const int64_t row = wide ? 0 : first, column = wide ? first : 0;
        blas->sgemm(ROW_MAJOR, form(a), form(b), wide ? m : count, wide ? count : n, k, alpha, a->from_row(row), a->apart,
                    b->from_column(column), b->apart, beta, c + row * ldc + column, ldc);
    });
    blas->set_threads(before);
}

// sums: one for each STRETCH numbers.
EXPORT void gpt1_sum_of_squares(const Team* team, const float* x, int64_t count, float* sums) {
    share(*team, (count + STRETCH - 1) / STRETCH, [&](int64_t part) {
        const int64_t first = part * STRETCH;
        sums[part] = team->kernels->sum_of_squares(x + first, std::min(STRETCH, count - first));
    });
}

}  // extern "C"

}  // namespace gpt1
