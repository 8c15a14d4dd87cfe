/* The C core by itself: the published answers, and every instruction set equal to portable.
 *
 * No framework: prints each failure, exits 1 if there was one. Meant for -fsanitize too: buffers
 * are allocated to the byte, so that reading or writing past either end is seen.
 *
 * By hand, from the root of the repository (test_sanitized.py does the same):
 *     cc -c -std=c11 -O1 -g -fsanitize=address,undefined -mavx2 -mf16c -Icsrc csrc/avx2.c
 *     cc -std=c11 -O1 -g -fsanitize=address,undefined -D_POSIX_C_SOURCE=200809L -Icsrc avx2.o \
 *         csrc/dispatch.c csrc/dropout.c csrc/portable.c csrc/threads.c tests/csrc/test_core.c \
 *         -lpthread -o test_core && ./test_core tests/core/known_answers.txt
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dropkit.h"

static int failures;

#define CHECK(claim, ...)                                                                         \
    do {                                                                                          \
        if (!(claim)) {                                                                           \
            failures++;                                                                           \
            printf("%s:%d: not so: %s: ", __FILE__, __LINE__, #claim);                            \
            printf(__VA_ARGS__);                                                                  \
            printf("\n");                                                                         \
        }                                                                                         \
    } while (0)

static const size_t SIZE[DK_DTYPES] = {4, 8, 2, 2};
static const size_t EDGES[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300};
static const uint64_t FIRSTS[] = {0, 1, 5, (UINT64_C(1) << 34) - 4, (UINT64_C(1) << 35) - 4,
                                  (UINT64_C(1) << 35) - 70, UINT64_MAX - 3, UINT64_MAX - 100};
static const uint32_t THRESHOLDS[] = {0, 1, 6554, 32768, 65535, 65536};
#define LENGTH(list) (sizeof(list) / sizeof((list)[0]))

/* Any bytes will do as input, nans too; the same ones each run. */
static void *some_bytes(size_t n) {
    unsigned char *bytes = malloc(n > 0 ? n : 1);
    uint32_t state = 12345;
    if (bytes == NULL)
        exit(2);
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(state >> 24);
    }
    return bytes;
}

static int is_nan(int dtype, const unsigned char *at) {
    uint64_t bits = 0;
    uint16_t half;
    uint32_t word;
    if (dtype == DK_F64) {
        memcpy(&bits, at, 8);
        return (bits & INT64_MAX) > UINT64_C(0x7FF0000000000000);
    }
    if (dtype == DK_F32) {
        memcpy(&word, at, 4);
        return (word & INT32_MAX) > UINT32_C(0x7F800000);
    }
    memcpy(&half, at, 2);
    return (half & 0x7FFF) > (dtype == DK_BF16 ? 0x7F80 : 0x7C00);
}

/* Equal bit for bit; one nan is as good as another. */
static int same(int dtype, const void *a, const void *b, size_t n) {
    const unsigned char *p = a, *q = b;
    for (size_t i = 0; i < n; i++, p += SIZE[dtype], q += SIZE[dtype])
        if (memcmp(p, q, SIZE[dtype]) != 0 && !(is_nan(dtype, p) && is_nan(dtype, q)))
            return 0;
    return 1;
}

static void draw(const char *isa, int dtype, const void *x, void *y, size_t rows, size_t inner,
                 const int64_t *ids, uint64_t first, uint32_t threshold, int threads) {
    CHECK(dk_isa_force(isa) == DK_OK, "%s", isa);
    double scale = threshold < 65536 ? 65536.0 / (65536.0 - threshold) : 1.0;
    enum dk_status status = dk_dropout(dtype, x, y, rows, inner, ids, 3, inner + 2, first,
                                       UINT64_C(0x0123456789ABCDEF), UINT64_MAX, threshold, scale,
                                       threads);
    CHECK(status == DK_OK, "%s gave %d", isa, (int)status);
}

static void compare(const char *isa, int dtype, size_t rows, size_t inner, const int64_t *ids,
                    uint64_t first, uint32_t threshold, int threads) {
    size_t bytes = rows * inner * SIZE[dtype];
    void *x = some_bytes(bytes), *expected = some_bytes(bytes), *y = some_bytes(bytes);
    draw("portable", dtype, x, expected, rows, inner, ids, first, threshold, 1);
    draw(isa, dtype, x, y, rows, inner, ids, first, threshold, threads);
    CHECK(same(dtype, expected, y, rows * inner),
          "%s, dtype %d, %zu x %zu, first %" PRIu64 ", threshold %" PRIu32 ", %d threads", isa,
          dtype, rows, inner, first, threshold, threads);
    draw(isa, dtype, x, x, rows, inner, ids, first, threshold, threads);
    CHECK(same(dtype, expected, x, rows * inner), "%s in place, dtype %d", isa, dtype);
    free(x);
    free(expected);
    free(y);
}

static void check_isa(const char *isa) {
    const int64_t ids[] = {7, 0, INT64_MAX, -1, 7};
    for (int dtype = 0; dtype < DK_DTYPES; dtype++) {
        for (size_t n = 0; n < LENGTH(EDGES); n++)
            for (size_t at = 0; at < LENGTH(FIRSTS); at++)
                for (size_t t = 0; t < LENGTH(THRESHOLDS); t++)
                    compare(isa, dtype, 1, EDGES[n], NULL, FIRSTS[at], THRESHOLDS[t], 1);
        for (int threads = 1; threads <= 4; threads++) {
            compare(isa, dtype, 1, 100003, NULL, 5, 6554, threads);
            compare(isa, dtype, 1001, 99, NULL, 5, 6554, threads);
            compare(isa, dtype, 5, 20011, ids, 5, 6554, threads);
            compare(isa, dtype, 5, 0, ids, 5, 6554, threads);
            compare(isa, dtype, 0, 5, ids, 5, 6554, threads);
        }
    }
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
    while (fscanf(file, WORD WORD WORD WORD " ;" WORD WORD " ;" WORD WORD WORD WORD, c, c + 1, c + 2,
                  c + 3, k, k + 1, expected, expected + 1, expected + 2, expected + 3) == 10) {
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
    CHECK(dk_dropout(DK_DTYPES, &x, &y, 1, 1, NULL, 0, 1, 0, 1, 2, 3, 1.0, 1) == DK_BAD_DTYPE, "4");
    CHECK(dk_dropout(DK_F32, &x, &y, 1, 1, NULL, 0, 1, 0, 1, 2, 65537, 1.0, 1) == DK_BAD_THRESHOLD,
          "65537");
    CHECK(y == 5.0f, "a refused call wrote %g", (double)y);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        printf("usage: test_core known_answers.txt\n");
        return 2;
    }
    size_t known = 0;
    check_known_answers(argv[1]);
    check_refusals();
    for (; dk_isa_name(known) != NULL; known++)
        if (dk_isa_usable(known)) {
            check_isa(dk_isa_name(known));
            printf("%s agrees\n", dk_isa_name(known));
        } else {
            CHECK(dk_isa_force(dk_isa_name(known)) == DK_ABSENT_ISA, "%s", dk_isa_name(known));
        }
    CHECK(known > 0 && strcmp(dk_isa_name(known - 1), "portable") == 0, "portable is not the last");
    printf("%d failures\n", failures);
    return failures != 0;
}
