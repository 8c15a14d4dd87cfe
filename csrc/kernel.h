/* What one instruction set provides: dropout over one run of consecutive elements, by dtype. */
#ifndef DROPKIT_KERNEL_H
#define DROPKIT_KERNEL_H

#include "dropkit.h"

struct dk_draw {
    uint64_t key;
    uint64_t stream;
    uint32_t threshold; /* 0..65535: "drop everything" never reaches a kernel */
    double scale;
};

/* y[i] = keep(first + i) ? x[i] * scale : +0 for i in [0, n).
 * The run never crosses a multiple of 2^35 elements, so the high half of the block number is
 * one constant for all of it. */
typedef void dk_run_fn(const void *x, void *y, size_t n, uint64_t first,
                       const struct dk_draw *draw);

struct dk_isa {
    const char *name;
    int (*usable)(void);
    dk_run_fn *dropout[DK_DTYPES];
};

extern const struct dk_isa dk_portable;
#if defined(__x86_64__)
extern const struct dk_isa dk_avx2;
#endif

#endif
