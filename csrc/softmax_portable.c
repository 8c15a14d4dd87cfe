/* Softmax for any C11 compiler: a lane at a time, which compilers may well put side by side. */
#include <stdint.h>
#include <string.h>

#define INLINE static inline
#define FUNCTION static

enum { WIDTH = 1 };
typedef float lanes;

INLINE lanes load(const float *x) { return *x; }
INLINE void store(float *x, lanes v) { *x = v; }
INLINE lanes splat(float x) { return x; }
INLINE lanes add(lanes a, lanes b) { return a + b; }
INLINE lanes sub(lanes a, lanes b) { return a - b; }
INLINE lanes mul(lanes a, lanes b) { return a * b; }
INLINE lanes larger(lanes a, lanes b) { return a > b ? a : b; } /* b where one is nan */
INLINE lanes zero_if_less(lanes x, lanes bound, lanes v) { return x < bound ? 0.0F : v; }
INLINE lanes zero_if_zero(lanes x, lanes v) { return x == 0.0F ? 0.0F : v; }

/* 2^n, with n in the lowest bits of `t`. */
INLINE lanes power_of_two(lanes t) {
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << 23) + 0x3F800000U;
    memcpy(&t, &bits, sizeof t);
    return t;
}

#include "softmax_rows.h"

const struct dk_softmax dk_softmax_portable = {largest, exponentials, gradients};
