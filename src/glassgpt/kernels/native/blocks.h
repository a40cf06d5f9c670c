// All blocks of a transformer over a few new tokens and a cache, by the threads of a team. Everything but the weights is
// float32.
//
// C emb_dim, H heads, D head_dim, B sequences, T new tokens of each, R = B * T rows
#pragma once

#include <vector>

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

inline float dot(const float* a, const float* b, int64_t count) {
    Floats total = {};
    for (int64_t i = 0; i < count; i += LANES) total += load(a + i, count - i) * load(b + i, count - i);
    return sum(total);
}

// What one head of one sequence has seen: `length` tokens, each with D numbers of k and v.
struct Past {
    float *k, *v;
    int64_t slot, length;
};

// y (D,) = the values of `seen` tokens, weighted by p and `share`; N vectors of numbers at a time.
template <int N>
void mix(const Past& past, const float* p, int64_t seen, float share, int64_t D, float* y) {
    int64_t d = 0;
    for (; d + N * LANES <= D; d += N * LANES) {
        Floats means[N] = {};
        for (int64_t s = 0; s < seen; s++)
            for (int n = 0; n < N; n++) means[n] += p[s] * load(past.v + s * past.slot + d + n * LANES);
        for (int n = 0; n < N; n++) store(y + d + n * LANES, means[n] * share);
    }
    for (; d < D; d += LANES) {
        Floats mean = {};
        for (int64_t s = 0; s < seen; s++) mean += p[s] * load(past.v + s * past.slot + d, D - d);
        store(y + d, mean * share, D - d);
    }
}

// Appends the keys and values of T new tokens and lets each attend to all up to itself. The rows of qkv begin with
// this head's query, key and value.
inline void attend(const Past& past, int64_t T, int64_t D, const Rows& qkv, const Rows& y) {
    const float scale = 1 / std::sqrt(float(D));
    std::vector<float> p(round_up(past.length + T, LANES));
    for (int64_t t = 0, seen = past.length + 1; t < T; t++, seen++) {
        const float* q = qkv[t];
        std::copy(q + D, q + 2 * D, past.k + (seen - 1) * past.slot);
        std::copy(q + 2 * D, q + 3 * D, past.v + (seen - 1) * past.slot);

        float top = -INFINITY;
        for (int64_t s = 0; s < seen; s++) top = std::max(top, p[s] = scale * dot(q, past.k + s * past.slot, D));
        std::fill(p.begin() + seen, p.end(), -INFINITY);  // lanes without a key
        Floats total = {};
        for (int64_t s = 0; s < seen; s += LANES) {
            Floats weight = exp(load(&p[s]) - top);
            total += weight;
            store(&p[s], weight);
        }
        const float share = 1 / sum(total);

        mix<4>(past, p.data(), seen, share, D, y[t]);
    }
}

inline void run(const Block* blocks, int64_t num_blocks, const Rows& x, const Cache& cache, const int64_t* rows, const int64_t* lengths,
         int64_t B, int64_t T, int threads) {
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
                const Rows from{qkv[b * T] + h * 3 * D, T, 3 * D, qkv.stride}, to{heads[b * T] + h * D, T, D, heads.stride};
                attend(past, T, D, from, to);
            });
            product(*phase++, block.out, heads, room, change, add);
            normalize(block.mlp_norm, block.eps, x, normed);
            product(*phase++, block.up, normed, room, inner, gelus);
            product(*phase++, block.down, inner, room, change, add);
        }
    }
}
