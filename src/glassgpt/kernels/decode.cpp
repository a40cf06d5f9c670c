// What a CPU computes for a handful of rows: the product with a stored weight matrix, and all blocks of a transformer.
//
// A row meets every weight once, so memory is the limit: a weight is read once, converted to float32 and used for all
// rows. Everything but the weights is float32. Written with the compilers' vector types: the same source makes the
// AVX-512, the AVX2 and the plain library, by the flags it is compiled with (compiled.py).
//
// R rows, I in, O out, C emb_dim, H heads, D head_dim, B sequences, T new tokens of each

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

// ---- Lanes: vectors, and how each storage becomes float32

#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#elif defined(__AVX2__)
constexpr int64_t LANES = 8;
#else
constexpr int64_t LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

struct bfloat16 {
    uint16_t bits;
};

template <class Value>
inline Value read(const void* from) {
    Value value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline Floats load(const float* from) { return read<Floats>(from); }

// Compilers convert narrow integers lane by lane where there is one instruction for it.
#if defined(__AVX512F__)
inline Floats load(const bfloat16* from) {
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(read<__m256i>(from)), 16);
}
inline Floats load(const int8_t* from) {
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(read<__m128i>(from)));
}
inline float sum(Floats v) { return _mm512_reduce_add_ps((__m512)v); }
#elif defined(__AVX2__)
inline Floats load(const bfloat16* from) {
    return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(read<__m128i>(from)), 16);
}
inline Floats load(const int8_t* from) {
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from)));
}
inline float sum(Floats v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
#else
inline Floats load(const bfloat16* from) { return (Floats)(__builtin_convertvector(read<Halves>(from), Words) << 16); }
inline Floats load(const int8_t* from) {
    return __builtin_convertvector(__builtin_convertvector(read<Bytes>(from), Ints), Floats);
}
inline float sum(Floats v) { return (v[0] + v[1]) + (v[2] + v[3]); }
#endif

inline float single(float w) { return w; }
inline float single(int8_t w) { return w; }
inline float single(bfloat16 w) {
    uint32_t bits = uint32_t(w.bits) << 16;
    return read<float>(&bits);
}

// The n-th four bits of every word, 0 to 15, as -8 to 7.
inline Floats nibble(Words words, int n) {
#if defined(__AVX512F__)
    const __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return (Floats)_mm512_permutexvar_ps((__m512i)(words >> (4 * n)), values);  // looks at the low four bits only
#else
    return __builtin_convertvector((Ints)((words >> (4 * n)) & 15) - 8, Floats);
#endif
}

// Cephes' expf, to about 1e-7; clamped to what float32 can hold.
inline Floats exp(Floats x) {
    x = x < -87.f ? Floats{} - 87.f : x;
    x = x > 87.f ? Floats{} + 87.f : x;
    const float rounding = 12582912.f;  // 1.5 * 2^23: adding it leaves an integer in the low bits
    Floats n = x * 1.44269504f + rounding;
    Ints exponent = (Ints)n << 23;
    n -= rounding;
    Floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    for (float c : {8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) p = p * r + c;
    return (Floats)((Ints)(p * r * r + r + 1.f) + exponent);
}

inline Floats gelu(Floats x) {  // 0.5 x (1 + tanh u) = x / (1 + exp(-2u))
    Floats u = 0.7978845608f * (x + 0.044715f * x * x * x);
    return x / (1.f + exp(-2.f * u));
}

inline float dot(const float* a, const float* b, int64_t count) {
    Floats total = {};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) total += load(a + i) * load(b + i);
    float result = sum(total);
    for (; i < count; i++) result += a[i] * b[i];
    return result;
}

// gelu of `count` numbers, in place.
inline void activate(float* x, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t bytes = 4 * std::min(LANES, count - i);
        Floats v = {};
        std::memcpy(&v, x + i, bytes);
        v = gelu(v);
        std::memcpy(x + i, &v, bytes);
    }
}

// ---- Rows of activations

constexpr int64_t PADDING = 128;  // a multiple of every group: the tail of a row is zero, so that groups are whole

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Rows {
    float* data;
    int64_t count, width, stride;
    float* operator[](int64_t r) const { return data + r * stride; }
};

struct Buffer : Rows {
    std::unique_ptr<float, void (*)(void*)> memory;
    Buffer(int64_t count, int64_t width)
        : Rows{nullptr, count, width, round_up(width, PADDING)},
          memory((float*)std::aligned_alloc(64, sizeof(float) * count * stride), std::free) {
        data = memory.get();
        for (int64_t r = 0; r < count; r++) std::fill((*this)[r] + width, (*this)[r] + stride, 0.f);
    }
};

// ---- Products

enum Storage : int64_t { FLOAT32, BFLOAT16, INT8, INT4 };

// INT4 is laid out in tiles of 16 outputs: (O/16, I/8, 16) words of eight inputs, (O/16, I/group, 16) bfloat16 scales.
// The others are (O, I); INT8 has a float32 scale for each output. `bias` and unused pointers may be null.
struct Matrix {
    Storage storage;
    int64_t out, in, group;
    const void *values, *scales;
    const float* bias;
};

constexpr int64_t TILE = 16;
constexpr int64_t SHARE = 64;    // outputs that a thread takes at a time
constexpr int64_t AHEAD = 1024;  // bytes that are fetched before they are needed
constexpr int MOST = LANES == 16 ? 6 : 4;  // rows that a weight meets at once: as the registers allow

template <class Weight, int R, int O>
void dots(const Matrix& m, const float* const* x, float* const* y, int64_t o) {
    const Weight* w = (const Weight*)m.values + o * m.in;
    Floats totals[O][R] = {};
    int64_t i = 0;
    for (; i + LANES <= m.in; i += LANES)
        for (int j = 0; j < O; j++) {
            const Weight* at = w + j * m.in + i;
            __builtin_prefetch((const char*)at + AHEAD);
            Floats weight = load(at);
            for (int r = 0; r < R; r++) totals[j][r] += weight * load(x[r] + i);
        }
    for (int j = 0; j < O; j++)
        for (int r = 0; r < R; r++) {
            float total = sum(totals[j][r]);
            for (int64_t rest = i; rest < m.in; rest++) total += single(w[j * m.in + rest]) * x[r][rest];
            if (m.scales) total *= ((const float*)m.scales)[o + j];
            y[r][o + j] = total + (m.bias ? m.bias[o + j] : 0.f);
        }
}

template <int R, int T>
void tiles(const Matrix& m, const float* const* x, float* const* y, int64_t tile) {
    constexpr int CHAINS = 2;  // of additions, each waiting for the one before
    const int64_t num_groups = round_up(m.in, m.group) / m.group, group_words = m.group / 8;
    const int64_t num_words = num_groups * group_words;
    for (int64_t lane = 0; lane < TILE; lane += LANES) {
        const uint32_t* words = (const uint32_t*)m.values + tile * num_words * TILE + lane;
        const bfloat16* scales = (const bfloat16*)m.scales + tile * num_groups * TILE + lane;
        Floats totals[T][R] = {};
        for (int64_t g = 0; g < num_groups; g++) {
            Floats parts[T][R][CHAINS] = {};
            for (int64_t word = g * group_words; word < (g + 1) * group_words; word++) {
                Words w[T];
                for (int t = 0; t < T; t++) {
                    const uint32_t* at = words + (t * num_words + word) * TILE;
                    __builtin_prefetch((const char*)at + AHEAD);
                    w[t] = read<Words>(at);
                }
#pragma GCC unroll 8
                for (int n = 0; n < 8; n++)
                    for (int t = 0; t < T; t++) {
                        Floats weight = nibble(w[t], n);
                        for (int r = 0; r < R; r++) parts[t][r][n % CHAINS] += weight * x[r][8 * word + n];
                    }
            }
            for (int t = 0; t < T; t++) {
                Floats scale = load(scales + (t * num_groups + g) * TILE);
                for (int r = 0; r < R; r++)
                    for (int c = 0; c < CHAINS; c++) totals[t][r] += scale * parts[t][r][c];
            }
        }
        for (int t = 0; t < T; t++)
            for (int64_t o = (tile + t) * TILE + lane, l = 0; l < LANES && o + l < m.out; l++)
                for (int r = 0; r < R; r++) y[r][o + l] = totals[t][r][l] + (m.bias ? m.bias[o + l] : 0.f);
    }
}

template <class Weight, int R>
void dot_range(const Matrix& m, const float* const* x, float* const* y, int64_t o, int64_t end) {
    for (; o + 4 <= end; o += 4) dots<Weight, R, 4>(m, x, y, o);
    for (; o < end; o++) dots<Weight, R, 1>(m, x, y, o);
}

template <int R>
void tile_range(const Matrix& m, const float* const* x, float* const* y, int64_t o, int64_t end) {
    int64_t tile = o / TILE, last = round_up(end, TILE) / TILE;
    for (; tile + 2 <= last; tile += 2) tiles<R, 2>(m, x, y, tile);
    for (; tile < last; tile++) tiles<R, 1>(m, x, y, tile);
}

// The outputs from `o` to `end` of R rows.
template <int R>
void product_part(const Matrix& m, const Rows& from, const Rows& to, int64_t row, int64_t o, int64_t end) {
    const float* x[R];
    float* y[R];
    for (int r = 0; r < R; r++) x[r] = from[row + r], y[r] = to[row + r];
    switch (m.storage) {
        case FLOAT32: return dot_range<float, R>(m, x, y, o, end);
        case BFLOAT16: return dot_range<bfloat16, R>(m, x, y, o, end);
        case INT8: return dot_range<int8_t, R>(m, x, y, o, end);
        case INT4: return tile_range<R>(m, x, y, o, end);
    }
}

// ---- Threads

// Work that the threads of a team share. A phase ends when all its items are done, not when all threads have come: one
// that the system put aside delays nobody, and finds the next unfinished phase when it is back.
struct alignas(64) Phase {
    std::atomic<int64_t> next{0}, done{0};

    template <class Work>
    void share(int64_t count, Work work) {
        for (int64_t item; (item = next.fetch_add(1)) < count;) {
            work(item);
            done.fetch_add(1, std::memory_order_release);
        }
        for (int spins = 0; done.load(std::memory_order_acquire) < count; spins++)
            if (spins > 1000) std::this_thread::yield();
    }
};

// y = x W^T + b; `then(r, o, end)` follows each finished share of a row of y. A number is added up in the same order
// however many rows there are: generation promises the same tokens alone and in any batch.
template <class Then>
void product(Phase& phase, const Matrix& m, const Rows& x, const Rows& y, Then then) {
    phase.share(round_up(m.out, SHARE) / SHARE, [&](int64_t item) {
        int64_t o = item * SHARE, end = std::min(o + SHARE, m.out), r = 0;
        for (; r + MOST <= x.count; r += MOST) product_part<MOST>(m, x, y, r, o, end);
        for (; r + 4 <= x.count; r += 4) product_part<4>(m, x, y, r, o, end);
        for (; r + 2 <= x.count; r += 2) product_part<2>(m, x, y, r, o, end);
        for (; r < x.count; r++) product_part<1>(m, x, y, r, o, end);
        for (r = 0; r < x.count; r++) then(r, o, end);
    });
}

// ---- A block

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

void normalize(const Norm& norm, float eps, const Rows& x, const Rows& y) {
    for (int64_t r = 0; r < x.count; r++) {
        const float* from = x[r];
        float* to = y[r];
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < x.width; i++) mean += from[i];
        mean /= x.width;
        for (int64_t i = 0; i < x.width; i++) variance += (from[i] - mean) * (from[i] - mean);
        const float center = mean, scale = 1 / std::sqrt(variance / x.width + eps);
        for (int64_t i = 0; i < x.width; i++) to[i] = (from[i] - center) * scale * norm.weight[i] + norm.bias[i];
    }
}

// What one head of one sequence has seen: `length` tokens, each with D numbers of k and v.
struct Past {
    float *k, *v;
    int64_t slot, length;
};

// Appends the keys and values of T new tokens and lets each attend to all up to itself. The rows of qkv begin with
// this head's query, key and value.
void attend(const Past& past, int64_t T, int64_t D, const Rows& qkv, const Rows& y) {
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
            std::memcpy(&p[s], &weight, sizeof weight);
        }
        const float share = 1 / sum(total);

        int64_t d = 0;
        for (; d + LANES <= D; d += LANES) {
            Floats mean = {};
            for (int64_t s = 0; s < seen; s++) mean += p[s] * load(past.v + s * past.slot + d);
            mean *= share;
            std::memcpy(y[t] + d, &mean, sizeof mean);
        }
        for (; d < D; d++) {
            float mean = 0;
            for (int64_t s = 0; s < seen; s++) mean += p[s] * past.v[s * past.slot + d];
            y[t][d] = mean * share;
        }
    }
}

void run(const Block* blocks, int64_t num_blocks, const Rows& x, const Cache& cache, const int64_t* rows,
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
        Phase* phase = phases.data();
        for (int64_t layer = 0; layer < num_blocks; layer++) {
            const Block& block = blocks[layer];
            normalize(block.attention_norm, block.eps, x, normed);
            product(*phase++, block.qkv, normed, qkv, nothing);
            (phase++)->share(B * block.num_heads, [&](int64_t item) {
                const int64_t b = item / block.num_heads, h = item % block.num_heads, D = block.head_dim;
                const int64_t place = rows[b] * cache.row + h * cache.head;
                const Past past{cache.k[layer] + place, cache.v[layer] + place, cache.slot, lengths[b]};
                const Rows from{qkv[b * T] + h * 3 * D, T, 3 * D, qkv.stride}, to{heads[b * T] + h * D, T, D, heads.stride};
                attend(past, T, D, from, to);
            });
            product(*phase++, block.out, heads, change, add);
            normalize(block.mlp_norm, block.eps, x, normed);
            product(*phase++, block.up, normed, inner, gelus);
            product(*phase++, block.down, inner, change, add);
        }
    }
}

}  // namespace

extern "C" {

// y (R, O) from x (R, I), both contiguous.
void glassgpt_product(const Matrix* matrix, const float* x, int64_t R, float* y, int threads) {
    Buffer padded(R, matrix->in);
    for (int64_t r = 0; r < R; r++) std::copy(x + r * matrix->in, x + (r + 1) * matrix->in, padded[r]);
    const Rows result{y, R, matrix->out, matrix->out};
    Phase phase;
#pragma omp parallel num_threads(threads)
    product(phase, *matrix, padded, result, [](int64_t, int64_t, int64_t) {});
}

// All blocks over x (B, T, C), contiguous, in place; sequence b lies in row rows[b] of the cache, which holds lengths[b]
// tokens and gets T more.
void glassgpt_blocks(const Block* blocks, int64_t num_blocks, float* x, int64_t B, int64_t T, const Cache* cache,
                     const int64_t* rows, const int64_t* lengths, int threads) {
    const int64_t C = blocks->num_heads * blocks->head_dim;
    run(blocks, num_blocks, Rows{x, B * T, C, C}, *cache, rows, lengths, B, T, threads);
}
}
