// A few threads that share the parts of one loop at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gpt1 {

class Threads {
public:
    explicit Threads(int count) {
        for (int i = 1; i < count; i++) workers_.emplace_back([this, i] { work(i); });
    }

    ~Threads() {
        ticket_.store(STOP, std::memory_order_release);
        ticket_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    int count() const { return static_cast<int>(workers_.size()) + 1; }

    // Call body(part, thread) for 0 <= part < parts. Whoever is free takes the next part.
    template <class Body>
    void run(int parts, const Body& body) {
        if (workers_.empty() || parts == 1) {
            for (int part = 0; part < parts; part++) body(part, 0);
            return;
        }
        call_ = [](const void* self, int part, int thread) {
            (*static_cast<const Body*>(self))(part, thread);
        };
        body_ = &body;
        done_.store(0, std::memory_order_relaxed);
        epoch_ = (epoch_ + 1) % (STOP >> 48);  // never that of STOP, which a thread would not see then
        ticket_.store(epoch_ << 48 | static_cast<uint64_t>(parts) << 24, std::memory_order_release);
        ticket_.notify_all();
        take_parts(0);
        for (int spin = 0; done_.load(std::memory_order_acquire) != parts; spin++) {
            if (spin < SPINS) pause();
            else std::this_thread::yield();  // whoever has the last part may need this core
        }
    }

private:
    // A ticket: epoch (16 bits), parts (24 bits), the next part (24 bits). All in one word, so that a
    // thread that comes late cannot take a part of a loop it knows nothing of.
    static constexpr uint64_t STOP = ~uint64_t{0};
    static constexpr int SPINS = 20000;

    static void pause() {
#if defined(__x86_64__)
        _mm_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    void take_parts(int thread) {
        uint64_t ticket = ticket_.load(std::memory_order_acquire);
        for (;;) {
            const int parts = ticket >> 24 & 0xffffff, part = ticket & 0xffffff;
            if (ticket == STOP || part >= parts) return;
            if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
            call_(body_, part, thread);
            done_.fetch_add(1, std::memory_order_release);
            ticket = ticket_.load(std::memory_order_acquire);
        }
    }

    void work(int thread) {
        uint64_t seen = 0;
        for (;;) {
            uint64_t ticket = ticket_.load(std::memory_order_acquire);
            for (int spin = 0; ticket >> 48 == seen >> 48 && spin < SPINS; spin++) {
                pause();
                ticket = ticket_.load(std::memory_order_acquire);
            }
            while (ticket >> 48 == seen >> 48) {  // nothing to do for long: sleep
                ticket_.wait(ticket, std::memory_order_acquire);
                ticket = ticket_.load(std::memory_order_acquire);
            }
            if (ticket == STOP) return;
            seen = ticket;
            take_parts(thread);
        }
    }

    std::vector<std::thread> workers_;
    std::atomic<uint64_t> ticket_{0};
    std::atomic<int> done_{0};
    uint64_t epoch_ = 0;
    void (*call_)(const void*, int, int) = nullptr;
    const void* body_ = nullptr;
};

}  // namespace gpt1
