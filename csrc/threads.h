#ifndef DROPKIT_THREADS_H
#define DROPKIT_THREADS_H

#include <stddef.h>

/* Do items [begin, end) of the job; called from several threads at once, each of which is another
 * `worker`, a number below that of the threads. */
typedef void dk_task_fn(void *job, int worker, size_t begin, size_t end);

/* Run `task` over [0, n) in chunks of `chunk` items on up to `threads` threads, the calling one
 * included. Returns when all is done. Safe from any thread and after fork. */
void dk_parallel_for(size_t n, size_t chunk, int threads, dk_task_fn *task, void *job);

#endif
