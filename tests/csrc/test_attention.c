/* Attention's steps: all instruction sets agree over edges, and nothing is touched beside the tile.
 */
#include <math.h>
#include <string.h>

#include "dropkit.h"
#include "test_core.h"

enum { HEADS = 2, ROWS = 3, MOST = 1100, ROOM = HEADS * ROWS * MOST + 2 };

struct results {
    float scores[ROOM], grads[ROOM], again[ROOM], sums[HEADS * 5];
};

static const int64_t NUMBERS[HEADS] = {1, INT64_C(1) << 61};
static struct results here, portable;

static void fill(float *x, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (float)(1 << 21) - 4.0F;
    }
}

static void do_steps(struct results *results, size_t columns, int is_causal, int threads) {
    const size_t n = (size_t)HEADS * ROWS * columns;
    float mean[HEADS * ROWS];
    memset(results, 0, sizeof *results);
    fill(results->scores + 1, n, 1);
    fill(results->grads + 1, n, 2);
    fill(mean, HEADS * ROWS, 3);
    if (n > 0)
        results->scores[1] = -INFINITY;
    memcpy(results->again, results->scores, sizeof results->again);
    dk_attention_forward(results->scores + 1, results->sums, 5, NUMBERS, HEADS, ROWS, columns, 7,
                         50, 3000, is_causal, 5, 6, 20000, threads);
    dk_attention_backward(results->again + 1, results->grads + 1, results->sums, 5, mean, NUMBERS,
                          HEADS, ROWS, columns, 7, 50, 3000, is_causal, 5, 6, 20000, threads);
    CHECK(results->scores[n + 1] == 0.0F && results->grads[n + 1] == 0.0F, "%zu columns", columns);
}

void check_attention(void) {
    static const size_t COLUMNS[] = {0, 1, 7, 8, 15, 16, 17, 64, 65, 1024, 1025, MOST};
    for (size_t i = 0; i < sizeof COLUMNS / sizeof COLUMNS[0]; i++)
        for (int is_causal = 0; is_causal < 2; is_causal++) {
            dk_isa_force("portable");
            do_steps(&portable, COLUMNS[i], is_causal, 1);
            for (size_t isa = 0; dk_isa_name(isa) != NULL; isa++) {
                if (dk_isa_force(dk_isa_name(isa)) != DK_OK)
                    continue;
                do_steps(&here, COLUMNS[i], is_causal, 1 + (int)isa);
                CHECK(memcmp(&here, &portable, sizeof here) == 0, "%s, %zu columns",
                      dk_isa_name(isa), COLUMNS[i]);
            }
        }
    CHECK(dk_attention_forward(here.scores, here.sums, 5, NUMBERS, 1, 1, 1, 0, 1, 1, 0, 0, 0, 65537,
                               1) == DK_BAD_THRESHOLD,
          "a threshold above 65536");
}
