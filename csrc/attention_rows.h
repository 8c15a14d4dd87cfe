#ifndef DROPKIT_ATTENTION_ROWS_H
#define DROPKIT_ATTENTION_ROWS_H

#include "softmax.h"

/* What is done to rows of scores, and the mask that they are dropped with. */
struct dk_rows {
    const struct dk_softmax *softmax;
    dk_run_fn *drop;
    struct dk_draw draw;
};

/* threshold: 0..65536. */
struct dk_rows dk_rows_of(uint64_t key, uint64_t stream, uint32_t threshold);

/* y[i] = keep(first + i) ? x[i] * scale : +0; y may be x. */
void dk_rows_drop(const struct dk_rows *rows, const float *x, float *y, size_t n, uint64_t first,
                  double scale);

/* Of scores x and gradients of the dropped probabilities make those and gradients of the scores:
 * see dk_attention_backward. */
void dk_rows_gradients(const struct dk_rows *rows, float *x, float *grad, size_t n, uint64_t first,
                       float logsumexp, float mean);

#endif
