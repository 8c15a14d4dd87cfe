/* What one instruction set provides for attention: a row of float32 scores at a time.
 *
 * Every set gives the same bits: each works in turns of 16 lanes, in the same order, and multiplies
 * and adds without fusing the two.
 */
#ifndef DROPKIT_SOFTMAX_H
#define DROPKIT_SOFTMAX_H

#include <stddef.h>

#include "kernel.h"

enum { LANES = 16 };

struct dk_softmax {
    /* The largest of x[0..n); -inf where n is 0. Some number where one of them is nan. */
    float (*largest)(const float *x, size_t n);

    /* x[i] = exp(x[i] - shift); returns their sum. */
    double (*exponentials)(float *x, size_t n, float shift);

    /* With p = exp(x[i] - shift), and keep[i] 0 or a scale:
     * x[i] = p * keep[i], and grad[i] = p * (grad[i] * keep[i] - mean); 0 for a product with a keep
     * of 0, whatever the other factor. */
    void (*gradients)(float *x, float *grad, const float *keep, size_t n, float shift, float mean);
};

extern const struct dk_softmax dk_softmax_portable;
#if defined(__x86_64__)
extern const struct dk_softmax dk_softmax_avx2;
#if defined(DK_HAS_AVX512)
extern const struct dk_softmax dk_softmax_avx512;
#endif
#endif

#endif
