/* The C core of dropkit: draw a mask and apply it.
 *
 * A mask is a pure function of (key, stream, element index); nothing is stored.
 * The core allocates nothing, prints nothing and never aborts. The caller owns all memory.
 */
#ifndef DROPKIT_H
#define DROPKIT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define DK_API __declspec(dllexport)
#else
#define DK_API __attribute__((visibility("default")))
#endif

/* Raised with every change of a signature below; the binding refuses any other number. */
#define DK_ABI 4

enum dk_status {
    DK_OK = 0,
    DK_BAD_DTYPE = 1,
    DK_BAD_THRESHOLD = 2,
    DK_UNKNOWN_ISA = 3,
    DK_ABSENT_ISA = 4,
    DK_BAD_BLOCK = 5
};

enum dk_dtype { DK_F32 = 0, DK_F64 = 1, DK_BF16 = 2, DK_F16 = 3, DK_DTYPES = 4 };

DK_API int dk_abi(void);

/* One Philox4x32-7 block (Salmon et al. 2011, SC'11). */
DK_API void dk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* The instruction sets this build knows, widest first; NULL ends the list. */
DK_API const char *dk_isa_name(size_t index);
DK_API int dk_isa_usable(size_t index);
DK_API const char *dk_isa_active(void);
/* Use exactly this one from now on, in every thread. */
DK_API enum dk_status dk_isa_force(const char *name);

/* y[r, c] = keep ? x[r, c] * scale : +0, for a contiguous (rows, inner) tensor.
 *
 * keep:   the halfword of element row_index(r) * row_stride + column_offset + c is >= threshold;
 *         row_index(r) is row_ids[r], or first_row + r where row_ids is NULL. Sums wrap at 2^64.
 * threshold: drop rate times 65536, 0..65536.
 * x == y is allowed; any other overlap is not.
 * threads: at most so many, the calling one included; the result does not depend on it.
 */
DK_API enum dk_status dk_dropout(int dtype, const void *x, void *y, size_t rows, size_t inner,
                                 const int64_t *row_ids, uint64_t first_row, uint64_t row_stride,
                                 uint64_t column_offset, uint64_t key, uint64_t stream,
                                 uint32_t threshold, double scale, int threads);

/* y[r, c] = (keep ? x[r, c] * scale : +0) + residual[r, c]: dropout into a residual stream.
 *
 * The halves are computed in float32, and rounded to nearest even once, after the addition.
 * y may be x or residual, or both; any other overlap is not allowed. */
DK_API enum dk_status dk_dropout_add(int dtype, const void *x, const void *residual, void *y,
                                     size_t rows, size_t inner, const int64_t *row_ids,
                                     uint64_t first_row, uint64_t row_stride,
                                     uint64_t column_offset, uint64_t key, uint64_t stream,
                                     uint32_t threshold, double scale, int threads);

/* dk_dropout for the plain row-major index, in six arguments: what a call costs on a small tensor
 * is what it costs to pass its arguments. `how` holds the threshold in bits 0..16, the dtype in
 * bits 20..23, "leave kept elements unscaled" in bit 24 and the threads in bits 32..63; the scale
 * is 65536 / (65536 - threshold). */
DK_API enum dk_status dk_dropout_flat(const void *x, void *y, size_t n, uint64_t key,
                                      uint64_t stream, uint64_t how);

/* Attention with dropout, between its matrix products: a contiguous float32 tile of scores
 * (n_heads, n_rows, n_columns), in place. Row r of head h is query q = first_query + r of head
 * heads[h] in a (heads, n_queries, n_keys) tensor that the mask is cut from: element c of the row
 * has index (heads[h] * n_queries + q) * n_keys + c. With is_causal only columns 0..q are seen.
 *
 * forward:  scores = keep ? softmax(scores) * 65536 / (65536 - threshold) : +0;
 *           logsumexp[h * sums_stride + r] is that of the row's scores. A row that sees nothing
 *           above -inf gets zeros, and +inf there.
 * backward: scores become the same again, from logsumexp, which is only read. grads holds the
 *           gradients of those, and gets the gradients of the scores: with p = softmax(scores),
 *           p * ((keep ? grads * 65536 / (65536 - threshold) : +0) - mean[h * n_rows + r]).
 *
 * exp is within 1 ulp, and 0 where it would be below the least normal number. */
DK_API enum dk_status dk_attention_forward(float *scores, float *logsumexp, size_t sums_stride,
                                           const int64_t *heads, size_t n_heads, size_t n_rows,
                                           size_t n_columns, uint64_t first_query,
                                           uint64_t n_queries, uint64_t n_keys, int is_causal,
                                           uint64_t key, uint64_t stream, uint32_t threshold,
                                           int threads);
DK_API enum dk_status dk_attention_backward(float *scores, float *grads, float *logsumexp,
                                            size_t sums_stride, const float *mean,
                                            const int64_t *heads, size_t n_heads, size_t n_rows,
                                            size_t n_columns, uint64_t first_query,
                                            uint64_t n_queries, uint64_t n_keys, int is_causal,
                                            uint64_t key, uint64_t stream, uint32_t threshold,
                                            int threads);

/* Let attention work on the threads of this team from now on; NULL for the core's own. It is the
 * GOMP_parallel of the OpenMP runtime that does the host's matrix products: runs `task` on so many
 * threads at once, and returns when all are done. A forked child has none. */
typedef void dk_team_fn(void (*task)(void *), void *data, unsigned threads, unsigned flags);
DK_API void dk_team_set(dk_team_fn *parallel);

/* sgemm of BLAS (Dongarra et al. 1990): column-major C = op(A) op(B) * alpha + C * beta. */
typedef void dk_sgemm_fn(const char *op_a, const char *op_b, const int *m, const int *n,
                         const int *k, const float *alpha, const float *a, const int *lda,
                         const float *b, const int *ldb, const float *beta, float *c,
                         const int *ldc);

/* A float32 tensor (batches, heads, length, width) whose last dimension is contiguous: its first
 * element, and the elements from one to the next of each other dimension. Those of `row` are at
 * least `width`, and below 2^31. */
struct dk_matrices {
    float *at;
    int64_t example, head, row;
};

enum dk_mask_kind { DK_NO_MASK = 0, DK_MASK_SHOWN = 1 /* bytes */, DK_MASK_ADDED = 2 /* floats */ };

/* Attention with dropout, whole: softmax(query key^T * scale + mask), dropped, times value, with
 * the mask's elements where dk_attention_forward has them. n_heads is a multiple of n_key_heads,
 * and so many heads in a row share a key head. No dimension is 0 in what is read.
 *
 * The work is shared on the team of dk_team_set; where there is none, the caller does it alone. The
 * result does not depend on the threads if that of `sgemm` does not. */
struct dk_attention {
    struct dk_matrices query, key, value, out;           /* out is only read in backward ... */
    struct dk_matrices grad, of_query, of_key, of_value; /* ... and these are not in forward */
    const void *mask;      /* (batches, n_heads, n_queries, n_keys); NULL where there is none */
    int64_t mask_steps[4]; /* in elements; 0 where one stands for all */
    float *logsumexp;      /* (batches, n_heads, n_queries) contiguous; only read in backward */
    const int64_t *heads;  /* (batches * n_heads,) or NULL for 0, 1, 2 and so on */
    float *room;           /* threads * queries_a_block * keys_a_block; twice that in backward */
    dk_sgemm_fn *sgemm;
    size_t batches, n_heads, n_key_heads, n_queries, n_keys, width, value_width;
    size_t queries_a_block, keys_a_block; /* at once; at most 256 queries */
    uint64_t mask_key, mask_stream;
    uint32_t threshold;
    int mask_kind, is_causal, threads;
    float scale;
};
DK_API enum dk_status dk_attend_forward(const struct dk_attention *with);
DK_API enum dk_status dk_attend_backward(const struct dk_attention *with);

#endif
