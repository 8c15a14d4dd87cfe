/* A small pool of sleeping threads.
 *
 * Not OpenMP: torch ships an OpenMP runtime of its own, and GNU's deadlocks in a forked child.
 * The pool serves one job at a time; whoever finds it busy does its own work alone, so no call
 * ever waits for another. Chunks are taken one by one, so a worker that wakes late costs nothing.
 */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

enum { MAX_WORKERS = 255 };

struct job {
    dk_task_fn *task;
    void *context;
    size_t n;
    size_t chunk;
    atomic_size_t next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards the five below */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct job *open_job; /* NULL: nothing to join */
static int seats;            /* workers that may still join it */
static int joined;           /* workers inside it */
static int workers;          /* threads that exist in this process */
static atomic_flag busy = ATOMIC_FLAG_INIT;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void take_chunks(struct job *job, int worker) {
    for (;;) {
        size_t begin = atomic_fetch_add_explicit(&job->next, job->chunk, memory_order_relaxed);
        if (begin >= job->n)
            return;
        size_t left = job->n - begin;
        job->task(job->context, worker, begin, begin + (left < job->chunk ? left : job->chunk));
    }
}

static void *work(void *unused) {
    (void)unused;
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (open_job == NULL || seats == 0)
            pthread_cond_wait(&wake, &mutex);
        struct job *job = open_job;
        int worker = seats--;
        joined++;
        pthread_mutex_unlock(&mutex);
        take_chunks(job, worker);
        pthread_mutex_lock(&mutex);
        joined--;
    }
    return NULL;
}

static void start_workers(int wanted) { /* called with the mutex held */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* Ctrl-C belongs to the interpreter's thread */
    while (workers < wanted && workers < MAX_WORKERS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL) != 0)
            break; /* fewer threads, same result */
        pthread_detach(thread);
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void forget_workers(void) { /* in a forked child only the forking thread lives on */
    pthread_mutex_init(&mutex, NULL);
    pthread_cond_init(&wake, NULL);
    open_job = NULL;
    seats = joined = workers = 0;
    atomic_flag_clear(&busy);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_workers); }

void dk_parallel_for(size_t n, size_t chunk, int threads, dk_task_fn *task, void *context) {
    if (threads <= 1 || n <= chunk || atomic_flag_test_and_set(&busy)) {
        task(context, 0, 0, n);
        return;
    }
    size_t chunks = n / chunk + (n % chunk != 0);
    int helpers = (size_t)threads < chunks ? threads - 1 : (int)(chunks - 1);
    struct job job = {task, context, n, chunk, 0};

    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&mutex);
    start_workers(helpers);
    open_job = &job;
    seats = helpers;
    pthread_mutex_unlock(&mutex);
    if (helpers == 1)
        pthread_cond_signal(&wake);
    else
        pthread_cond_broadcast(&wake);

    take_chunks(&job, 0);

    pthread_mutex_lock(&mutex);
    open_job = NULL;     /* a late worker finds nothing to join */
    while (joined > 0) { /* at most one chunk each: too short to sleep for */
        pthread_mutex_unlock(&mutex);
        sched_yield();
        pthread_mutex_lock(&mutex);
    }
    pthread_mutex_unlock(&mutex);
    atomic_flag_clear(&busy);
}
