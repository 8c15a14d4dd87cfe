/* The C core by itself: the published answers, and every instruction set equal to a model.
 *
 * No framework: prints each failure, exits 1 if there was one. Meant for sanitizers and emulators
 * too: buffers are allocated to the byte, so that reading or writing past either end is seen.
 *
 * By hand, from the root of the repository (conftest.py does the same):
 *     for isa in "avx2 -mavx2 -mf16c" "avx512 -mavx512f -mavx512bw"; do
 *         set -- $isa; cc -c -std=c11 -O3 -ffp-contract=off $2 $3 -Icsrc csrc/$1.c; done
 *     cc -std=c11 -O3 -ffp-contract=off -D_POSIX_C_SOURCE=200809L -Icsrc avx2.o avx512.o \
 *         csrc/dispatch.c csrc/dropout.c csrc/neon.c csrc/portable.c csrc/threads.c \
 *         tests/csrc/test_core.c tests/csrc/test_threads.c \
 *         -lpthread -o test_core && ./test_core tests/core/known_answers.txt
 */
#include "test_core.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dropkit.h"
#include "halves.h"

int failures;

#define LENGTH(list) (sizeof(list) / sizeof((list)[0]))
static const size_t SIZE[DK_DTYPES] = {4, 8, 2, 2};
static const size_t EDGES[] = {0,  1,  7,  8,  9,  15,  16,  17,  31, 32,
                               33, 63, 64, 65, 72, 127, 128, 129, 300};
static const uint64_t FIRSTS[] = {0,
                                  1,
                                  5,
                                  (UINT64_C(1) << 34) - 4,
                                  (UINT64_C(1) << 35) - 4,
                                  (UINT64_C(1) << 35) - 70,
                                  UINT64_MAX - 3,
                                  UINT64_MAX - 100};
static const uint32_t THRESHOLDS[] = {0, 1, 6554, 32768, 65535, 65536};
static const uint64_t KEY = UINT64_C(0x0123456789ABCDEF), STREAM = UINT64_MAX - 1;
enum { FIRST_ROW = 3, GAP = 2 /* a row's stride is longer than the row, by so much */ };

struct problem {
    int dtype;
    size_t rows, inner;
    const int64_t *ids;
    uint64_t first;
    uint32_t threshold;
};

static double scale_of(uint32_t threshold) {
    return threshold < 65536 ? 65536.0 / (65536.0 - threshold) : 1.0;
}

/* Infinity, two nans, the largest, the least normal, a subnormal, the least, zero; 1.5, 1. */
static const uint64_t SPECIAL[DK_DTYPES][10] = {
    {0x7F800000, 0x7FC12345, 0x7FA54321, 0x7F7FFFFF, 0x00800000, 0x00012345, 1, 0, 0x3FC00000,
     0x3F800000},
    {0x7FF0000000000000, 0x7FF8000000012345, 0x7FF4000000054321, 0x7FEFFFFFFFFFFFFF,
     0x0010000000000000, 0x0000012345678912, 1, 0, 0x3FF8000000000000, 0x3FF0000000000000},
    {0x7F80, 0x7FC1, 0x7FA1, 0x7F7F, 0x0080, 0x0012, 1, 0, 0x3FC0, 0x3F80},
    {0x7C00, 0x7E12, 0x7D21, 0x7BFF, 0x0400, 0x0123, 1, 0, 0x3E00, 0x3C00}};

/* Any bytes will do as input; every other element is special, of either sign. */
static void *some_elements(int dtype, size_t n, uint32_t state) {
    size_t size = SIZE[dtype];
    char *elements = malloc(n > 0 ? n * size : 1);
    if (elements == NULL)
        exit(2);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        for (int word = 0; word < 3; word++) {
            state = state * 1664525u + 1013904223u;
            bits = bits << 24 | state >> 8;
        }
        if (state >> 31) {
            uint64_t sign = (uint64_t)(state >> 30 & 1) << (8 * size - 1);
            bits = sign | SPECIAL[dtype][(state >> 16) % LENGTH(SPECIAL[dtype])];
        }
        for (size_t byte = 0; byte < size; byte++) { /* the same values in any byte order */
            uint32_t one = 1;
            size_t at = *(char *)&one ? byte : size - 1 - byte;
            elements[i * size + at] = (char)(bits >> 8 * byte);
        }
    }
    return elements;
}

/* The definition, one element at a time. */

static int is_kept(uint64_t index, uint32_t threshold) {
    uint64_t block = index / 8;
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)STREAM,
                           (uint32_t)(STREAM >> 32)};
    uint32_t key[2] = {(uint32_t)KEY, (uint32_t)(KEY >> 32)}, words[4];
    dk_philox(counter, key, words);
    return (words[index % 8 / 2] >> (index % 2 * 16) & 0xFFFF) >= threshold;
}

#define DEFINE_MODEL(name, element, wide, load, store)                                             \
    static void name(const void *from, const void *more, void *to, size_t i, int kept,             \
                     double scale) {                                                               \
        const element *x = from, *residual = more;                                                 \
        wide v = kept ? load(x[i]) * (wide)scale : 0;                                              \
        if (residual != NULL)                                                                      \
            v += load(residual[i]);                                                                \
        ((element *)to)[i] = store(v);                                                             \
    }
DEFINE_MODEL(model_f32, float, float, , )
DEFINE_MODEL(model_f64, double, double, , )
DEFINE_MODEL(model_bf16, uint16_t, float, f32_from_bf16, bf16_from_f32)
DEFINE_MODEL(model_f16, uint16_t, float, f32_from_f16, f16_from_f32)

static void model(const struct problem *of, const void *x, const void *residual, void *y) {
    void (*const models[])(const void *, const void *, void *, size_t, int,
                           double) = {model_f32, model_f64, model_bf16, model_f16};
    for (size_t row = 0; row < of->rows; row++)
        for (size_t column = 0; column < of->inner; column++) {
            uint64_t index = of->ids ? (uint64_t)of->ids[row] : FIRST_ROW + row;
            index = index * (of->inner + GAP) + of->first + column;
            models[of->dtype](x, residual, y, row * of->inner + column,
                              is_kept(index, of->threshold), scale_of(of->threshold));
        }
}

static int is_nan(int dtype, const char *at) {
    static const uint64_t INFINITE[DK_DTYPES] = {0x7F800000, 0x7FF0000000000000, 0x7F80, 0x7C00};
    uint64_t bits;
    uint32_t word;
    uint16_t half;
    if (SIZE[dtype] == 8)
        memcpy(&bits, at, 8);
    else if (SIZE[dtype] == 4)
        memcpy(&word, at, 4), bits = word;
    else
        memcpy(&half, at, 2), bits = half;
    return (bits & ((UINT64_C(1) << (8 * SIZE[dtype] - 1)) - 1)) > INFINITE[dtype];
}

/* Equal bit for bit. Of a sum of two nans it is the processor that says which one it is. */
static int same(int dtype, const char *a, const char *b, size_t n, int is_sum) {
    for (size_t i = 0; i < n; i++, a += SIZE[dtype], b += SIZE[dtype])
        if (memcmp(a, b, SIZE[dtype]) != 0 && !(is_sum && is_nan(dtype, a) && is_nan(dtype, b)))
            return 0;
    return 1;
}

static void draw(const struct problem *of, const void *x, const void *residual, void *y,
                 int threads, const char *expected) {
    size_t stride = of->inner + GAP;
    double scale = scale_of(of->threshold);
    const char *isa = dk_isa_active();
    enum dk_status status =
        residual == NULL
            ? dk_dropout(of->dtype, x, y, of->rows, of->inner, of->ids, FIRST_ROW, stride,
                         of->first, KEY, STREAM, of->threshold, scale, threads)
            : dk_dropout_add(of->dtype, x, residual, y, of->rows, of->inner, of->ids, FIRST_ROW,
                             stride, of->first, KEY, STREAM, of->threshold, scale, threads);
    CHECK(status == DK_OK, "%s gave %d", isa, (int)status);
    CHECK(same(of->dtype, expected, y, of->rows * of->inner, residual != NULL),
          "%s%s%s, dtype %d, %zu x %zu, first %" PRIu64 ", threshold %" PRIu32 ", %d threads", isa,
          residual == NULL ? "" : " added", y == x || y == residual ? " in place" : "", of->dtype,
          of->rows, of->inner, of->first, of->threshold, threads);
}

static void check(struct problem problem, int max_threads) {
    const struct problem *of = &problem;
    size_t n = of->rows * of->inner, bytes = n * SIZE[of->dtype];
    char *x = some_elements(of->dtype, n, 1), *residual = some_elements(of->dtype, n, 2);
    char *dropped = some_elements(of->dtype, n, 3), *sum = some_elements(of->dtype, n, 3);
    char *y = some_elements(of->dtype, n, 3);
    model(of, x, NULL, dropped);
    model(of, x, residual, sum);
    for (size_t i = 0; dk_isa_name(i) != NULL; i++) {
        if (dk_isa_force(dk_isa_name(i)) != DK_OK)
            continue;
        for (int threads = 1; threads <= max_threads; threads++) {
            draw(of, x, NULL, y, threads, dropped);
            draw(of, x, residual, y, threads, sum);
            memcpy(y, x, bytes);
            draw(of, y, NULL, y, threads, dropped);
            memcpy(y, x, bytes);
            draw(of, y, residual, y, threads, sum);
            memcpy(y, residual, bytes);
            draw(of, x, y, y, threads, sum);
        }
    }
    free(x);
    free(residual);
    free(dropped);
    free(sum);
    free(y);
}

static void check_kernels(void) {
    enum { MANY = 12007 };
    static int64_t ids[MANY] = {7, 0, INT64_MAX, -1, 7};
    for (int64_t i = 5; i < MANY; i++)
        ids[i] = i * i % 1009;
    for (int dtype = 0; dtype < DK_DTYPES; dtype++) {
        for (size_t n = 0; n < LENGTH(EDGES); n++)
            for (size_t at = 0; at < LENGTH(FIRSTS); at++)
                for (size_t t = (n + at) % 3; t < LENGTH(THRESHOLDS); t += 3) /* a third of them */
                    check((struct problem){dtype, 1, EDGES[n], NULL, FIRSTS[at], THRESHOLDS[t]}, 1);
        for (size_t n = 0; n < LENGTH(EDGES); n++)
            check((struct problem){dtype, 5, EDGES[n], ids, 5, 6554}, 1);
        check((struct problem){dtype, 0, 5, ids, 5, 6554}, 2);
        check((struct problem){dtype, MANY, 3, ids, 5, 6554}, 4); /* short rows: many runs */
        check((struct problem){dtype, MANY, 3, NULL, 5, 65536}, 2);
    }
    check((struct problem){DK_F32, 1, 1000003, NULL, 5, 6554}, 4);
}

static void check_known_answers(const char *path) {
    FILE *file = fopen(path, "r");
    int lines = 0;
    uint32_t c[4], k[2], expected[4], out[4];
    if (file == NULL) {
        printf("cannot read %s\n", path);
        exit(2);
    }
#define WORD "%" SCNx32
    while (fscanf(file, WORD WORD WORD WORD " ;" WORD WORD " ;" WORD WORD WORD WORD, c, c + 1,
                  c + 2, c + 3, k, k + 1, expected, expected + 1, expected + 2,
                  expected + 3) == 10) {
        dk_philox(c, k, out);
        lines++;
        CHECK(memcmp(expected, out, sizeof out) == 0, "line %d of %s", lines, path);
    }
    CHECK(lines == 3, "%s has %d lines", path, lines);
    fclose(file);
}

static void check_refusals(void) {
    float x = 1.0f, y = 5.0f;
    const char *before = dk_isa_active();
    CHECK(dk_abi() == DK_ABI, "%d", dk_abi());
    CHECK(dk_isa_force("avx9") == DK_UNKNOWN_ISA, "avx9");
    CHECK(dk_isa_force("") == DK_UNKNOWN_ISA, "an empty name");
    CHECK(strcmp(before, dk_isa_active()) == 0, "a refusal changed it to %s", dk_isa_active());
    CHECK(dk_dropout(-1, &x, &y, 1, 1, NULL, 0, 1, 0, 1, 2, 3, 1.0, 1) == DK_BAD_DTYPE, "-1");
    CHECK(dk_dropout_add(DK_DTYPES, &x, &x, &y, 1, 1, NULL, 0, 1, 0, 1, 2, 3, 1.0, 1) ==
              DK_BAD_DTYPE,
          "4");
    CHECK(dk_dropout(DK_F32, &x, &y, 1, 1, NULL, 0, 1, 0, 1, 2, 65537, 1.0, 1) == DK_BAD_THRESHOLD,
          "65537");
    CHECK(y == 5.0f, "a refused call wrote %g", (double)y);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        printf("usage: test_core known_answers.txt\n");
        return 2;
    }
    check_known_answers(argv[1]);
    check_refusals();
    check_threads();
    check_attention();
    check_attention_heads();
    check_kernels();
    size_t known = 0;
    for (; dk_isa_name(known) != NULL; known++)
        if (dk_isa_usable(known))
            printf("%s agrees\n", dk_isa_name(known));
        else
            CHECK(dk_isa_force(dk_isa_name(known)) == DK_ABSENT_ISA, "%s", dk_isa_name(known));
    CHECK(known > 0 && strcmp(dk_isa_name(known - 1), "portable") == 0, "portable is not the last");
    printf("%d failures\n", failures);
    return failures != 0;
}
