/* A row of attention's scores: its kernels, and its part of the mask. */
#include "attention_rows.h"

#include "dispatch.h"
#include "philox.h"

enum { AT_ONCE = 1024 /* elements whose draws are kept: on the stack, in the first-level cache */ };

/* A run never crosses a multiple of this: see dk_run_fn. */
#define SPAN ((uint64_t)HALFWORDS << 32)

#define FOUR(x) x, x, x, x
static const float ONES[AT_ONCE] = {FOUR(FOUR(FOUR(FOUR(FOUR(1.0F)))))};

static const struct dk_softmax *softmax_of(const struct dk_isa *isa) {
#if defined(DK_HAS_AVX512)
    if (isa == &dk_avx512)
        return &dk_softmax_avx512;
#endif
#if defined(__x86_64__)
    if (isa == &dk_avx2)
        return &dk_softmax_avx2;
#endif
    (void)isa;
    return &dk_softmax_portable;
}

struct dk_rows dk_rows_of(uint64_t key, uint64_t stream, uint32_t threshold) {
    const struct dk_isa *isa = dk_active();
    const struct dk_isa *dropper = threshold == 65536 ? &dk_portable : isa; /* see dk_draw */
    double scale = threshold < 65536 ? 65536.0 / (65536 - (int)threshold) : 1.0;
    return (struct dk_rows){.softmax = softmax_of(isa),
                            .drop = dropper->dropout[DK_F32],
                            .draw = {key, stream, threshold, scale}};
}

void dk_rows_drop(const struct dk_rows *rows, const float *x, float *y, size_t n, uint64_t first,
                  double scale) {
    struct dk_draw draw = rows->draw;
    draw.scale = scale;
    while (n > 0) {
        uint64_t room = SPAN - first % SPAN;
        size_t now = n < room ? n : (size_t)room;
        rows->drop(x, NULL, y, now, first, &draw);
        x += now;
        y += now;
        first += now;
        n -= now;
    }
}

void dk_rows_gradients(const struct dk_rows *rows, float *x, float *grad, size_t n, uint64_t first,
                       float logsumexp, float mean) {
    float keep[AT_ONCE];
    for (size_t i = 0; i < n; i += AT_ONCE) {
        size_t now = n - i < AT_ONCE ? n - i : AT_ONCE;
        dk_rows_drop(rows, ONES, keep, now, first + i, rows->draw.scale);
        rows->softmax->gradients(x + i, grad + i, keep, now, logsumexp, mean);
    }
}
