// Attention of new tokens over a cache: one head of one sequence. Sums go over the tokens before in their order, so
// that the numbers of a token do not depend on how many others are new with it. Knows no threads.
//
// D head_dim, T new tokens
#pragma once

#include <vector>

#include "rows.h"

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
        mix<4>(past, p.data(), seen, 1 / sum(total), D, y[t]);
    }
}
