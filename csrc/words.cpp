// Text to ids: byte-pair encoding of words, and a table of the words that were met before.
//
// Which bytes make a word is said by a class for each byte; words that the rules here do not cover are
// handed back, to be learned from whoever knows.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels.h"

namespace {

using std::string_view;

constexpr uint64_t FACTORS[] = {0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F};
constexpr string_view END_OF_WORD = "</w>";

// Classes of bytes. Bytes of one class that is above ODD make a word together.
enum Class : uint8_t { SPACE, NEWLINE, SINGLE, ODD };
enum Mode : int32_t { BERT, ORIGINAL };
enum Flag : uint8_t { SOCIAL = 1, MARKED = 2 };

// What the table knows beside words, in mode ORIGINAL: what becomes of tails such as 's and ... behind any stem of
// letters; and the stems for which that does not hold. Words that are marked are to be learned before they are read.
constexpr char TAIL = 1, STEM = 2;

// Parts of a text between zero bytes.
template <class Each>
void for_each_part(string_view text, const Each& each) {
    for (size_t start = 0; start < text.size();) {
        const size_t end = std::min(text.find('\0', start), text.size());
        each(text.substr(start, end - start));
        start = end + 1;
    }
}

bool is_letter(uint8_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

// Pieces and merges; never changes, so that any thread may use it.
class Vocabulary {
public:
    // Throws std::out_of_range where a part of a merge, or what it makes, is no piece.
    Vocabulary(string_view pieces, string_view merges, int32_t unknown) : pieces_(pieces), unknown_(unknown) {
        int32_t id = 0;
        ids_.reserve(std::count(pieces.begin(), pieces.end(), '\0') + 1);
        for_each_part(pieces_, [&](string_view piece) { ids_.emplace(piece, id++); });
        size_t size = 1 << 10;
        while (size < static_cast<size_t>(std::count(merges.begin(), merges.end(), '\0'))) size *= 2;
        slots_.resize(size);
        std::string both;
        uint32_t rank = 0;
        bool is_left = true;
        for_each_part(merges, [&](string_view part) {
            if (is_left) {
                both = part;
            } else {
                const int32_t left = ids_.at(both), right = ids_.at(part);
                slot(left, right) = {pair(left, right), rank++, ids_.at(both.append(part))};
            }
            is_left = !is_left;
        });
        for (int c = 0; c < 128; c++)
            for (int last = 0; last < 2; last++)
                ascii_[last][c] = find(std::string(1, static_cast<char>(c)), last);
    }
    Vocabulary(const Vocabulary&) = delete;

    // Append the ids of a word of up to LONGEST bytes, merging as the `tokenizers` library does.
    void encode(string_view word, std::vector<int32_t>& to) const {
        int32_t ids[LONGEST];
        const Slot* merges[LONGEST];  // of each symbol with the one behind it
        int count = 0;
        for (size_t at = 0; at < word.size(); count++) {
            const uint8_t c = word[at];
            const size_t size = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
            const bool last = at + size >= word.size();
            ids[count] = c < 0x80 ? ascii_[last][c] : find(std::string(word.substr(at, size)), last);
            at += size;
        }
        for (int i = 0; i + 1 < count; i++) merges[i] = &slot(ids[i], ids[i + 1]);
        for (;;) {
            int best = -1;
            uint32_t least = NEVER;
            for (int i = 0; i + 1 < count; i++)
                if (merges[i]->rank < least) least = merges[i]->rank, best = i;
            if (best < 0) break;
            ids[best] = merges[best]->merged;
            count--;
            std::copy(ids + best + 2, ids + count + 1, ids + best + 1);
            std::copy(merges + best + 1, merges + count, merges + best);
            if (best > 0) merges[best - 1] = &slot(ids[best - 1], ids[best]);
            if (best + 1 < count) merges[best] = &slot(ids[best], ids[best + 1]);
        }
        to.insert(to.end(), ids, ids + count);
    }

    static constexpr size_t LONGEST = 64;

private:
    static constexpr uint64_t FREE = ~uint64_t{0};
    static constexpr uint32_t NEVER = ~uint32_t{0};

    struct Slot {
        uint64_t pair = FREE;
        uint32_t rank = NEVER;
        int32_t merged = 0;
    };

    static uint64_t pair(int32_t left, int32_t right) {
        return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
    }

    // Where a pair is, or could be.
    const Slot& slot(int32_t left, int32_t right) const {
        const uint64_t wanted = pair(left, right);
        for (size_t i = wanted * FACTORS[0] >> 32;; i++) {
            const Slot& found = slots_[i & (slots_.size() - 1)];
            if (found.pair == wanted || found.pair == FREE) return found;
        }
    }
    Slot& slot(int32_t left, int32_t right) {
        return const_cast<Slot&>(static_cast<const Vocabulary*>(this)->slot(left, right));
    }

    int32_t find(std::string character, bool last) const {
        const auto found = ids_.find(last ? character.append(END_OF_WORD) : character);
        return found == ids_.end() ? unknown_ : found->second;
    }

    const std::string pieces_;
    std::unordered_map<string_view, int32_t> ids_;  // of what lies in pieces_
    std::vector<Slot> slots_;
    int32_t ascii_[2][128];
    int32_t unknown_;
};

// Words and their ids. A word of up to 16 bytes is its own key; of longer ones there is a copy.
class Table {
public:
    struct Key {
        uint64_t low, high;
        string_view word;
    };
    struct Entry {
        uint64_t low, high;  // the bytes of a short word; else a hash, and where the copy is
        uint32_t size = 0;   // 0: free
        uint32_t flags;
        int32_t first;  // the only id, or where the ids are
        uint32_t count;
    };

    // `word` can be read 16 bytes beyond its start, whatever its size.
    static Key key(string_view word) {
        Key key{0, 0, word};
        if (word.size() > sizeof key.low + sizeof key.high) {
            key.low = std::hash<string_view>()(word);
            return key;
        }
        std::memcpy(&key.low, word.data(), 8);
        if (word.size() < 8) key.low &= (uint64_t{1} << 8 * word.size()) - 1;
        if (word.size() > 8) {
            std::memcpy(&key.high, word.data() + 8, 8);
            if (word.size() < 16) key.high &= (uint64_t{1} << 8 * (word.size() - 8)) - 1;
        }
        return key;
    }

    const Entry* find(const Key& key) const {
        const Entry& found = entries_[place(key)];
        return found.size ? &found : nullptr;
    }

    // Remember a word; one that is known already stays as it was, unless it was only marked.
    const Entry* learn(const Key& key, const int32_t* ids, size_t count, uint8_t flags) {
        if (2 * ++words_ > entries_.size()) grow();
        Entry& entry = entries_[place(key)];
        const bool was_marked = entry.size && entry.flags & MARKED;
        if (entry.size) words_--;
        if (entry.size && !was_marked) return &entry;
        const uint64_t copy = was_marked ? entry.high : copies_.size();
        entry = {key.low, key.high, static_cast<uint32_t>(key.word.size()), flags,
                 count == 1 ? ids[0] : static_cast<int32_t>(ids_.size()), static_cast<uint32_t>(count)};
        if (is_long(key)) {
            entry.high = copy;
            if (!was_marked) copies_.append(key.word);
        }
        if (count != 1) ids_.insert(ids_.end(), ids, ids + count);
        return &entry;
    }

    void append(const Entry& entry, std::vector<int32_t>& to) const {
        if (entry.count == 1)
            to.push_back(entry.first);
        else
            to.insert(to.end(), ids(entry), ids(entry) + entry.count);
    }

    const int32_t* ids(const Entry& entry) const {
        return entry.count == 1 ? &entry.first : ids_.data() + entry.first;
    }

    size_t words() const { return words_; }
    size_t bytes() const { return ids_.size() * sizeof(int32_t) + copies_.size(); }

private:
    static bool is_long(const Key& key) { return key.word.size() > 16; }

    size_t place(const Key& key) const {
        uint64_t i = (key.low * FACTORS[0] ^ (is_long(key) ? 0 : key.high) * FACTORS[1]) >> shift_;
        for (;; i = (i + 1) & (entries_.size() - 1)) {
            const Entry& found = entries_[i];
            if (!found.size) return i;
            if (found.low != key.low || found.size != key.word.size()) continue;
            if (is_long(key) ? string_view(copies_).substr(found.high, found.size) == key.word
                             : found.high == key.high)
                return i;
        }
    }

    void grow() {
        std::vector<Entry> old(2 * entries_.size());
        old.swap(entries_);
        shift_--;
        for (const Entry& entry : old) {
            if (!entry.size) continue;
            const bool is_copy = entry.size > 16;
            const string_view word(is_copy ? copies_.data() + entry.high : nullptr, entry.size);
            entries_[place({entry.low, entry.high, word})] = entry;
        }
    }

    static constexpr int BITS = 16;
    std::vector<Entry> entries_ = std::vector<Entry>(size_t{1} << BITS);
    int shift_ = 64 - BITS;
    size_t words_ = 0;
    std::vector<int32_t> ids_;
    std::string copies_;
};

// What an encoding has come to; the arrays stay until the next one.
struct Result {
    const int32_t* ids;
    int64_t count;
    const int64_t* lengths;  // ids of each text
    int64_t texts;
    const char* missing;  // words to learn, a zero byte behind each, before `finish`
    int64_t missing_size;
    int64_t words, bytes;  // what the table holds
};

class Words {
public:
    Words(const Vocabulary& vocabulary, int32_t mode, const uint8_t* classes)
        : vocabulary_(vocabulary), mode_(mode) {
        std::memcpy(classes_, classes, sizeof classes_);
    }

    // Words are zero-terminated in `data`.
    void learn(string_view data, const int32_t* ids, const int64_t* sizes, const uint8_t* flags) {
        for_each_part(data, [&](string_view word) {
            learn(word, ids, *sizes, *flags++);
            ids += *sizes++;
        });
    }

    void mark(string_view data) {
        for_each_part(data, [&](string_view word) { learn(word, nullptr, 0, MARKED); });
    }

    // `data` is texts with a zero byte behind each; it has to stay until all is finished.
    void encode(string_view data, Result& result) {
        ids_.clear(), lengths_.clear(), gaps_.clear();
        ids_.reserve(data.size() / 3);
        bool after_newline = false;
        const char* at = data.data();
        for (const char* const end = at + data.size(); at < end; at++) {
            const size_t first = ids_.size();
            const char* const text_end = static_cast<const char*>(std::memchr(at, '\0', end - at));
            while (at < text_end) {
                const char* const stop = static_cast<const char*>(std::memchr(at, '\n', text_end - at));
                const char* const line_end = stop ? stop : text_end;
                if (!is_blank(at, line_end)) {
                    read({at, line_end});
                    after_newline = false;
                }
                if (stop && !after_newline && mode_ == ORIGINAL) {
                    read({stop, stop + 1});
                    after_newline = true;
                }
                at = stop ? stop + 1 : text_end;
            }
            lengths_.push_back(static_cast<int64_t>(ids_.size() - first));
        }
        tell(result);
    }

    // Go on where words were missing that are known now.
    void finish(Result& result) {
        std::vector<int32_t> before;
        std::vector<Gap> gaps;
        before.swap(ids_), gaps.swap(gaps_);
        size_t copied = 0;
        for (const Gap& gap : gaps) {
            ids_.insert(ids_.end(), before.begin() + copied, before.begin() + gap.at);
            copied = gap.at;
            const size_t first = ids_.size();
            read(gap.line, gap.text);
            lengths_[gap.text] += static_cast<int64_t>(ids_.size() - first);
        }
        ids_.insert(ids_.end(), before.begin() + copied, before.end());
        tell(result);
    }

private:
    // Whether words were read; or some are missing; or they cannot be read one by one.
    enum State { READ, MISSED, STOPPED };

    static constexpr size_t PADDING = 17;  // bytes behind a line that can be read: a space, and for `Table::key`

    struct Line {
        const char *begin, *end;
    };
    struct Gap {
        size_t at;  // in the ids
        size_t text;
        Line line;
    };

    void tell(Result& result) {
        missing_.clear();
        for (const std::string& word : missing_words_) missing_.append(word).push_back('\0');
        missing_words_.clear();
        result = {ids_.data(), static_cast<int64_t>(ids_.size()), lengths_.data(), static_cast<int64_t>(lengths_.size()),
                  missing_.data(), static_cast<int64_t>(missing_.size()), static_cast<int64_t>(table_.words()),
                  static_cast<int64_t>(table_.bytes())};
    }

    bool is_blank(const char* at, const char* end) const {
        while (at < end && class_of(*at) == SPACE) at++;
        return at == end;
    }

    uint8_t class_of(char c) const { return classes_[static_cast<uint8_t>(c)]; }

    void read(Line line) { read(line, lengths_.size()); }

    // Append the ids of a line; where that is not possible yet, leave a gap.
    void read(Line line, size_t text) {
        const size_t first = ids_.size();
        line_.assign(line.begin, line.end).append(PADDING, '\0');
        const bool done = mode_ == BERT ? read_bert(line) : read_original();
        if (done) return;
        ids_.resize(first);
        gaps_.push_back({first, text, line});
    }

    bool read_original() {
        const size_t first = ids_.size();
        const State state = read_words(0, line_.size() - PADDING);
        if (state != STOPPED) return state == READ;
        ids_.resize(first);
        // Its chunks depend on one another: all of the line is one word.
        size_t begin = 0, end = line_.size() - PADDING;
        while (class_of(line_[begin]) == SPACE) begin++;
        while (class_of(line_[end - 1]) == SPACE) end--;
        return read_word({line_.data() + begin, end - begin});
    }

    bool read_bert(Line line) {
        const size_t size = line_.size() - PADDING, first = ids_.size();
        char* const lower = line_.data();
        for (size_t i = 0; i < size; i++) lower[i] += lower[i] >= 'A' && lower[i] <= 'Z' ? 0x20 : 0;
        const State state = read_words(0, size);
        if (state != STOPPED) return state == READ;
        ids_.resize(first);
        bool complete = true;
        for (size_t begin = 0, end; begin < size; begin = end + 1) {  // stretches between spaces
            bool is_odd = false;
            for (end = begin; class_of(lower[end]) != SPACE; end++) is_odd |= class_of(lower[end]) == ODD;
            if (is_odd) {
                odd_.assign(line.begin + begin, end - begin).append(PADDING, '\0');
                complete &= read_word({odd_.data(), end - begin});
            } else if (begin < end) {
                complete &= read_words(begin, end) == READ;
            }
        }
        return complete;
    }

    void learn(string_view word, const int32_t* ids, size_t count, uint8_t flags) {
        padded_.assign(word).append(PADDING, '\0');
        table_.learn(Table::key(string_view(padded_).substr(0, word.size())), ids, count, flags);
    }

    // What is no simple word.
    bool read_word(string_view word) {
        const Table::Entry* found = table_.find(Table::key(word));
        if (!found || found->flags & MARKED) return miss(word);
        table_.append(*found, ids_);
        return true;
    }

    // Append the ids of the words in a part of the line; stop at what is not to be read word by word.
    State read_words(size_t begin, size_t end) {
        State state = READ;
        const char* const line = line_.data();
        const size_t count = find_bounds(begin, end);
        for (size_t i = 0; i < count; i++) {
            const uint8_t kind = class_of(line[bounds_[i]]);
            if (kind == SPACE) continue;
            if (kind == ODD) return STOPPED;
            const Table::Key key = Table::key({line + bounds_[i], bounds_[i + 1] - bounds_[i]});
            const Table::Entry* found = table_.find(key);
            if (!found) found = derive(key);
            if (!found || found->flags & MARKED) {
                miss(key.word);
                state = MISSED;
            } else if (found->flags & SOCIAL) {
                return STOPPED;
            } else {
                table_.append(*found, ids_);
            }
        }
        return state;
    }

    // Where stretches of one class begin, and the end; without a branch that depends on a byte.
    size_t find_bounds(size_t begin, size_t end) {
        if (bounds_.size() < end - begin + 2) bounds_.resize(end - begin + 2);
        const char* const line = line_.data();
        size_t* const bounds = bounds_.data();
        size_t count = 0;
        int before = -1;
        for (size_t at = begin; at < end; at++) {
            const uint8_t kind = class_of(line[at]);
            bounds[count] = at;
            count += kind != before || kind == SINGLE;
            before = kind;
        }
        bounds[count] = end;
        return count;
    }

    bool miss(string_view word) {
        missing_words_.emplace_back(word);
        return false;
    }

    // What becomes of the end of a word: how many of its bytes stay with the stem, and the ids of the rest.
    const Table::Entry* find_tail(string_view word, size_t letters) {
        const string_view tail = word.substr(letters);
        const bool has_s = tail.size() > 1 && tail[0] == '\'' && (tail[1] | 0x20) == 's';
        if (letters < 3 || tail.find_first_not_of(".:'", has_s ? 2 : 0) != string_view::npos) return nullptr;
        if (find_behind(STEM, word.substr(0, letters))) return nullptr;
        std::string key;
        for (size_t i = letters - 2; i < letters; i++) key.push_back(word[i] & 0x20 ? 'q' : 'Q');
        key.append(tail);
        const Table::Entry* found = find_behind(TAIL, key);
        if (!found) miss(std::string(1, TAIL) + key);
        return found;
    }

    const Table::Entry* find_behind(char kind, string_view word) {
        padded_.assign(1, kind).append(word).append(PADDING, '\0');
        return table_.find(Table::key({padded_.data(), word.size() + 1}));
    }

    // A new word that is simple: any of mode bert, of the other letters, also with a tail, or digits.
    const Table::Entry* derive(const Table::Key& key) {
        const string_view word = key.word;
        if (word.size() > Vocabulary::LONGEST) return nullptr;
        new_ids_.clear();
        if (mode_ == BERT) {
            vocabulary_.encode(word, new_ids_);
        } else {
            const size_t letters = std::find_if_not(word.begin(), word.end(), is_letter) - word.begin();
            size_t first = word.size();  // the bytes of the first word
            const Table::Entry* rest = nullptr;
            if (letters < word.size() && !std::all_of(word.begin(), word.end(), is_digit)) {
                rest = find_tail(word, letters);
                if (!rest || rest->flags & SOCIAL) return nullptr;
                first = letters + table_.ids(*rest)[0];
            }
            std::string lower(word.substr(0, first));
            for (char& c : lower) c |= 0x20;  // changes nothing but letters here
            vocabulary_.encode(lower, new_ids_);
            if (rest) new_ids_.insert(new_ids_.end(), table_.ids(*rest) + 1, table_.ids(*rest) + rest->count);
        }
        return table_.learn(key, new_ids_.data(), new_ids_.size(), 0);
    }

    const Vocabulary& vocabulary_;
    const int32_t mode_;
    uint8_t classes_[256];
    Table table_;
    std::vector<int32_t> ids_, new_ids_;
    std::vector<int64_t> lengths_;
    std::vector<Gap> gaps_;
    std::vector<std::string> missing_words_;
    std::string missing_, line_, odd_, padded_;
    std::vector<size_t> bounds_;
};

}  // namespace

extern "C" {

// Pieces in the order of their ids, and both parts of each merge, with zero bytes between them. Null if a part of a
// merge, or what it makes, is no piece.
EXPORT Vocabulary* gpt1_vocabulary_new(const char* pieces, int64_t size, const char* merges,
                                       int64_t merges_size, int32_t unknown) {
    const string_view all{pieces, static_cast<size_t>(size)}, pairs{merges, static_cast<size_t>(merges_size)};
    try {
        return new Vocabulary(all, pairs, unknown);
    } catch (const std::out_of_range&) {
        return nullptr;
    }
}

EXPORT void gpt1_vocabulary_free(Vocabulary* vocabulary) { delete vocabulary; }

// Ids of words with zero bytes between them, and how many each has; the count of all.
EXPORT int64_t gpt1_vocabulary_encode(const Vocabulary* vocabulary, const char* words, int64_t size, int32_t* ids,
                                      int64_t* sizes) {
    std::vector<int32_t> found;
    int64_t count = 0;
    for_each_part({words, static_cast<size_t>(size)}, [&](string_view word) {
        found.clear();
        vocabulary->encode(word, found);
        std::copy(found.begin(), found.end(), ids + count);
        count += *sizes++ = static_cast<int64_t>(found.size());
    });
    return count;
}

EXPORT Words* gpt1_words_new(const Vocabulary* vocabulary, int32_t mode, const uint8_t* classes) {
    return new Words(*vocabulary, mode, classes);
}

EXPORT void gpt1_words_free(Words* words) { delete words; }

EXPORT void gpt1_words_learn(Words* words, const char* data, int64_t size, const int32_t* ids,
                             const int64_t* sizes, const uint8_t* flags) {
    words->learn({data, static_cast<size_t>(size)}, ids, sizes, flags);
}

EXPORT void gpt1_words_mark(Words* words, const char* data, int64_t size) {
    words->mark({data, static_cast<size_t>(size)});
}

EXPORT void gpt1_words_encode(Words* words, const char* data, int64_t size, Result* result) {
    words->encode({data, static_cast<size_t>(size)}, *result);
}

EXPORT void gpt1_words_finish(Words* words, Result* result) { words->finish(*result); }

}  // extern "C"
