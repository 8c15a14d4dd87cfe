/* How every kernel walks over a run: in turns of 64 elements.
 *
 * A kernel defines `struct walk`, `start` and `take_turn`, which knows whole turns alone. A turn
 * that either end of the run cuts goes through a buffer, so heads, tails and short rows are written
 * once, here.
 */
#ifndef DROPKIT_TURNS_H
#define DROPKIT_TURNS_H

#include <string.h>

#include "kernel.h"
#include "philox.h"

enum { BLOCKS = TURN / HALFWORDS /* a turn */, LINE = 64, AHEAD = 2048 /* bytes to fetch early */ };

/* One copy for each dtype, which is a constant there. */
#define INLINE static inline __attribute__((always_inline))

struct walk; /* where the kernel is in the run, and what the run's blocks share */

/* y = (keep ? x * scale : +0) + residual, unless that is NULL, for the elements of 8 blocks. */
INLINE void take_turn(struct walk *walk, enum dk_dtype dtype, const void *x, const void *residual,
                      void *y);

/* Four functions of a kernel do this for the elements of its registers. */
#define APPLY(dtype, ...)                                                                          \
    ((dtype) == DK_F32    ? apply_f32(__VA_ARGS__)                                                 \
     : (dtype) == DK_F64  ? apply_f64(__VA_ARGS__)                                                 \
     : (dtype) == DK_BF16 ? apply_bf16(__VA_ARGS__)                                                \
                          : apply_f16(__VA_ARGS__))

/* memcpy of a length hidden from gcc: where it sees that few bytes go, it writes `rep movs`, which
 * takes 30 ns to begin. */
INLINE void copy(void *to, const void *from, size_t bytes) {
    __asm__("" : "+r"(bytes));
    memcpy(to, from, bytes);
}

/* Elements [skip, skip + n) of a turn; the pointers are to the first of those. */
INLINE void take_part(struct walk *walk, enum dk_dtype dtype, const void *x, const void *residual,
                      void *y, size_t skip, size_t n) {
    const size_t size = dk_size(dtype), at = skip * size;
    _Alignas(LINE) char from[TURN * 8], plus[TURN * 8], to[TURN * 8];
    memset(from, 0, TURN * size);
    copy(from + at, x, n * size);
    if (residual != NULL) {
        memset(plus, 0, TURN * size);
        copy(plus + at, residual, n * size);
    }
    take_turn(walk, dtype, from, residual == NULL ? NULL : plus, to);
    copy(y, to + at, n * size);
}

/* Ask for the memory of a turn that comes soon; past the end of it this does nothing. */
INLINE void fetch(const char *turn, size_t size) {
    for (size_t at = 0; at < TURN * size; at += LINE)
        __builtin_prefetch(turn + AHEAD + at);
}

/* `walk` starts at the block that holds element `first`. */
INLINE void take_turns(struct walk *walk, enum dk_dtype dtype, const char *x, const char *residual,
                       char *y, size_t n, uint64_t first) {
    const size_t size = dk_size(dtype), skip = first % HALFWORDS;
    size_t i = 0;
    if (skip > 0) {
        i = n < TURN - skip ? n : TURN - skip;
        take_part(walk, dtype, x, residual, y, skip, i);
    }
#define AT(pointer) ((pointer) + i * size)
    for (; n - i >= TURN; i += TURN) {
        fetch(AT(x), size);
        fetch(AT(y), size); /* the store would wait for it too */
        if (residual == NULL) {
            take_turn(walk, dtype, AT(x), NULL, AT(y));
        } else {
            fetch(AT(residual), size);
            take_turn(walk, dtype, AT(x), AT(residual), AT(y));
        }
    }
    if (i < n)
        take_part(walk, dtype, AT(x), residual == NULL ? NULL : AT(residual), AT(y), 0, n - i);
#undef AT
}

#define DEFINE_RUN(name, dtype)                                                                    \
    static void name(const void *x, const void *residual, void *y, size_t n, uint64_t first,       \
                     const struct dk_draw *draw) {                                                 \
        struct walk walk;                                                                          \
        start(&walk, first / HALFWORDS, draw);                                                     \
        take_turns(&walk, dtype, x, residual, y, n, first);                                        \
    }
#define DEFINE_RUNS                                                                                \
    DEFINE_RUN(run_f32, DK_F32)                                                                    \
    DEFINE_RUN(run_f64, DK_F64)                                                                    \
    DEFINE_RUN(run_bf16, DK_BF16)                                                                  \
    DEFINE_RUN(run_f16, DK_F16)
#define RUNS {run_f32, run_f64, run_bf16, run_f16}

#endif
