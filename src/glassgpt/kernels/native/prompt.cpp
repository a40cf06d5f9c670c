// What a CPU computes for a prompt of a model with bfloat16 matrices, as the function that Python calls (prompts.py).

#include "prompt.h"

extern "C" {

// As glassgpt_blocks of decode.cpp.
void glassgpt_prompt(const Block* blocks, int64_t num_blocks, float* x, int64_t B, int64_t T, const Cache* cache,
                     const int64_t* rows, const int64_t* lengths, int threads) {
    const int64_t C = blocks->num_heads * blocks->head_dim;
    read_prompt(blocks, num_blocks, Rows{x, B * T, C, C}, *cache, rows, lengths, B, T, threads);
}
}
