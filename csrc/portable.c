/* The portable kernels: any C11 compiler, any byte order. */
#include "halves.h"
#include "kernel.h"
#include "philox.h"
#include "turns.h"

struct walk {
    struct dk_draw draw;
    uint64_t block;
};

INLINE void start(struct walk *walk, uint64_t block, const struct dk_draw *draw) {
    walk->draw = *draw;
    walk->block = block;
}

static inline void draw_eight(struct walk *walk, uint16_t halfwords[TURN]) {
    const struct dk_draw *draw = &walk->draw;
    for (int b = 0; b < BLOCKS; b++, walk->block++) {
        uint32_t words[4] = {low32(walk->block), high32(walk->block), low32(draw->stream),
                             high32(draw->stream)};
        philox(words, low32(draw->key), high32(draw->key));
        for (int w = 0; w < 4; w++) {
            *halfwords++ = (uint16_t)words[w];
            *halfwords++ = (uint16_t)(words[w] >> 16);
        }
    }
}

/* v or +0, in a way that no compiler turns into a branch: no processor could foresee that one. */
static inline float select_float(float v, int is_kept) {
    return f32_from_bits(bits_from_f32(v) & -(uint32_t)is_kept);
}

static inline double select_double(double v, int is_kept) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits &= -(uint64_t)is_kept;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#define load_f32(x) (x)
#define store_f32(v) (v)
#define load_f64(x) (x)
#define store_f64(v) (v)
#define load_bf16 f32_from_bf16
#define store_bf16 bf16_from_f32
#define load_f16 f32_from_f16
#define store_f16 f16_from_f32

#define DEFINE_APPLY(dtype, element, wide)                                                         \
    INLINE void apply_##dtype(const element *x, const element *residual, element *y,               \
                              const uint16_t *halfwords, const struct dk_draw *draw) {             \
        for (int i = 0; i < TURN; i++) {                                                           \
            wide scaled = load_##dtype(x[i]) * (wide)draw->scale;                                  \
            wide v = select_##wide(scaled, halfwords[i] >= draw->threshold);                       \
            if (residual != NULL)                                                                  \
                v += load_##dtype(residual[i]);                                                    \
            y[i] = store_##dtype(v);                                                               \
        }                                                                                          \
    }

DEFINE_APPLY(f32, float, float)
DEFINE_APPLY(f64, double, double)
DEFINE_APPLY(bf16, uint16_t, float)
DEFINE_APPLY(f16, uint16_t, float)

INLINE void take_turn(struct walk *walk, enum dk_dtype dtype, const void *x, const void *residual,
                      void *y) {
    uint16_t halfwords[TURN];
    draw_eight(walk, halfwords);
    APPLY(dtype, x, residual, y, halfwords, &walk->draw);
}

DEFINE_RUNS

static int always(void) { return 1; }

const struct dk_isa dk_portable = {"portable", always, 1.0, RUNS};
