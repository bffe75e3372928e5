// The next token of each row, drawn among those that temperature, top_k, top_p and min_p leave.
//
// What `gpt1.generation.processors.filtered` and `gpt1.generation.sampling.draw` do in NumPy, without
// sorting or a copy of all scores. Where rounding could decide, the row is left to them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels.h"

namespace gpt1 {
namespace {

constexpr int UNDECIDED = -1;
constexpr double ROUNDING = 1e-9;  // more than what sums of probabilities in double are off by
constexpr int BINS = 1024;         // sixteen for each power of two, down to 2^-64
constexpr int STRETCH = 512;       // tokens that are passed over at once
constexpr int ROWS_OF_A_THREAD = 4;

struct Settings {
    double temperature;  // 1: none
    double top_p;        // 1: none
    double min_p;        // 0: none
    int32_t top_k;       // 0: none
};

// Bins of weights in (0, 1]; 0 holds the largest.
int bin(double weight) {
    uint64_t bits;
    std::memcpy(&bits, &weight, sizeof bits);
    constexpr uint64_t one = 0x3ff0;
    const uint64_t distance = one - (bits >> 48);
    return distance < BINS ? static_cast<int>(distance) : BINS - 1;
}

class Row {
public:
    Row(const float* scores, int count, const Settings& settings, const Kernels& kernels, double* weights)
        : scores_(scores), weights_(weights), count_(count), settings_(settings), kernels_(kernels) {}

    int draw(double uniform) {
        const double p = settings_.top_p, least = settings_.min_p;
        const bool has_k = settings_.top_k > 0 && settings_.top_k < count_;
        top_ = kernels_.highest(scores_, count_);
        const float lowest = has_k ? kth_highest(settings_.top_k) : -INFINITY;
        if (std::isnan(lowest)) return UNDECIDED;
        const double total = kernels_.weigh(scores_, count_, top_, settings_.temperature, lowest, weights_);
        if (!has_k && p >= 1 && least <= 0) return draw_any(uniform, total);
        // All tokens below this together weigh less than what top_p leaves out.
        gather(p < 1 ? 0.9 * (1 - p) * total / count_ : std::max(least, 0.0) * (1 - 2 * ROUNDING));
        if (p < 1 && !keep_probable(p, total)) return UNDECIDED;
        if (least > 0 && !keep_above(least)) return UNDECIDED;
        return draw_kept(uniform);
    }

private:
    double scaled(float score) const { return (static_cast<double>(score) - top_) / settings_.temperature; }

    // Scores that differ may be equal once they are scaled; then they are not told apart here.
    bool are_apart(float high, float low) const { return scaled(high) != scaled(low); }

    // NaN where it is not apart from the next.
    float kth_highest(int k) {
        // Among some of the row, the k-th highest is as low or lower; few others are as high.
        const int step = std::max(1, static_cast<int>(std::sqrt(count_ / k)));
        high_.clear();
        for (int i = 0; i < count_; i += step) high_.push_back(scores_[i]);
        std::nth_element(high_.begin(), high_.begin() + k - 1, high_.end(), std::greater<>());
        const float guess = high_[k - 1];
        high_.resize(count_);
        int size = 0;
        for (int i = 0; i < count_; i++) {
            high_[size] = scores_[i];
            size += scores_[i] >= guess;
        }
        high_.resize(size);
        std::nth_element(high_.begin(), high_.begin() + k - 1, high_.end(), std::greater<>());
        const float lowest = high_[k - 1];
        float below = -INFINITY;
        for (float score : high_)
            if (score < lowest) below = std::max(below, score);
        if (below == -INFINITY)
            for (int i = 0; i < count_; i++)
                if (scores_[i] < lowest) below = std::max(below, scores_[i]);
        return below == -INFINITY || are_apart(lowest, below) ? lowest : NAN;
    }

    // Keep the tokens of more weight than this.
    void gather(double least) {
        kept_.resize(count_);
        int size = 0;
        for (int i = 0; i < count_; i++) {
            kept_[size] = i;
            size += weights_[i] > least;
        }
        kept_.resize(size);
    }

    bool keep_probable(double p, double total) {
        std::fill(mass_.begin(), mass_.end(), 0.0);
        for (int i : kept_) mass_[bin(weights_[i])] += weights_[i];
        const double wanted = p * total, margin = ROUNDING * total;
        double above = 0;
        int border = 0;
        while (border < BINS - 1 && above + mass_[border] < wanted) above += mass_[border++];
        order_.clear();
        for (int i : kept_)
            if (bin(weights_[i]) == border) order_.push_back(i);
        std::sort(order_.begin(), order_.end(),
                  [this](int a, int b) { return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : a < b; });
        size_t count = 0;
        while (count < order_.size() && std::abs(above - wanted) >= margin && above < wanted)
            above += weights_[order_[count++]];
        if (count == 0 || above < wanted + margin) return false;
        const float last = scores_[order_[count - 1]];
        if (count < order_.size() && scores_[order_[count]] != last && !are_apart(last, scores_[order_[count]]))
            return false;
        int equal = 0;
        for (size_t i = 0; i < count; i++) equal += scores_[order_[i]] == last;
        std::erase_if(kept_, [&](int i) { return scores_[i] < last || (scores_[i] == last && equal-- <= 0); });
        return true;
    }

    bool keep_above(double least) {
        for (int i : kept_)
            if (std::abs(weights_[i] - least) < ROUNDING * least) return false;
        std::erase_if(kept_, [&](int i) { return weights_[i] < least; });
        return true;
    }

    int draw_kept(double uniform) const {
        double total = 0, sum = 0;
        for (int i : kept_) total += weights_[i];
        for (int i : kept_) {
            sum += weights_[i];
            if (std::abs(sum - uniform * total) < ROUNDING * total) return UNDECIDED;
            if (sum > uniform * total) return i;
        }
        return UNDECIDED;
    }

    int draw_any(double uniform, double total) const {
        const double wanted = uniform * total, margin = ROUNDING * total;
        double sum = 0;
        for (int begin = 0; begin < count_; begin += STRETCH) {
            const int end = std::min(begin + STRETCH, count_);
            double parts[8] = {}, stretch = 0;
            int i = begin;
            for (; i + 8 <= end; i += 8)
                for (int j = 0; j < 8; j++) parts[j] += weights_[i + j];
            for (; i < end; i++) stretch += weights_[i];
            for (double part : parts) stretch += part;
            if (sum + stretch > wanted - margin) return draw_from(begin, sum, wanted, margin);
            sum += stretch;
        }
        return UNDECIDED;
    }

    int draw_from(int begin, double sum, double wanted, double margin) const {
        for (int i = begin; i < count_; i++) {
            if (weights_[i] == 0) continue;
            sum += weights_[i];
            if (std::abs(sum - wanted) < margin) return UNDECIDED;
            if (sum > wanted) return i;
        }
        return UNDECIDED;
    }

    const float* scores_;
    double* weights_;  // of each token; 1 of the highest
    int count_;
    const Settings& settings_;
    const Kernels& kernels_;
    float top_ = 0;
    std::vector<float> high_;
    std::vector<int> kept_, order_;  // tokens; the first in the order of their ids
    std::vector<double> mass_ = std::vector<double>(BINS);
};

}  // namespace

extern "C" {

// tokens[row] becomes the token of each row of scores (rows, count), or -1 where rounding could decide.
EXPORT void gpt1_draw(const float* scores, int32_t rows, int32_t count, const Settings* settings,
                      const double* uniforms, int32_t threads, const char* name, int32_t* tokens) {
    const Kernels& kernels = *find_kernels(name);
    const auto work = [&](int begin, int end) {
        std::vector<double> weights(count);
        for (int row = begin; row < end; row++) {
            Row of(scores + static_cast<int64_t>(row) * count, count, *settings, kernels, weights.data());
            tokens[row] = of.draw(uniforms[row]);
        }
    };
    const int parts = std::max(1, std::min(threads, rows / ROWS_OF_A_THREAD));
    std::vector<std::thread> helpers;
    for (int part = 1; part < parts; part++)
        helpers.emplace_back(work, rows * part / parts, rows * (part + 1) / parts);
    work(0, rows / parts);
    for (auto& helper : helpers) helper.join();
}

}  // extern "C"
}  // namespace gpt1
