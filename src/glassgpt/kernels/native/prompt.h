// A prompt through all blocks of a transformer in bfloat16, its tokens side by side in the lanes: a weight is read where
// it lies and meets many tokens at once, and norms, softmax and activations need no sums across lanes. Sums, the
// residual stream, norms and the cache are float32. A token's numbers do not depend on the tokens beside it.
//
// C emb_dim, H heads, D head_dim, B sequences, T new tokens of each, N = B * T tokens, S tokens of a cache row
#pragma once

#include <memory>
#include <vector>

#include "blocks.h"
#include "heads.h"

constexpr int64_t PANEL = 3 * LANES;  // tokens that a weight meets at once: as the registers allow, with TALL outputs
constexpr int64_t NEAR = 640 * 1024;  // bytes of activations that stay in a core's cache while weights pass by

// Activations in float32, (C, tokens).
struct Columns {
    float* data;
    int64_t stride;
    float* operator[](int64_t c) const { return data + c * stride; }
};

// Activations as products take them: two neighbours of a token are a word, (panels, C / 2, PANEL).
struct Panels {
    uint32_t* data;
    int64_t half;
    uint32_t* operator()(int64_t panel, int64_t pair) const { return data + (panel * half + pair) * PANEL; }
};

// Two numbers a lane as bfloat16, the first one in the low half.
inline Words pairs(Floats first, Floats second) {
    const auto rounded = [](Words bits) { return bits + 0x7fff + (bits >> 16 & 1); };  // to the nearest, ties to even
    return rounded((Words)first) >> 16 | (rounded((Words)second) & 0xffff0000);
}

// Both products of a lane, added to its total.
inline Floats add_products(Floats total, Words a, Words b) {
#if defined(__AVX512BF16__)
    return (Floats)_mm512_dpbf16_ps((__m512)total, (__m512bh)a, (__m512bh)b);
#else
    const Words high = Words{} + 0xffff0000;
    return total + (Floats)(a << 16) * (Floats)(b << 16) + (Floats)(a & high) * (Floats)(b & high);
#endif
}

// out (TALL, PANEL) = TALL rows of bfloat16 weights, `stride` apart, times the 2 * half numbers of a panel's tokens. Not
// inline: the totals take all registers but a few.
__attribute__((noinline)) static void multiply(const uint16_t* weights, int64_t stride, const uint32_t* x, int64_t half,
                                               float* out) {
    Floats totals[TALL][3];
#pragma GCC unroll 8
    for (int64_t r = 0; r < TALL; r++) totals[r][0] = totals[r][1] = totals[r][2] = Floats{};
    for (int64_t pair = 0; pair < half; pair++) {
        const uint32_t* from = x + pair * PANEL;
        const Words one = read<Words>(from), two = read<Words>(from + LANES), three = read<Words>(from + 2 * LANES);
#pragma GCC unroll 8
        for (int64_t r = 0; r < TALL; r++) {
            const Words weight = Words{} + read<uint32_t>(weights + r * stride + 2 * pair);
            totals[r][0] = add_products(totals[r][0], one, weight);
            totals[r][1] = add_products(totals[r][1], two, weight);
            totals[r][2] = add_products(totals[r][2], three, weight);
        }
    }
#pragma GCC unroll 8
    for (int64_t r = 0; r < TALL; r++)
#pragma GCC unroll 3
        for (int64_t part = 0; part < 3; part++) store(out + r * PANEL + part * LANES, totals[r][part]);
}

// W x + b, shared by the threads; `take(o, panel, out)` gets the (TALL, PANEL) numbers of outputs `o` on.
template <class Take>
void product(const Matrix& m, const Panels& x, int64_t panels, Take take) {
    const int64_t together = std::max<int64_t>(1, NEAR / (x.half * PANEL * sizeof(uint32_t)));
    for (int64_t first = 0; first < panels; first += together) {
        const int64_t end = std::min(first + together, panels);
#pragma omp for schedule(dynamic, 4) nowait
        for (int64_t o = 0; o < m.out; o += TALL) {
            const uint16_t* weights = (const uint16_t*)m.values + o * m.in;
            for (int64_t panel = first; panel < end; panel++) {
                float out[TALL * PANEL];
                multiply(weights, m.in, x(panel, 0), x.half, out);
                for (int64_t r = 0; r < TALL; r++)
                    for (int64_t t = 0; t < PANEL; t++) out[r * PANEL + t] = m.add_bias(o + r, out[r * PANEL + t]);
                take(o, panel, out);
            }
        }
    }
#pragma omp barrier
}

// The tokens of one panel, normalized.
inline void normalize(const Norm& norm, float eps, const Columns& x, int64_t C, int64_t panel, const Panels& y) {
    for (int64_t part = 0; part < PANEL; part += LANES) {
        const float* from = x[0] + panel * PANEL + part;
        const auto at = [&](int64_t c) { return load(from + c * x.stride); };
        Floats total = {}, squares = {};
        for (int64_t c = 0; c < C; c++) total += at(c);
        const Floats mean = total / float(C);
        for (int64_t c = 0; c < C; c++) squares += (at(c) - mean) * (at(c) - mean);
        Floats scale = squares / float(C) + eps;
        for (int64_t lane = 0; lane < LANES; lane++) scale[lane] = 1 / std::sqrt(scale[lane]);
        const auto unit = [&](int64_t c) { return (at(c) - mean) * scale * norm.weight[c] + norm.bias[c]; };
        for (int64_t c = 0; c < C; c += 2) write(y(panel, c / 2) + part, pairs(unit(c), unit(c + 1)));
    }
}

// One head of one sequence after another, in room that they share.
struct Reading {
    const int64_t D;
    std::vector<uint16_t> keys, values;  // (S, D) and (D, S)
    std::vector<uint32_t> q, p;          // a panel of queries, and of what they pay attention to
    std::vector<float> scores;           // (S, PANEL), or (D, S)

    Reading(int64_t S, int64_t D)
        : D(D), keys(whole(S) * D), values(whole(S) * D), q(D / 2 * PANEL), p(whole(S) / 2 * PANEL),
          scores(whole(S) * std::max(D, PANEL)) {}

    // Queries of T tokens, (D, T) and scaled, become the means of the values that they pay attention to; `past` has
    // their own keys and values, too.
    void attend(const Past& past, int64_t T, const Columns& heads) {
        const int64_t S = past.length + T, wide = whole(S);
        for (int64_t s = 0; s < S; s++) narrow(past.k + s * past.slot, &keys[s * D], D);
        turn(past.v, past.slot, scores.data(), wide, S, D);
        for (int64_t d = 0; d < D; d++) {
            std::fill(&scores[d * wide] + S, &scores[d * wide] + wide, 0.f);
            narrow(&scores[d * wide], &values[d * wide], wide);
        }
        for (int64_t t = 0; t < T; t += PANEL) {
            const int64_t count = std::min(PANEL, T - t), end = past.length + t + count;
            for (int64_t d = 0; d < D; d += 2)
                for (int64_t part = 0; part < PANEL; part += LANES)
                    write(&q[d / 2 * PANEL + part], pairs(load(heads[d] + t + part), load(heads[d + 1] + t + part)));
            for (int64_t s = 0; s < end; s += TALL) multiply(&keys[s * D], D, q.data(), D / 2, &scores[s * PANEL]);
            float shares[PANEL];
            for (int64_t part = 0; part < PANEL; part += LANES)
                store(shares + part, weigh(end, past.length + t + part, part));
            for (int64_t d = 0; d < D; d += TALL) {
                float out[TALL * PANEL];
                multiply(&values[d * wide], wide, p.data(), (end + 1) / 2, out);
                for (int64_t r = 0; r < TALL; r++)
                    for (int64_t lane = 0; lane < count; lane++)
                        heads[d + r][t + lane] = out[r * PANEL + lane] * shares[lane];
            }
        }
    }

    // p = exp(scores) of `end` tokens for the queries of one vector, of which the first is token `first`; returns one
    // by their sums.
    Floats weigh(int64_t end, int64_t first, int64_t part) {
        const Ints last = counted() + int32_t(first);
        const auto score = [&](int64_t s) {
            const Floats all_scores = load(&scores[s * PANEL + part]);
            return s <= first ? all_scores : last >= int32_t(s) ? all_scores : all(-INFINITY);
        };
        Floats top = all(-INFINITY), total = {};
        for (int64_t s = 0; s < end; s++) top = larger(score(s), top);
        const auto weight = [&](int64_t s) {
            const Floats power = exp(score(s) - top);
            return s <= first ? power : last >= int32_t(s) ? power : Floats{};
        };
        for (int64_t s = 0; s < end; s += 2) {
            const Floats one = weight(s), other = weight(s + 1);
            total += one + other;
            write(&p[s / 2 * PANEL + part], pairs(one, other));
        }
        return 1 / total;
    }

    // To bfloat16; `count` may be any.
    static void narrow(const float* from, uint16_t* to, int64_t count) {
        for (int64_t i = 0; i < count; i++) {
            const uint32_t bits = read<uint32_t>(from + i);
            to[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        }
    }
};

// All blocks over x (N, C), in place, as `run` of blocks.h does it. Heads must be of a multiple of TALL numbers.
inline void read_prompt(const Block* blocks, int64_t num_blocks, const Rows& x, const Cache& cache, const int64_t* rows,
                        const int64_t* lengths, int64_t B, int64_t T, int threads) {
    const int64_t N = B * T, C = x.width, wide = blocks->up.out, H = blocks->num_heads, D = blocks->head_dim;
    const int64_t panels = (N + PANEL - 1) / PANEL, stride = panels * PANEL;
    const auto floats = std::make_unique<float[]>(2 * C * stride + PANEL);  // a panel may begin at any token
    const std::unique_ptr<uint32_t[]> words(new uint32_t[(C + wide) / 2 * stride]);
    const Columns stream{floats.get(), stride}, heads{floats.get() + C * stride, stride};
    const Panels narrow{words.get(), C / 2}, inner{words.get() + C / 2 * stride, wide / 2};
    const float scale = 1 / std::sqrt(float(D));
    const auto add = [&](int64_t o, int64_t panel, const float* out) {
        for (int64_t r = 0; r < TALL; r++)
            for (int64_t t = 0; t < PANEL; t++) stream[o + r][panel * PANEL + t] += out[r * PANEL + t];
    };
    const auto activate = [&](int64_t o, int64_t panel, const float* out) {
        for (int64_t r = 0; r < TALL; r += 2)
            for (int64_t part = 0; part < PANEL; part += LANES) {
                const float* from = out + r * PANEL + part;
                write(inner(panel, (o + r) / 2) + part, pairs(gelu(load(from)), gelu(load(from + PANEL))));
            }
    };
#pragma omp parallel num_threads(threads)
    {
        Reading reading(*std::max_element(lengths, lengths + B) + T, D);
#pragma omp for
        for (int64_t t = 0; t < N; t += PANEL) turn(x[t], x.stride, stream[0] + t, stride, std::min(PANEL, N - t), C);
        for (int64_t layer = 0; layer < num_blocks; layer++) {
            const Block& block = blocks[layer];
#pragma omp for
            for (int64_t panel = 0; panel < panels; panel++)
                normalize(block.attention_norm, block.eps, stream, C, panel, narrow);
            product(block.qkv, narrow, panels, [&](int64_t o, int64_t panel, const float* out) {
                const int64_t h = o / (3 * D), kind = o / D % 3, d = o % D, first = panel * PANEL;
                if (kind == 0) {
                    for (int64_t r = 0; r < TALL; r++)
                        for (int64_t t = 0; t < PANEL; t++) heads[h * D + d + r][first + t] = scale * out[r * PANEL + t];
                    return;
                }
                float* kept = (kind == 1 ? cache.k : cache.v)[layer] + h * cache.head + d;
                for (int64_t n = first, many; n < std::min(first + PANEL, N); n += many) {  // of one sequence
                    const int64_t b = n / T, t = n % T;
                    many = std::min(T - t, std::min(first + PANEL, N) - n);
                    float* to = kept + rows[b] * cache.row + (lengths[b] + t) * cache.slot;
                    turn(out + n - first, PANEL, to, cache.slot, TALL, many);
                }
            });
#pragma omp for schedule(dynamic)
            for (int64_t item = 0; item < B * H; item++) {
                const int64_t b = item / H, h = item % H, place = rows[b] * cache.row + h * cache.head;
                const Past past{cache.k[layer] + place, cache.v[layer] + place, cache.slot, lengths[b]};
                reading.attend(past, T, Columns{heads[h * D] + b * T, stride});
            }
#pragma omp for
            for (int64_t panel = 0; panel < panels; panel++)
                for (int64_t c = 0; c < C; c += 2)
                    for (int64_t part = 0; part < PANEL; part += LANES) {
                        const float* from = heads[c] + panel * PANEL + part;
                        write(narrow(panel, c / 2) + part, pairs(load(from), load(from + stride)));
                    }
            product(block.out, narrow, panels, add);
#pragma omp for
            for (int64_t panel = 0; panel < panels; panel++)
                normalize(block.mlp_norm, block.eps, stream, C, panel, narrow);
            product(block.up, narrow, panels, activate);
            product(block.down, inner, panels, add);
        }
#pragma omp for
        for (int64_t t = 0; t < N; t += PANEL) turn(stream[0] + t, stride, x[t], x.stride, C, std::min(PANEL, N - t));
    }
}
