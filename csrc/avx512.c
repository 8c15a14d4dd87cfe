/* AVX-512: eight Philox blocks in the 64-bit lanes of a register, one register a turn.
 *
 * Like avx2.c, but what is kept is one bit an element, in mask registers.
 */
#include "kernel.h"

#if defined(DK_HAS_AVX512)

#include <immintrin.h>

#include "plan.h"
#include "turns.h"

typedef __m512i lanes;

struct walk {
    struct plan plan;
    lanes product; /* of the next blocks: see plan.h */
    lanes threshold;
    double scale;
};

static inline lanes spread(uint32_t word) { return _mm512_set1_epi64((int64_t)word); }
static inline lanes high(lanes v) { return _mm512_srli_epi64(v, 32); }
static inline lanes swap(lanes v) { return _mm512_shuffle_epi32(v, _MM_PERM_CDAB); }
static inline lanes mul(lanes a, uint32_t b) { return _mm512_mul_epu32(a, spread(b)); }
static inline lanes mix(lanes a, lanes b) { return _mm512_xor_si512(a, b); }
static inline lanes mix3(lanes a, lanes b, lanes c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

/* Lanes hold blocks in the order in which unpacking, below, leaves them sorted. */
INLINE void start(struct walk *walk, uint64_t block, const struct dk_draw *draw) {
    make_plan(&walk->plan, block, draw);
    walk->scale = draw->scale;
    const lanes order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    walk->product =
        _mm512_add_epi64(_mm512_set1_epi64((int64_t)walk->plan.product), mul(order, PHILOX_M0));
    walk->threshold = _mm512_set1_epi16((int16_t)draw->threshold);
}

/* Bit i % 32 of keep[i / 32]: is element i of the next 64 kept? */
static inline void draw_eight(struct walk *walk, __mmask32 keep[2]) {
    const struct plan *plan = &walk->plan;
    lanes p0 = walk->product, p1; /* round 1 */
    walk->product =
        _mm512_add_epi64(walk->product, _mm512_set1_epi64((int64_t)((uint64_t)BLOCKS * PHILOX_M0)));
    lanes c2 = mix(high(p0), spread(plan->round1_c2)), c3 = p0;

    p1 = mul(c2, PHILOX_M1); /* round 2 */
    lanes c0 = mix(high(p1), spread(plan->round2_c0)), c1 = p1;
    c2 = mix(c3, spread(plan->round2_c2));
    c3 = spread(plan->round2_c3);

    for (int round = 3; round < PHILOX_ROUNDS; round++) {
        p0 = mul(c0, PHILOX_M0);
        p1 = mul(c2, PHILOX_M1);
        c0 = mix3(high(p1), c1, spread(key0(plan, round)));
        c1 = p1;
        c2 = mix3(high(p0), c3, spread(key1(plan, round)));
        c3 = p0;
    }
    /* The last round leaves words 0 and 1 of a block in one lane, and words 2 and 3 in another. */
    p0 = swap(mul(c0, PHILOX_M0));
    p1 = swap(mul(c2, PHILOX_M1));
    const __mmask16 low = 0x5555;
    lanes front =
        _mm512_mask_ternarylogic_epi32(p1, low, c1, spread(key0(plan, PHILOX_ROUNDS)), 0x96);
    lanes back =
        _mm512_mask_ternarylogic_epi32(p0, low, c3, spread(key1(plan, PHILOX_ROUNDS)), 0x96);
    keep[0] = _mm512_cmpge_epu16_mask(_mm512_unpacklo_epi64(front, back), walk->threshold);
    keep[1] = _mm512_cmpge_epu16_mask(_mm512_unpackhi_epi64(front, back), walk->threshold);
}

/* 16 floats from and to each format. Storing rounds to nearest even. */

static inline __m512 load_bf16(const uint16_t *x) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline void store_bf16(uint16_t *y, __m512 v) {
    __m512i bits = _mm512_castps_si512(v);
    __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), last);
    __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    rounded = _mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(0x7FC00000));
    _mm256_storeu_si256((__m256i *)y, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

static inline __m512 load_f16(const uint16_t *x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x));
}

static inline void store_f16(uint16_t *y, __m512 v) {
    _mm256_storeu_si256((__m256i *)y, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m512 load_f32(const float *x) { return _mm512_loadu_ps(x); }
static inline void store_f32(float *y, __m512 v) { _mm512_storeu_ps(y, v); }

#define DEFINE_APPLY(dtype, element)                                                               \
    INLINE void apply_##dtype(const element *x, const element *residual, element *y,               \
                              const __mmask32 *keep, double scale) {                               \
        for (int i = 0; i < TURN; i += 16) {                                                       \
            __m512 v = _mm512_maskz_mul_ps((__mmask16)(keep[i / 32] >> i % 32),                    \
                                           load_##dtype(x + i), _mm512_set1_ps((float)scale));     \
            if (residual != NULL)                                                                  \
                v = _mm512_add_ps(v, load_##dtype(residual + i));                                  \
            store_##dtype(y + i, v);                                                               \
        }                                                                                          \
    }

DEFINE_APPLY(f32, float)
DEFINE_APPLY(bf16, uint16_t)
DEFINE_APPLY(f16, uint16_t)

INLINE void apply_f64(const double *x, const double *residual, double *y, const __mmask32 *keep,
                      double scale) {
    for (int i = 0; i < TURN; i += 8) {
        __m512d v = _mm512_maskz_mul_pd((__mmask8)(keep[i / 32] >> i % 32), _mm512_loadu_pd(x + i),
                                        _mm512_set1_pd(scale));
        if (residual != NULL)
            v = _mm512_add_pd(v, _mm512_loadu_pd(residual + i));
        _mm512_storeu_pd(y + i, v);
    }
}

INLINE void take_turn(struct walk *walk, enum dk_dtype dtype, const void *x, const void *residual,
                      void *y) {
    __mmask32 keep[2];
    draw_eight(walk, keep);
    APPLY(dtype, x, residual, y, keep, walk->scale);
}

DEFINE_RUNS

static int has_avx512(void) { /* these ask the system too, by xgetbv */
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

const struct dk_isa dk_avx512 = {"avx512", has_avx512, 0.2, RUNS};

#else
typedef int dk_avx512_is_not_in_this_build; /* ISO C forbids an empty file */
#endif
