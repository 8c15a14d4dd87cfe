/* AVX2: four Philox blocks in the 64-bit lanes of a register, eight blocks (64 elements) a turn.
 *
 * A 64-bit lane holds a 32-bit word in its low half; the high half is whatever the last product
 * left there, which the 32x32->64 multiply never reads. Little-endian memory order makes the 16
 * bytes of a block the eight halfwords of its elements, in order.
 */
#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include "kernel.h"
#include "philox.h"

typedef __m256i lanes;

struct plan { /* what all blocks of a run share */
    lanes m0, m1;
    lanes key0[PHILOX_ROUNDS], key1[PHILOX_ROUNDS];
    lanes round1_c2;            /* round 1: c2 becomes high(M0 * block) ^ this */
    lanes round2_c0, round2_c2; /* round 2 likewise: its first product is one constant */
    lanes round3_c2;
    lanes threshold;
};

static inline lanes spread(uint32_t word) { return _mm256_set1_epi64x((int64_t)word); }
static inline lanes high(lanes v) { return _mm256_srli_epi64(v, 32); }
static inline lanes mix(lanes a, lanes b) { return _mm256_xor_si256(a, b); }
static inline lanes mul(lanes a, lanes b) { return _mm256_mul_epu32(a, b); }

/* With c1, c2, c3 the same for all blocks, rounds 1 and 2 have one constant product each. */
static void make_plan(struct plan *plan, uint64_t first_block, const struct dk_draw *draw) {
    uint32_t k0 = low32(draw->key), k1 = high32(draw->key);
    plan->m0 = spread(PHILOX_M0);
    plan->m1 = spread(PHILOX_M1);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        plan->key0[round] = spread(k0 + (uint32_t)round * PHILOX_W0);
        plan->key1[round] = spread(k1 + (uint32_t)round * PHILOX_W1);
    }
    uint32_t c1 = high32(first_block), c2 = low32(draw->stream), c3 = high32(draw->stream);
    uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
    uint32_t c0_after1 = high32(p1) ^ c1 ^ k0, c1_after1 = low32(p1);
    uint64_t p0 = (uint64_t)PHILOX_M0 * c0_after1;
    plan->round1_c2 = spread(c3 ^ k1);
    plan->round2_c0 = spread(c1_after1 ^ (k0 + PHILOX_W0));
    plan->round2_c2 = spread(high32(p0) ^ (k1 + PHILOX_W1));
    plan->round3_c2 = spread(low32(p0) ^ (k1 + 2 * PHILOX_W1));
    plan->threshold = _mm256_set1_epi16((int16_t)draw->threshold);
}

/* 0xFFFF where the halfword is >= threshold, else 0. */
static inline lanes keep_mask(lanes halfwords, lanes threshold) {
    return _mm256_cmpeq_epi16(_mm256_max_epu16(halfwords, threshold), halfwords);
}

/* Masks of 32 elements, in order, from the lanes' blocks 0, 2, 1, 3. */
static inline void draw_four(lanes block, const struct plan *plan, lanes keep[2]) {
    lanes p0 = mul(block, plan->m0); /* round 1 */
    lanes c2 = mix(high(p0), plan->round1_c2), c3 = p0;

    lanes p1 = mul(c2, plan->m1); /* round 2 */
    lanes c0 = mix(high(p1), plan->round2_c0), c1 = p1;
    c2 = mix(plan->round2_c2, c3);

    p0 = mul(c0, plan->m0); /* round 3 */
    p1 = mul(c2, plan->m1);
    c0 = mix(high(p1), mix(c1, plan->key0[2]));
    c1 = p1;
    c2 = mix(high(p0), plan->round3_c2);
    c3 = p0;

    for (int round = 3; round < PHILOX_ROUNDS; round++) {
        p0 = mul(c0, plan->m0);
        p1 = mul(c2, plan->m1);
        c0 = mix(high(p1), mix(c1, plan->key0[round]));
        c1 = p1;
        c2 = mix(high(p0), mix(c3, plan->key1[round]));
        c3 = p0;
    }
    /* words c0, c1 of each block side by side, then c2, c3 behind them */
    lanes front = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
    lanes back = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
    keep[0] = keep_mask(_mm256_unpacklo_epi64(front, back), plan->threshold);
    keep[1] = keep_mask(_mm256_unpackhi_epi64(front, back), plan->threshold);
}

static inline __m128i lower(lanes v) { return _mm256_castsi256_si128(v); }
static inline __m128i upper(lanes v) { return _mm256_extracti128_si256(v, 1); }

/* The four below: y[0..16) = keep ? x * scale : +0. */

static inline void apply_f32(const float *x, float *y, lanes keep, double scale) {
    __m256 s = _mm256_set1_ps((float)scale);
    __m256 a = _mm256_mul_ps(_mm256_loadu_ps(x), s), b = _mm256_mul_ps(_mm256_loadu_ps(x + 8), s);
    __m256i ka = _mm256_cvtepi16_epi32(lower(keep)), kb = _mm256_cvtepi16_epi32(upper(keep));
    _mm256_storeu_ps(y, _mm256_and_ps(a, _mm256_castsi256_ps(ka)));
    _mm256_storeu_ps(y + 8, _mm256_and_ps(b, _mm256_castsi256_ps(kb)));
}

static inline void apply_f64(const double *x, double *y, lanes keep, double scale) {
    __m256d s = _mm256_set1_pd(scale);
    __m128i quarter[4] = {lower(keep), _mm_srli_si128(lower(keep), 8), upper(keep),
                          _mm_srli_si128(upper(keep), 8)};
    for (int q = 0; q < 4; q++) {
        __m256d v = _mm256_mul_pd(_mm256_loadu_pd(x + 4 * q), s);
        __m256d k = _mm256_castsi256_pd(_mm256_cvtepi16_epi64(quarter[q]));
        _mm256_storeu_pd(y + 4 * q, _mm256_and_pd(v, k));
    }
}

/* The upper 16 bits of each float, rounded to nearest even, in the low half of its lane. */
static inline __m256i round_bf16(__m256 v) {
    __m256i bits = _mm256_castps_si256(v);
    __m256i last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), last);
    __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    rounded = _mm256_srli_epi32(rounded, 16);
    return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7FC0), is_nan);
}

static inline void apply_bf16(const uint16_t *x, uint16_t *y, lanes keep, double scale) {
    __m256 s = _mm256_set1_ps((float)scale);
    __m256i v = _mm256_loadu_si256((const __m256i *)x), zero = _mm256_setzero_si256();
    __m256 a = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, v)), s);
    __m256 b = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, v)), s);
    __m256i packed = _mm256_packus_epi32(round_bf16(a), round_bf16(b));
    _mm256_storeu_si256((__m256i *)y, _mm256_and_si256(packed, keep));
}

static inline void apply_f16(const uint16_t *x, uint16_t *y, lanes keep, double scale) {
    __m256 s = _mm256_set1_ps((float)scale);
    __m256 a = _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x)), s);
    __m256 b = _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + 8))), s);
    __m128i ha = _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT);
    __m128i hb = _mm256_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)y, _mm_and_si128(ha, lower(keep)));
    _mm_storeu_si128((__m128i *)(y + 8), _mm_and_si128(hb, upper(keep)));
}

/* Whole turns of 64 elements here; the elements before and after them are portable's. */
#define DEFINE_DROPOUT(dtype, element, slot)                                                       \
    static void dropout_##dtype(const void *from, void *to, size_t n, uint64_t first,              \
                                const struct dk_draw *draw) {                                      \
        const element *x = from;                                                                   \
        element *y = to;                                                                           \
        size_t head = (size_t)(-first % HALFWORDS);                                                \
        if (head > n)                                                                              \
            head = n;                                                                              \
        dk_portable.dropout[slot](x, y, head, first, draw);                                        \
        uint64_t block = (first + head) / HALFWORDS;                                               \
        size_t i = head;                                                                           \
        struct plan plan;                                                                          \
        make_plan(&plan, block, draw);                                                             \
        lanes at =                                                                                 \
            _mm256_add_epi64(_mm256_set1_epi64x((int64_t)block), _mm256_setr_epi64x(0, 2, 1, 3));  \
        const lanes four = _mm256_set1_epi64x(4);                                                  \
        for (; n - i >= 64; i += 64) {                                                             \
            lanes keep[4];                                                                         \
            draw_four(at, &plan, keep);                                                            \
            at = _mm256_add_epi64(at, four);                                                       \
            draw_four(at, &plan, keep + 2);                                                        \
            at = _mm256_add_epi64(at, four);                                                       \
            for (int part = 0; part < 4; part++)                                                   \
                apply_##dtype(x + i + 16 * part, y + i + 16 * part, keep[part], draw->scale);      \
        }                                                                                          \
        dk_portable.dropout[slot](x + i, y + i, n - i, first + i, draw);                           \
    }

DEFINE_DROPOUT(f32, float, DK_F32)
DEFINE_DROPOUT(f64, double, DK_F64)
DEFINE_DROPOUT(bf16, uint16_t, DK_BF16)
DEFINE_DROPOUT(f16, uint16_t, DK_F16)

static int has_avx2(void) {
    unsigned a, b, c = 0, d;
    return __builtin_cpu_supports("avx2") /* asks the system too, by xgetbv */
           && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

const struct dk_isa dk_avx2 = {
    "avx2", has_avx2, {dropout_f32, dropout_f64, dropout_bf16, dropout_f16}};

#else
typedef int dk_avx2_is_for_x86_64; /* ISO C forbids an empty file */
#endif
