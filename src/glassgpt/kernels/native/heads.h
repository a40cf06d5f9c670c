// Causal attention of short sequences in float32 and its gradient, one head after another: all numbers of a head lie in
// the processor's cache at once. Knows no threads.
//
// T tokens, D head_dim, in memory padded with zeros to whole units
#pragma once

#include <vector>

#include "lanes.h"

constexpr int64_t UNIT = 2 * LANES;
constexpr int64_t TALL = LANES == 16 ? 8 : 4;  // rows of a product at a time, as the registers allow

typedef float Four __attribute__((vector_size(16)));

inline int64_t whole(int64_t n) { return (n + UNIT - 1) / UNIT * UNIT; }

// A square of 4 by 4, turned around.
inline void turn(Four* v) {
#if defined(__SSE2__)
    _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
#else
    for (int64_t i = 0; i < 4; i++)
        for (int64_t j = 0; j < i; j++) std::swap(((float*)&v[i])[j], ((float*)&v[j])[i]);
#endif
}

// y = x turned around: (rows, columns) to (columns, rows), each row `from` and `to` after the one before.
inline void turn(const float* x, int64_t from, float* y, int64_t to, int64_t rows, int64_t columns) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        int64_t c = 0;
        for (; c + 4 <= columns; c += 4) {
            Four v[4];
            for (int64_t i = 0; i < 4; i++) v[i] = read<Four>(x + (r + i) * from + c);
            turn(v);
            for (int64_t i = 0; i < 4; i++) write(y + (c + i) * to + r, v[i]);
        }
        for (; c < columns; c++)
            for (int64_t i = 0; i < 4; i++) y[c * to + r + i] = x[(r + i) * from + c];
    }
    for (; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) y[c * to + r] = x[r * from + c];
}

struct Table {
    int64_t width;  // one unit more than asked for: rows a power of two apart would share few lines of the cache
    std::vector<float> data;
    Table(int64_t height, int64_t asked) : width(asked + UNIT), data(height * width) {}
    float* operator[](int64_t row) { return data.data() + row * width; }
    const float* operator[](int64_t row) const { return data.data() + row * width; }
};

// (B, H, T, D) numbers with these distances, the last one 1.
struct View {
    float* data;
    int64_t sequence, head, token;
    float* operator()(int64_t b, int64_t h) const { return data + b * sequence + h * head; }
};

// The room for one head after another.
struct Head {
    const int64_t T, D, high, wide;
    const float scale;
    Table q, rows, turned, p, dy, dp, result;

    Head(int64_t T, int64_t D, bool has_backward)
        : T(T), D(D), high(whole(T)), wide(whole(D)), scale(1 / std::sqrt(float(D))),
          q(high, wide), rows(high, wide), turned(wide, high), p(high, high), dy(has_backward ? high : 0, wide),
          dp(has_backward ? high : 0, high), result(high, wide) {}

    void take(const float* from, int64_t stride, Table& to, float factor = 1) const {
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d++) to[t][d] = factor * from[t * stride + d];
    }

    void give(float* to, int64_t stride, float factor = 1) const {
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d++) to[t * stride + d] = factor * result[t][d];
    }

    // Rows of c = a b from `row` on, up to column `width`, summed over k from `first` to `end`; a's numbers are at
    // [row * down + k * right].
    static void multiply(const Table& a, int64_t down, int64_t right, const Table& b, Table& c, int64_t row,
                         int64_t first, int64_t end, int64_t width) {
        for (int64_t column = 0; column < width; column += UNIT) {
            Floats totals[TALL][2] = {};
            const float* factors = a[0] + row * down;
            for (int64_t k = first; k < end; k++) {
                const Floats one = load(b[k] + column), other = load(b[k] + column + LANES);
                for (int64_t r = 0; r < TALL; r++) {
                    const Floats factor = all(factors[r * down + k * right]);
                    totals[r][0] += factor * one;
                    totals[r][1] += factor * other;
                }
            }
            for (int64_t r = 0; r < TALL; r++)
                for (int64_t half = 0; half < 2; half++) store(c[row + r] + column + half * LANES, totals[r][half]);
        }
    }

    // p = what each token pays attention to: those up to itself.
    void weigh(const View& queries, const View& keys, int64_t b, int64_t h) {
        take(queries(b, h), queries.token, q, scale);
        turn(keys(b, h), keys.token, turned[0], turned.width, T, D);
        for (int64_t t = 0; t < high; t += TALL) multiply(q, q.width, 1, turned, p, t, 0, D, whole(t + TALL));
        for (int64_t t = 0; t < high; t++) {
            float* row = p[t];
            const int64_t end = whole(t + 1);
            Floats tops = all(-INFINITY), total = {};
            for (int64_t j = 0; j < end; j += LANES) {
                const Floats score = counted() + int32_t(j) <= int32_t(t) ? load(row + j) : all(-INFINITY);
                tops = larger(score, tops);
            }
            const float top = largest(tops);
            for (int64_t j = 0; j < end; j += LANES) {
                const Floats weight = counted() + int32_t(j) <= int32_t(t) ? exp(load(row + j) - top) : Floats{};
                total += weight;
                store(row + j, weight);
            }
            const float share = 1 / sum(total);
            for (int64_t j = 0; j < end; j += LANES) store(row + j, load(row + j) * share);
        }
    }

    void forward(const View& queries, const View& keys, const View& values, const View& y, int64_t b, int64_t h) {
        weigh(queries, keys, b, h);
        take(values(b, h), values.token, rows);
        for (int64_t t = 0; t < high; t += TALL) multiply(p, p.width, 1, rows, result, t, 0, t + TALL, wide);
        give(y(b, h), y.token);
    }

    // Computes p a second time, so that nothing of it is kept.
    void backward(const View& queries, const View& keys, const View& values, const View& grad, const View& dqueries,
                  const View& dkeys, const View& dvalues, int64_t b, int64_t h) {
        weigh(queries, keys, b, h);
        take(grad(b, h), grad.token, dy);
        for (int64_t j = 0; j < high; j += TALL) multiply(p, 1, p.width, dy, result, j, j, high, wide);
        give(dvalues(b, h), dvalues.token);

        turn(values(b, h), values.token, turned[0], turned.width, T, D);
        for (int64_t t = 0; t < high; t += TALL) multiply(dy, dy.width, 1, turned, dp, t, 0, D, whole(t + TALL));
        for (int64_t t = 0; t < high; t++) {
            const int64_t end = whole(t + 1);
            Floats total = {};
            for (int64_t j = 0; j < end; j += LANES) total += load(p[t] + j) * load(dp[t] + j);
            const float mean = sum(total);
            for (int64_t j = 0; j < end; j += LANES) store(dp[t] + j, load(p[t] + j) * (load(dp[t] + j) - mean));
        }
        take(keys(b, h), keys.token, rows);
        for (int64_t t = 0; t < high; t += TALL) multiply(dp, dp.width, 1, rows, result, t, 0, t + TALL, wide);
        give(dqueries(b, h), dqueries.token, scale);
        for (int64_t j = 0; j < high; j += TALL) multiply(dp, 1, dp.width, q, result, j, j, high, wide);
        give(dkeys(b, h), dkeys.token);
    }
};
