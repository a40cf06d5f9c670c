// What a CPU computes for a handful of rows, as the functions that Python calls (compiled.py).

#include "blocks.h"

extern "C" {

// y (R, O) from x (R, I), both contiguous.
void glassgpt_product(const Matrix* matrix, const float* x, int64_t R, float* y, int threads) {
    Buffer padded(R, matrix->in);
    for (int64_t r = 0; r < R; r++) std::copy(x + r * matrix->in, x + (r + 1) * matrix->in, padded[r]);
    const Rows result{y, R, matrix->out, matrix->out};
    Phase phase;
#pragma omp parallel num_threads(threads)
    {
        Rounded room(R, matrix->in);
        product(phase, *matrix, padded, room, result, [](int64_t, int64_t, int64_t) {});
    }
}

// All blocks over x (B, T, C), contiguous, in place; sequence b lies in row rows[b] of the cache, which holds
// lengths[b] tokens and gets T more.
void glassgpt_blocks(const Block* blocks, int64_t num_blocks, float* x, int64_t B, int64_t T, const Cache* cache,
                     const int64_t* rows, const int64_t* lengths, int threads) {
    const int64_t C = blocks->num_heads * blocks->head_dim;
    run(blocks, num_blocks, Rows{x, B * T, C, C}, *cache, rows, lengths, B, T, threads);
}
}
