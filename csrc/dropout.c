/* Dropout over rows: where each element sits, and which thread draws it. */
#include <string.h>

#include "dispatch.h"
#include "philox.h"
#include "threads.h"

/* Elements a thread takes at a time: long enough to hide the hand-over, short enough to share. */
enum { CHUNK = 32 * 1024 };

/* A run never crosses a multiple of this: see dk_run_fn. */
#define SPAN ((uint64_t)HALFWORDS << 32)

static const size_t SIZE[DK_DTYPES] = {4, 8, 2, 2};

struct job {
    dk_run_fn *run;
    struct dk_draw draw;
    const char *x;
    char *y;
    size_t size; /* bytes an element */
    size_t inner;
    const int64_t *row_ids;
    uint64_t first_row, row_stride, column_offset;
};

static void drop_run(const struct job *job, size_t at, size_t n, uint64_t first) {
    while (n > 0) {
        uint64_t room = SPAN - first % SPAN;
        size_t now = n < room ? n : (size_t)room;
        job->run(job->x + at * job->size, job->y + at * job->size, now, first, &job->draw);
        at += now;
        first += now;
        n -= now;
    }
}

static void drop_rows(void *context, size_t begin, size_t end) {
    const struct job *job = context;
    while (begin < end) {
        size_t row = begin / job->inner, column = begin % job->inner;
        size_t left = job->inner - column;
        size_t n = end - begin < left ? end - begin : left;
        uint64_t index = job->row_ids ? (uint64_t)job->row_ids[row] : job->first_row + row;
        drop_run(job, begin, n, index * job->row_stride + job->column_offset + column);
        begin += n;
    }
}

void dk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    memcpy(out, counter, 4 * sizeof out[0]);
    philox(out, key[0], key[1]);
}

enum dk_status dk_dropout(int dtype, const void *x, void *y, size_t rows, size_t inner,
                          const int64_t *row_ids, uint64_t first_row, uint64_t row_stride,
                          uint64_t column_offset, uint64_t key, uint64_t stream, uint32_t threshold,
                          double scale, int threads) {
    if (dtype < 0 || dtype >= DK_DTYPES)
        return DK_BAD_DTYPE;
    if (threshold > 65536)
        return DK_BAD_THRESHOLD;
    size_t n = rows * inner;
    if (n == 0)
        return DK_OK;
    if (threshold == 65536) {
        memset(y, 0, n * SIZE[dtype]);
        return DK_OK;
    }
    if (row_ids == NULL && row_stride == inner) { /* the rows follow each other: one long row */
        column_offset += first_row * row_stride;
        first_row = 0;
        inner = n;
    }
    struct job job = {dk_active()->dropout[dtype],
                      {key, stream, threshold, scale},
                      x,
                      y,
                      SIZE[dtype],
                      inner,
                      row_ids,
                      first_row,
                      row_stride,
                      column_offset};
    dk_parallel_for(n, CHUNK, threads, drop_rows, &job);
    return DK_OK;
}

enum dk_status dk_dropout_flat(const void *x, void *y, size_t n, uint64_t key, uint64_t stream,
                               uint64_t how) {
    uint32_t threshold = (uint32_t)(how & 0x1FFFF);
    int is_scaled = !(how >> 24 & 1) && threshold < 65536;
    double scale = is_scaled ? 65536.0 / (65536 - (int)threshold) : 1.0;
    return dk_dropout((int)(how >> 20 & 0xF), x, y, 1, n, NULL, 0, n, 0, key, stream, threshold,
                      scale, (int)(how >> 32));
}
