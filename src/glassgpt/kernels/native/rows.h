// Rows of activations, and how each storage of weights wants them laid out. Knows no products.
//
// R rows, I in
#pragma once

#include <cstdlib>
#include <memory>
#include <numeric>

#include "lanes.h"

constexpr int64_t BLOCK = 128;  // inputs that share a scale once rounded; rows are padded with zeros to whole blocks

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Rows {
    float* data;
    int64_t count, width, stride;
    float* operator[](int64_t r) const { return data + r * stride; }
};

struct Buffer : Rows {
    std::unique_ptr<float, void (*)(void*)> memory;
    Buffer(int64_t count, int64_t width)
        : Rows{nullptr, count, width, round_up(width, BLOCK)},
          memory((float*)std::aligned_alloc(64, sizeof(float) * count * stride), std::free) {
        data = memory.get();
        for (int64_t r = 0; r < count; r++) std::fill((*this)[r] + width, (*this)[r] + stride, 0.f);
    }
};

// Rows rounded to int16: every block of inputs is integers times one scale, its largest number over 32767. Against
// weights of eight or four bits this rounding is nothing, and products with them become exact sums of integers.
struct Rounded {
    int64_t stride = 0;  // a whole number of blocks
    std::unique_ptr<int16_t[]> values;
    std::unique_ptr<float[]> scales;  // of every block
    std::unique_ptr<int32_t[]> sums;  // of every SUMMED values

    static constexpr int64_t SUMMED = 32;

    // Room for `count` rows of `width`.
    Rounded(int64_t count, int64_t width) {
        const int64_t size = count * round_up(width, BLOCK);
        values.reset(new int16_t[size]);
        scales.reset(new float[size / BLOCK]);
        sums.reset(new int32_t[size / SUMMED]);
    }

    const int16_t* row(int64_t r) const { return values.get() + r * stride; }
    const float* row_scales(int64_t r) const { return scales.get() + r * stride / BLOCK; }
    const int32_t* row_sums(int64_t r) const { return sums.get() + r * stride / SUMMED; }

    void take(const Rows& x) {
        stride = x.stride;
        for (int64_t at = 0; at < x.count * stride; at += BLOCK) scales[at / BLOCK] = round(x.data + at, &values[at]);
        for (int64_t at = 0; at < x.count * stride; at += SUMMED)
            sums[at / SUMMED] = std::accumulate(&values[at], &values[at] + SUMMED, int32_t(0));
    }

    // Rounds a block; returns its scale, which is not finite where a number is not.
    static float round(const float* from, int16_t* to) {
        Floats top = {}, zeros = {};
        for (int64_t i = 0; i < BLOCK; i += LANES) {
            const Floats x = load(from + i);
            top = larger(absolute(x), top);
            zeros += x * 0.f;
        }
        const float scale = largest(top) / 32767 + sum(zeros), inverse = scale > 0 ? 1 / scale : 0;
        for (int64_t i = 0; i < BLOCK; i += LANES)
            write(to + i, __builtin_convertvector(rounded(load(from + i) * inverse), Narrow));
        return scale;
    }
};
