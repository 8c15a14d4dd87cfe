/* What one instruction set provides: dropout over one run of consecutive elements, by dtype. */
#ifndef DROPKIT_KERNEL_H
#define DROPKIT_KERNEL_H

#include "dropkit.h"

struct dk_draw {
    uint64_t key;
    uint64_t stream;
    uint32_t threshold; /* 0..65535; 65536, "drop everything", reaches the portable kernels alone */
    double scale;
};

/* y[i] = (keep(first + i) ? x[i] * scale : +0) + residual[i] for i in [0, n).
 * Where residual is NULL nothing is added. y may be x or residual.
 * The run never crosses a multiple of 2^35 elements, so the high half of the block number is
 * one constant for all of it. */
typedef void dk_run_fn(const void *x, const void *residual, void *y, size_t n, uint64_t first,
                       const struct dk_draw *draw);

enum { TURN = 64 }; /* elements that kernels take at once: runs are best cut at multiples of this */

struct dk_isa {
    const char *name;
    int (*usable)(void);
    double ns; /* an element, roughly and in cache: says what is worth sharing between threads */
    dk_run_fn *dropout[DK_DTYPES];
};

static inline size_t dk_size(enum dk_dtype dtype) {
    return dtype == DK_F64 ? 8 : dtype == DK_F32 ? 4 : 2;
}

extern const struct dk_isa dk_portable;
#if defined(__x86_64__)
extern const struct dk_isa dk_avx2;
#if !defined(DK_NO_AVX512) /* set by the build where the compiler knows no AVX-512 */
#define DK_HAS_AVX512
extern const struct dk_isa dk_avx512;
#endif
#endif
#if defined(__aarch64__) && !defined(__AARCH64EB__)
#define DK_HAS_NEON
extern const struct dk_isa dk_neon;
#endif

#endif
