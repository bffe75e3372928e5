// Tables of texts, and texts in rows of one length.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace {

bool is_line_end(char c) { return c == '\n' || c == '\r'; }

// Reads rows as Python's strict csv reader does.
struct CsvReader {
    const char *at, *end;
    char delimiter;
    bool is_last;  // whether nothing follows the end

    enum Stop { DELIMITER, LINE_END, DATA_END, WRONG };

    // Append a field, if it is wanted, and say what follows it.
    Stop field(char*& to, bool wanted) {
        if (at < end && *at == '"') return quoted(to, wanted);
        const char* const begin = at;
        while (at < end && *at != delimiter && !is_line_end(*at)) at++;
        if (wanted) to = std::copy(begin, at, to);
        return stop();
    }

    Stop quoted(char*& to, bool wanted) {
        at++;
        for (;;) {
            const char* const quote = static_cast<const char*>(std::memchr(at, '"', end - at));
            if (!quote) return is_last ? WRONG : DATA_END;
            if (wanted) to = std::copy(at, quote, to);
            at = quote + 1;
            if (at == end || *at != '"') return stop();
            if (wanted) *to++ = '"';
            at++;
        }
    }

    Stop stop() {
        if (at == end) return is_last ? LINE_END : DATA_END;
        const char c = *at++;
        if (c == delimiter) return DELIMITER;
        if (!is_line_end(c)) return WRONG;
        if (c == '\r' && at < end && *at == '\n') at++;
        return LINE_END;
    }
};

}  // namespace

extern "C" {

// One column of the complete rows of a table, a zero byte behind each text; of rows without it, an empty one.
// Returns how much was read, up to a row that is wrong or incomplete. Of `texts` as much may be written, and one
// byte more.
EXPORT int64_t gpt1_csv_column(const char* data, int64_t size, char delimiter, int32_t width, int32_t column,
                               int32_t is_last, char* texts, int64_t* written, int32_t* is_wrong) {
    CsvReader reader{data, data + size, delimiter, is_last != 0};
    const char* read = data;
    char* done = texts;
    *is_wrong = 0;
    while (reader.at < reader.end) {
        if (is_line_end(*reader.at)) {  // no row
            read = ++reader.at;
            continue;
        }
        char* to = done;
        CsvReader::Stop stop = CsvReader::DELIMITER;
        for (int32_t i = 0; stop == CsvReader::DELIMITER; i++)
            stop = i < width ? reader.field(to, i == column) : CsvReader::WRONG;
        *is_wrong = stop == CsvReader::WRONG;
        if (stop != CsvReader::LINE_END) break;
        *to++ = '\0';
        done = to;
        read = reader.at;
    }
    *written = done - texts;
    return read - data;
}

// Row, offset in the row and number in the row of texts that are sorted by length. Each row takes the longest
// that fits, again and again, of one length the last. Returns the number of rows.
EXPORT int64_t gpt1_place(const int64_t* lengths, int64_t count, int64_t width, int64_t* rows, int64_t* offsets,
                          int64_t* segments) {
    struct Run {
        int64_t length, begin, end;
    };
    std::vector<Run> runs;
    for (int64_t i = 0; i < count; i++) {
        if (runs.empty() || runs.back().length != lengths[i]) runs.push_back({lengths[i], i, i});
        runs.back().end++;
    }
    int64_t row = 0;
    for (; !runs.empty(); row++) {
        int64_t used = 0;
        for (int64_t segment = 0;; segment++) {
            auto run = std::upper_bound(runs.begin(), runs.end(), width - used,
                                        [](int64_t left, const Run& r) { return left < r.length; });
            if (run == runs.begin()) break;
            const int64_t text = --(--run)->end;
            rows[text] = row, offsets[text] = used, segments[text] = segment;
            used += run->length;
            if (run->end == run->begin) runs.erase(run);
        }
    }
    return row;
}

// Copy texts to their places; what is left of the rows is padding, with a segment of its own.
EXPORT void gpt1_fill(const int32_t* ids, const int64_t* starts, const int64_t* lengths, int64_t count,
                      const int64_t* rows, const int64_t* offsets, const int64_t* segments, int64_t height,
                      int64_t width, int32_t padding, int32_t ignored, int32_t* const* to) {
    int32_t *const input_ids = to[0], *const segment_ids = to[1], *const labels = to[2];
    std::vector<int64_t> used(height), next(height);
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = rows[i] * width + offsets[i];
        std::copy_n(ids + starts[i], lengths[i], input_ids + at);
        std::copy_n(ids + starts[i], lengths[i], labels + at);
        std::fill_n(segment_ids + at, lengths[i], static_cast<int32_t>(segments[i]));
        used[rows[i]] = std::max(used[rows[i]], offsets[i] + lengths[i]);
        next[rows[i]] = std::max(next[rows[i]], segments[i] + 1);
    }
    for (int64_t row = 0; row < height; row++) {
        const int64_t at = row * width + used[row], left = width - used[row];
        std::fill_n(input_ids + at, left, padding);
        std::fill_n(labels + at, left, ignored);
        std::fill_n(segment_ids + at, left, static_cast<int32_t>(next[row]));
    }
}

}  // extern "C"
