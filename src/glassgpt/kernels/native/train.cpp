// What training on a CPU spends its time on beside matrix products: GELU and cross-entropy in float32 or bfloat16, the
// softmax of attention in bfloat16, each with its gradient, each in one pass over memory, with float32 inside.
//
// Plain loops over floats, which compilers turn into vector instructions of whatever set they are told to use.
//
// N rows, V vocabulary, T tokens

#include <limits>

#include "heads.h"

namespace {

inline float load(float x) { return x; }

inline float load(bfloat16 x) {
    uint32_t bits = (uint32_t)x.bits << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline void store(float* to, float x) { *to = x; }

inline void store(bfloat16* to, float x) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to->bits = (uint16_t)(x != x ? 0x7fc0 : rounded);
}

// Cephes' expf, to about 1e-7; clamped to what float32 can hold. NaN stays NaN.
inline float exponential(float x) {
    float kept = x < -87.f ? -87.f : (x > 88.f ? 88.f : x);
    float n = std::nearbyint(kept * 1.44269504f);
    float r = kept - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

constexpr float ROOT = 0.7978845608f;  // sqrt(2 / pi)
constexpr float CUBIC = 0.044715f;

// The tanh form of GPT-2's: gelu(x) = x / (1 + e) with e = exp(-2u), u = ROOT (x + CUBIC x^3)
inline float tail_of_gelu(float x) { return exponential(-2.f * ROOT * (x + CUBIC * x * x * x)); }

template <class Value>
void gelu(const Value* x, Value* y, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float value = load(x[i]);
        float share = value < -12.f ? 0.f : 1.f / (1.f + tail_of_gelu(value));  // 0: the exponential is clamped
        store(&y[i], value * share);
    }
}

// dx becomes dy times the slope of gelu at x; dx may be dy.
template <class Value>
void gelu_backward(const Value* x, const Value* dy, Value* dx, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float value = load(x[i]), tail = tail_of_gelu(value), share = 1.f / (1.f + tail);
        // tail * share is at most 1; value * tail could overflow
        float bend = (tail * share) * value * 2.f * ROOT * (1.f + 3.f * CUBIC * value * value);
        float slope = value < -12.f ? 0.f : share * (1.f + bend);
        store(&dx[i], load(dy[i]) * slope);
    }
}

template <class Value>
float largest(const Value* x, int64_t count) {
    float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < count; i++) {
        float value = load(x[i]);
        top = value > top ? value : top;
    }
    return top;
}

// Causal softmax in place over scores (matrices, T, T): row t keeps its first t + 1 numbers, the others become zero.
void softmax(bfloat16* scores, int64_t matrices, int64_t T, float scale) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < matrices * T; row++) {
        bfloat16* p = scores + row * T;
        int64_t seen = row % T + 1;
        float top = largest(p, seen), total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t i = 0; i < seen; i++) total += exponential(scale * (load(p[i]) - top));
        float share = 1.f / total;
#pragma omp simd
        for (int64_t i = 0; i < seen; i++) store(&p[i], exponential(scale * (load(p[i]) - top)) * share);
        std::memset((void*)(p + seen), 0, (T - seen) * sizeof(bfloat16));
    }
}

// The gradient of softmax in place: given p and in d the gradient of p, d becomes that of the scores.
void softmax_backward(const bfloat16* probabilities, bfloat16* gradients, int64_t matrices, int64_t T, float scale) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < matrices * T; row++) {
        const bfloat16* p = probabilities + row * T;
        bfloat16* d = gradients + row * T;
        int64_t seen = row % T + 1;
        float mean = 0;
#pragma omp simd reduction(+ : mean)
        for (int64_t i = 0; i < seen; i++) mean += load(p[i]) * load(d[i]);
#pragma omp simd
        for (int64_t i = 0; i < seen; i++) store(&d[i], scale * load(p[i]) * (load(d[i]) - mean));
        std::memset((void*)(d + seen), 0, (T - seen) * sizeof(bfloat16));
    }
}

// Cross-entropy of logits (N, V), which become its gradient: (softmax - one-hot) * scale.
template <class Value>
void cross_entropy(Value* logits, const int64_t* targets, float* losses, int64_t N, int64_t V, float scale) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < N; row++) {
        Value* x = logits + row * V;
        float top = largest(x, V);
        double total = 0;
        for (int64_t start = 0; start < V; start += 1024) {  // in parts: a long sum of floats forgets its small ones
            float part = 0;
#pragma omp simd reduction(+ : part)
            for (int64_t i = start; i < std::min(start + 1024, V); i++) part += exponential(load(x[i]) - top);
            total += part;
        }
        float wanted = load(x[targets[row]]), share = scale / total;
        losses[row] = std::log(total) + top - wanted;
#pragma omp simd
        for (int64_t i = 0; i < V; i++) store(&x[i], exponential(load(x[i]) - top) * share);
        store(&x[targets[row]], exponential(wanted - top) * share - scale);
    }
}

// x (rows, columns) turned to y (columns, rows).
void turn_whole(const float* x, float* y, int64_t rows, int64_t columns) {
    constexpr int64_t PIECE = 16;  // of which the innermost cache holds every line, however far apart
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < columns; c += PIECE)
        for (int64_t r = 0; r < rows; r += PIECE)
            turn(x + r * columns + c, columns, y + c * rows + r, rows, std::min(PIECE, rows - r),
                 std::min(PIECE, columns - c));
}

}  // namespace

#define FOR_BOTH(CALL)             \
    do {                           \
        if (is_bfloat16) {         \
            using Value = bfloat16; \
            CALL;                  \
        } else {                   \
            using Value = float;   \
            CALL;                  \
        }                          \
    } while (0)

extern "C" {

void glassgpt_gelu(int is_bfloat16, const void* x, void* y, int64_t count) {
    FOR_BOTH(gelu((const Value*)x, (Value*)y, count));
}

void glassgpt_gelu_backward(int is_bfloat16, const void* x, const void* dy, void* dx, int64_t count) {
    FOR_BOTH(gelu_backward((const Value*)x, (const Value*)dy, (Value*)dx, count));
}

void glassgpt_softmax(bfloat16* scores, int64_t matrices, int64_t T, float scale) {
    softmax(scores, matrices, T, scale);
}

void glassgpt_softmax_backward(const bfloat16* p, bfloat16* d, int64_t matrices, int64_t T, float scale) {
    softmax_backward(p, d, matrices, T, scale);
}

void glassgpt_cross_entropy(int is_bfloat16, void* logits, const int64_t* targets, float* losses, int64_t N, int64_t V,
                            float scale) {
    FOR_BOTH(cross_entropy((Value*)logits, targets, losses, N, V, scale));
}

// Causal attention in float32. `views` are q, k, v and y, each (B, H, T, D).
void glassgpt_attend(const View* views, int64_t B, int64_t H, int64_t T, int64_t D) {
#pragma omp parallel
    {
        Head head(T, D, false);
#pragma omp for schedule(static)
        for (int64_t item = 0; item < B * H; item++)
            head.forward(views[0], views[1], views[2], views[3], item / H, item % H);
    }
}

// Its gradient. `views` are q, k, v, dy, dq, dk and dv.
void glassgpt_attend_backward(const View* views, int64_t B, int64_t H, int64_t T, int64_t D) {
#pragma omp parallel
    {
        Head head(T, D, true);
#pragma omp for schedule(static)
        for (int64_t item = 0; item < B * H; item++)
            head.backward(views[0], views[1], views[2], views[3], views[4], views[5], views[6], item / H, item % H);
    }
}

void glassgpt_turn(const float* x, float* y, int64_t rows, int64_t columns) {
    turn_whole(x, y, rows, columns);
}

}  // extern "C"
