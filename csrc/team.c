/* The host's own OpenMP team, for work that comes between its products of matrices.
 *
 * Its threads do not sleep between two such products, but wait at full speed for the second.
 * Threads of ours would have to be woken first, and would then fight with those for the same cores:
 * with two threads that took as long as with one. So the binding hands over the host's
 * GOMP_parallel, which the OpenMP runtimes of GNU, Intel and LLVM all have.
 *
 * A forked child has no team, though its runtime believes so: there our own threads serve.
 */
#include "team.h"

#include <pthread.h>
#include <stdatomic.h>

#include "dropkit.h"

enum { PARTS = 64 };

/* Each thread begins with a part of its own, the caller with the first: there the host's products
 * have left what it needs in its cache, and will want it. Who is done helps the others. */
struct share {
    dk_task_fn *task;
    void *job;
    size_t n, chunk, part; /* items, in a chunk, in a part */
    int parts;
    pthread_t caller;
    atomic_int arrived;
    atomic_size_t next[PARTS]; /* in each part */
};

static _Atomic(dk_team_fn *) team;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void forget_team(void) { atomic_store(&team, NULL); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_team); }

void dk_team_set(dk_team_fn *parallel) {
    pthread_once(&once, watch_forks);
    atomic_store(&team, parallel);
}

static void take_part(struct share *share, int worker, int part) {
    size_t first = (size_t)part * share->part, left = share->n - first;
    size_t n = left < share->part ? left : share->part;
    for (;;) {
        size_t begin =
            atomic_fetch_add_explicit(&share->next[part], share->chunk, memory_order_relaxed);
        if (begin >= n)
            return;
        size_t end = n - begin < share->chunk ? n : begin + share->chunk;
        share->task(share->job, worker, first + begin, first + end);
    }
}

static void take_parts(void *context) {
    struct share *share = context;
    int own = 0;
    if (!pthread_equal(pthread_self(), share->caller))
        own = 1 + atomic_fetch_add_explicit(&share->arrived, 1, memory_order_relaxed);
    for (int i = 0; i < share->parts; i++)
        take_part(share, own, (own + i) % share->parts);
}

int dk_team_is_set(void) { return atomic_load(&team) != NULL; }

void dk_team_for(size_t n, size_t chunk, int threads, dk_task_fn *task, void *job) {
    dk_team_fn *parallel = atomic_load(&team);
    if (parallel == NULL || threads <= 1 || n <= chunk) {
        dk_parallel_for(n, chunk, threads, task, job);
        return;
    }
    size_t most = threads < PARTS ? (size_t)threads : PARTS;
    struct share share = {.task = task, .job = job, .n = n, .chunk = chunk};
    share.part = n / most + (n % most != 0);
    share.parts = (int)(n / share.part + (n % share.part != 0));
    share.caller = pthread_self();
    parallel(take_parts, &share, (unsigned)share.parts, 0);
}
