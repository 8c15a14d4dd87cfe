/* The portable kernels: any C11 compiler, one block at a time. Also the head and tail of the
 * wide kernels, which work in whole vectors. */
#include "halves.h"
#include "kernel.h"
#include "philox.h"

struct cursor {
    uint32_t words[4];
    uint64_t block;
};

static void fill(struct cursor *cursor, const struct dk_draw *draw) {
    cursor->words[0] = low32(cursor->block);
    cursor->words[1] = high32(cursor->block);
    cursor->words[2] = low32(draw->stream);
    cursor->words[3] = high32(draw->stream);
    philox(cursor->words, low32(draw->key), high32(draw->key));
}

static inline int keep(const struct cursor *cursor, unsigned slot, uint32_t threshold) {
    uint32_t word = cursor->words[slot / 2];
    uint32_t halfword = slot % 2 ? word >> 16 : word & 0xFFFFu;
    return halfword >= threshold;
}

#define DEFINE_DROPOUT(dtype, element, scaled)                                                     \
    static void dropout_##dtype(const void *from, void *to, size_t n, uint64_t first,              \
                                const struct dk_draw *draw) {                                      \
        const element *x = from;                                                                   \
        element *y = to;                                                                           \
        struct cursor cursor = {{0, 0, 0, 0}, first / HALFWORDS};                                  \
        unsigned slot = (unsigned)(first % HALFWORDS);                                             \
        for (size_t i = 0; i < n; cursor.block++, slot = 0) {                                      \
            fill(&cursor, draw);                                                                   \
            for (; slot < HALFWORDS && i < n; slot++, i++)                                         \
                y[i] = keep(&cursor, slot, draw->threshold) ? scaled(x[i], draw->scale) : 0;       \
        }                                                                                          \
    }

static inline float scaled_f32(float x, double scale) { return x * (float)scale; }
static inline double scaled_f64(double x, double scale) { return x * scale; }
static inline uint16_t scaled_bf16(uint16_t x, double scale) {
    return bf16_from_f32(f32_from_bf16(x) * (float)scale);
}
static inline uint16_t scaled_f16(uint16_t x, double scale) {
    return f16_from_f32(f32_from_f16(x) * (float)scale);
}

DEFINE_DROPOUT(f32, float, scaled_f32)
DEFINE_DROPOUT(f64, double, scaled_f64)
DEFINE_DROPOUT(bf16, uint16_t, scaled_bf16)
DEFINE_DROPOUT(f16, uint16_t, scaled_f16)

static int always(void) { return 1; }

const struct dk_isa dk_portable = {
    "portable", always, {dropout_f32, dropout_f64, dropout_bf16, dropout_f16}};
