// Work that the threads of a team share, phase after phase. Knows no work.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

// A phase ends when all its items are done, not when all threads have come: one that the system put aside delays
// nobody, and finds the next unfinished phase when it is back.
struct alignas(64) Phase {
    std::atomic<int64_t> next{0}, done{0};

    template <class Work>
    void share(int64_t count, Work work) {
        for (int64_t item; (item = next.fetch_add(1)) < count;) {
            work(item);
            done.fetch_add(1, std::memory_order_release);
        }
        for (int spins = 0; done.load(std::memory_order_acquire) < count; spins++)
            if (spins > 1000) std::this_thread::yield();
    }
};
