/* NEON, on every 64-bit ARM: four Philox blocks in the lanes of a register, two registers a turn.
 */
#include "kernel.h"

#if defined(DK_HAS_NEON)

#include <arm_neon.h>

#include "plan.h"
#include "turns.h"

struct walk {
    struct plan plan;
    uint64x2_t product[2]; /* of the next four blocks: see plan.h */
    uint16x8_t threshold;
    double scale;
};

INLINE void start(struct walk *walk, uint64_t block, const struct dk_draw *draw) {
    make_plan(&walk->plan, block, draw);
    const uint64_t order[4] = {0, PHILOX_M0, (uint64_t)2 * PHILOX_M0, (uint64_t)3 * PHILOX_M0};
    for (int half = 0; half < 2; half++)
        walk->product[half] =
            vaddq_u64(vdupq_n_u64(walk->plan.product), vld1q_u64(order + 2 * half));
    walk->threshold = vdupq_n_u16((uint16_t)draw->threshold);
    walk->scale = draw->scale;
}

static inline uint32x4_t spread(uint32_t word) { return vdupq_n_u32(word); }
static inline uint32x4_t mix(uint32x4_t a, uint32x4_t b) { return veorq_u32(a, b); }

/* The halves of four 64-bit products. */
static inline void split(uint64x2_t a, uint64x2_t b, uint32x4_t *low, uint32x4_t *high) {
    *low = vuzp1q_u32(vreinterpretq_u32_u64(a), vreinterpretq_u32_u64(b));
    *high = vuzp2q_u32(vreinterpretq_u32_u64(a), vreinterpretq_u32_u64(b));
}

static inline void mulhilo(uint32x4_t v, uint32_t by, uint32x4_t *low, uint32x4_t *high) {
    split(vmull_u32(vget_low_u32(v), vdup_n_u32(by)), vmull_high_u32(v, spread(by)), low, high);
}

static inline uint64x2_t pair(uint32x4_t v) { return vreinterpretq_u64_u32(v); }

static inline uint16x8_t keep_mask(uint64x2_t halfwords, uint16x8_t threshold) {
    return vcgeq_u16(vreinterpretq_u16_u64(halfwords), threshold);
}

/* Masks of the next 32 elements, one block in each. */
static inline void draw_four(struct walk *walk, uint16x8_t keep[4]) {
    const struct plan *plan = &walk->plan;
    uint32x4_t c0, c1, c2, c3, low0, high0, low1, high1;
    split(walk->product[0], walk->product[1], &low0, &high0); /* round 1 */
    for (int half = 0; half < 2; half++)
        walk->product[half] = vaddq_u64(walk->product[half], vdupq_n_u64((uint64_t)4 * PHILOX_M0));
    c2 = mix(high0, spread(plan->round1_c2));

    mulhilo(c2, PHILOX_M1, &c1, &high1); /* round 2 */
    c0 = mix(high1, spread(plan->round2_c0));
    c2 = mix(low0, spread(plan->round2_c2));
    c3 = spread(plan->round2_c3);

    for (int round = 3; round <= PHILOX_ROUNDS; round++) {
        mulhilo(c0, PHILOX_M0, &low0, &high0);
        mulhilo(c2, PHILOX_M1, &low1, &high1);
        c0 = mix(high1, mix(c1, spread(key0(plan, round))));
        c1 = low1;
        c2 = mix(high0, mix(c3, spread(key1(plan, round))));
        c3 = low0;
    }
    /* words 0 and 1 of a block side by side, words 2 and 3 behind them */
    uint64x2_t front = pair(vzip1q_u32(c0, c1)), back = pair(vzip1q_u32(c2, c3));
    keep[0] = keep_mask(vzip1q_u64(front, back), walk->threshold);
    keep[1] = keep_mask(vzip2q_u64(front, back), walk->threshold);
    front = pair(vzip2q_u32(c0, c1));
    back = pair(vzip2q_u32(c2, c3));
    keep[2] = keep_mask(vzip1q_u64(front, back), walk->threshold);
    keep[3] = keep_mask(vzip2q_u64(front, back), walk->threshold);
}

/* Four floats from and to each format. Storing rounds to nearest even. */

static inline float32x4_t load_f32(const float *x) { return vld1q_f32(x); }
static inline void store_f32(float *y, float32x4_t v) { vst1q_f32(y, v); }

static inline float32x4_t load_bf16(const uint16_t *x) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x), 16));
}

static inline void store_bf16(uint16_t *y, float32x4_t v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t last = vandq_u32(vshrq_n_u32(bits, 16), spread(1));
    uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, spread(0x7FFF)), last);
    rounded = vbslq_u32(vceqq_f32(v, v), rounded, spread(0x7FC00000)); /* only nan is not itself */
    vst1_u16(y, vshrn_n_u32(rounded, 16));
}

static inline float32x4_t load_f16(const uint16_t *x) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x)));
}

static inline void store_f16(uint16_t *y, float32x4_t v) {
    vst1_u16(y, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

/* Masks of the elements [i, i + 4), as wide as a float. */
static inline uint32x4_t four(const uint16x8_t *keep, int i) {
    int16x8_t mask = vreinterpretq_s16_u16(keep[i / 8]);
    return vreinterpretq_u32_s32(i % 8 == 0 ? vmovl_s16(vget_low_s16(mask)) : vmovl_high_s16(mask));
}

#define DEFINE_APPLY(dtype, element)                                                               \
    INLINE void apply_##dtype(const element *x, const element *residual, element *y,               \
                              const uint16x8_t *keep, double scale) {                              \
        for (int i = 0; i < TURN; i += 4) {                                                        \
            float32x4_t v = vmulq_n_f32(load_##dtype(x + i), (float)scale);                        \
            v = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), four(keep, i)));         \
            if (residual != NULL)                                                                  \
                v = vaddq_f32(v, load_##dtype(residual + i));                                      \
            store_##dtype(y + i, v);                                                               \
        }                                                                                          \
    }

DEFINE_APPLY(f32, float)
DEFINE_APPLY(bf16, uint16_t)
DEFINE_APPLY(f16, uint16_t)

INLINE void apply_f64(const double *x, const double *residual, double *y, const uint16x8_t *keep,
                      double scale) {
    for (int i = 0; i < TURN; i += 2) {
        int32x4_t mask = vreinterpretq_s32_u32(four(keep, i & ~3));
        int64x2_t wide = i % 4 == 0 ? vmovl_s32(vget_low_s32(mask)) : vmovl_high_s32(mask);
        float64x2_t v = vmulq_n_f64(vld1q_f64(x + i), scale);
        v = vreinterpretq_f64_s64(vandq_s64(vreinterpretq_s64_f64(v), wide));
        if (residual != NULL)
            v = vaddq_f64(v, vld1q_f64(residual + i));
        vst1q_f64(y + i, v);
    }
}

INLINE void take_turn(struct walk *walk, enum dk_dtype dtype, const void *x, const void *residual,
                      void *y) {
    uint16x8_t keep[BLOCKS];
    draw_four(walk, keep);
    draw_four(walk, keep + 4);
    APPLY(dtype, x, residual, y, keep, walk->scale);
}

DEFINE_RUNS

static int always(void) { return 1; }

const struct dk_isa dk_neon = {"neon", always, 0.5, RUNS};

#else
typedef int dk_neon_is_for_aarch64; /* ISO C forbids an empty file */
#endif
