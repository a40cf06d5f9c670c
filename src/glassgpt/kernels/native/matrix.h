// Products of a few rows with a stored weight matrix. A row meets every weight once, so memory is the limit: a weight
// is read once and used for all rows. What a row gives does not depend on the other rows. Knows no threads.
//
// R rows, I in, O out
#pragma once

#include "rows.h"

enum Storage : int64_t { FLOAT32, BFLOAT16, INT8, INT4 };

// FLOAT32, BFLOAT16 and INT8 are (O, I); INT8 has a float32 scale for each output. INT4 is laid out in tiles of 16
// outputs: (O/16, I/8, 16) words of eight inputs, (O/16, I/group, 16) bfloat16 scales; four bits are -8 to 7 as 0 to
// 15, inputs 0 and 1 of a word in the lowest bits of its halves, 2 and 3 in the next. `bias` may be null, and `scales`
// where there are none.
struct Matrix {
    Storage storage;
    int64_t out, in, group;
    const void *values, *scales;
    const float* bias;

    bool is_integer() const { return storage == INT8 || storage == INT4; }
    float add_bias(int64_t o, float total) const { return bias ? total + bias[o] : total; }
};

constexpr int64_t TILE = 16;
constexpr int64_t LINE = 64;               // bytes that memory gives at once
constexpr int64_t AHEAD = 8192;            // bytes that are fetched before they are needed, at least
constexpr int MOST = LANES == 16 ? 6 : 4;  // rows that a weight meets at once: as the registers allow

// Several outputs are computed at once, whose weights, `span` bytes, lie in one piece of memory. Asked for in that
// order, while the ones before are computed, they come twice as fast as in the order of use. This asks for `bytes`.
inline void prefetch(const void* at, int64_t bytes, int64_t span) {
    const char* ahead = (const char*)at + std::max(AHEAD, span);
    for (int64_t line = 0; line < bytes; line += LINE) __builtin_prefetch(ahead + line);
}

// Calls add(from, distance, i) for vectors of `step` weights of consecutive rows from input `i` to `end`; the last ones
// are copied, so that a vector is whole.
template <int O, class Weight, class Add>
inline void sweep(const Matrix& m, const Weight* w, int64_t i, int64_t end, int64_t step, Add add) {
    for (; i + step <= end; i += step) {
        prefetch(w + O * i, O * step * sizeof(Weight), O * m.in * sizeof(Weight));
        add(w + i, m.in, i);
    }
    if (i == end) return;
    Weight rest[O * 2 * LANES] = {};
    for (int j = 0; j < O; j++) std::copy(w + j * m.in + i, w + j * m.in + end, rest + j * step);
    add(rest, step, i);
}

template <class Weight, int R, int O>
void float_dots(const Matrix& m, const Rows& x, const Rows& y, int64_t row, int64_t o) {
    const Weight* w = (const Weight*)m.values + o * m.in;
    Floats totals[O][R] = {};
    sweep<O>(m, w, 0, m.in, LANES, [&](const Weight* from, int64_t distance, int64_t i) {
        for (int j = 0; j < O; j++) {
            const Floats weight = load(from + j * distance);
            for (int r = 0; r < R; r++) totals[j][r] += weight * load(x[row + r] + i);
        }
    });
    for (int j = 0; j < O; j++)
        for (int r = 0; r < R; r++) y[row + r][o + j] = m.add_bias(o + j, sum(totals[j][r]));
}

template <int R, int O>
void int8_dots(const Matrix& m, const Rounded& x, const Rows& y, int64_t row, int64_t o) {
    const int8_t* w = (const int8_t*)m.values + o * m.in;
    Floats totals[O][R] = {};
    for (int64_t block = 0; block < m.in; block += BLOCK) {
        Ints parts[O][R] = {};
        const int64_t end = std::min(block + BLOCK, m.in);
        sweep<O>(m, w, block, end, 2 * LANES, [&](const int8_t* from, int64_t distance, int64_t i) {
            for (int j = 0; j < O; j++) {
                const Shorts weight = load(from + j * distance);
                for (int r = 0; r < R; r++) {
                    const Shorts input = read<Shorts>(x.row(row + r) + i);
                    parts[j][r] = add_products(parts[j][r], weight, input);
                }
            }
        });
        for (int j = 0; j < O; j++)
            for (int r = 0; r < R; r++) totals[j][r] += floats(parts[j][r]) * x.row_scales(row + r)[block / BLOCK];
    }
    for (int j = 0; j < O; j++)
        for (int r = 0; r < R; r++)  // one rounding: a compiler left free would take one for some numbers of rows only
            y[row + r][o + j] = std::fma(sum(totals[j][r]), ((const float*)m.scales)[o + j], m.add_bias(o + j, 0));
}

template <int R, int T>
void int4_tiles(const Matrix& m, const Rounded& x, const Rows& y, int64_t row, int64_t tile) {
    constexpr int CHAINS = R == 1 ? 2 : 1;  // of additions, each waiting for the one before
    const int64_t num_groups = round_up(m.in, m.group) / m.group, group_words = m.group / 8;
    const int64_t num_words = num_groups * group_words;
    for (int64_t lane = 0; lane < TILE; lane += LANES) {
        const uint32_t* words = (const uint32_t*)m.values + tile * num_words * TILE + lane;
        const bfloat16* scales = (const bfloat16*)m.scales + tile * num_groups * TILE + lane;
        Floats totals[T][R] = {};
        for (int64_t g = 0; g < num_groups; g++) {
            Ints parts[T][R][CHAINS] = {};
            for (int64_t word = g * group_words; word < (g + 1) * group_words; word++) {
                prefetch(words + T * word * TILE, T * sizeof(Words), T * num_words * TILE * 4);
                Words w[T];
                for (int t = 0; t < T; t++) w[t] = read<Words>(words + (t * num_words + word) * TILE);
#pragma GCC unroll 4
                for (int n = 0; n < 4; n++)
                    for (int r = 0; r < R; r++) {
                        const Shorts pair = (Shorts)all(read<int32_t>(x.row(row + r) + 8 * word + 2 * n));
                        for (int t = 0; t < T; t++) {
                            Ints& part = parts[t][r][n % CHAINS];
                            part = add_products(part, (Shorts)((w[t] >> (4 * n)) & 0x000f000fu), pair);
                        }
                    }
            }
            for (int r = 0; r < R; r++) {
                int32_t offset = 0;  // what the weights are too large by, times the inputs
                for (int64_t i = g * m.group; i < (g + 1) * m.group; i += Rounded::SUMMED)
                    offset += 8 * x.row_sums(row + r)[i / Rounded::SUMMED];
                const float scale = x.row_scales(row + r)[g * m.group / BLOCK];
                for (int t = 0; t < T; t++) {
                    Ints part = parts[t][r][0] - offset;
                    for (int c = 1; c < CHAINS; c++) part += parts[t][r][c];
                    totals[t][r] += floats(part) * (load(scales + (t * num_groups + g) * TILE) * scale);
                }
            }
        }
        for (int t = 0; t < T; t++)
            for (int64_t o = (tile + t) * TILE + lane, l = 0; l < LANES && o + l < m.out; l++)
                for (int r = 0; r < R; r++) y[row + r][o + l] = m.add_bias(o + l, totals[t][r][l]);
    }
}

// The outputs from `o` to `end` of R rows, from `row` on; `o` is the first of a tile.
template <int R>
void some_rows(const Matrix& m, const Rows& x, const Rounded& rounded, const Rows& y, int64_t row, int64_t o,
               int64_t end) {
    constexpr int FEW = R > 2 ? 2 : 4;  // outputs at a time, whose totals stay in registers
    switch (m.storage) {
        case FLOAT32:
            for (; o + 4 <= end; o += 4) float_dots<float, R, 4>(m, x, y, row, o);
            for (; o < end; o++) float_dots<float, R, 1>(m, x, y, row, o);
            return;
        case BFLOAT16:
            for (; o + 4 <= end; o += 4) float_dots<bfloat16, R, 4>(m, x, y, row, o);
            for (; o < end; o++) float_dots<bfloat16, R, 1>(m, x, y, row, o);
            return;
        case INT8:
            for (; o + FEW <= end; o += FEW) int8_dots<R, FEW>(m, rounded, y, row, o);
            for (; o < end; o++) int8_dots<R, 1>(m, rounded, y, row, o);
            return;
        case INT4:
            for (; o + 2 * TILE <= end; o += 2 * TILE) int4_tiles<R, 2>(m, rounded, y, row, o / TILE);
            for (; o < end; o += TILE) int4_tiles<R, 1>(m, rounded, y, row, o / TILE);
            return;
    }
}

// The outputs from `o` to `end` of all rows. A number is added up in the same order however many rows there are:
// generation promises the same tokens alone and in any batch.
inline void outputs(const Matrix& m, const Rows& x, const Rounded& rounded, const Rows& y, int64_t o, int64_t end) {
    int64_t row = 0;
    for (; row + MOST <= x.count; row += MOST) some_rows<MOST>(m, x, rounded, y, row, o, end);
    for (; row + 4 <= x.count; row += 4) some_rows<4>(m, x, rounded, y, row, o, end);
    for (; row + 2 <= x.count; row += 2) some_rows<2>(m, x, rounded, y, row, o, end);
    for (; row < x.count; row++) some_rows<1>(m, x, rounded, y, row, o, end);
}
