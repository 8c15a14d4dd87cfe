/* Attention with dropout, whole: blocks of scores that stay in a thread's cache, and no barrier but
 * the last.
 *
 * A thread takes some queries of a head in forward and all of a key head in backward, and does all
 * that is to be done for them: products, softmax, mask. The products are the host's own, one thread
 * each. Whoever is done takes the next turn, so that a thread that loses its core to another
 * process costs what it left undone, and not the others' waiting at each step.
 *
 * Forward goes over the keys block by block and keeps for each query the largest score so far: what
 * was summed under a smaller one is scaled down (Milakov and Gimelshein 2018, "Online normalizer
 * calculation for softmax"; Dao et al. 2022, "FlashAttention").
 */
#include <math.h>
#include <string.h>

#include "attention_rows.h"
#include "team.h"

enum {
    CHUNK = 1 << 12, /* scores that a thread takes at a time, if they are of many small heads */
    MOST_QUERIES = 256
};

struct work {
    const struct dk_attention *with;
    struct dk_rows rows;
    size_t blocks; /* of queries, in a head */
};

/* Some queries of a head, and what of the tensors belongs to them. */
struct block {
    size_t example, head, key_head, first, n; /* first query, and how many */
    size_t sees;                              /* keys, from the first one */
    uint64_t number;                          /* of the head, in the mask's matrix */
    float *logsumexp;
};

static float *at(const struct dk_matrices *x, size_t example, size_t head, size_t row) {
    return x->at + (int64_t)example * x->example + (int64_t)head * x->head + (int64_t)row * x->row;
}

/* c = a b * alpha + c * beta, for row-major matrices; 'T' reads a or b transposed. */
static void product(const struct work *work, char of_a, char of_b, size_t rows, size_t columns,
                    size_t inner, float alpha, const float *a, int64_t lda, const float *b,
                    int64_t ldb, float beta, float *c, int64_t ldc) {
    const int m = (int)columns, n = (int)rows, k = (int)inner;
    const int step_a = (int)lda, step_b = (int)ldb, step_c = (int)ldc;
    work->with->sgemm(&of_b, &of_a, &m, &n, &k, &alpha, b, &step_b, a, &step_a, &beta, c, &step_c);
}

static struct block block_of(const struct work *work, size_t example, size_t head, size_t index) {
    const struct dk_attention *with = work->with;
    struct block block = {.example = example, .head = head};
    const size_t of_all = example * with->n_heads + head;
    block.key_head = head / (with->n_heads / with->n_key_heads);
    block.first = index * with->queries_a_block;
    size_t left = with->n_queries - block.first;
    block.n = left < with->queries_a_block ? left : with->queries_a_block;
    size_t end = block.first + block.n;
    block.sees = with->is_causal && end < with->n_keys ? end : with->n_keys;
    block.number = with->heads == NULL ? of_all : (uint64_t)with->heads[of_all];
    block.logsumexp = with->logsumexp + of_all * with->n_queries + block.first;
    return block;
}

/* How many of n keys from `first` on row r of the block sees. */
static size_t seen(const struct work *work, const struct block *block, size_t r, size_t first,
                   size_t n) {
    size_t query = block->first + r;
    if (!work->with->is_causal || query + 1 >= first + n)
        return n;
    return query + 1 > first ? query + 1 - first : 0;
}

static uint64_t element(const struct work *work, const struct block *block, size_t r, size_t key) {
    uint64_t row = block->number * work->with->n_queries + block->first + r;
    return row * work->with->n_keys + key;
}

static void add_mask(const struct work *work, const struct block *block, float *scores,
                     size_t first, size_t n) {
    const struct dk_attention *with = work->with;
    const int64_t step = with->mask_steps[3];
    for (size_t r = 0; r < block->n; r++, scores += n) {
        int64_t from = (int64_t)block->example * with->mask_steps[0] +
                       (int64_t)block->head * with->mask_steps[1] +
                       (int64_t)(block->first + r) * with->mask_steps[2] + (int64_t)first * step;
        if (with->mask_kind == DK_MASK_ADDED) {
            const float *mask = (const float *)with->mask + from;
            for (size_t i = 0; i < n; i++)
                scores[i] += mask[(int64_t)i * step];
        } else { /* as the host's own: -inf is added to what is hidden */
            const unsigned char *mask = (const unsigned char *)with->mask + from;
            for (size_t i = 0; i < n; i++)
                scores[i] += mask[(int64_t)i * step] ? 0.0F : -INFINITY;
        }
    }
}

/* The block's scores of n keys; the future is not hidden yet. */
static void compute_scores(const struct work *work, const struct block *block, float *scores,
                           size_t first, size_t n) {
    const struct dk_attention *with = work->with;
    product(work, 'N', 'T', block->n, n, with->width, with->scale,
            at(&with->query, block->example, block->head, block->first), with->query.row,
            at(&with->key, block->example, block->key_head, first), with->key.row, 0.0F, scores,
            (int64_t)n);
    if (with->mask_kind != DK_NO_MASK)
        add_mask(work, block, scores, first, n);
}

static void scale_row(float *x, size_t n, float scale) {
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

/* Where a row stands after some blocks of keys. */
struct row {
    float top;    /* the largest score */
    double total; /* of the exponentials, under that */
};

/* Make dropped exponentials of a row's next scores, and bring `out` under the new largest one. */
static void forward_row(const struct work *work, struct row *row, float *x, size_t n,
                        uint64_t first, float *out) {
    float top = work->rows.softmax->largest(x, n);
    if (!(top > row->top))
        top = row->top;
    float shift = top == -INFINITY ? 0.0F : top;
    if (row->total != 0.0 && top > row->top) {
        double down = exp((double)row->top - (double)top);
        row->total *= down;
        scale_row(out, work->with->value_width, (float)down);
    }
    row->top = top;
    row->total += work->rows.softmax->exponentials(x, n, shift);
    dk_rows_drop(&work->rows, x, x, n, first, work->rows.draw.scale);
}

static void forward_block(const struct work *work, const struct block *block, float *scores) {
    const struct dk_attention *with = work->with;
    float *out = at(&with->out, block->example, block->head, block->first);
    struct row rows[MOST_QUERIES];
    for (size_t r = 0; r < block->n; r++)
        rows[r] = (struct row){-INFINITY, 0.0};
    for (size_t first = 0; first < block->sees; first += with->keys_a_block) {
        size_t left = block->sees - first;
        size_t n = left < with->keys_a_block ? left : with->keys_a_block;
        compute_scores(work, block, scores, first, n);
        for (size_t r = 0; r < block->n; r++) {
            size_t sees = seen(work, block, r, first, n);
            float *x = scores + r * n;
            if (sees > 0)
                forward_row(work, &rows[r], x, sees, element(work, block, r, first),
                            out + (int64_t)r * with->out.row);
            memset(x + sees, 0, (n - sees) * sizeof(float));
        }
        product(work, 'N', 'N', block->n, with->value_width, n, 1.0F, scores, (int64_t)n,
                at(&with->value, block->example, block->key_head, first), with->value.row,
                first > 0 ? 1.0F : 0.0F, out, with->out.row);
    }
    for (size_t r = 0; r < block->n; r++) {
        double total = rows[r].total;
        block->logsumexp[r] = total == 0.0 ? INFINITY : (float)(rows[r].top + log(total));
        if (total != 0.0) /* else nothing is seen, and all is 0 already */
            scale_row(out + (int64_t)r * with->out.row, with->value_width, (float)(1.0 / total));
    }
}

static void do_forward(void *context, int worker, size_t begin, size_t end) {
    const struct work *work = context;
    const struct dk_attention *with = work->with;
    float *scores = with->room + (size_t)worker * with->queries_a_block * with->keys_a_block;
    for (; begin < end; begin++) {
        size_t head = begin / work->blocks;
        struct block block =
            block_of(work, head / with->n_heads, head % with->n_heads, begin % work->blocks);
        forward_block(work, &block, scores);
    }
}

/* The sum of a[i] * b[i], in 16 sums: one order whatever the processor. */
static float inner_product(const float *a, const float *b, size_t n) {
    float sums[LANES] = {0.0F}, sum = 0.0F;
    size_t i = 0;
    for (; n - i >= LANES; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            sums[lane] += a[i + lane] * b[i + lane];
    for (size_t lane = 0; i + lane < n; lane++)
        sums[lane] += a[i + lane] * b[i + lane];
    for (size_t lane = 0; lane < LANES; lane++)
        sum += sums[lane];
    return sum;
}

static void backward_block(const struct work *work, const struct block *block, float *scores,
                           float *grads) {
    const struct dk_attention *with = work->with;
    const float *query = at(&with->query, block->example, block->head, block->first);
    const float *grad = at(&with->grad, block->example, block->head, block->first);
    const float *out = at(&with->out, block->example, block->head, block->first);
    float *of_query = at(&with->of_query, block->example, block->head, block->first);
    float means[MOST_QUERIES];
    for (size_t r = 0; r < block->n; r++)
        means[r] = inner_product(grad + (int64_t)r * with->grad.row,
                                 out + (int64_t)r * with->out.row, with->value_width);
    for (size_t first = 0; first < block->sees; first += with->keys_a_block) {
        size_t left = block->sees - first;
        size_t n = left < with->keys_a_block ? left : with->keys_a_block;
        compute_scores(work, block, scores, first, n);
        product(work, 'N', 'T', block->n, n, with->value_width, 1.0F, grad, with->grad.row,
                at(&with->value, block->example, block->key_head, first), with->value.row, 0.0F,
                grads, (int64_t)n);
        for (size_t r = 0; r < block->n; r++) {
            size_t sees = seen(work, block, r, first, n), hidden = (n - sees) * sizeof(float);
            dk_rows_gradients(&work->rows, scores + r * n, grads + r * n, sees,
                              element(work, block, r, first), block->logsumexp[r], means[r]);
            memset(scores + r * n + sees, 0, hidden);
            memset(grads + r * n + sees, 0, hidden);
        }
        product(work, 'N', 'N', block->n, with->width, n, with->scale, grads, (int64_t)n,
                at(&with->key, block->example, block->key_head, first), with->key.row,
                first > 0 ? 1.0F : 0.0F, of_query, with->of_query.row);
        product(work, 'T', 'N', n, with->width, block->n, with->scale, grads, (int64_t)n, query,
                with->query.row, 1.0F, at(&with->of_key, block->example, block->key_head, first),
                with->of_key.row);
        product(work, 'T', 'N', n, with->value_width, block->n, 1.0F, scores, (int64_t)n, grad,
                with->grad.row, 1.0F, at(&with->of_value, block->example, block->key_head, first),
                with->of_value.row);
    }
}

static void clear(const struct dk_matrices *x, size_t example, size_t head, size_t rows,
                  size_t width) {
    for (size_t row = 0; row < rows; row++)
        memset(at(x, example, head, row), 0, width * sizeof(float));
}

static void do_backward(void *context, int worker, size_t begin, size_t end) {
    const struct work *work = context;
    const struct dk_attention *with = work->with;
    const size_t numel = with->queries_a_block * with->keys_a_block;
    const size_t group = with->n_heads / with->n_key_heads;
    float *scores = with->room + (size_t)worker * 2 * numel;
    for (; begin < end; begin++) {
        size_t example = begin / with->n_key_heads, key_head = begin % with->n_key_heads;
        clear(&with->of_key, example, key_head, with->n_keys, with->width);
        clear(&with->of_value, example, key_head, with->n_keys, with->value_width);
        for (size_t i = 0; i < group * work->blocks; i++) {
            size_t head = key_head * group + i / work->blocks;
            struct block block = block_of(work, example, head, i % work->blocks);
            backward_block(work, &block, scores, scores + numel);
        }
    }
}

static enum dk_status share(const struct dk_attention *with, size_t heads_a_turn,
                            size_t blocks_a_head, dk_task_fn *task) {
    if (with->threshold > 65536)
        return DK_BAD_THRESHOLD;
    if (with->queries_a_block == 0 || with->queries_a_block > MOST_QUERIES ||
        with->keys_a_block == 0)
        return DK_BAD_BLOCK;
    const size_t heads = with->batches * with->n_heads, scores = with->n_queries * with->n_keys;
    if (heads == 0 || scores == 0)
        return DK_OK;
    struct work work = {with, dk_rows_of(with->mask_key, with->mask_stream, with->threshold),
                        (with->n_queries - 1) / with->queries_a_block + 1};
    size_t turns = heads / heads_a_turn * (blocks_a_head ? work.blocks : 1);
    size_t chunk = CHUNK / (heads * scores / turns + 1) + 1;
    /* threads of our own would each start the host's for their products */
    dk_team_for(turns, chunk, dk_team_is_set() ? with->threads : 1, task, &work);
    return DK_OK;
}

enum dk_status dk_attend_forward(const struct dk_attention *with) {
    return share(with, 1, 1, do_forward);
}

enum dk_status dk_attend_backward(const struct dk_attention *with) {
    return share(with, with->n_heads / with->n_key_heads, 0, do_backward);
}
