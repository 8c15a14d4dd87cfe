/* Dropout over rows: where each element sits, and which thread draws it. */
#include <string.h>

#include "dispatch.h"
#include "pages.h"
#include "philox.h"
#include "threads.h"

/* Rough nanoseconds: a helper sleeps 20 us before it joins, and the call that wakes it lasts 10. */
enum {
    RUN_NS = 20,         /* to begin a run of elements, such as a row */
    CHUNK_NS = 20000,    /* what a thread takes at a time: neither hand-over nor waiting shows */
    WORTH_NS = 2 * 20000 /* of work for each thread: with less, one alone is done sooner */
};

/* A run never crosses a multiple of this: see dk_run_fn. */
#define SPAN ((uint64_t)HALFWORDS << 32)

struct job {
    dk_run_fn *run;
    struct dk_draw draw;
    const char *x, *residual; /* residual may be NULL */
    char *y;
    size_t size; /* bytes an element */
    size_t inner;
    const int64_t *row_ids;
    uint64_t first_row, row_stride, column_offset;
};

static void drop_run(const struct job *job, size_t at, size_t n, uint64_t first) {
    while (n > 0) {
        uint64_t room = SPAN - first % SPAN;
        size_t now = n < room ? n : (size_t)room, bytes = at * job->size;
        job->run(job->x + bytes, job->residual == NULL ? NULL : job->residual + bytes,
                 job->y + bytes, now, first, &job->draw);
        at += now;
        first += now;
        n -= now;
    }
}

static void drop_rows(void *context, int worker, size_t begin, size_t end) {
    const struct job *job = context;
    (void)worker;
    size_t column = begin % job->inner;
    for (size_t row = begin / job->inner; begin < end; row++, column = 0) {
        size_t left = job->inner - column;
        size_t n = end - begin < left ? end - begin : left;
        uint64_t index = job->row_ids ? (uint64_t)job->row_ids[row] : job->first_row + row;
        drop_run(job, begin, n, index * job->row_stride + job->column_offset + column);
        begin += n;
    }
}

static void share(struct job *job, size_t n, double ns, int threads) {
    ns += (double)RUN_NS / (double)job->inner;
    double worth = (double)n * ns / WORTH_NS;
    size_t chunk = ((size_t)(CHUNK_NS / ns) | (TURN - 1)) + 1; /* whole turns */
    dk_parallel_for(n, chunk, worth < threads ? (int)worth : threads, drop_rows, job);
}

void dk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    memcpy(out, counter, 4 * sizeof out[0]);
    philox(out, key[0], key[1]);
}

enum dk_status dk_dropout_add(int dtype, const void *x, const void *residual, void *y, size_t rows,
                              size_t inner, const int64_t *row_ids, uint64_t first_row,
                              uint64_t row_stride, uint64_t column_offset, uint64_t key,
                              uint64_t stream, uint32_t threshold, double scale, int threads) {
    if (dtype < 0 || dtype >= DK_DTYPES)
        return DK_BAD_DTYPE;
    if (threshold > 65536)
        return DK_BAD_THRESHOLD;
    const size_t n = rows * inner, size = dk_size((enum dk_dtype)dtype);
    if (n == 0)
        return DK_OK;
    if (y != x && y != residual)
        dk_will_fill(y, n * size);
    if (threshold == 65536 && residual == NULL) {
        memset(y, 0, n * size);
        return DK_OK;
    }
    if (row_ids == NULL && row_stride == inner) { /* the rows follow each other: one long row */
        column_offset += first_row * row_stride;
        first_row = 0;
        inner = n;
    }
    const struct dk_isa *isa = threshold == 65536 ? &dk_portable : dk_active(); /* see dk_draw */
    struct job job = {.run = isa->dropout[dtype],
                      .draw = {key, stream, threshold, scale},
                      .x = x,
                      .residual = residual,
                      .y = y,
                      .size = size,
                      .inner = inner,
                      .row_ids = row_ids,
                      .first_row = first_row,
                      .row_stride = row_stride,
                      .column_offset = column_offset};
    share(&job, n, isa->ns, threads);
    return DK_OK;
}

enum dk_status dk_dropout(int dtype, const void *x, void *y, size_t rows, size_t inner,
                          const int64_t *row_ids, uint64_t first_row, uint64_t row_stride,
                          uint64_t column_offset, uint64_t key, uint64_t stream, uint32_t threshold,
                          double scale, int threads) {
    return dk_dropout_add(dtype, x, NULL, y, rows, inner, row_ids, first_row, row_stride,
                          column_offset, key, stream, threshold, scale, threads);
}

enum dk_status dk_dropout_flat(const void *x, void *y, size_t n, uint64_t key, uint64_t stream,
                               uint64_t how) {
    uint32_t threshold = (uint32_t)(how & 0x1FFFF);
    int is_scaled = !(how >> 24 & 1) && threshold < 65536;
    double scale = is_scaled ? 65536.0 / (65536 - (int)threshold) : 1.0;
    return dk_dropout((int)(how >> 20 & 0xF), x, y, 1, n, NULL, 0, n, 0, key, stream, threshold,
                      scale, (int)(how >> 32));
}
