/* The pool: every item is done once, whoever does it and however many ask at a time. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "test_core.h"
#include "threads.h"

enum { MOST_WORKERS = 1001 };

struct visits {
    size_t n;
    atomic_int *times;
    int is_nested;
    atomic_int at_work[MOST_WORKERS]; /* how many threads say that they are this worker */
};

static void visit(void *context, int worker, size_t begin, size_t end) {
    struct visits *visits = context;
    int others = atomic_fetch_add(&visits->at_work[worker], 1);
    CHECK(visits->is_nested || others == 0, "worker %d is two", worker);
    for (; begin < end; begin++)
        atomic_fetch_add(&visits->times[begin], 1);
    atomic_fetch_sub(&visits->at_work[worker], 1);
}

/* A job whose items are jobs: those find the pool busy. */
static void visit_nested(void *context, int worker, size_t begin, size_t end) {
    (void)worker;
    for (; begin < end; begin++)
        dk_parallel_for(((struct visits *)context)->n, 3, 4, visit, context);
}

/* The number of items that were not visited `expected` times. */
static size_t missed(size_t n, size_t chunk, int threads, int expected) {
    struct visits visits = {
        .n = n,
        .times = calloc(n > 0 ? n : 1, sizeof(atomic_int)),
        .is_nested = expected != 1,
    };
    size_t wrong = 0;
    if (visits.times == NULL)
        exit(2);
    if (expected == 1)
        dk_parallel_for(n, chunk, threads, visit, &visits);
    else
        dk_parallel_for((size_t)expected, 1, threads, visit_nested, &visits);
    for (size_t i = 0; i < n; i++)
        wrong += visits.times[i] != expected;
    free(visits.times);
    return wrong;
}

static void *ask_often(void *wrong) {
    for (int i = 0; i < 200; i++)
        *(size_t *)wrong += missed(1000, 7, 3, 1);
    return NULL;
}

void check_threads(void) {
    const size_t sizes[] = {0, 1, 9, 10, 11, 20, 1003};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int threads = -1; threads < 6; threads++)
            CHECK(missed(sizes[i], 10, threads, 1) == 0, "%zu items, %d threads", sizes[i],
                  threads);
    CHECK(missed(100000, 1, 1000, 1) == 0, "more threads than the pool will hold");
    CHECK(missed(100, 10, 4, 5) == 0, "nested");

    enum { CALLERS = 4 };
    pthread_t callers[CALLERS];
    size_t wrong[CALLERS] = {0};
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&callers[i], NULL, ask_often, &wrong[i]) == 0, "caller %d", i);
    for (int i = 0; i < CALLERS; i++) {
        CHECK(pthread_join(callers[i], NULL) == 0, "caller %d", i);
        CHECK(wrong[i] == 0, "caller %d missed %zu", i, wrong[i]);
    }
}
