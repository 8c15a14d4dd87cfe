/* The host's own OpenMP team, for work that comes between its products of matrices.
 *
 * Its threads do not sleep between two such products, but wait at full speed for the second. Threads
 * of ours would have to be woken first, and would then fight with those for the same cores: with two
 * threads that took as long as with one. So the binding hands over the host's GOMP_parallel, which
 * the OpenMP runtimes of GNU, Intel and LLVM all have.
 *
 * A forked child has no team, though its runtime believes so: there our own threads serve.
 */
#include "team.h"

#include <pthread.h>
#include <stdatomic.h>

#include "dropkit.h"

struct share {
    dk_task_fn *task;
    void *job;
    size_t n, chunk;
    atomic_size_t next;
};

static _Atomic(dk_team_fn *) team;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void forget_team(void) { atomic_store(&team, NULL); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_team); }

void dk_team_set(dk_team_fn *parallel) {
    pthread_once(&once, watch_forks);
    atomic_store(&team, parallel);
}

static void take_chunks(void *context) {
    struct share *share = context;
    for (;;) {
        size_t begin = atomic_fetch_add_explicit(&share->next, share->chunk, memory_order_relaxed);
        if (begin >= share->n)
            return;
        size_t left = share->n - begin;
        share->task(share->job, begin, begin + (left < share->chunk ? left : share->chunk));
    }
}

void dk_team_for(size_t n, size_t chunk, int threads, dk_task_fn *task, void *job) {
    dk_team_fn *parallel = atomic_load(&team);
    if (parallel == NULL || threads <= 1 || n <= chunk) {
        dk_parallel_for(n, chunk, threads, task, job);
        return;
    }
    struct share share = {task, job, n, chunk, 0};
    parallel(take_chunks, &share, (unsigned)threads, 0);
}
