/* AVX2: four Philox blocks in the 64-bit lanes of a register, two registers a turn.
 *
 * A 64-bit lane holds a 32-bit word in its low half; the high half is whatever the last product
 * left there, which the 32x32->64 multiply never reads. Little-endian memory order makes the 16
 * bytes of a block the eight halfwords of its elements, in order.
 */
#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include "kernel.h"
#include "plan.h"
#include "turns.h"

typedef __m256i lanes;

struct walk {
    struct plan plan;
    lanes product; /* of the next four blocks: see plan.h */
    lanes threshold;
    double scale;
};

static inline lanes spread(uint32_t word) { return _mm256_set1_epi64x((int64_t)word); }
static inline lanes spread64(uint64_t v) { return _mm256_set1_epi64x((int64_t)v); }
static inline lanes high(lanes v) { return _mm256_srli_epi64(v, 32); }
static inline lanes swap(lanes v) { return _mm256_shuffle_epi32(v, 0xB1); }
static inline lanes mix(lanes a, lanes b) { return _mm256_xor_si256(a, b); }
static inline lanes mul(lanes a, uint32_t b) { return _mm256_mul_epu32(a, spread(b)); }

INLINE void start(struct walk *walk, uint64_t block, const struct dk_draw *draw) {
    make_plan(&walk->plan, block, draw);
    walk->scale = draw->scale;
    lanes order = _mm256_setr_epi64x(0, 2, 1, 3); /* unpacking, below, leaves them sorted */
    walk->product = _mm256_add_epi64(spread64(walk->plan.product), mul(order, PHILOX_M0));
    walk->threshold = _mm256_set1_epi16((int16_t)draw->threshold);
}

/* 0xFFFF where the halfword is >= threshold, else 0. */
static inline lanes keep_mask(lanes halfwords, lanes threshold) {
    return _mm256_cmpeq_epi16(_mm256_max_epu16(halfwords, threshold), halfwords);
}

/* Masks of the next 32 elements, in order. */
static inline void draw_four(struct walk *walk, lanes keep[2]) {
    const struct plan *plan = &walk->plan;
    lanes p0 = walk->product, p1; /* round 1 */
    walk->product = _mm256_add_epi64(p0, spread64((uint64_t)4 * PHILOX_M0));
    lanes c2 = mix(high(p0), spread(plan->round1_c2)), c3 = p0;

    p1 = mul(c2, PHILOX_M1); /* round 2 */
    lanes c0 = mix(high(p1), spread(plan->round2_c0)), c1 = p1;
    c2 = mix(c3, spread(plan->round2_c2));
    c3 = spread(plan->round2_c3);

    for (int round = 3; round < PHILOX_ROUNDS; round++) {
        p0 = mul(c0, PHILOX_M0);
        p1 = mul(c2, PHILOX_M1);
        c0 = mix(high(p1), mix(c1, spread(key0(plan, round))));
        c1 = p1;
        c2 = mix(high(p0), mix(c3, spread(key1(plan, round))));
        c3 = p0;
    }
    /* The last round leaves words 0 and 1 of a block in one lane, and words 2 and 3 in another. */
    p0 = swap(mul(c0, PHILOX_M0));
    p1 = swap(mul(c2, PHILOX_M1));
    c0 = mix(p1, mix(c1, spread(key0(plan, PHILOX_ROUNDS))));
    c2 = mix(p0, mix(c3, spread(key1(plan, PHILOX_ROUNDS))));
    lanes front = _mm256_blend_epi32(c0, p1, 0xAA), back = _mm256_blend_epi32(c2, p0, 0xAA);
    keep[0] = keep_mask(_mm256_unpacklo_epi64(front, back), walk->threshold);
    keep[1] = keep_mask(_mm256_unpackhi_epi64(front, back), walk->threshold);
}

/* Masks of the elements [i, i + 8). */
static inline __m128i eight(const lanes *keep, int i) {
    return i % 16 == 0 ? _mm256_castsi256_si128(keep[i / 16])
                       : _mm256_extracti128_si256(keep[i / 16], 1);
}

INLINE __m256 drop(__m256 v, __m256i keep, double scale) {
    return _mm256_and_ps(_mm256_mul_ps(v, _mm256_set1_ps((float)scale)), _mm256_castsi256_ps(keep));
}

/* 8 floats from and to float32 and float16. Storing rounds to nearest even. */

static inline __m256 load_f32(const float *x) { return _mm256_loadu_ps(x); }
static inline void store_f32(float *y, __m256 v) { _mm256_storeu_ps(y, v); }
static inline __m256 load_f16(const uint16_t *x) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
}
static inline void store_f16(uint16_t *y, __m256 v) {
    _mm_storeu_si128((__m128i *)y, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

#define DEFINE_APPLY(dtype, element)                                                               \
    INLINE void apply_##dtype(const element *x, const element *residual, element *y,               \
                              const lanes *keep, double scale) {                                   \
        for (int i = 0; i < TURN; i += 8) {                                                        \
            __m256i mask = _mm256_cvtepi16_epi32(eight(keep, i));                                  \
            __m256 v = drop(load_##dtype(x + i), mask, scale);                                     \
            if (residual != NULL)                                                                  \
                v = _mm256_add_ps(v, load_##dtype(residual + i));                                  \
            store_##dtype(y + i, v);                                                               \
        }                                                                                          \
    }

DEFINE_APPLY(f32, float)
DEFINE_APPLY(f16, uint16_t)

INLINE void apply_f64(const double *x, const double *residual, double *y, const lanes *keep,
                      double scale) {
    for (int i = 0; i < TURN; i += 4) {
        __m128i mask = eight(keep, i & ~7);
        __m256i wide = _mm256_cvtepi16_epi64(i % 8 == 0 ? mask : _mm_srli_si128(mask, 8));
        __m256d v = _mm256_mul_pd(_mm256_loadu_pd(x + i), _mm256_set1_pd(scale));
        v = _mm256_and_pd(v, _mm256_castsi256_pd(wide));
        if (residual != NULL)
            v = _mm256_add_pd(v, _mm256_loadu_pd(residual + i));
        _mm256_storeu_pd(y + i, v);
    }
}

/* Elements 0..3 and 8..11 of 16, or the others, as floats: packing sorts them again. */
INLINE __m256 load_bf16(const uint16_t *x, int others) {
    lanes v = _mm256_loadu_si256((const lanes *)x), zero = _mm256_setzero_si256();
    return _mm256_castsi256_ps(others ? _mm256_unpackhi_epi16(zero, v)
                                      : _mm256_unpacklo_epi16(zero, v));
}

/* The upper 16 bits of each float, rounded to nearest even, in the low half of its lane. */
static inline lanes round_bf16(__m256 v) {
    lanes bits = _mm256_castps_si256(v);
    lanes last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    lanes rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), last);
    lanes is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    rounded = _mm256_srli_epi32(rounded, 16);
    return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7FC0), is_nan);
}

INLINE void apply_bf16(const uint16_t *x, const uint16_t *residual, uint16_t *y, const lanes *keep,
                       double scale) {
    for (int i = 0; i < TURN; i += 16) {
        lanes mask = keep[i / 16];
        __m256 a = drop(load_bf16(x + i, 0), _mm256_unpacklo_epi16(mask, mask), scale);
        __m256 b = drop(load_bf16(x + i, 1), _mm256_unpackhi_epi16(mask, mask), scale);
        if (residual != NULL) {
            a = _mm256_add_ps(a, load_bf16(residual + i, 0));
            b = _mm256_add_ps(b, load_bf16(residual + i, 1));
        }
        _mm256_storeu_si256((lanes *)(y + i), _mm256_packus_epi32(round_bf16(a), round_bf16(b)));
    }
}

INLINE void take_turn(struct walk *walk, enum dk_dtype dtype, const void *x, const void *residual,
                      void *y) {
    lanes keep[4];
    draw_four(walk, keep);
    draw_four(walk, keep + 2);
    APPLY(dtype, x, residual, y, keep, walk->scale);
}

DEFINE_RUNS

static int has_avx2(void) {
    unsigned a, b, c = 0, d;
    return __builtin_cpu_supports("avx2") /* asks the system too, by xgetbv */
           && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

const struct dk_isa dk_avx2 = {"avx2", has_avx2, 0.3, RUNS};

#else
typedef int dk_avx2_is_for_x86_64; /* ISO C forbids an empty file */
#endif
