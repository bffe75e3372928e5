// GPT-1 for inference: tokens of any rows in, logits out, over a cache of keys and values.
//
// The interface is plain C, called through ctypes: see gpt1/native/library.py, which mirrors it.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if defined(GPT1_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"
#include "threads.h"

using namespace gpt1;

namespace {

#if defined(__aarch64__)
bool has_dot_products() {
#if defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    return true;  // Apple's processors all have them
#endif
}
#endif

#if defined(__x86_64__)
bool has_avx512() {
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

#if defined(GPT1_AMX)
// Linux gives a process the registers of AMX when it asks for them.
bool has_amx() {
    constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    static const bool granted = has_avx512() && __builtin_cpu_supports("avx512bf16") &&
                                __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
                                __builtin_cpu_supports("amx-bf16") &&
                                syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    return granted;
}
#endif

}  // namespace

const Kernels* gpt1::find_kernels(const char* name) {
    const auto named = [&](const char* isa) { return !name || !std::strcmp(name, isa); };
    const auto wanted = [&](const Kernels& kernels) { return named(kernels.name); };
#if defined(GPT1_AMX)
    if (named(AMX) && has_amx()) return kernels_amx();
#endif
#if defined(__x86_64__)
    if (wanted(kernels_avx512) && has_avx512()) return &kernels_avx512;
    if (wanted(kernels_avx2) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c"))
        return &kernels_avx2;
#elif defined(__aarch64__)
    if (wanted(kernels_neon) && has_dot_products()) return &kernels_neon;
#endif
    return wanted(kernels_portable) ? &kernels_portable : nullptr;
}

namespace {

struct Layer {
    Matrix attention, projection, widening, narrowing;
    const float *attention_bias, *projection_bias, *widening_bias, *narrowing_bias;
    const float *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias;
};

}  // namespace

extern "C" {

struct Shape {
    int32_t layers, heads, width, positions, vocabulary, activation;
    float epsilon;
};

struct Model {
    Shape shape;
    Matrix tokens;
    const float* positions;
    std::vector<Layer> layers;
    std::unique_ptr<Threads> threads;
    const Kernels* kernels;
    // Working memory, for as many rows as the largest pass so far.
    int rows = 0;
    std::vector<float> x, y, wide, input_scales, weights;
    union alignas(64) Line { int8_t bytes[64]; uint16_t halves[32]; };
    std::vector<Line> rounded;
    std::vector<int32_t> sums;
};

// Keys and values: (layers, rows, heads, one head's), with room for `stride` tokens: see Memory.
struct Cache {
    void *keys, *values;
    Format format;
    int32_t rows, stride;
};

EXPORT Model* gpt1_new(const Shape* shape, const Matrix* tokens, const float* positions, const Layer* layers,
                int threads, const char* kernels) {
    auto* model = new Model;
    model->shape = *shape;
    model->tokens = *tokens;
    model->positions = positions;
    model->layers.assign(layers, layers + shape->layers);
    model->threads = std::make_unique<Threads>(threads);
    model->kernels = find_kernels(kernels);
    return model;
}

EXPORT void gpt1_free(Model* model) { delete model; }

EXPORT const char* gpt1_kernels(const char* name) {
    const Kernels* found = find_kernels(name);
    return found ? found->name : nullptr;
}

}  // extern "C"

namespace {

// Outputs of a product that are one part of the work: a multiple of BLOCK.
constexpr int STRIP = 192;

class Pass {
public:
    Pass(Model& model, const Cache& cache, int count, const int32_t* ids, const int32_t* rows,
         const int32_t* positions)
        : model_(model), cache_(cache), count_(count), ids_(ids), rows_(rows), positions_(positions) {
        const Shape& s = model.shape;
        if (count > model.rows) {
            model.rows = count;
            const int64_t groups = int64_t{padded(count, 16)} * padded(4 * s.width, GROUP) / GROUP;
            model.x.resize(int64_t{count} * s.width);
            model.y.resize(int64_t{count} * s.width);
            model.wide.resize(int64_t{count} * 4 * s.width);
            model.rounded.resize(groups * GROUP * 2 * sizeof(uint16_t) / sizeof(Model::Line));
            model.input_scales.resize(groups);
            model.sums.resize(groups);
        }
        model.weights.resize(int64_t{model.threads->count()} * QUERIES * cache.stride);
    }

    void run() {
        const int width = model_.shape.width;
        each_row([&](int m) {
            float* x = model_.x.data() + int64_t{m} * width;
            model_.kernels->embed(model_.tokens, ids_[m], x);
            const float* position = model_.positions + int64_t{positions_[m]} * width;
            for (int i = 0; i < width; i++) x[i] += position[i];
        });
        for (size_t layer = 0; layer < model_.layers.size(); layer++) block(layer);
    }

    // Log-probability of a target behind each row.
    void score(const int32_t* targets, float* log_probs) {
        constexpr int AT_ONCE = 32;
        const int width = model_.shape.width, vocabulary = model_.shape.vocabulary;
        std::vector<float> logits(int64_t{AT_ONCE} * vocabulary);
        for (int begin = 0; begin < count_; begin += AT_ONCE) {
            const int rows = std::min(AT_ONCE, count_ - begin);
            product(model_.x.data() + int64_t{begin} * width, rows, model_.tokens, nullptr, logits.data());
            model_.threads->run(rows, [&](int m, int) {
                const float* row = logits.data() + int64_t{m} * vocabulary;
                log_probs[begin + m] = model_.kernels->log_prob(row, vocabulary, targets[begin + m]);
            });
        }
    }

    // Hidden states of the chosen rows, and their logits (each may be null).
    void read(int wanted, const int32_t* chosen, float* states, float* logits) {
        const int width = model_.shape.width;
        float* y = model_.y.data();
        for (int i = 0; i < wanted; i++)
            std::memcpy(y + int64_t{i} * width, model_.x.data() + int64_t{chosen[i]} * width, width * sizeof(float));
        if (states) std::memcpy(states, y, int64_t{wanted} * width * sizeof(float));
        if (!logits || !wanted) return;
        product(y, wanted, model_.tokens, nullptr, logits);
    }

private:
    template <class Body>
    void each_row(const Body& body) {
        if (count_ <= 2)
            for (int m = 0; m < count_; m++) body(m);
        else
            model_.threads->run(count_, [&](int m, int) { body(m); });
    }

    Rows input(const float* values, int width, int count, Format format) {
        auto* rounded = model_.rounded.data();
        const Rows rows{values, rounded->bytes, model_.input_scales.data(), model_.sums.data(), rounded->halves, count,
                        width};
        if (model_.kernels->rounds(format)) {
            if (count <= 2)
                for (int m = 0; m < count; m++) model_.kernels->round_row(rows, m, format);
            else
                model_.threads->run(count, [&](int m, int) { model_.kernels->round_row(rows, m, format); });
        }
        return rows;
    }

    // y = x W + bias for `count` rows, then `after` on each strip of outputs.
    template <class After>
    void product(const float* x, int count, const Matrix& w, const float* bias, float* y, const After& after) {
        const Rows rows = input(x, w.inputs, count, w.format);
        model_.threads->run(padded(w.outputs, STRIP) / STRIP, [&](int part, int) {
            const int begin = part * STRIP, end = std::min(w.outputs, begin + STRIP);
            model_.kernels->product(rows, w, bias, y, begin, end);
            after(begin, end);
        });
    }

    void product(const float* x, int count, const Matrix& w, const float* bias, float* y) {
        product(x, count, w, bias, y, [](int, int) {});
    }

    void block(size_t number) {
        const Shape& s = model_.shape;
        const Layer& layer = model_.layers[number];
        float *x = model_.x.data(), *y = model_.y.data(), *wide = model_.wide.data();
        product(x, count_, layer.attention, layer.attention_bias, wide);
        attend(number);
        product(y, count_, layer.projection, layer.projection_bias, wide);
        norm(wide, layer.norm1_gain, layer.norm1_bias);
        product(x, count_, layer.widening, layer.widening_bias, wide, [&](int begin, int end) {
            for (int m = 0; m < count_; m++)
                model_.kernels->activate(static_cast<Activation>(s.activation),
                                         wide + int64_t{m} * 4 * s.width + begin, end - begin);
        });
        product(wide, count_, layer.narrowing, layer.narrowing_bias, y);
        norm(y, layer.norm2_gain, layer.norm2_bias);
    }

    void norm(const float* added, const float* gain, const float* bias) {
        const int width = model_.shape.width;
        each_row([&](int m) {
            model_.kernels->add_norm(added + int64_t{m} * width, model_.x.data() + int64_t{m} * width, gain, bias,
                                     model_.shape.epsilon, width);
        });
    }

    Memory memory(size_t layer, int row, int head) {
        const int heads = model_.shape.heads, size = model_.shape.width / heads;
        const int64_t at = (static_cast<int64_t>(layer) * cache_.rows + row) * heads + head;
        const int64_t bytes = at * cache_.stride * size * (cache_.format == FLOAT32 ? 4 : 2);
        return {cache_.format, size, static_cast<char*>(cache_.keys) + bytes,
                static_cast<char*>(cache_.values) + bytes};
    }

    // How many tokens from number m on are behind one another in a row.
    int run_of(int m) {
        int end = m + 1;
        while (end < count_ && rows_[end] == rows_[m] && positions_[end] == positions_[m] + end - m) end++;
        return end - m;
    }

    // From queries, keys and values in `wide` to `y`; a part is a head.
    void attend(size_t layer) {
        const int heads = model_.shape.heads, width = model_.shape.width, size = width / heads;
        model_.threads->run(heads, [&](int head, int thread) {
            const float* queries = model_.wide.data() + head * size;
            float* weights = model_.weights.data() + int64_t{thread} * QUERIES * cache_.stride;
            for (int m = 0; m < count_; m++) {
                const float* key = queries + int64_t{m} * 3 * width + width;
                model_.kernels->remember(memory(layer, rows_[m], head), positions_[m], key, key + width);
            }
            for (int m = 0, count; m < count_; m += count) {
                count = run_of(m);
                model_.kernels->attend(memory(layer, rows_[m], head), positions_[m], count,
                                       queries + int64_t{m} * 3 * width, 3 * width, weights,
                                       model_.y.data() + int64_t{m} * width + head * size, width);
            }
        });
    }

    Model& model_;
    const Cache& cache_;
    const int count_;
    const int32_t *ids_, *rows_, *positions_;
};

}  // namespace

extern "C" {

// Read `count` tokens: ids[i] is at positions[i] of row rows[i] of the cache. Tokens of a row come in
// order; each sees those of its row before it. Then the states and logits behind the `wanted` tokens
// `chosen` (numbers below count) are written to states (wanted, width) and logits (wanted, vocabulary).
EXPORT void gpt1_read(Model* model, const Cache* cache, int32_t count, const int32_t* ids, const int32_t* rows,
               const int32_t* positions, int32_t wanted, const int32_t* chosen, float* states,
               float* logits) {
    Pass pass(*model, *cache, count, ids, rows, positions);
    pass.run();
    pass.read(wanted, chosen, states, logits);
}

// Read tokens as gpt1_read does, and write the log-probability of targets[i] behind token i, in nats.
EXPORT void gpt1_score(Model* model, const Cache* cache, int32_t count, const int32_t* ids, const int32_t* rows,
                       const int32_t* positions, const int32_t* targets, float* log_probs) {
    Pass pass(*model, *cache, count, ids, rows, positions);
    pass.run();
    pass.score(targets, log_probs);
}

}  // extern "C"
