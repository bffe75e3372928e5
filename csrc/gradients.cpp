// The kernels of a training step, compiled once for each instruction set: see CMakeLists.txt.
//
// Each call computes alone what it writes, in an order that depends on its arguments only: the result is the
// same on any number of threads. Nothing here comes from the standard library's templates: of their copies for
// several instruction sets, the linker keeps any one.
#include "gradients.h"

#include "simd.h"

namespace gpt1 {
namespace {

inline void fill(float* p, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++) p[i] = value;
}

// ------------------------------------------------------------------ random numbers

// Whether the numbers of a row are kept, WIDTH columns at a time.
class Kept {
public:
    Kept(Dropout dropout, uint64_t row)
        : below_(static_cast<uint32_t>(dropout.probability * 4294967296.0)), factor_(1 / (1 - dropout.probability)) {
        uint64_t mixed = dropout.seed + row * 0x9e3779b97f4a7c15;  // splitmix64
        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
        mixed ^= mixed >> 31;
        first_ = static_cast<uint32_t>(mixed), second_ = static_cast<uint32_t>(mixed >> 32);
        for (int i = 0; i < WIDTH; i++) lanes_[i] = i;
    }

    // 0, or what makes up for the others.
    Floats factors(int column) const {
        Words x = (lanes_ + static_cast<uint32_t>(column)) * 0x9e3779b1u + first_;  // Ettinger's lowbias32
        x = (x ^ x >> 16) * 0x7feb352du ^ second_;
        x = (x ^ x >> 15) * 0x846ca68bu;
        x ^= x >> 16;
        return x < below_ ? Floats{} : splat(factor_);
    }

private:
    uint32_t below_, first_, second_;
    float factor_;
    Words lanes_;
};

// ------------------------------------------------------------------ products of small matrices

constexpr int MOST_ROWS = WIDTH == 8 ? 4 : 6, MOST_VECTORS = WIDTH == 8 ? 2 : 4;

// C[m, n] (+)= sum over k of A[m, k] B[k, n]. Rows of B and C are whole vectors.
struct Product {
    const float* a;
    int64_t row, step;  // from one m to the next, from one k to the next
    const float* b;
    int64_t b_row;
    float* c;
    int64_t c_row;
};

template <int M, int N, bool ADD>
inline void tile(const Product& p, int m, int n, int first, int last) {
    const float *a = p.a + m * p.row, *b = p.b + n;
    float* c = p.c + m * p.c_row + n;
    Floats acc[M][N];
    UNROLL for (int i = 0; i < M; i++)
        UNROLL for (int j = 0; j < N; j++) acc[i][j] = ADD ? load(c + i * p.c_row + j * WIDTH) : Floats{};
    for (int k = first; k < last; k++) {
        Floats factors[N];
        UNROLL for (int j = 0; j < N; j++) factors[j] = load(b + k * p.b_row + j * WIDTH);
        UNROLL for (int i = 0; i < M; i++) {
            const Floats factor = splat(a[i * p.row + k * p.step]);
            UNROLL for (int j = 0; j < N; j++) acc[i][j] += factor * factors[j];
        }
    }
    UNROLL for (int i = 0; i < M; i++)
        UNROLL for (int j = 0; j < N; j++) store(c + i * p.c_row + j * WIDTH, acc[i][j]);
}

constexpr int DEPTH = 128;  // after which the next rows have their turn: that much of B stays in the cache

template <int M, int N, bool ADD, class Range>
inline void tiles(const Product& p, int m, int rows, int n, int first, const Range& range) {
    for (; m + M <= rows; m += M) {
        const Text needed = range(m, m + M, n);
        const int64_t begin = needed.begin > first ? needed.begin : first;
        const int64_t end = needed.end < first + DEPTH ? needed.end : first + DEPTH;
        if (begin < end) tile<M, N, ADD>(p, m, n, static_cast<int>(begin), static_cast<int>(end));
    }
    if constexpr (M > 1)
        if (m < rows) tiles<M / 2, N, ADD>(p, m, rows, n, first, range);
}

// `range` says which k, below `depth`, matter for rows m to `end` of the columns from n on: the rest of A is 0, or
// of C not read.
template <bool ADD, int N = MOST_VECTORS, class Range>
inline void multiply(const Product& p, int rows, int columns, int depth, const Range& range, int n = 0) {
    for (; n + N * WIDTH <= columns; n += N * WIDTH) {
        tiles<MOST_ROWS, N, ADD>(p, 0, rows, n, 0, range);
        for (int first = DEPTH; first < depth; first += DEPTH) tiles<MOST_ROWS, N, true>(p, 0, rows, n, first, range);
    }
    if constexpr (N > 1)
        if (n < columns) multiply<ADD, N / 2>(p, rows, columns, depth, range, n);
}

// ------------------------------------------------------------------ attention

constexpr int QUERIES = 60;  // that are scored at once: whole tiles

constexpr int AHEAD = 8;  // rows that are asked for early

// Row m of the scores from query `first` on is of the keys up to first + m.
inline auto seen(int first) {
    return [first](int, int end, int) { return Text{0, first + end}; };
}
// Key m is seen by the queries from m - first on.
inline auto seeing(int first, int count) {
    return [first, count](int m, int, int) { return Text{m > first ? m - first : 0, count}; };
}

inline int whole(int64_t n) { return padded(static_cast<int>(n), WIDTH); }

// One head of one text. In its memory, rows are whole vectors, and the same place in each is no power of two
// apart: such places share a few lines of the cache.
class Head {
public:
    Head(const Attention& all, Text text, int head)
        : all_(all), text_(text), head_(head), tokens_(static_cast<int>(text.end - text.begin)),
          row_(int64_t{3} * all.heads * all.size), wide_(whole(all.size)), span_(whole(tokens_) + WIDTH),
          scale_(1 / std::sqrt(static_cast<float>(all.size))) {}

    // What `backward` needs; `forward` needs less.
    int64_t scratch() const {
        return int64_t{2} * wide_ * span_ + int64_t{3} * (tokens_ + QUERIES) * wide_ + int64_t{2} * QUERIES * span_;
    }

    void forward(float* memory, float* mixed, float* log_sums) {
        float* keys = take(memory, int64_t{wide_} * span_);
        float* values = take(memory, int64_t{tokens_} * wide_);
        float* queries = take(memory, QUERIES * wide_);
        float* out = take(memory, QUERIES * wide_);
        float* scores = memory;
        copy_columns(part(1), row_, keys);
        copy_rows(part(2), row_, tokens_, 1, values);
        for (int first = 0; first < tokens_; first += QUERIES) {
            const int count = tokens_ - first < QUERIES ? tokens_ - first : QUERIES;
            copy_rows(part(0) + first * row_, row_, count, scale_, queries);
            score(queries, keys, first, count, scores);
            float shares[QUERIES];
            for (int m = 0; m < count; m++) {
                const int64_t token = text_.begin + first + m;
                const float sum = exponentials(scores + m * span_, first + m + 1, first + count, token,
                                               log_sums + token * all_.heads + head_);
                shares[m] = 1 / sum;
            }
            multiply<false>({scores, span_, 1, values, wide_, out, wide_}, count, wide_, first + count,
                            seen(first));
            for (int m = 0; m < count; m++)
                write(out + m * wide_, shares[m], mixed + ((text_.begin + first + m) * all_.heads + head_) * all_.size);
        }
    }

    void backward(float* memory, const float* grad, const float* mixed, const float* log_sums, float* grad_qkv) {
        const int64_t block = int64_t{tokens_} * wide_;
        float* keys_across = take(memory, int64_t{wide_} * span_);
        float* values_across = take(memory, int64_t{wide_} * span_);
        float *keys = take(memory, block), *grad_keys = take(memory, block), *grad_values = take(memory, block);
        float *queries = take(memory, QUERIES * wide_), *grads = take(memory, QUERIES * wide_);
        float *grad_queries = take(memory, QUERIES * wide_), *weights = take(memory, QUERIES * span_);
        float* grad_scores = memory;
        copy_columns(part(1), row_, keys_across);
        copy_columns(part(2), row_, values_across);
        copy_rows(part(1), row_, tokens_, 1, keys);
        fill(grad_keys, 2 * block, 0);
        const int64_t out_row = int64_t{all_.heads} * all_.size;
        for (int first = 0; first < tokens_; first += QUERIES) {
            const int count = tokens_ - first < QUERIES ? tokens_ - first : QUERIES;
            const int64_t out = ((text_.begin + first) * all_.heads + head_) * all_.size;
            copy_rows(part(0) + first * row_, row_, count, scale_, queries);
            copy_rows(grad + out, out_row, count, 1, grads);
            score(queries, keys_across, first, count, weights);
            score(grads, values_across, first, count, grad_scores);
            for (int m = 0; m < count; m++) {
                const int64_t token = text_.begin + first + m;
                fetch(mixed + out + (m + AHEAD) * out_row);
                const float shared = dot(grads + m * wide_, mixed + out + m * out_row);
                differentiate(weights + m * span_, grad_scores + m * span_, first + m + 1, first + count, token,
                              log_sums[token * all_.heads + head_], shared);
            }
            multiply<true>({weights, 1, span_, grads, wide_, grad_values, wide_}, first + count, wide_, count,
                           seeing(first, count));
            multiply<true>({grad_scores, 1, span_, queries, wide_, grad_keys, wide_}, first + count, wide_, count,
                           seeing(first, count));
            multiply<false>({grad_scores, span_, 1, keys, wide_, grad_queries, wide_}, count, wide_, first + count,
                            seen(first));
            for (int m = 0; m < count; m++)
                write(grad_queries + m * wide_, scale_, place(grad_qkv, 0) + (first + m) * row_);
        }
        for (int t = 0; t < tokens_; t++) {
            write(grad_keys + t * wide_, 1, place(grad_qkv, 1) + t * row_);
            write(grad_values + t * wide_, 1, place(grad_qkv, 2) + t * row_);
        }
    }

private:
    static float* take(float*& memory, int64_t count) {
        float* taken = memory;
        memory += count;
        return taken;
    }

    // Queries (0), keys (1) or values (2) of the first token.
    template <class T>
    T* place(T* qkv, int which) const {
        return qkv + ((text_.begin * 3 + which) * all_.heads + head_) * all_.size;
    }
    const float* part(int which) const { return place(all_.qkv, which); }

    // Rows lie far apart, which no processor foresees.
    void fetch(const float* row) const {
        for (int i = 0; i < all_.size; i += 16) __builtin_prefetch(row + i);
    }

    void copy_rows(const float* from, int64_t row, int count, float factor, float* to) const {
        for (int t = 0; t < count; t++) {
            fetch(from + (t + AHEAD) * row);
            for (int i = 0; i < wide_; i += WIDTH)
                store(to + t * wide_ + i, load_some(from + t * row + i, all_.size - i) * factor);
        }
    }

    void copy_columns(const float* from, int64_t row, float* to) const {
        for (int t = 0; t < tokens_; t++) {
            fetch(from + (t + AHEAD) * row);
            for (int i = 0; i < all_.size; i++) to[i * span_ + t] = from[t * row + i];
        }
        for (int i = 0; i < all_.size; i++) fill(to + i * span_ + tokens_, span_ - tokens_, 0);
    }

    void write(const float* from, float factor, float* to) const {
        for (int i = 0; i < all_.size; i += WIDTH) store_some(to + i, load(from + i) * factor, all_.size - i);
    }

    float dot(const float* a, const float* b) const {
        Floats total{};
        for (int i = 0; i < all_.size; i += WIDTH)
            total += load_some(a + i, all_.size - i) * load_some(b + i, all_.size - i);
        return sum(total);
    }

    void score(const float* rows, const float* across, int first, int count, float* scores) const {
        const int size = all_.size;
        multiply<false>({rows, wide_, 1, across, span_, scores, span_}, count, whole(first + count), size,
                        [=](int, int end, int n) { return Text{0, n < first + end ? size : 0}; });
    }

    // Of the `visible` first scores; the rest up to `end` become 0. Returns their sum.
    float exponentials(float* scores, int visible, int end, int64_t token, float* log_sum) const {
        const int stop = whole(visible);
        fill(scores + visible, stop - visible, -INFINITY);
        Floats best = load(scores);
        for (int i = WIDTH; i < stop; i += WIDTH) best = max(best, load(scores + i));
        const float top = largest(best);
        Floats total{};
        for (int i = 0; i < stop; i += WIDTH) {
            const Floats e = exp(load(scores + i) - top);
            store(scores + i, e);
            total += e;
        }
        fill(scores + stop, end - stop, 0);
        if (all_.dropout.probability > 0) {
            const Kept kept = kept_of(token);
            for (int i = 0; i < stop; i += WIDTH) store(scores + i, load(scores + i) * kept.factors(i));
        }
        const float found = sum(total);
        *log_sum = top + std::log(found);
        return found;
    }

    // Scores become the weights that were used, gradients of these those of the scores.
    void differentiate(float* scores, float* grads, int visible, int end, int64_t token, float log_sum,
                       float shared) const {
        const int stop = whole(visible);
        fill(scores + visible, stop - visible, -INFINITY);
        fill(grads + visible, stop - visible, 0);
        if (all_.dropout.probability > 0) {
            const Kept kept = kept_of(token);
            for (int i = 0; i < stop; i += WIDTH) {
                const Floats weight = exp(load(scores + i) - log_sum), factor = kept.factors(i);
                store(scores + i, weight * factor);
                store(grads + i, weight * (load(grads + i) * factor - shared));
            }
        } else {
            for (int i = 0; i < stop; i += WIDTH) {
                const Floats weight = exp(load(scores + i) - log_sum);
                store(scores + i, weight);
                store(grads + i, weight * (load(grads + i) - shared));
            }
        }
        fill(scores + stop, end - stop, 0);
        fill(grads + stop, end - stop, 0);
    }

    Kept kept_of(int64_t token) const {
        return {all_.dropout, static_cast<uint64_t>(token) * static_cast<uint64_t>(all_.heads) + static_cast<uint64_t>(head_)};
    }

    const Attention& all_;
    const Text text_;
    const int head_, tokens_;
    const int64_t row_;  // from one token to the next
    const int wide_, span_;
    const float scale_;
};

int64_t scratch(const Attention& all, Text text) { return Head(all, text, 0).scratch(); }

void attend(const Attention& all, Text text, int head, float* memory, float* mixed, float* log_sums) {
    Head(all, text, head).forward(memory, mixed, log_sums);
}

void attend_backward(const Attention& all, Text text, int head, float* memory, const float* grad, const float* mixed,
                     const float* log_sums, float* grad_qkv) {
    Head(all, text, head).backward(memory, grad, mixed, log_sums, grad_qkv);
}

// ------------------------------------------------------------------ rows

void gelu(const float* x, const float* bias, float* y, int rows, int width) {
    for (int r = 0; r < rows; r++, x += width, y += width)
        for (int i = 0; i < width; i += WIDTH) {
            const int room = width - i;
            const Floats v = load_some(x + i, room) + load_some(bias + i, room);
            store_some(y + i, v * gate(v), room);
        }
}

void gelu_backward(const float* x, const float* bias, float* y, int64_t y_row, float* grad, float* grad_bias, int rows,
                   int width) {
    fill(grad_bias, width, 0);
    for (int r = 0; r < rows; r++, x += width, y += y_row, grad += width)
        for (int i = 0; i < width; i += WIDTH) {
            const int room = width - i;
            const Floats v = load_some(x + i, room) + load_some(bias + i, room), g = gate(v);
            const Floats slope = GELU_LINEAR + 3 * GELU_CUBIC * v * v;
            const Floats d = load_some(grad + i, room) * (g + v * g * (1 - g) * slope);
            store_some(y + i, v * g, room);
            store_some(grad + i, d, room);
            store_some(grad_bias + i, load_some(grad_bias + i, room) + d, room);
        }
}

void add_norm(const float* x, const float* y, const float* gain, const float* bias, float epsilon, Dropout dropout,
              int64_t row, int rows, int width, float* normed, float* scales, float* out) {
    for (int r = 0; r < rows; r++, x += width, y += width, normed += width, out += width) {
        Floats total{}, squares{};
        const Kept kept(dropout, static_cast<uint64_t>(row + r));
        for (int i = 0; i < width; i += WIDTH) {
            const int room = width - i;
            Floats added = load_some(y + i, room);
            if (dropout.probability > 0) added *= kept.factors(i);
            const Floats v = load_some(x + i, room) + added;
            store_some(normed + i, v, room);
            total += v;
        }
        const float mean = sum(total) / static_cast<float>(width);
        for (int i = 0; i < width; i += WIDTH) {
            const Floats v = load_some(normed + i, width - i, mean) - mean;
            squares += v * v;
        }
        const float scale = 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + epsilon);
        scales[r] = scale;
        for (int i = 0; i < width; i += WIDTH) {
            const int room = width - i;
            const Floats v = (load_some(normed + i, room) - mean) * scale;
            store_some(normed + i, v, room);
            store_some(out + i, v * load_some(gain + i, room) + load_some(bias + i, room), room);
        }
    }
}

void add_norm_backward(const float* grad, const float* normed, const float* scales, const float* gain, Dropout dropout,
                       int64_t row, int rows, int width, float* grad_x, float* grad_y, float* grad_gain,
                       float* grad_bias) {
    fill(grad_gain, width, 0);
    fill(grad_bias, width, 0);
    for (int r = 0; r < rows; r++, grad += width, normed += width, grad_x += width, grad_y += width) {
        Floats total{}, along{};
        for (int i = 0; i < width; i += WIDTH) {
            const int room = width - i;
            const Floats g = load_some(grad + i, room), v = load_some(normed + i, room);
            const Floats d = g * load_some(gain + i, room);
            total += d;
            along += d * v;
            store_some(grad_gain + i, load_some(grad_gain + i, room) + g * v, room);
            store_some(grad_bias + i, load_some(grad_bias + i, room) + g, room);
        }
        const float mean = sum(total) / static_cast<float>(width), slope = sum(along) / static_cast<float>(width);
        const Kept kept(dropout, static_cast<uint64_t>(row + r));
        for (int i = 0; i < width; i += WIDTH) {
            const int room = width - i;
            const Floats d = load_some(grad + i, room) * load_some(gain + i, room);
            const Floats back = scales[r] * (d - mean - load_some(normed + i, room) * slope);
            store_some(grad_x + i, back, room);
            if (dropout.probability > 0) store_some(grad_y + i, back * kept.factors(i), room);
        }
    }
}

float errors(float* logits, int count, int room, int target, float weight) {
    Floats best = splat(-INFINITY);
    for (int i = 0; i < count; i += WIDTH) best = max(best, load_some(logits + i, count - i, -INFINITY));
    const float top = largest(best), wanted = logits[target];
    Floats total{};
    for (int i = 0; i < count; i += WIDTH) {
        const Floats e = exp(load_some(logits + i, count - i, -INFINITY) - top);
        store_some(logits + i, e, count - i);
        total += e;
    }
    const float all = sum(total), factor = weight / all;
    for (int i = 0; i < count; i += WIDTH) store_some(logits + i, load_some(logits + i, count - i) * factor, count - i);
    fill(logits + count, room - count, 0);
    logits[target] -= weight;
    return wanted - top - std::log(all);
}

float sum_of_squares(const float* x, int64_t count) {
    Floats totals[4] = {};
    int64_t i = 0;
    for (; i + 4 * WIDTH <= count; i += 4 * WIDTH)
        UNROLL for (int j = 0; j < 4; j++) {
            const Floats v = load(x + i + j * WIDTH);
            totals[j] += v * v;
        }
    for (; i < count; i += WIDTH) {
        const Floats v = load_some(x + i, count - i);
        totals[0] += v * v;
    }
    return sum(totals[0] + totals[1] + (totals[2] + totals[3]));
}

}  // namespace

#define TABLE_OF(isa) gradients_##isa
#define TABLE(isa) TABLE_OF(isa)
extern const Gradients TABLE(GPT1_ISA);
constinit const Gradients TABLE(GPT1_ISA) = {
    scratch, attend, attend_backward, gelu, gelu_backward, add_norm, add_norm_backward, errors, sum_of_squares};

}  // namespace gpt1
