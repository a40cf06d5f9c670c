// Vectors of as many numbers as the processor computes at a time, and the little that is written per instruction set:
// how narrow integers widen, and sums of products of int16. Knows no matrices.
//
// Written with the compilers' vector types: the same source makes the AVX-512, the AVX2 and the plain library, by the
// flags it is compiled with (compiled.py). Integers come out the same everywhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BW__)
constexpr int64_t LANES = 16;
#elif defined(__AVX2__)
constexpr int64_t LANES = 8;
#else
constexpr int64_t LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int16_t Shorts __attribute__((vector_size(4 * LANES)));  // two a lane
typedef int16_t Narrow __attribute__((vector_size(2 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(2 * LANES)));

struct bfloat16 {
    uint16_t bits;
};

template <class Value>
inline Value read(const void* from) {
    Value value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class Value>
inline void write(void* to, const Value& value) {
    std::memcpy(to, &value, sizeof value);
}

inline Floats load(const float* from) { return read<Floats>(from); }

// The first `count` numbers, the other lanes filled.
inline Floats load(const float* from, int64_t count, float filling = 0) {
    if (count >= LANES) return load(from);
    Floats v = Floats{} + filling;
    std::memcpy(&v, from, count * sizeof(float));
    return v;
}

inline void store(float* to, Floats v, int64_t count = LANES) {
    if (count >= LANES) return write(to, v);
    std::memcpy(to, &v, count * sizeof(float));
}

// Compilers convert narrow integers lane by lane where there is one instruction for it.
#if defined(__AVX512BW__)
inline Floats load(const bfloat16* from) {
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(read<__m256i>(from)), 16);
}
inline Shorts load(const int8_t* from) { return (Shorts)_mm512_cvtepi8_epi16(read<__m256i>(from)); }
inline Floats floats(Ints v) { return (Floats)_mm512_cvtepi32_ps((__m512i)v); }
inline Ints rounded(Floats v) { return (Ints)_mm512_cvtps_epi32((__m512)v); }
inline float sum(Floats v) { return _mm512_reduce_add_ps((__m512)v); }
#elif defined(__AVX2__)
inline Floats load(const bfloat16* from) {
    return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(read<__m128i>(from)), 16);
}
inline Shorts load(const int8_t* from) { return (Shorts)_mm256_cvtepi8_epi16(read<__m128i>(from)); }
inline Floats floats(Ints v) { return (Floats)_mm256_cvtepi32_ps((__m256i)v); }
inline Ints rounded(Floats v) { return (Ints)_mm256_cvtps_epi32((__m256)v); }
inline float sum(Floats v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
#else
inline Floats load(const bfloat16* from) { return (Floats)(__builtin_convertvector(read<Halves>(from), Words) << 16); }
inline Shorts load(const int8_t* from) { return __builtin_convertvector(read<Bytes>(from), Shorts); }
inline Floats floats(Ints v) { return __builtin_convertvector(v, Floats); }
inline Ints rounded(Floats v) {
    Ints result;
    for (int64_t lane = 0; lane < LANES; lane++) result[lane] = std::lrint(v[lane]);
    return result;
}
inline float sum(Floats v) { return (v[0] + v[1]) + (v[2] + v[3]); }
#endif

// Both products of a lane, added to its total.
inline Ints add_products(Ints total, Shorts a, Shorts b) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpwssd_epi32((__m512i)total, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
    return total + (Ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return total + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return total + (Ints)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    const Ints x = (Ints)a, y = (Ints)b;
    return total + (x >> 16) * (y >> 16) + ((x << 16) >> 16) * ((y << 16) >> 16);
#endif
}

inline Floats all(float x) { return Floats{} + x; }
inline Ints all(int32_t x) { return Ints{} + x; }

// The numbers of the lanes: 0, 1, 2 and so on.
inline Ints counted() {
    Ints result;
    for (int64_t lane = 0; lane < LANES; lane++) result[lane] = lane;
    return result;
}

inline Floats absolute(Floats v) { return (Floats)((Ints)v & 0x7fffffff); }
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

inline float largest(Floats v) {
#if defined(__AVX512BW__)
    return _mm512_reduce_max_ps((__m512)v);
#endif
    float result = v[0];
    for (int64_t lane = 1; lane < LANES; lane++) result = std::max(result, v[lane]);
    return result;
}

// Cephes' expf, to about 1e-7; clamped to what float32 can hold.
inline Floats exp(Floats x) {
    x = x < -87.f ? all(-87.f) : x;
    x = x > 87.f ? all(87.f) : x;
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
