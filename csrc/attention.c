/* Attention with dropout, between its matrix products: a tile of scores, row by row, in place. */
#include <math.h>
#include <string.h>

#include "attention_rows.h"
#include "team.h"

enum {
    CHUNK = 1 << 15,  /* elements that a thread takes at a time, in whole rows: 20 us or so */
    WORTH = 2 * CHUNK /* elements for each thread: with fewer, one alone is done sooner */
};

struct tile {
    struct dk_rows rows;
    float *scores, *grads, *logsumexp; /* grads and mean are NULL in forward */
    const float *mean;
    const int64_t *heads;
    size_t sums_stride, n_rows, n_columns;
    uint64_t first_query, n_queries, n_keys;
    int is_causal;
};

static void forward_row(const struct tile *tile, size_t row, float *logsumexp, size_t n,
                        uint64_t first) {
    float *x = tile->scores + row * tile->n_columns;
    float shift = tile->rows.softmax->largest(x, n);
    if (shift == -INFINITY)
        shift = 0.0F;
    double total = tile->rows.softmax->exponentials(x, n, shift);
    if (total == 0.0) { /* nothing is seen: all are 0 already */
        *logsumexp = INFINITY;
        return;
    }
    *logsumexp = (float)((double)shift + log(total));
    dk_rows_drop(&tile->rows, x, x, n, first, tile->rows.draw.scale / total);
}

static void backward_row(const struct tile *tile, size_t row, float *logsumexp, size_t n,
                         uint64_t first) {
    float *x = tile->scores + row * tile->n_columns, *grad = tile->grads + row * tile->n_columns;
    dk_rows_gradients(&tile->rows, x, grad, n, first, *logsumexp, tile->mean[row]);
}

static void do_rows(void *context, int worker, size_t begin, size_t end) {
    const struct tile *tile = context;
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        size_t part = row / tile->n_rows, r = row % tile->n_rows;
        uint64_t query = tile->first_query + r, head = (uint64_t)tile->heads[part];
        size_t n = tile->n_columns;
        if (tile->is_causal && query + 1 < n)
            n = (size_t)(query + 1);
        (tile->grads ? backward_row
                     : forward_row)(tile, row, tile->logsumexp + part * tile->sums_stride + r, n,
                                    (head * tile->n_queries + query) * tile->n_keys);
        size_t at = row * tile->n_columns + n, left = (tile->n_columns - n) * sizeof(float);
        memset(tile->scores + at, 0, left);
        if (tile->grads)
            memset(tile->grads + at, 0, left);
    }
}

static enum dk_status share(struct tile *tile, size_t n_heads, uint64_t key, uint64_t stream,
                            uint32_t threshold, int threads) {
    if (threshold > 65536)
        return DK_BAD_THRESHOLD;
    size_t rows = n_heads * tile->n_rows, n = rows * tile->n_columns;
    if (n == 0)
        return DK_OK;
    tile->rows = dk_rows_of(key, stream, threshold);
    size_t worth = n / WORTH, chunk = CHUNK / tile->n_columns;
    int helpers = worth < (size_t)threads ? (int)worth : threads;
    dk_team_for(rows, chunk ? chunk : 1, helpers, do_rows, tile);
    return DK_OK;
}

enum dk_status dk_attention_forward(float *scores, float *logsumexp, size_t sums_stride,
                                    const int64_t *heads, size_t n_heads, size_t n_rows,
                                    size_t n_columns, uint64_t first_query, uint64_t n_queries,
                                    uint64_t n_keys, int is_causal, uint64_t key, uint64_t stream,
                                    uint32_t threshold, int threads) {
    struct tile tile = {.scores = scores,
                        .logsumexp = logsumexp,
                        .sums_stride = sums_stride,
                        .heads = heads,
                        .n_rows = n_rows,
                        .n_columns = n_columns,
                        .first_query = first_query,
                        .n_queries = n_queries,
                        .n_keys = n_keys,
                        .is_causal = is_causal};
    return share(&tile, n_heads, key, stream, threshold, threads);
}

enum dk_status dk_attention_backward(float *scores, float *grads, float *logsumexp,
                                     size_t sums_stride, const float *mean, const int64_t *heads,
                                     size_t n_heads, size_t n_rows, size_t n_columns,
                                     uint64_t first_query, uint64_t n_queries, uint64_t n_keys,
                                     int is_causal, uint64_t key, uint64_t stream,
                                     uint32_t threshold, int threads) {
    struct tile tile = {.scores = scores,
                        .grads = grads,
                        .logsumexp = logsumexp,
                        .sums_stride = sums_stride,
                        .mean = mean,
                        .heads = heads,
                        .n_rows = n_rows,
                        .n_columns = n_columns,
                        .first_query = first_query,
                        .n_queries = n_queries,
                        .n_keys = n_keys,
                        .is_causal = is_causal};
    return share(&tile, n_heads, key, stream, threshold, threads);
}
