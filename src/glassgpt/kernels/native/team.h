// Work that the threads of a team share, phase after phase. Knows no work.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

// Each thread begins with a range of its own, so that it reads memory in one piece, and then helps the others. A phase
// ends when all its items are done, not when all threads have come: one that the system put aside delays nobody, and
// finds the next unfinished phase when it is back.
struct alignas(64) Phase {
    static constexpr int64_t RANGES = 16;  // at most; more threads than these share some
    std::atomic<int64_t> taken[RANGES] = {}, done{0};

    template <class Work>
    void share(int64_t count, Work work) {
        const int64_t threads = omp_get_num_threads(), ranges = std::min(threads, RANGES);
        const int64_t own = omp_get_thread_num() * ranges / threads;
        for (int64_t turn = 0; turn < ranges; turn++) {
            const int64_t range = (own + turn) % ranges;
            const int64_t first = range * count / ranges, end = (range + 1) * count / ranges;
            for (int64_t item; (item = first + taken[range].fetch_add(1)) < end;) {
                work(item);
                done.fetch_add(1, std::memory_order_release);
            }
        }
        for (int spins = 0; done.load(std::memory_order_acquire) < count; spins++)
            if (spins > 1000) std::this_thread::yield();
    }
};
