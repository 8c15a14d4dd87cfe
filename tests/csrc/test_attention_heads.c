/* Attention, whole: the same bits by every instruction set, any threads and another team; nothing
 * is touched beside the results. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "dropkit.h"
#include "test_core.h"

enum {
    BATCHES = 2,
    HEADS = 4,
    KEY_HEADS = 2,
    QUERIES = 7,
    KEYS = 11,
    WIDTH = 5,
    VALUE_WIDTH = 19,
    OF_QUERY = BATCHES * HEADS * QUERIES,
    OF_KEY = BATCHES * KEY_HEADS * KEYS,
    MOST_THREADS = 4,
    BLOCK_QUERIES = 3,
    BLOCK_KEYS = 4
};

struct results {
    float out[OF_QUERY * VALUE_WIDTH + 1], logsumexp[OF_QUERY + 1];
    float of_query[OF_QUERY * WIDTH + 1], of_key[OF_KEY * WIDTH + 1];
    float of_value[OF_KEY * VALUE_WIDTH + 1];
};

static float query[OF_QUERY * WIDTH], key[OF_KEY * WIDTH], value[OF_KEY * VALUE_WIDTH];
static float grad[OF_QUERY * VALUE_WIDTH], added[QUERIES * KEYS];
static float room[MOST_THREADS * 2 * BLOCK_QUERIES * BLOCK_KEYS];
static unsigned char shown[KEYS];
static struct results here, portable;

static void fill(float *x, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (float)(1 << 23) - 1.0F;
    }
}

static void naive_sgemm(const char *op_a, const char *op_b, const int *m, const int *n,
                        const int *k, const float *alpha, const float *a, const int *lda,
                        const float *b, const int *ldb, const float *beta, float *c,
                        const int *ldc) {
    for (int j = 0; j < *n; j++)
        for (int i = 0; i < *m; i++) {
            float sum = 0.0F, *to = c + i + j * *ldc;
            for (int l = 0; l < *k; l++)
                sum += (*op_a == 'T' ? a[l + i * *lda] : a[i + l * *lda]) *
                       (*op_b == 'T' ? b[j + l * *ldb] : b[l + j * *ldb]);
            *to = *beta == 0.0F ? sum * *alpha : sum * *alpha + *to * *beta;
        }
}

struct part {
    void (*task)(void *);
    void *data;
};

static void *do_part(void *context) {
    struct part *part = context;
    part->task(part->data);
    return NULL;
}

/* As GOMP_parallel, with new threads each time. */
static void parallel(void (*task)(void *), void *data, unsigned threads, unsigned flags) {
    struct part part = {task, data};
    pthread_t helpers[MOST_THREADS];
    unsigned n = 0;
    (void)flags;
    while (n + 1 < threads && pthread_create(&helpers[n], NULL, do_part, &part) == 0)
        n++;
    task(data);
    while (n > 0)
        pthread_join(helpers[--n], NULL);
}

static struct dk_matrices matrices(float *x, int heads, int rows, int width) {
    return (struct dk_matrices){x, (int64_t)heads * rows * width, (int64_t)rows * width, width};
}

static void attend(struct results *results, enum dk_mask_kind kind, int is_causal, int threads) {
    static const int64_t NUMBERS[BATCHES * HEADS] = {5, 1, INT64_C(1) << 61, 0, 7, 2, 3, 4};
    struct dk_attention with = {
        .query = matrices(query, HEADS, QUERIES, WIDTH),
        .key = matrices(key, KEY_HEADS, KEYS, WIDTH),
        .value = matrices(value, KEY_HEADS, KEYS, VALUE_WIDTH),
        .out = matrices(results->out, HEADS, QUERIES, VALUE_WIDTH),
        .grad = matrices(grad, HEADS, QUERIES, VALUE_WIDTH),
        .of_query = matrices(results->of_query, HEADS, QUERIES, WIDTH),
        .of_key = matrices(results->of_key, KEY_HEADS, KEYS, WIDTH),
        .of_value = matrices(results->of_value, KEY_HEADS, KEYS, VALUE_WIDTH),
        .mask = kind == DK_MASK_ADDED ? (const void *)added : shown,
        .mask_steps = {0, 0, kind == DK_MASK_ADDED ? KEYS : 0, 1},
        .logsumexp = results->logsumexp,
        .heads = is_causal ? NULL : NUMBERS,
        .room = room,
        .sgemm = naive_sgemm,
        .batches = BATCHES,
        .n_heads = HEADS,
        .n_key_heads = KEY_HEADS,
        .n_queries = QUERIES,
        .n_keys = KEYS,
        .width = WIDTH,
        .value_width = VALUE_WIDTH,
        .queries_a_block = BLOCK_QUERIES,
        .keys_a_block = BLOCK_KEYS,
        .mask_key = 5,
        .mask_stream = 6,
        .threshold = 20000,
        .mask_kind = (int)kind,
        .is_causal = is_causal,
        .threads = threads,
        .scale = 0.5F,
    };
    memset(results, 0, sizeof *results);
    CHECK(dk_attend_forward(&with) == DK_OK, "kind %d", (int)kind);
    CHECK(dk_attend_backward(&with) == DK_OK, "kind %d", (int)kind);
    CHECK(results->out[OF_QUERY * VALUE_WIDTH] == 0.0F && results->logsumexp[OF_QUERY] == 0.0F &&
              results->of_query[OF_QUERY * WIDTH] == 0.0F &&
              results->of_key[OF_KEY * WIDTH] == 0.0F &&
              results->of_value[OF_KEY * VALUE_WIDTH] == 0.0F,
          "kind %d, causal %d", (int)kind, is_causal);
    with.threshold = 65537;
    CHECK(dk_attend_forward(&with) == DK_BAD_THRESHOLD, "a threshold above 65536");
    with.threshold = 20000;
    with.queries_a_block = 257;
    CHECK(dk_attend_forward(&with) == DK_BAD_BLOCK, "more queries than a block may have");
}

void check_attention_heads(void) {
    static const enum dk_mask_kind KINDS[] = {DK_NO_MASK, DK_MASK_SHOWN, DK_MASK_ADDED};
    fill(query, OF_QUERY * WIDTH, 1);
    fill(key, OF_KEY * WIDTH, 2);
    fill(value, OF_KEY * VALUE_WIDTH, 3);
    fill(grad, OF_QUERY * VALUE_WIDTH, 4);
    fill(added, QUERIES * KEYS, 5);
    for (size_t i = 0; i < KEYS; i++) {
        shown[i] = i % 3 != 0;
        added[KEYS + i] = -INFINITY; /* the second query sees nothing */
    }
    for (size_t kind = 0; kind < sizeof KINDS / sizeof KINDS[0]; kind++)
        for (int is_causal = 0; is_causal < 2; is_causal++) {
            dk_isa_force("portable");
            attend(&portable, KINDS[kind], is_causal, 1);
            for (size_t isa = 0; dk_isa_name(isa) != NULL; isa++) {
                if (dk_isa_force(dk_isa_name(isa)) != DK_OK)
                    continue;
                for (int threads = 1; threads <= MOST_THREADS; threads++) {
                    dk_team_set(threads > 1 ? parallel : NULL);
                    attend(&here, KINDS[kind], is_causal, threads);
                    CHECK(memcmp(&here, &portable, sizeof here) == 0, "%s, %d threads, kind %d",
                          dk_isa_name(isa), threads, (int)KINDS[kind]);
                }
            }
        }
    dk_team_set(NULL);
}
