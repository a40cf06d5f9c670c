// All blocks of a transformer over a few new tokens and a cache, by the threads of a team. Everything but the weights
// is float32.
//
// C emb_dim, H heads, D head_dim, B sequences, T new tokens of each, R = B * T rows
#pragma once

#include <vector>

#include "attention.h"
#include "matrix.h"
#include "team.h"

constexpr int64_t SHARE = 64;  // outputs that a thread takes at a time

// y = x W^T + b; `then(r, o, end)` follows each finished share of a row of y. `room` is the thread's own.
template <class Then>
void product(Phase& phase, const Matrix& m, const Rows& x, Rounded& room, const Rows& y, Then then) {
    // Every thread rounds for itself: cheaper than to wait for another.
    if (m.is_integer()) room.take(x);
    phase.share(round_up(m.out, SHARE) / SHARE, [&](int64_t item) {
        const int64_t o = item * SHARE, end = std::min(o + SHARE, m.out);
        outputs(m, x, room, y, o, end);
        for (int64_t r = 0; r < x.count; r++) then(r, o, end);
    });
}

struct Norm {
    const float *weight, *bias;
};

struct Block {
    int64_t num_heads, head_dim;
    double eps;
    Norm attention_norm, mlp_norm;
    Matrix qkv, out, up, down;
};

// Keys and values of every layer, (row, H, S, D) with these strides and D contiguous.
struct Cache {
    float *const *k, *const *v;
    int64_t row, head, slot;
};

inline void normalize(const Norm& norm, float eps, const Rows& x, const Rows& y) {
    const int64_t C = x.width;
    for (int64_t r = 0; r < x.count; r++) {
        const float* from = x[r];
        Floats total = {}, squares = {};
        for (int64_t i = 0; i < C; i += LANES) total += load(from + i, C - i);
        const float mean = sum(total) / C;
        for (int64_t i = 0; i < C; i += LANES) {
            const Floats distance = load(from + i, C - i, mean) - mean;
            squares += distance * distance;
        }
        const float scale = 1 / std::sqrt(sum(squares) / C + eps);
        for (int64_t i = 0; i < C; i += LANES) {
            const Floats unit = (load(from + i, C - i) - mean) * scale;
            store(y[r] + i, unit * load(norm.weight + i, C - i) + load(norm.bias + i, C - i), C - i);
        }
    }
}

// gelu of `count` numbers, in place.
inline void activate(float* x, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) store(x + i, gelu(load(x + i, count - i)), count - i);
}

// All blocks over x (R, C), in place. Sequence b lies in row rows[b] of the cache, which holds lengths[b] tokens.
inline void run(const Block* blocks, int64_t num_blocks, const Rows& x, const Cache& cache, const int64_t* rows,
                const int64_t* lengths, int64_t B, int64_t T, int threads) {
    const int64_t R = B * T, C = x.width;
    Buffer qkv(R, 3 * C), heads(R, C), inner(R, blocks->up.out), change(R, C);
    std::vector<Phase> phases(5 * num_blocks);
    const auto nothing = [](int64_t, int64_t, int64_t) {};
    const auto gelus = [&](int64_t r, int64_t o, int64_t end) { activate(inner[r] + o, end - o); };
    const auto add = [&](int64_t r, int64_t o, int64_t end) {
        for (; o < end; o++) x[r][o] += change[r][o];
    };
#pragma omp parallel num_threads(threads)
    {
        // Every thread normalizes for itself: cheaper than to wait for another. A late one may read x while it changes,
        // but then it finds nothing left to do with what it read.
        Buffer normed(R, C);
        Rounded room(R, std::max(C, inner.width));
        Phase* phase = phases.data();
        for (int64_t layer = 0; layer < num_blocks; layer++) {
            const Block& block = blocks[layer];
            normalize(block.attention_norm, block.eps, x, normed);
            product(*phase++, block.qkv, normed, room, qkv, nothing);
            (phase++)->share(B * block.num_heads, [&](int64_t item) {
                const int64_t b = item / block.num_heads, h = item % block.num_heads, D = block.head_dim;
                const int64_t place = rows[b] * cache.row + h * cache.head;
                const Past past{cache.k[layer] + place, cache.v[layer] + place, cache.slot, lengths[b]};
                const Rows from{qkv[b * T] + h * 3 * D, T, 3 * D, qkv.stride};
                attend(past, T, D, from, Rows{heads[b * T] + h * D, T, D, heads.stride});
            });
            product(*phase++, block.out, heads, room, change, add);
            normalize(block.mlp_norm, block.eps, x, normed);
            product(*phase++, block.up, normed, room, inner, gelus);
            product(*phase++, block.down, inner, room, change, add);
        }
    }
}
